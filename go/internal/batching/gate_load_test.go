package batching

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// simulated is a server in synctest's time: a real gate before a real pool whose tasks sleep.
type simulated struct {
	t       testing.TB
	gate    *Gate
	pool    *Pool
	workers int
	perCost time.Duration // time of one unit of cost on a worker
	random  *rand.Rand

	mu       sync.Mutex
	done     []finished
	refusals []time.Duration
	calls    sync.WaitGroup
}

type finished struct {
	at      time.Time
	tenant  string
	cost    int64
	latency time.Duration
}

const simulatedWorkers = 4

func newSimulated(t testing.TB, opts GateOptions) *simulated {
	s := &simulated{
		t: t, gate: NewGate(opts), pool: NewPool(PoolOptions{Workers: simulatedWorkers}), workers: simulatedWorkers,
		perCost: 10 * time.Microsecond, random: rand.New(rand.NewPCG(1, 2)),
	}
	return s
}

// capacity in cost a second.
func (s *simulated) capacity() float64 { return float64(s.workers) / s.perCost.Seconds() }

// offer sends Poisson arrivals of a tenant at a multiple of the capacity; it returns after length.
func (s *simulated) offer(tenant string, times float64, length time.Duration, cost func() int64) {
	mean := 0.0
	sizes := make([]int64, 4096)
	for i := range sizes {
		sizes[i] = cost()
		mean += float64(sizes[i]) / float64(len(sizes))
	}
	gap := mean / (s.capacity() * times)
	random := rand.New(rand.NewPCG(3, uint64(len(tenant))))
	end := time.Now().Add(length)
	for i := 0; time.Now().Before(end); i++ {
		size := sizes[i%len(sizes)]
		s.calls.Go(func() { s.call(tenant, size) })
		time.Sleep(time.Duration(random.ExpFloat64() * gap * float64(time.Second)))
	}
}

func (s *simulated) call(tenant string, cost int64) {
	start := time.Now()
	budget := rank.NewBudget(start.Add(500*time.Millisecond), cost, rank.Normal).ForTenant(tenant)
	ctx := rank.WithBudget(context.Background(), budget)
	release, err := s.gate.Enter(ctx)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.refusals = append(s.refusals, time.Since(start))
		return
	}
	defer release()
	var tasks []Task
	for left := cost; left > 0; left -= 512 {
		size := min(left, 512)
		work := time.Duration(size) * s.pace()
		tasks = append(tasks, Task{Cost: size, Run: func(context.Context) error { time.Sleep(work); return nil }})
	}
	_, _ = s.pool.Do(ctx, tasks) // its queue may be full before the limit has fallen
	budget.Answered(cost)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = append(s.done, finished{at: time.Now(), tenant: tenant, cost: cost, latency: time.Since(start)})
}

func (s *simulated) pace() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.perCost
}

func (s *simulated) slowDown(times float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.perCost = time.Duration(float64(s.perCost) * times)
}

// forget drops what was measured so far.
func (s *simulated) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done, s.refusals = nil, nil
}

// finish waits for all calls and closes the pool.
func (s *simulated) finish() {
	s.calls.Wait()
	s.pool.Close()
	if cost, waiting := s.gate.InUse(); cost != 0 || waiting != 0 {
		s.t.Errorf("in use %d, waiting %d after all left", cost, waiting)
	}
}

// throughput is the answered cost between two times as a share of the capacity.
func (s *simulated) throughput(from, to time.Time) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var cost int64
	for _, f := range s.done {
		if f.at.After(from) && f.at.Before(to) {
			cost += f.cost
		}
	}
	return float64(cost) / to.Sub(from).Seconds() / s.capacity()
}

func p99(values []time.Duration) time.Duration {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)*99/100]
}

func (s *simulated) latencies(tenant string) (latencies []time.Duration) {
	for _, f := range s.done {
		if f.tenant == tenant {
			latencies = append(latencies, f.latency)
		}
	}
	return latencies
}

func always(cost int64) func() int64 { return func() int64 { return cost } }

// spread is log-uniform between the costs.
func spread(least, most float64, random *rand.Rand) func() int64 {
	return func() int64 { return int64(least * math.Exp(random.Float64()*math.Log(most/least))) }
}

// Whatever requests cost, and however much is offered: the server stays busy, the limit stays near the
// knee, answers stay far from their deadline, and refusals are immediate.
func TestLimitFindsTheKnee(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		least, most float64
		times       float64
	}{
		"small requests": {200, 201, 2}, "large requests": {1000, 1001, 2}, "mixed costs": {30, 3000, 2}, "ten times the capacity": {100, 3000, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSimulated(t, GateOptions{MaxCost: 1 << 16})
				cost := spread(test.least, test.most, s.random)
				s.offer("", test.times, 4*time.Second, cost) // the limit falls from its maximum
				s.forget()
				start := time.Now()
				s.offer("", test.times, 8*time.Second, cost)
				limit := s.gate.Stats().Limit
				busy := s.throughput(start, time.Now())
				s.finish()
				t.Logf("limit %d, throughput %.3f of the capacity, p99 %s, refusals p99 %s, stats %+v", limit, busy, p99(s.latencies("")), p99(s.refusals), s.gate.Stats())
				if busy < 0.95 {
					t.Errorf("the server was %.0f%% busy, want 95%%", busy*100)
				}
				if knee := int64(simulatedWorkers * max(min(test.most, 512), test.most/simulatedWorkers)); limit > 6*knee {
					t.Errorf("the limit is %d, where %d keeps the workers busy", limit, knee)
				}
				if worst := p99(s.latencies("")); worst > 250*time.Millisecond {
					t.Errorf("p99 of answers is %s", worst)
				}
				if worst := p99(s.refusals); worst > 10*time.Millisecond {
					t.Errorf("p99 of refusals is %s", worst)
				}
			})
		})
	}
}

// A slow phase lowers the limit and does not outlast itself; a server that stays slow is measured anew.
func TestLimitFollowsTheServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSimulated(t, GateOptions{})
		hold := func(length time.Duration) float64 {
			start := time.Now()
			s.offer("", 2, length, always(1000))
			return s.throughput(start, time.Now())
		}
		hold(5 * time.Second)
		s.slowDown(5)
		slow := hold(5 * time.Second)
		s.slowDown(1.0 / 5)
		hold(time.Second)
		recovered := hold(5 * time.Second)
		s.slowDown(3)
		hold(20 * time.Second)
		settled := hold(20 * time.Second)
		s.finish()
		t.Logf("slow %.3f, recovered %.3f, settled %.3f", slow, recovered, settled)
		if slow < 0.8 || recovered < 0.95 || settled < 0.95 {
			t.Errorf("throughput: %.2f while slow, %.2f one second after, %.2f once slow for good", slow, recovered, settled)
		}
	})
}

// Requests of 66 candidates among those of 3,000 that load the server to 80% take at most twice as long as alone.
func TestSmallRequestsDoNotWaitForLargeOnes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const small, large = 66, 3000
		measure := func(load float64) time.Duration {
			s := newSimulated(t, GateOptions{})
			var offering sync.WaitGroup
			offering.Go(func() { s.offer("", 0.02, 10*time.Second, always(small)) })
			if load > 0 {
				offering.Go(func() { s.offer("", load, 10*time.Second, always(large)) })
			}
			offering.Wait()
			s.finish()
			var latencies []time.Duration
			for _, f := range s.done {
				if f.cost == small {
					latencies = append(latencies, f.latency)
				}
			}
			return p99(latencies)
		}
		alone, among := measure(0), measure(0.78)
		t.Logf("p99 alone %s, among large ones %s", alone, among)
		if among > 2*alone {
			t.Errorf("p99 is %s among large requests and %s alone", among, alone)
		}
	})
}

// A tenant at twenty times the capacity costs one that keeps to its share nothing but a short wait.
func TestANoisyTenantStarvesNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSimulated(t, GateOptions{})
		var offering sync.WaitGroup
		offering.Go(func() { s.offer("noisy", 20, 5*time.Second, spread(100, 3000, rand.New(rand.NewPCG(1, 1)))) })
		offering.Go(func() { s.offer("quiet", 0.25, 5*time.Second, always(500)) })
		offering.Wait()
		s.finish()
		quiet := s.latencies("quiet")
		sent := 0.25 * s.capacity() / 500 * 5
		t.Logf("quiet: %d of about %.0f answered, p99 %s; noisy: %d", len(quiet), sent, p99(quiet), len(s.latencies("noisy")))
		if share := float64(len(quiet)) / sent; share < 0.95 {
			t.Errorf("the quiet tenant got %.0f%% of its calls answered", share*100)
		}
		if worst := p99(quiet); worst > 150*time.Millisecond {
			t.Errorf("p99 of the quiet tenant is %s", worst)
		}
	})
}

// Weights divide a contended gate; a thousand names do not grow it.
func TestTenantsShareByWeight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSimulated(t, GateOptions{TenantWeights: "big=3,small=1", MaxTenants: 8})
		var offering sync.WaitGroup
		for _, tenant := range []string{"big", "small"} {
			offering.Go(func() { s.offer(tenant, 3, 5*time.Second, always(300)) })
		}
		offering.Wait()
		for i := range 1000 {
			s.call(string(rune('a'+i%26))+string(rune('a'+i/26)), 10)
		}
		s.finish()
		stats := s.gate.Stats()
		if ratio := float64(stats.TenantCost["big"]) / float64(stats.TenantCost["small"]); ratio < 2.7 || ratio > 3.3 {
			t.Errorf("shares are %.2f to 1, want 3 to 1: %+v", ratio, stats.TenantCost)
		}
		if stats.Tenants > 10 { // 8, those with a weight, and the shared place
			t.Errorf("%d tenants are kept", stats.Tenants)
		}
	})
}

// No request is lost: every Enter and Pass ends in exactly one of admitted and shed, by one known reason.
func TestEveryRequestIsCountedOnce(t *testing.T) {
	t.Parallel()
	g := NewGate(GateOptions{MaxCost: 60, MinCost: 10, MaxWaiting: 16, MaxWait: 2 * time.Millisecond, MaxTenants: 4})
	const requests = 4000
	var wg sync.WaitGroup
	var admitted, shed int64
	var mu sync.Mutex
	for r := range requests {
		wg.Go(func() {
			budget := rank.NewBudget(time.Now().Add(time.Duration(r%7)*time.Millisecond), int64(1+r%25), rank.Priority(r%3)).ForTenant(string(rune('a' + r%9)))
			ctx, cancel := context.WithTimeout(rank.WithBudget(context.Background(), budget), time.Duration(r%5)*time.Millisecond)
			defer cancel()
			enter := g.Enter
			if r%10 == 0 {
				enter = g.Pass
			}
			release, err := enter(ctx)
			mu.Lock()
			if err == nil {
				admitted++
			} else {
				shed++
			}
			mu.Unlock()
			var full *rank.OverloadedError
			if errors.As(err, &full) && (full.RetryAfter < 10*time.Millisecond || full.RetryAfter > 5*time.Second) {
				t.Errorf("retry after %s", full.RetryAfter)
			}
			if err != nil {
				return
			}
			time.Sleep(20 * time.Microsecond)
			if r%3 > 0 {
				budget.Answered(int64(1 + r%25))
			}
			release()
			release()
		})
	}
	wg.Wait()
	stats := g.Stats()
	var counted int64
	for reason, n := range stats.Shed {
		if !slices.Contains(ShedReasons, reason) {
			t.Errorf("unknown reason %q", reason)
		}
		counted += n
	}
	if stats.Admitted != admitted || counted != shed || admitted+shed != requests {
		t.Errorf("admitted %d and shed %d of %d; the gate counted %d and %d", admitted, shed, requests, stats.Admitted, counted)
	}
	if stats.Inside != 0 || stats.Waiting != 0 || stats.InUse != 0 {
		t.Errorf("after all left: %+v", stats)
	}
	if err := g.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}
