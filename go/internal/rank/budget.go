package rank

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"
)

// Budget is what a request may still spend, and how far it has come down the degradation ladder. It
// travels in the context; every stage asks it before starting. Safe for concurrent use.
type Budget struct {
	deadline time.Time // zero: none
	cost     int64
	priority Priority
	tenant   string

	mu           sync.Mutex
	rung         Rung
	spent        int64 // 0: not answered
	degradations []Degradation
}

// NewBudget makes a budget at the full rung. cost is in candidates to be ranked; a zero deadline is none.
func NewBudget(deadline time.Time, cost int64, priority Priority) *Budget {
	return &Budget{deadline: deadline, cost: max(cost, 1), priority: priority, rung: RungFull}
}

// ForTenant names who the request is for, before the budget is shared; "" is whoever does not say.
func (b *Budget) ForTenant(tenant string) *Budget {
	b.tenant = tenant
	return b
}

// Tenant shares the server with the others fairly.
func (b *Budget) Tenant() string { return b.tenant }

// Cost is the estimate that admission and queues count with; at least 1.
func (b *Budget) Cost() int64 { return b.cost }

// Priority of the request.
func (b *Budget) Priority() Priority { return b.priority }

// Deadline is the time by which the answer must leave; false when there is none.
func (b *Budget) Deadline() (time.Time, bool) { return b.deadline, !b.deadline.IsZero() }

// Left is the time left, never negative; the largest duration when there is no deadline.
func (b *Budget) Left() time.Duration {
	if b.deadline.IsZero() {
		return math.MaxInt64
	}
	return max(time.Until(b.deadline), 0)
}

// Start asks whether a stage that needs about need may start: a *DeadlineError when the time left is
// not more than that, or the cause of ctx when it is done.
func (b *Budget) Start(ctx context.Context, stage string, need time.Duration) error {
	if b.Left() <= need {
		return &DeadlineError{Stage: stage}
	}
	if err := ctx.Err(); err != nil {
		if err == context.DeadlineExceeded {
			return &DeadlineError{Stage: stage}
		}
		return err
	}
	return nil
}

// Degrade records that a stage was cut short. The rung only ever gets worse; RungFull keeps it.
func (b *Budget) Degrade(rung Rung, stage, reason, detail string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rung = max(b.rung, rung)
	b.degradations = append(b.degradations, Degradation{Stage: stage, Reason: reason, Detail: detail})
}

// Lower moves the rung without a reason of its own: the one before explains it.
func (b *Budget) Lower(rung Rung) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rung = max(b.rung, rung)
}

// Rung is the worst rung so far.
func (b *Budget) Rung() Rung {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rung
}

// Degradations are the recorded ones, in order.
func (b *Budget) Degradations() []Degradation {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.degradations)
}

// Answered records that the request ran to its end and what that cost, in the unit of Cost. Admission
// learns from answered requests alone: one that failed took no time that says anything.
func (b *Budget) Answered(spent int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent = max(spent, 1)
}

// Spent is what Answered recorded; false before.
func (b *Budget) Spent() (int64, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.spent, b.spent > 0
}

type budgetKey struct{}

// WithBudget puts b into the context.
func WithBudget(ctx context.Context, b *Budget) context.Context {
	return context.WithValue(ctx, budgetKey{}, b)
}

// BudgetFrom is the budget of the context. Without one it is a fresh budget of cost 1 and normal
// priority with the context's own deadline.
func BudgetFrom(ctx context.Context) *Budget {
	if b, ok := ctx.Value(budgetKey{}).(*Budget); ok {
		return b
	}
	deadline, _ := ctx.Deadline()
	return NewBudget(deadline, 1, Normal)
}
