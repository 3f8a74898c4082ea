package batching

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// Gate admits requests while their cost fits under a limit that follows what the server can do, lets a few
// wait, and sheds the rest: at once when the wait would be longer than it is worth. A more important
// priority is admitted first; within a priority tenants get fair shares. A request that costs more than
// the whole limit is admitted alone. Every Enter ends in exactly one of admitted and shed.
type Gate struct {
	opts GateOptions

	mu       sync.Mutex
	limiter  limiter
	room     room
	inUse    int64
	reserved int64         // of it, by requests that were admitted into the reserve
	admitted int           // inside with a cost
	passing  int           // inside without one
	hold     time.Duration // moving average, by cost, of how long an admitted request stays
	counts   counts
	draining bool
	empty    chan struct{} // closed when draining and nobody is left
}

// NewGate makes a gate; the options must be valid.
func NewGate(opts GateOptions) *Gate {
	opts.EnsureDefaults()
	weights, _ := opts.weights() // Validate has told
	return &Gate{
		opts: opts, limiter: newLimiter(opts.MinCost, opts.MaxCost), empty: make(chan struct{}),
		room:   room{tenants: make(map[string]*tenant), maxTenants: opts.MaxTenants, weights: weights},
		counts: counts{shed: make(map[string]int64)},
	}
}

// Enter waits for room for the cost, priority and tenant of ctx's rank.Budget. release must be called once
// the request is done; calling it again does nothing. It fails with *rank.OverloadedError (the wait is or
// would be too long), *rank.DeadlineError, rank.ErrDraining, or ctx's error.
func (g *Gate) Enter(ctx context.Context) (release func(), err error) {
	budget := rank.BudgetFrom(ctx)
	w, waits, err := g.enterOrWait(ctx, budget)
	if err != nil {
		return nil, err
	}
	if waits {
		if err := g.wait(ctx, w, budget); err != nil {
			return nil, err
		}
	}
	start, planned := time.Now(), budget.Rung()
	return func() {
		w.left.Do(func() { g.leave(w, budget, planned, time.Since(start)) })
	}, nil
}

// Pass admits a request that runs no graph: it needs no worker, so it waits for nothing and takes no cost.
// As many may be inside as may wait. It fails as Enter does.
func (g *Gate) Pass(ctx context.Context) (release func(), err error) {
	if err := rank.BudgetFrom(ctx).Start(ctx, "admission", 0); err != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		return nil, g.shed(shedReason(err), err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.draining:
		return nil, g.shed(ShedDraining, rank.ErrDraining)
	case g.passing >= g.opts.MaxWaiting:
		return nil, g.shed(ShedFull, g.overloaded())
	}
	g.passing++
	g.counts.admitted++
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.passing--
		g.closeWhenEmpty()
	}), nil
}

// enterOrWait admits at once, or takes a place in the waiting room.
func (g *Gate) enterOrWait(ctx context.Context, budget *rank.Budget) (w *waiter, waits bool, err error) {
	late := budget.Start(ctx, "admission", 0)
	g.mu.Lock()
	defer g.mu.Unlock()
	if late != nil {
		return nil, false, g.shed(shedReason(late), late)
	}
	if g.draining {
		return nil, false, g.shed(ShedDraining, rank.ErrDraining)
	}
	w = &waiter{
		cost: budget.Cost(), priority: min(budget.Priority(), rank.Batch), tenant: g.room.tenant(budget.Tenant()),
	}
	w.deadline, _ = budget.Deadline()
	if first := g.room.first(); g.fits(w.cost) && (first == nil || first.priority > w.priority) || g.reserve(w, first) {
		g.admit(w)
		return w, false, nil
	}
	if wait := g.expectedWait(w); wait > min(g.opts.MaxWait/4, budget.Left()/2) {
		return nil, false, g.shed(ShedExpected, g.overloaded())
	}
	if g.room.count >= g.opts.MaxWaiting {
		victim := g.room.victim(w.tenant, w.cost, w.priority)
		if victim == nil {
			return nil, false, g.shed(ShedFull, g.overloaded())
		}
		g.room.remove(victim)
		victim.ready <- g.shed(ShedDisplaced, g.overloaded())
	}
	w.ready = make(chan error, 1)
	g.room.add(w)
	return w, true, nil
}

func (g *Gate) wait(ctx context.Context, w *waiter, budget *rank.Budget) error {
	timer := time.NewTimer(g.longestWait(budget))
	defer timer.Stop()
	var err error
	select {
	case err := <-w.ready:
		return err
	case <-timer.C:
		err = g.late(budget)
	case <-ctx.Done():
		err = budget.Start(ctx, "admission", 0)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.room.remove(w) { // decided meanwhile
		if decision := <-w.ready; decision != nil {
			return decision
		}
		if ctx.Err() == nil {
			return nil
		}
		g.giveBack(w)
		g.counts.admitted--
		g.counts.cost -= w.cost
		w.tenant.admitted -= w.cost
	}
	g.admitWaiters() // w may have stood before one that fits
	return g.shed(shedReason(err), err)
}

// longestWait is half the time that a request has left, but at least MaxWait. Who is let wait was expected to
// get in soon: where the server stalls meanwhile, a late answer in time is worth more than a late refusal.
func (g *Gate) longestWait(budget *rank.Budget) time.Duration {
	if _, hurried := budget.Deadline(); !hurried {
		return g.opts.MaxWait
	}
	return min(max(g.opts.MaxWait, budget.Left()/2), budget.Left())
}

// late is the error of a wait that ended without a place.
func (g *Gate) late(budget *rank.Budget) error {
	if budget.Left() == 0 {
		return &rank.DeadlineError{Stage: "admission"}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.overloaded()
}

// leave gives the place back and learns from the request's time.
func (g *Gate) leave(w *waiter, budget *rank.Budget, planned rank.Rung, held time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if spent, answered := budget.Spent(); answered {
		g.learnHold(w.cost, held)
		g.limiter.used(g.inUse)
		g.limiter.observe(time.Now(), sample{
			class: classOf(planned, spent), cost: spent, held: held, whole: budget.Rung() == planned, probed: w.probed,
		})
	}
	g.giveBack(w)
	g.admitWaiters()
}

// learnHold averages by cost: large requests say more of the rate at which cost leaves.
func (g *Gate) learnHold(cost int64, held time.Duration) {
	share := 1.0/64 + min(float64(cost)/g.limiter.limit, 1)/8
	if g.hold == 0 {
		share = 1
	}
	g.hold += time.Duration(float64(held-g.hold) * share)
}

func (g *Gate) giveBack(w *waiter) {
	g.inUse -= w.cost
	if w.reserved {
		g.reserved -= w.cost
	}
	g.admitted--
	w.tenant.inside--
}

// admitWaiters admits from the front while there is room. A large waiter at the front is not overtaken, so
// that it cannot starve. One whose deadline has passed is never admitted. The caller holds the mutex.
func (g *Gate) admitWaiters() {
	for w := g.room.first(); w != nil; w = g.room.first() {
		if !w.deadline.IsZero() && !time.Now().Before(w.deadline) {
			g.room.remove(w)
			w.ready <- g.shed(ShedDeadline, &rank.DeadlineError{Stage: "admission"})
			continue
		}
		if !g.fits(w.cost) {
			break
		}
		g.room.remove(w)
		g.admit(w)
		w.ready <- nil
	}
	g.closeWhenEmpty()
}

func (g *Gate) closeWhenEmpty() {
	if g.draining && g.admitted == 0 && g.passing == 0 {
		select {
		case <-g.empty:
		default:
			close(g.empty)
		}
	}
}

func (g *Gate) fits(cost int64) bool {
	return g.admitted == 0 || float64(g.inUse+cost) <= g.limiter.now()
}

// Shares of the limit.
const (
	littleShare  = 8 // a request that costs one in so many is little
	reserveShare = 4 // little ones may take one in so many beyond the limit
)

// reserve admits a little request beside and past larger ones, which are no more important: alone in a room with
// requests of many times its cost, it would wait for as long as they do.
func (g *Gate) reserve(w, first *waiter) bool {
	limit := g.limiter.now()
	if first != nil && first.priority < w.priority || float64(w.cost) > limit/littleShare || float64(g.reserved+w.cost) > limit/reserveShare {
		return false
	}
	w.reserved = true
	g.reserved += w.cost
	return true
}

func (g *Gate) admit(w *waiter) {
	g.inUse += w.cost
	g.admitted++
	g.counts.admitted++
	g.counts.cost += w.cost
	g.room.admit(w.tenant, w.cost)
	g.limiter.used(g.inUse)
	w.probed = g.limiter.probing
}

// expectedWait is how long what is ahead of w takes: by Little's law a full gate lets limit / hold through.
func (g *Gate) expectedWait(w *waiter) time.Duration {
	return time.Duration(g.room.ahead(w.tenant, w.cost, w.priority) / g.limiter.now() * float64(g.hold))
}

// overloaded hints at the time after which what is inside and waiting now should be through, spread so
// that callers who were shed together do not come back together.
func (g *Gate) overloaded() error {
	wait := float64(g.hold) * (1 + float64(g.room.cost)/g.limiter.limit)
	return &rank.OverloadedError{Where: "admission gate", RetryAfter: clampRetry(time.Duration(wait * (1 + rand.Float64())))}
}

// shed counts a refusal; err is returned as it is.
func (g *Gate) shed(reason string, err error) error {
	g.counts.shed[reason]++
	return err
}

// Drain refuses new requests and wakes the waiting ones with rank.ErrDraining; it returns when the
// admitted ones are done, or with ctx's error.
func (g *Gate) Drain(ctx context.Context) error {
	g.mu.Lock()
	g.draining = true
	for _, w := range g.room.all() {
		g.room.remove(w)
		w.ready <- g.shed(ShedDraining, rank.ErrDraining)
	}
	g.closeWhenEmpty()
	g.mu.Unlock()
	select {
	case <-g.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
