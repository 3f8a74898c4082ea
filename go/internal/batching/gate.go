package batching

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// GateOptions configure a Gate; zero fields take the defaults.
type GateOptions struct {
	MaxCost    int64         // cost admitted at once; default 16384 candidates
	MaxWaiting int           // requests waiting; default 256
	MaxWait    time.Duration // longest wait; default 100 ms
}

// Gate admits requests while their cost fits, lets a few wait, and sheds the rest. A more important
// priority is admitted first, and takes the place of a less important one when the waiting room is full.
// A request that costs more than the whole gate is admitted alone.
type Gate struct {
	opts GateOptions

	mu       sync.Mutex
	inUse    int64
	admitted int
	waiters  []*waiter // by priority, then arrival
	waitCost int64
	holdTime time.Duration // moving average of how long an admitted request stays
	draining bool
	empty    chan struct{} // closed when draining and nobody is left
}

// waiter is a request in the waiting room; ready gets nil when it was admitted, else why not.
type waiter struct {
	cost     int64
	priority rank.Priority
	ready    chan error
}

// NewGate makes a gate.
func NewGate(opts GateOptions) *Gate {
	if opts.MaxCost <= 0 {
		opts.MaxCost = 16384
	}
	if opts.MaxWaiting <= 0 {
		opts.MaxWaiting = 256
	}
	if opts.MaxWait <= 0 {
		opts.MaxWait = 100 * time.Millisecond
	}
	return &Gate{opts: opts, empty: make(chan struct{})}
}

// Enter waits for room for the cost and priority of ctx's rank.Budget. release must be called once the
// request is done; calling it again does nothing. It fails with *rank.OverloadedError (full, or waited too
// long), *rank.DeadlineError, rank.ErrDraining, or ctx's error.
func (g *Gate) Enter(ctx context.Context) (release func(), err error) {
	budget := rank.BudgetFrom(ctx)
	if err := budget.Start(ctx, "admission", 0); err != nil {
		return nil, err
	}
	w, err := g.enterOrWait(budget.Cost(), budget.Priority())
	if err != nil {
		return nil, err
	}
	if w != nil {
		if err := g.wait(ctx, w, budget); err != nil {
			return nil, err
		}
	}
	start := time.Now()
	return sync.OnceFunc(func() { g.leave(budget.Cost(), time.Since(start)) }), nil
}

// enterOrWait admits at once (nil, nil), or takes a place in the waiting room.
func (g *Gate) enterOrWait(cost int64, priority rank.Priority) (*waiter, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining {
		return nil, rank.ErrDraining
	}
	if g.fits(cost) && (len(g.waiters) == 0 || g.waiters[0].priority > priority) {
		g.admit(cost)
		return nil, nil
	}
	if len(g.waiters) >= g.opts.MaxWaiting {
		last := g.waiters[len(g.waiters)-1]
		if last.priority <= priority {
			return nil, g.overloaded()
		}
		g.remove(last)
		last.ready <- g.overloaded()
	}
	w := &waiter{cost: cost, priority: priority, ready: make(chan error, 1)}
	at, _ := slices.BinarySearchFunc(g.waiters, priority, func(w *waiter, p rank.Priority) int {
		if w.priority <= p { // after all of the same priority
			return -1
		}
		return 1
	})
	g.waiters = slices.Insert(g.waiters, at, w)
	g.waitCost += cost
	return w, nil
}

func (g *Gate) wait(ctx context.Context, w *waiter, budget *rank.Budget) error {
	timer := time.NewTimer(min(g.opts.MaxWait, budget.Left()))
	defer timer.Stop()
	var err error
	select {
	case err := <-w.ready:
		return err
	case <-timer.C:
		g.mu.Lock()
		err = g.overloaded()
		g.mu.Unlock()
		if budget.Left() == 0 {
			err = &rank.DeadlineError{Stage: "admission"}
		}
	case <-ctx.Done():
		err = budget.Start(ctx, "admission", 0)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.remove(w) { // decided meanwhile
		if decision := <-w.ready; decision != nil {
			return decision
		}
		if ctx.Err() == nil {
			return nil
		}
		g.inUse -= w.cost
		g.admitted--
	}
	g.admitWaiters() // w may have stood before one that fits
	return err
}

func (g *Gate) leave(cost int64, held time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holdTime += (held - g.holdTime) / 16
	g.inUse -= cost
	g.admitted--
	g.admitWaiters()
}

// admitWaiters admits from the front while there is room. A large waiter at the front is not overtaken by
// its equals, so that it cannot starve. The caller holds the mutex.
func (g *Gate) admitWaiters() {
	for len(g.waiters) > 0 && g.fits(g.waiters[0].cost) {
		w := g.waiters[0]
		g.remove(w)
		g.admit(w.cost)
		w.ready <- nil
	}
	if g.draining && g.admitted == 0 {
		select {
		case <-g.empty:
		default:
			close(g.empty)
		}
	}
}

func (g *Gate) fits(cost int64) bool { return g.admitted == 0 || g.inUse+cost <= g.opts.MaxCost }

func (g *Gate) admit(cost int64) {
	g.inUse += cost
	g.admitted++
}

// remove takes w out of the waiting room; false when it is not there any more.
func (g *Gate) remove(w *waiter) bool {
	at := slices.Index(g.waiters, w)
	if at < 0 {
		return false
	}
	g.waiters = slices.Delete(g.waiters, at, at+1)
	g.waitCost -= w.cost
	return true
}

// overloaded hints at the time after which what is inside and waiting now should be through.
func (g *Gate) overloaded() error {
	queues := 1 + float64(g.waitCost)/float64(g.opts.MaxCost)
	return &rank.OverloadedError{Where: "admission gate", RetryAfter: clampRetry(time.Duration(float64(g.holdTime) * queues))}
}

// InUse is the admitted cost and the number of waiting requests.
func (g *Gate) InUse() (cost int64, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inUse, len(g.waiters)
}

// Drain refuses new requests and wakes the waiting ones with rank.ErrDraining; it returns when the
// admitted ones are done, or with ctx's error.
func (g *Gate) Drain(ctx context.Context) error {
	g.mu.Lock()
	g.draining = true
	for _, w := range g.waiters {
		w.ready <- rank.ErrDraining
	}
	g.waiters, g.waitCost = nil, 0
	g.admitWaiters() // closes empty when nobody is inside
	g.mu.Unlock()
	select {
	case <-g.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
