package dispatch

import (
	"fmt"
	"slices"
	"time"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
)

// Modes.
const (
	Auto = "auto"
	On   = "on"
	Off  = "off"
)

// Options say how calls share runs.
type Options struct {
	// Mode is auto (where graphs run on a GPU), on or off. The default is auto.
	Mode string
	// MaxBatch is the largest number of rows of one run; a call of the funnel is one row. The default is 16.
	MaxBatch int
	// MaxPadding bounds the share of a bucket that pads one axis: 0.25 makes steps of up to a third, 0.5
	// powers of two. The default is 0.25.
	MaxPadding float64
	// MinBucket is the smallest bucket of an axis: what is smaller costs a GPU the same. The default is 16.
	MinBucket int
	// Runs is how many runs of one graph may be in flight. The default, 0, is 1 on a GPU, which serialises the
	// runs of a session anyway, so that calls that wait fill the next batch; and one a core on a CPU.
	Runs int
	// HangTimeout is the longest run: one that takes longer counts as a hung device. The default is 30s.
	HangTimeout time.Duration
	// Observe is told of every run; it must not block. nil for nobody.
	Observe func(Run)
}

// Run is what one run of a graph held. A cell is one event, one candidate, or one event for one candidate,
// whichever the graph works on.
type Run struct {
	Graph string
	Calls int
	Used  int64 // cells that calls asked for
	Cells int64 // cells that were computed, padding included
}

// EnsureDefaults fills what is not set.
func (o *Options) EnsureDefaults() {
	if o.Mode == "" {
		o.Mode = Auto
	}
	if o.MaxBatch == 0 {
		o.MaxBatch = 16
	}
	if o.MaxPadding == 0 {
		o.MaxPadding = 0.25
	}
	if o.MinBucket == 0 {
		o.MinBucket = 16
	}
	if o.HangTimeout == 0 {
		o.HangTimeout = 30 * time.Second
	}
}

// Validate lists every fault as "field: problem".
func (o *Options) Validate() []error {
	var faults []error
	if !slices.Contains([]string{Auto, On, Off}, o.Mode) {
		faults = append(faults, fmt.Errorf("mode: %q is none of auto, on, off", o.Mode))
	}
	for _, f := range []struct {
		name            string
		value, min, max int
	}{{"max_batch", o.MaxBatch, 1, 1024}, {"min_bucket", o.MinBucket, 1, 4096}, {"runs", o.Runs, 0, 1024}} {
		if f.value < f.min || f.value > f.max {
			faults = append(faults, fmt.Errorf("%s: %d is not in %d..%d", f.name, f.value, f.min, f.max))
		}
	}
	if !(o.MaxPadding > 0 && o.MaxPadding < 1) {
		faults = append(faults, fmt.Errorf("max_padding: %v is not in (0, 1)", o.MaxPadding))
	}
	if o.HangTimeout < time.Second {
		faults = append(faults, fmt.Errorf("hang_timeout: %s is under 1s", o.HangTimeout))
	}
	return faults
}

// Limits are the sizes up to which a release's requests go; larger calls run alone, unpadded.
type Limits struct {
	Events     int64 // N
	Candidates int64 // M
}

// LimitsOf reads the limits of a release: its window of history; and the most candidates that a request
// may name, its sources may propose, or a chunk may hold.
func LimitsOf(manifest *bundlev1.Manifest) Limits {
	funnel := manifest.GetFunnel()
	var proposed int64
	for _, source := range funnel.GetSources() {
		proposed += int64(source.GetLimit())
	}
	return Limits{
		Events:     int64(manifest.GetSchema().GetHistory().GetMaxEvents()),
		Candidates: max(proposed, int64(funnel.GetMaxCandidates()), int64(funnel.GetChunk())),
	}
}
