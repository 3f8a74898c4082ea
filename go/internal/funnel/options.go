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
	// RetrievalCost is what admission counts for a request without candidates, in candidates. The default is 512.
	RetrievalCost int64
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
	return faults
}

// withBudget gives the request its deadline, less the reserve, and its cost.
func (f *Funnel) withBudget(ctx context.Context, q *rank.Query) (context.Context, context.CancelFunc) {
	deadline := time.Now().Add(f.opts.Timeout)
	if asked, ok := ctx.Deadline(); ok && asked.Before(deadline) {
		deadline = asked
	}
	deadline = deadline.Add(-f.opts.Reserve)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	return rank.WithBudget(ctx, rank.NewBudget(deadline, f.estimate(q), q.Priority).ForTenant(q.Tenant)), cancel
}

// estimate is the cost of a query in candidates. A history event costs about one candidate to encode.
func (f *Funnel) estimate(q *rank.Query) int64 {
	cost := f.opts.RetrievalCost
	if q.Candidates != nil {
		cost = int64(q.Candidates.Len())
	}
	if q.History != nil {
		cost += int64(q.History.Items.Len())
	}
	return cost
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
	return s.Prepared.(*Release), unpin, nil
}

// canceled is the error of a request that its caller gave up; a deadline that passed is not one, because
// then the answer is still made of what there is.
func canceled(ctx context.Context) error {
	if err := context.Cause(ctx); errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
