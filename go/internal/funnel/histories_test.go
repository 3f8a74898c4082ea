package funnel_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/kvcache"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/fake"
)

// visitor asks again and again while her history grows past the window of eight events.
type visitor struct {
	id      string
	history rank.History
}

func (v *visitor) query(random *rand.Rand) *rank.Query {
	for range random.IntN(3) {
		v.history.Items.Ints = append(v.history.Items.Ints, ranktest.ItemID(random.Int64N(40))) // some are unknown
		v.history.Actions = append(v.history.Actions, []string{"view", "buy"}[random.IntN(2)])
	}
	q := rankQuery(10, 20, 30, 40, 50, 60, 70, 80)
	if random.IntN(4) == 0 {
		q = query()
	}
	q.UserID, q.History = v.id, &rank.History{Items: rank.ItemIDs{Ints: slices.Clone(v.history.Items.Ints)}, Actions: slices.Clone(v.history.Actions)}
	return q
}

// Answers with kept histories are those without, for users and for visitors without an id, in any interleaving.
func TestKeptHistoriesChangeNoAnswer(t *testing.T) {
	t.Parallel()
	for name, release := range map[string]ranktest.Options{"extended": {}, "of a sequence encoder without a past": {Whole: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keptHistoriesChangeNoAnswer(t, release)
		})
	}
}

func keptHistoriesChangeNoAnswer(t *testing.T, release ranktest.Options) {
	histories := kvcache.New(kvcache.Options{MaxBytes: 16 << 10}) // so small that entries are evicted
	plain, cached := newWorld(t, release), newWorldWith(t, release, -1, histories)
	var asking sync.WaitGroup
	for seed := range uint64(4) {
		asking.Go(func() {
			random := rand.New(rand.NewPCG(seed, 0))
			visitors := []*visitor{{id: "ann"}, {id: "bob"}, {}, {}}
			for range 150 {
				at := random.IntN(len(visitors))
				v := visitors[at]
				q := v.query(random)
				if v.history.Items.Len() > 14 {
					visitors[at] = &visitor{id: v.id}
				}
				want, err := plain.Answer(context.Background(), q)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := cached.Answer(context.Background(), q)
				if err != nil || !slices.Equal(got.Rows, want.Rows) || !slices.Equal(got.Scores, want.Scores) || got.Coverage.Rung != rank.RungFull {
					t.Errorf("history %v: %v %+v, without the cache %+v", q.History, err, got, want)
					return
				}
			}
		})
	}
	asking.Wait()
	s := histories.Stats()
	for encoder, n := range s.Of {
		extended := !release.Whole || kvcache.Encoder(encoder) != kvcache.Sequence
		if n.Hits == 0 || (n.Extensions > 0) != extended || n.Misses == 0 || s.Evictions == 0 {
			t.Errorf("%s: a way was not taken, or a wrong one: %+v", kvcache.Encoder(encoder), s)
		}
	}
}

func TestAKeptHistoryIsNotEncodedAgain(t *testing.T) {
	t.Parallel()
	for graph, without := range map[string]rank.Rung{bundle.HistoryEncoder: rank.RungPrerankerOrder, bundle.SequenceEncoder: rank.RungRetrievalOrder} {
		w := newWorldWith(t, ranktest.Options{}, -1, kvcache.New(kvcache.Options{MaxBytes: 1 << 20}))
		runs := func() int { return w.runtime.Runs(graph) }
		q := rankQuery(10, 20, 30)
		q.History = &rank.History{Items: *ints(10, 20, 30, 40, 50)}
		w.answer(q)
		before := runs()
		w.runtime.Inject(graph, fake.Fault{Err: errors.New("broken")})
		if got := w.answer(q); got.Coverage.Rung != rank.RungFull || runs() != before {
			t.Errorf("%s, the same history: %d runs more, %+v", graph, runs()-before, got.Coverage)
		}
		q.History = &rank.History{Items: *ints(10, 20, 30, 40, 60)}
		if got := w.answer(q); got.Coverage.Rung != without || runs() != before+1 {
			t.Errorf("%s, another history: %d runs more, %+v", graph, runs()-before, got.Coverage)
		}
		w.runtime.Inject(graph, fake.Fault{})
		if got := w.answer(q); got.Coverage.Rung != rank.RungFull || runs() != before+2 {
			t.Errorf("%s, after the fault: %d runs more, %+v", graph, runs()-before, got.Coverage)
		}
	}
}

// Requests that come at once with one history encode it once for each purpose, and these run beside each other.
func TestConcurrentHistoriesAreEncodedOnce(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, ranktest.Options{}, -1, kvcache.New(kvcache.Options{MaxBytes: 1 << 20}))
	graphs := []string{bundle.SequenceEncoder, bundle.HistoryEncoder}
	for _, graph := range graphs {
		w.runtime.Inject(graph, fake.Fault{Delay: 100 * time.Millisecond})
	}
	q := rankQuery(10, 20, 30)
	q.History = &rank.History{Items: *ints(10, 20, 30, 40, 50)}
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			if got, err := w.Answer(context.Background(), q); err != nil || got.Coverage.Rung != rank.RungFull {
				t.Errorf("%v, %+v", err, got)
			}
		})
	}
	asking.Wait()
	for _, graph := range graphs {
		if n := w.runtime.Runs(graph); n != 1 {
			t.Errorf("%s ran %d times", graph, n)
		}
	}
}

// The ranker's encoding does not wait for the retriever's.
func TestEncodersRunBesideEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ranktest.Options{})
	w.runtime.Inject(bundle.SequenceEncoder, fake.Fault{Delay: time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	result, err := w.Answer(ctx, query())
	if err != nil || result.Coverage.Rung != rank.RungRetrievalOrder || w.runtime.Runs(bundle.HistoryEncoder) != 1 {
		t.Errorf("%v, %+v, %d runs of the other encoder", err, result, w.runtime.Runs(bundle.HistoryEncoder))
	}
}
