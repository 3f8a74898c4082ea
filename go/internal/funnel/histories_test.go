package funnel_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

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
	histories := kvcache.New(kvcache.Options{MaxBytes: 16 << 10}) // so small that entries are evicted
	plain, cached := newWorld(t, ranktest.Options{}), newWorldWith(t, ranktest.Options{}, -1, histories)
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
	if s := histories.Stats(); s.Hits == 0 || s.Extensions == 0 || s.Misses == 0 || s.Evictions == 0 {
		t.Errorf("a way was not taken: %+v", s)
	}
}

func TestAKeptHistoryIsNotEncodedAgain(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, ranktest.Options{}, -1, kvcache.New(kvcache.Options{MaxBytes: 1 << 20}))
	runs := func() int { return w.runtime.Runs(bundle.HistoryEncoder) }
	q := rankQuery(10, 20, 30)
	q.History = &rank.History{Items: *ints(10, 20, 30, 40, 50)}
	w.answer(q)
	before := runs()
	w.runtime.Inject(bundle.HistoryEncoder, fake.Fault{Err: errors.New("broken")})
	if got := w.answer(q); got.Coverage.Rung != rank.RungFull || runs() != before {
		t.Errorf("the same history: %d runs more, %+v", runs()-before, got.Coverage)
	}
	q.History = &rank.History{Items: *ints(10, 20, 30, 40, 60)}
	if got := w.answer(q); got.Coverage.Rung != rank.RungPrerankerOrder || runs() != before+1 {
		t.Errorf("another history: %d runs more, %+v", runs()-before, got.Coverage)
	}
	w.runtime.Inject(bundle.HistoryEncoder, fake.Fault{})
	if got := w.answer(q); got.Coverage.Rung != rank.RungFull || runs() != before+2 {
		t.Errorf("after the fault: %d runs more, %+v", runs()-before, got.Coverage)
	}
}
