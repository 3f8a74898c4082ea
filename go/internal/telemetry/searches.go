package telemetry

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Searches shows how long the searches of two-tower sources take. It is safe for concurrent use.
type Searches struct {
	seconds *prometheus.HistogramVec
	kinds   []string
}

// NewSearches registers the instrument. kinds is the closed set of the ways to search.
func NewSearches(registry prometheus.Registerer, kinds []string) (*Searches, error) {
	s := &Searches{kinds: kinds, seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "shortlist_index_search_seconds", Help: "Time of one search for the items nearest to a query, waiting included, by what searched.",
		Buckets: prometheus.ExponentialBuckets(1e-5, 2, 18)}, []string{"index"})}
	if err := registry.Register(s.seconds); err != nil {
		return nil, fmt.Errorf("register metrics of searches: %w", err)
	}
	return s, nil
}

// Took is retrieval.Options.Observe.
func (s *Searches) Took(by string, took time.Duration) {
	s.seconds.WithLabelValues(known(by, s.kinds)).Observe(took.Seconds())
}
