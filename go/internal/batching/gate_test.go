package batching

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

func withCost(cost int64, priority rank.Priority) context.Context {
	return rank.WithBudget(context.Background(), rank.NewBudget(time.Time{}, cost, priority))
}

func TestGateAdmitsWhatFits(t *testing.T) {
	t.Parallel()
	g := NewGate(GateOptions{MaxCost: 100, MaxWait: time.Millisecond})
	release, err := g.Enter(withCost(60, rank.Normal))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Enter(withCost(40, rank.Normal)); err != nil {
		t.Fatal(err)
	}
	_, err = g.Enter(withCost(20, rank.Normal))
	var overloaded *rank.OverloadedError
	if !errors.As(err, &overloaded) || overloaded.RetryAfter <= 0 {
		t.Fatalf("err = %v, want an OverloadedError with a retry hint", err)
	}
	release()
	release() // does nothing
	if cost, waiting := g.InUse(); cost != 40 || waiting != 0 {
		t.Errorf("in use %d, waiting %d; want 40, 0", cost, waiting)
	}
	if _, err := g.Enter(withCost(60, rank.Normal)); err != nil {
		t.Errorf("room was not given back: %v", err)
	}
}

func TestGateAdmitsOversizedRequestAlone(t *testing.T) {
	t.Parallel()
	g := NewGate(GateOptions{MaxCost: 10, MaxWait: time.Millisecond})
	release, err := g.Enter(withCost(1000, rank.Normal))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Enter(withCost(2, rank.Critical)); err == nil {
		t.Error("another request was admitted beside one that fills the gate")
	}
	release()
}

// Little requests do not wait behind large ones, as long as they are few; nor do they pass more important ones.
func TestGateReservesRoomForLittleRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateOptions{MaxCost: 800, MinCost: 800, MaxWait: time.Hour})
		leaveLarge, _ := g.Enter(withCost(700, rank.Normal))
		large := make(chan error, 1)
		go func() { _, err := g.Enter(withCost(700, rank.Normal)); large <- err }()
		synctest.Wait()
		var leaving []func()
		for range 2 { // a quarter of 800
			leave, err := g.Enter(withCost(100, rank.Normal))
			if err != nil {
				t.Fatal(err)
			}
			leaving = append(leaving, leave)
		}
		for name, enter := range map[string]context.Context{"past the reserve": withCost(1, rank.Normal), "not little": withCost(101, rank.Normal)} {
			ctx, cancel := context.WithTimeout(enter, time.Millisecond)
			if _, err := g.Enter(ctx); err == nil {
				t.Errorf("a request %s was admitted", name)
			}
			cancel()
		}
		for _, leave := range leaving {
			leave()
		}
		ctx, cancel := context.WithTimeout(withCost(1, rank.Batch), time.Millisecond)
		defer cancel()
		if _, err := g.Enter(ctx); err == nil {
			t.Error("a batch request passed a normal one that waits")
		}
		leaveLarge()
		if err := <-large; err != nil {
			t.Errorf("the large request never got in: %v", err)
		}
		if g.reserved != 0 {
			t.Errorf("%d of the reserve were not given back", g.reserved)
		}
	})
}

func TestGateOrdersWaiters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateOptions{MaxCost: 10, MaxWait: time.Hour})
		release, _ := g.Enter(withCost(10, rank.Normal))
		var order []string
		var wg sync.WaitGroup
		enter := func(name string, priority rank.Priority) {
			wg.Go(func() {
				release, err := g.Enter(withCost(10, priority))
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				order = append(order, name)
				release()
			})
			synctest.Wait()
		}
		enter("batch", rank.Batch)
		enter("normal 1", rank.Normal)
		enter("normal 2", rank.Normal)
		enter("critical", rank.Critical)
		release()
		wg.Wait()
		want := []string{"critical", "normal 1", "normal 2", "batch"}
		for i := range want {
			if order[i] != want[i] {
				t.Fatalf("order %v, want %v", order, want)
			}
		}
	})
}

func TestGateShedsTheLeastImportant(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateOptions{MaxCost: 10, MaxWaiting: 1, MaxWait: time.Hour})
		release, _ := g.Enter(withCost(10, rank.Normal))
		batch, normal := make(chan error, 1), make(chan error, 1)
		go func() { _, err := g.Enter(withCost(2, rank.Batch)); batch <- err }()
		synctest.Wait()
		go func() { _, err := g.Enter(withCost(2, rank.Normal)); normal <- err }()
		var overloaded *rank.OverloadedError
		if err := <-batch; !errors.As(err, &overloaded) {
			t.Errorf("batch: %v, want OverloadedError: it had to make room", err)
		}
		if _, err := g.Enter(withCost(2, rank.Normal)); !errors.As(err, &overloaded) {
			t.Errorf("an equal displaced a waiter: %v", err)
		}
		release()
		if err := <-normal; err != nil {
			t.Errorf("normal: %v", err)
		}
	})
}

func TestGateWaitEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateOptions{MaxCost: 10, MaxWait: 100 * time.Millisecond})
		release, _ := g.Enter(withCost(10, rank.Normal))
		defer release()

		start := time.Now()
		var overloaded *rank.OverloadedError
		if _, err := g.Enter(withCost(2, rank.Normal)); !errors.As(err, &overloaded) || time.Since(start) != 100*time.Millisecond {
			t.Errorf("after %s: %v, want OverloadedError after 100ms", time.Since(start), err)
		}

		budget := rank.NewBudget(time.Now().Add(30*time.Millisecond), 2, rank.Normal)
		start = time.Now()
		var deadline *rank.DeadlineError
		if _, err := g.Enter(rank.WithBudget(context.Background(), budget)); !errors.As(err, &deadline) || time.Since(start) != 30*time.Millisecond {
			t.Errorf("after %s: %v, want DeadlineError after 30ms", time.Since(start), err)
		}

		// Time enough is waited for, up to half of it.
		budget = rank.NewBudget(time.Now().Add(500*time.Millisecond), 2, rank.Normal)
		start = time.Now()
		if _, err := g.Enter(rank.WithBudget(context.Background(), budget)); !errors.As(err, &overloaded) || time.Since(start) != 250*time.Millisecond {
			t.Errorf("after %s: %v, want OverloadedError after 250ms", time.Since(start), err)
		}

		ctx, cancel := context.WithCancel(withCost(2, rank.Normal))
		time.AfterFunc(10*time.Millisecond, cancel)
		if _, err := g.Enter(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v, want context.Canceled", err)
		}
		if cost, waiting := g.InUse(); cost != 10 || waiting != 0 {
			t.Errorf("in use %d, waiting %d; want 10, 0", cost, waiting)
		}
	})
}

// A waiter that gives up must let those behind it in, when they fit.
func TestGateWaiterThatLeavesUnblocksOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateOptions{MaxCost: 10, MaxWait: time.Hour})
		release, _ := g.Enter(withCost(5, rank.Normal))
		defer release()
		ctx, cancel := context.WithCancel(withCost(9, rank.Normal))
		go func() { _, _ = g.Enter(ctx) }()
		synctest.Wait()
		admitted := make(chan error, 1)
		go func() { _, err := g.Enter(withCost(5, rank.Normal)); admitted <- err }()
		synctest.Wait()
		cancel()
		if err := <-admitted; err != nil {
			t.Error(err)
		}
	})
}

// Room that comes with the deadline comes too late: nothing starts after it.
func TestGateAdmitsNothingPastItsDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateOptions{MaxCost: 10, MaxWait: time.Hour})
		release, _ := g.Enter(withCost(10, rank.Normal))
		time.AfterFunc(30*time.Millisecond, release)
		budget := rank.NewBudget(time.Now().Add(30*time.Millisecond), 2, rank.Normal)
		var late *rank.DeadlineError
		if _, err := g.Enter(rank.WithBudget(context.Background(), budget)); !errors.As(err, &late) {
			t.Errorf("err = %v, want DeadlineError", err)
		}
		synctest.Wait()
		if stats := g.Stats(); stats.Shed[ShedDeadline] != 1 || stats.InUse != 0 {
			t.Errorf("stats %+v", stats)
		}
	})
}

func TestGateOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for field, opts := range map[string]GateOptions{
		"max_cost": {MaxCost: -1}, "min_cost": {MinCost: 20, MaxCost: 10}, "max_tenants": {MaxTenants: -1}, "tenant_weights": {TenantWeights: "a=1,b"},
		"tenant_weights: ": {TenantWeights: "a=0"}, "tenant_weights:": {TenantWeights: "=1"},
	} {
		if faults := opts.Validate(); len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), field) {
			t.Errorf("%+v: %v, want a fault of %s", opts, faults, field)
		}
	}
	if faults := (&GateOptions{TenantWeights: "a=1, b=0.5"}).Validate(); len(faults) != 0 {
		t.Error(faults)
	}
}

func TestGateDrains(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(GateOptions{MaxCost: 10, MaxWait: time.Hour})
		release, _ := g.Enter(withCost(10, rank.Normal))
		waiting := make(chan error, 1)
		go func() { _, err := g.Enter(withCost(2, rank.Normal)); waiting <- err }()
		synctest.Wait()
		drained := make(chan error, 1)
		go func() { drained <- g.Drain(context.Background()) }()
		if err := <-waiting; !errors.Is(err, rank.ErrDraining) {
			t.Errorf("waiter got %v, want ErrDraining", err)
		}
		if _, err := g.Enter(withCost(2, rank.Critical)); !errors.Is(err, rank.ErrDraining) {
			t.Errorf("err = %v, want ErrDraining", err)
		}
		select {
		case <-drained:
			t.Error("drained with a request inside")
		default:
		}
		release()
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
}

func TestGateUnderStress(t *testing.T) {
	t.Parallel()
	g := NewGate(GateOptions{MaxCost: 50, MaxWaiting: 20, MaxWait: 2 * time.Millisecond})
	var inside atomic.Int64
	var wg sync.WaitGroup
	for r := range 500 {
		wg.Go(func() {
			cost := int64(1 + r%20)
			ctx, cancel := context.WithTimeout(withCost(cost, rank.Priority(r%3)), time.Duration(r%5)*time.Millisecond)
			defer cancel()
			release, err := g.Enter(ctx)
			if err != nil {
				return
			}
			if inside.Add(cost) > 50+50/reserveShare {
				t.Error("more cost inside than allowed, with the reserve")
			}
			time.Sleep(20 * time.Microsecond)
			inside.Add(-cost)
			release()
		})
	}
	wg.Wait()
	if cost, waiting := g.InUse(); cost != 0 || waiting != 0 {
		t.Errorf("in use %d, waiting %d after all left", cost, waiting)
	}
}

func BenchmarkGateEnter(b *testing.B) {
	g := NewGate(GateOptions{})
	ctx := withCost(1000, rank.Normal)
	b.ReportAllocs()
	for b.Loop() {
		release, err := g.Enter(ctx)
		if err != nil {
			b.Fatal(err)
		}
		release()
	}
}
