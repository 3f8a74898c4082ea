package rank_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

func TestBudgetStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := rank.NewBudget(time.Now().Add(100*time.Millisecond), 0, rank.Batch)
		ctx := rank.WithBudget(t.Context(), b)
		if rank.BudgetFrom(ctx) != b || b.Cost() != 1 || b.Priority() != rank.Batch {
			t.Error("the budget is not the one in the context")
		}
		if err := b.Start(ctx, "ranking", 99*time.Millisecond); err != nil {
			t.Error(err)
		}
		var deadline *rank.DeadlineError
		if err := b.Start(ctx, "ranking", 100*time.Millisecond); !errors.As(err, &deadline) || deadline.Stage != "ranking" {
			t.Errorf("err = %v, want a DeadlineError of ranking", err)
		}
		time.Sleep(time.Second)
		if b.Left() != 0 {
			t.Errorf("%s is left after the deadline", b.Left())
		}
		if err := b.Start(ctx, "blending", 0); !errors.As(err, &deadline) {
			t.Errorf("err = %v, want a DeadlineError", err)
		}
	})
}

func TestBudgetOfContext(t *testing.T) {
	t.Parallel()
	b := rank.BudgetFrom(t.Context())
	if _, ok := b.Deadline(); ok || b.Left() != math.MaxInt64 || b.Priority() != rank.Normal || b.Rung() != rank.RungFull {
		t.Error("a context without budget or deadline is not unbounded and normal")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Start(ctx, "ranking", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want context.Canceled", err)
	}
	ctx, cancel = context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	var deadline *rank.DeadlineError
	if err := b.Start(ctx, "ranking", 0); !errors.As(err, &deadline) {
		t.Errorf("a context past its deadline: %v, want DeadlineError", err)
	}
	if left := rank.BudgetFrom(ctx).Left(); left != 0 {
		t.Errorf("%s is left of a context past its deadline", left)
	}
}

func TestBudgetDegradesOnlyDown(t *testing.T) {
	t.Parallel()
	b := rank.NewBudget(time.Time{}, 10, rank.Normal)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			b.Degrade(rank.RungRetrievalOrder, rank.StageRanking, "deadline", "")
			b.Degrade(rank.RungFewerCandidates, rank.StageRetrieval, "source_failed", "popular")
			_, _ = b.Rung(), b.Degradations()
		})
	}
	wg.Wait()
	if b.Rung() != rank.RungRetrievalOrder || len(b.Degradations()) != 16 {
		t.Errorf("rung %d, %d degradations", b.Rung(), len(b.Degradations()))
	}
}
