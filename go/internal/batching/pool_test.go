package batching

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

func newPool(t testing.TB, opts PoolOptions) *Pool {
	p := NewPool(opts)
	t.Cleanup(p.Close)
	return p
}

func withPriority(priority rank.Priority) context.Context {
	return rank.WithBudget(context.Background(), rank.NewBudget(time.Time{}, 1, priority))
}

// hold occupies the only worker of a pool until the returned function is called.
func hold(p *Pool) (release func()) {
	started, stop, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_, _ = p.Do(context.Background(), []Task{{Run: func(context.Context) error {
			close(started)
			<-stop
			return nil
		}}})
	}()
	<-started
	return func() { close(stop); <-done }
}

// submitAll submits requests in order while the worker is held, and returns the order in which tasks ran.
func submitAll(t *testing.T, requests ...func(p *Pool, ran func(string))) string {
	t.Helper()
	p := newPool(t, PoolOptions{Workers: 1})
	release := hold(p)
	var order []string // written by the one worker
	var wg sync.WaitGroup
	for _, request := range requests {
		before := p.Queued()
		wg.Go(func() { request(p, func(name string) { order = append(order, name) }) })
		for p.Queued() == before {
			time.Sleep(50 * time.Microsecond)
		}
	}
	release()
	wg.Wait()
	return strings.Join(order, " ")
}

func request(t *testing.T, name string, chunks int, cost int64, priority rank.Priority) func(*Pool, func(string)) {
	return func(p *Pool, ran func(string)) {
		tasks := make([]Task, chunks)
		for i := range tasks {
			tasks[i] = Task{Cost: cost, Run: func(context.Context) error { ran(fmt.Sprint(name, i)); return nil }}
		}
		if _, err := p.Do(withPriority(priority), tasks); err != nil {
			t.Error(err)
		}
	}
}

func TestPoolIsFairByCost(t *testing.T) {
	t.Parallel()
	got := submitAll(t,
		request(t, "big", 4, 512, rank.Normal),
		request(t, "small", 1, 16, rank.Normal),
		request(t, "half", 3, 256, rank.Normal))
	// Start tags: big 0 512 1024 1536; small 0; half 0 256 512, in units of weighted cost; ties by arrival.
	if want := "big0 small0 half0 half1 big1 half2 big2 big3"; got != want {
		t.Errorf("ran %s, want %s", got, want)
	}
}

func TestPoolPrefersImportantRequests(t *testing.T) {
	t.Parallel()
	got := submitAll(t, request(t, "batch", 3, 100, rank.Batch), request(t, "critical", 5, 100, rank.Critical))
	if want := "batch0 critical0 critical1 critical2 critical3 critical4 batch1 batch2"; got != want {
		t.Errorf("ran %s, want %s", got, want)
	}
}

// While large requests have every worker, a small one does not wait for them; one of their size does, and an idle
// worker needs no help.
func TestPoolRunsSmallRequestsBesideLargeOnes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, PoolOptions{Workers: 2})
		var at, most atomic.Int32
		do := func(cost int64, tasks int, each time.Duration) (took time.Duration) {
			start := time.Now()
			ctx := rank.WithBudget(t.Context(), rank.NewBudget(time.Time{}, cost, rank.Normal))
			list := make([]Task, tasks)
			for i := range list {
				list[i] = Task{Cost: each.Microseconds(), Run: func(context.Context) error {
					now := at.Add(1)
					defer at.Add(-1)
					most.Store(max(most.Load(), now))
					time.Sleep(each)
					return nil
				}}
			}
			if _, err := p.Do(ctx, list); err != nil {
				t.Error(err)
			}
			return time.Since(start)
		}
		const chunk, moment = 10 * time.Millisecond, time.Millisecond
		var large sync.WaitGroup
		large.Go(func() { do(1000, 20, chunk) })
		synctest.Wait()
		if took := do(250, 1, moment); took != moment {
			t.Errorf("a small request took %s, want %s", took, moment)
		}
		if took := do(251, 1, moment); took <= moment {
			t.Errorf("a request of a quarter and more was not made to wait: %s", took)
		}
		large.Wait()
		if most.Load() != 3 {
			t.Errorf("%d tasks ran at once, want 3", most.Load())
		}
		most.Store(0)
		var small sync.WaitGroup
		for range 4 {
			small.Go(func() { do(1, 1, moment) })
		}
		small.Wait()
		if most.Load() != 2 {
			t.Errorf("%d small requests ran at once without a large one, want 2", most.Load())
		}
	})
}

func TestPoolDropsTasksOfCancelledRequest(t *testing.T) {
	t.Parallel()
	p := newPool(t, PoolOptions{Workers: 1})
	release := hold(p)
	ctx, cancel := context.WithCancel(context.Background())
	var ran atomic.Int32
	result := make(chan error, 1)
	go func() {
		task := Task{Run: func(context.Context) error { ran.Add(1); return nil }}
		errs, err := p.Do(ctx, []Task{task, task, task})
		for _, e := range errs {
			if !errors.Is(e, context.Canceled) {
				t.Errorf("task error %v, want context.Canceled", e)
			}
		}
		result <- err
	}()
	for p.Queued() != 3 {
		time.Sleep(50 * time.Microsecond)
	}
	cancel()
	// The call returns although the worker is still held.
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want context.Canceled", err)
	}
	if p.Queued() != 0 {
		t.Errorf("%d tasks are still queued", p.Queued())
	}
	release()
	if ran.Load() != 0 {
		t.Errorf("%d dropped tasks ran", ran.Load())
	}
}

func TestPoolKeepsFinishedChunks(t *testing.T) {
	t.Parallel()
	p := newPool(t, PoolOptions{Workers: 1})
	boom := errors.New("boom")
	ok := Task{Run: func(context.Context) error { return nil }}
	errs, err := p.Do(context.Background(), []Task{ok, {Run: func(context.Context) error { return boom }}, ok})
	if err != boom || errs[0] != nil || errs[1] != boom || errs[2] != boom {
		t.Errorf("errs = %v, err = %v; want nil, boom, boom (never run)", errs, err)
	}
}

func TestPoolSurvivesPanic(t *testing.T) {
	t.Parallel()
	p := newPool(t, PoolOptions{Workers: 1})
	_, err := p.Do(context.Background(), []Task{{Run: func(context.Context) error { panic("ouch") }}})
	var panicked *PanicError
	if !errors.As(err, &panicked) || panicked.Value != "ouch" || len(panicked.Stack) == 0 {
		t.Fatalf("err = %v, want a PanicError with a stack", err)
	}
	if _, err := p.Do(context.Background(), []Task{{Run: func(context.Context) error { return nil }}}); err != nil {
		t.Errorf("the worker did not survive: %v", err)
	}
}

func TestPoolRefusesWhenFull(t *testing.T) {
	t.Parallel()
	p := newPool(t, PoolOptions{Workers: 1, MaxQueue: 2})
	release := hold(p)
	nothing := Task{Run: func(context.Context) error { return nil }}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = p.Do(context.Background(), []Task{nothing, nothing}) })
	for p.Queued() != 2 {
		time.Sleep(50 * time.Microsecond)
	}
	_, err := p.Do(context.Background(), []Task{nothing})
	var overloaded *rank.OverloadedError
	if !errors.As(err, &overloaded) || overloaded.RetryAfter <= 0 {
		t.Errorf("err = %v, want an OverloadedError with a retry hint", err)
	}
	release()
	wg.Wait()
	if _, err := p.Do(context.Background(), []Task{nothing, nothing, nothing}); err != nil {
		t.Errorf("a call alone in the queue was refused: %v", err)
	}
}

func TestClosedPoolDrains(t *testing.T) {
	t.Parallel()
	p := NewPool(PoolOptions{Workers: 1})
	release := hold(p)
	result := make(chan error, 1)
	go func() {
		_, err := p.Do(context.Background(), []Task{{Run: func(context.Context) error { return nil }}})
		result <- err
	}()
	for p.Queued() != 1 {
		time.Sleep(50 * time.Microsecond)
	}
	closed := make(chan struct{})
	go func() { p.Close(); close(closed) }()
	release()
	<-closed
	if err := <-result; err != nil {
		t.Errorf("a queued task was not finished: %v", err)
	}
	if _, err := p.Do(context.Background(), []Task{{}}); !errors.Is(err, rank.ErrDraining) {
		t.Errorf("err = %v, want ErrDraining", err)
	}
}

// Many requests with random shapes, cancellations and failures: every task runs at most once, every
// call returns, and at most Workers tasks run at the same time.
func TestPoolUnderStress(t *testing.T) {
	t.Parallel()
	const workers, requests = 4, 400
	p := newPool(t, PoolOptions{Workers: workers})
	var running, worst atomic.Int32
	var wg sync.WaitGroup
	for r := range requests {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(r)))
			ctx, cancel := context.WithCancel(withPriority(rank.Priority(r % 3)))
			defer cancel()
			counts := make([]atomic.Int32, 1+rng.IntN(8))
			tasks := make([]Task, len(counts))
			cancelAt, failAt := rng.IntN(3*len(tasks)), rng.IntN(3*len(tasks))
			for i := range tasks {
				tasks[i] = Task{Cost: rng.Int64N(600), Run: func(context.Context) error {
					n := running.Add(1)
					defer running.Add(-1)
					for old := worst.Load(); n > old && !worst.CompareAndSwap(old, n); old = worst.Load() {
					}
					counts[i].Add(1)
					if i == cancelAt {
						cancel()
					}
					if i == failAt {
						return errors.New("fails")
					}
					return nil
				}}
			}
			errs, err := p.Do(ctx, tasks)
			for i := range tasks {
				ran := counts[i].Load()
				if ran > 1 {
					t.Errorf("task %d ran %d times", i, ran)
				}
				if errs != nil && errs[i] == nil && ran != 1 {
					t.Errorf("task %d has no error but ran %d times", i, ran)
				}
			}
			if failAt < len(tasks) && counts[failAt].Load() == 1 && err == nil {
				t.Error("a failure was lost")
			}
		})
	}
	wg.Wait()
	if worst.Load() > workers || p.Queued() != 0 {
		t.Errorf("%d tasks ran at once on %d workers; %d left in the queue", worst.Load(), workers, p.Queued())
	}
}

func BenchmarkPoolDo(b *testing.B) {
	for _, chunks := range []int{1, 4} {
		b.Run(fmt.Sprintf("chunks=%d", chunks), func(b *testing.B) {
			p := newPool(b, PoolOptions{})
			ctx := withPriority(rank.Normal)
			tasks := make([]Task, chunks)
			for i := range tasks {
				tasks[i] = Task{Cost: 512, Run: func(context.Context) error { return nil }}
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Do(ctx, tasks); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
