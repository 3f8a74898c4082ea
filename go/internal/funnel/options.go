package funnel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
)

// Options of the funnel.
type Options struct {
	// Timeout is the deadline of requests that bring none, and the longest that any may have. The default is 5s.
	Timeout time.Duration
	// Reserve is kept back from the deadline for building and sending the answer. The default is 2ms.
	Reserve time.Duration
	// StoreTimeout bounds the look-up of a stored user. The default is 50ms.
	StoreTimeout time.Duration
	// RetrievalCost is how many candidates admission expects of a request that brings none. The default is 512.
	RetrievalCost int64
	// WorstRung is the deepest rung that overload may choose; full switches the ladder off. The default is popular.
	WorstRung string
	// ForceRung answers every request from this rung, for tests and drills. The default, empty, forces none.
	ForceRung string
	// SampleRungs is the share of the traffic that is sent down each rung below full, so that all stay exercised. The default is 0.
	SampleRungs float64
	// CacheBytes bounds the kept answers, from which the rung cached answers; -1 keeps none. The default is 32 MiB.
	CacheBytes int64
	// CacheAge is how old a kept answer may be. The default is 10m.
	CacheAge time.Duration
	// Chunk is how many candidates one run of the ranker has. The default, 0, is measured at load: see Tuning.
	Chunk int
}

// EnsureDefaults fills what is not set.
func (o *Options) EnsureDefaults() {
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Reserve == 0 {
		o.Reserve = 2 * time.Millisecond
	}
	if o.StoreTimeout == 0 {
		o.StoreTimeout = 50 * time.Millisecond
	}
	if o.RetrievalCost == 0 {
		o.RetrievalCost = 512
	}
	if o.WorstRung == "" {
		o.WorstRung = rank.RungPopular.String()
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 32 << 20
	}
	if o.CacheAge == 0 {
		o.CacheAge = 10 * time.Minute
	}
}

// Validate lists every fault as "field: problem".
func (o *Options) Validate() []error {
	var faults []error
	if o.Timeout < time.Millisecond {
		faults = append(faults, fmt.Errorf("timeout: %s is under 1ms", o.Timeout))
	}
	if o.Reserve < 0 || o.Reserve >= o.Timeout {
		faults = append(faults, fmt.Errorf("reserve: %s is not between 0 and the timeout", o.Reserve))
	}
	if o.StoreTimeout <= 0 {
		faults = append(faults, fmt.Errorf("store_timeout: %s is not positive", o.StoreTimeout))
	}
	if o.RetrievalCost < 1 {
		faults = append(faults, fmt.Errorf("retrieval_cost: %d is not positive", o.RetrievalCost))
	}
	for _, f := range []struct{ field, name string }{{"worst_rung", o.WorstRung}, {"force_rung", o.ForceRung}} {
		if _, err := parseRung(f.field, f.name); err != nil {
			faults = append(faults, err)
		}
	}
	if !(o.SampleRungs >= 0 && o.SampleRungs <= 0.1) {
		faults = append(faults, fmt.Errorf("sample_rungs: %g is not in 0..0.1", o.SampleRungs))
	}
	if o.CacheBytes < -1 || o.CacheAge < 0 {
		faults = append(faults, fmt.Errorf("cache_bytes: %d with a cache_age of %s; use -1 to keep nothing", o.CacheBytes, o.CacheAge))
	}
	if o.Chunk < 0 {
		faults = append(faults, fmt.Errorf("chunk: %d is negative", o.Chunk))
	}
	return faults
}

func (f *Funnel) pin(q *rank.Query) (*Release, func(), error) {
	acquire := f.releases.Acquire
	if q.Debug != nil && q.Debug.ReleaseID != "" {
		acquire = func() (*repository.Snapshot, func(), error) { return f.releases.AcquireRelease(q.Debug.ReleaseID) }
	}
	s, unpin, err := acquire()
	if err != nil {
		return nil, nil, err
	}
	release := s.Prepared.(*Release)
	if q.Debug == nil || q.Debug.ReleaseID == "" {
		f.prices.Store(release.prices.Load())
	}
	return release, unpin, nil
}

// canceled is the error of a request that its caller gave up; a deadline that passed is not one, because
// then the answer is still made of what there is.
func canceled(ctx context.Context) error {
	if err := context.Cause(ctx); errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
