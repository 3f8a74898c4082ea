package funnel_test

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/feature"
	"github.com/shortlist-serving/shortlist/go/internal/funnel"
	"github.com/shortlist-serving/shortlist/go/internal/kvcache"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/fake"
	"github.com/shortlist-serving/shortlist/go/internal/stage/retrieval"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a funnel over the fake release.
type world struct {
	*funnel.Funnel
	t       testing.TB
	runtime *fake.Runtime
	store   *memoryStore
	gate    *batching.Gate
	mu      sync.Mutex
	served  []funnel.Served // guarded by mu
}

// memoryStore is a store for tests, with a fault on demand.
type memoryStore struct {
	feature.Store
	users map[string]*feature.User
	err   error
	delay time.Duration
}

func (s *memoryStore) Get(ctx context.Context, id string) (*feature.User, error) {
	if s.delay > 0 { // else a busy machine could not make it late
		select {
		case <-time.After(s.delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	if user, ok := s.users[id]; ok {
		return user, nil
	}
	return nil, rank.ErrUserNotFound
}

// newWorld keeps neither answers nor histories, so that every answer runs every graph, and their faults show.
func newWorld(t testing.TB, release ranktest.Options) *world { return newKeepingWorld(t, release, -1) }

// newKeepingWorld keeps answers in so many bytes.
func newKeepingWorld(t testing.TB, release ranktest.Options, keep int64) *world {
	t.Helper()
	return newWorldWith(t, release, keep, kvcache.New(kvcache.Options{}))
}

func newWorldWith(t testing.TB, release ranktest.Options, keep int64, histories *kvcache.Cache) *world {
	t.Helper()
	dir := t.TempDir()
	ranktest.Write(t, dir, release)
	w := &world{t: t, runtime: ranktest.Runtime(t, ranktest.Bundle(t, release)), store: &memoryStore{users: map[string]*feature.User{}}}
	repo, err := repository.New(repository.Options{Dir: dir, Runtime: w.runtime, Prepare: funnel.Prepare(retrieval.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	pool := batching.NewPool(batching.PoolOptions{Workers: 2})
	w.gate = batching.NewGate(batching.GateOptions{MaxCost: gateCost, MinCost: gateCost})
	t.Cleanup(func() {
		if err := repo.Close(context.Background()); err != nil {
			t.Error(err)
		}
		pool.Close()
	})
	if err := repo.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	opts := funnel.Options{StoreTimeout: 20 * time.Millisecond, Reserve: 40 * time.Millisecond, CacheBytes: keep}
	w.Funnel = funnel.New(opts, repo, w.gate, pool, histories, w.store,
		func(s funnel.Served) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.served = append(w.served, s)
		}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	return w
}

const gateCost = 1 << 16

// fill takes all room of the gate, and its reserve for little requests.
func (w *world) fill() (leave func()) {
	w.t.Helper()
	var leaving []func()
	for _, cost := range []int64{gateCost, gateCost / 8, gateCost / 8} {
		leave, err := w.gate.Enter(rank.WithBudget(context.Background(), rank.NewBudget(time.Time{}, cost, rank.Critical)))
		if err != nil {
			w.t.Fatal(err)
		}
		leaving = append(leaving, leave)
	}
	return func() {
		for _, leave := range leaving {
			leave()
		}
	}
}

// query is a cold request at a time when every item but the last two is available.
func query() *rank.Query { return &rank.Query{Time: 2_000_000_000, RequestID: "r"} }

func ints(ids ...int64) *rank.ItemIDs { return &rank.ItemIDs{Ints: ids} }

func text(s string) rank.Value { return rank.Value{Kind: rank.KindText, Text: s} }

func (w *world) answer(q *rank.Query) *rank.Result {
	w.t.Helper()
	result, err := w.Answer(context.Background(), q)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, score := range result.Scores {
		if score != score || score-score != 0 {
			w.t.Fatalf("an answer holds the score %v", score)
		}
	}
	return result
}
