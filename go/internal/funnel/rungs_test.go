package funnel_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/fake"
)

func forced(q *rank.Query, rung rank.Rung) *rank.Query {
	q.Debug = &rank.Debug{ForceRung: rung}
	return q
}

// Each rung runs its stages and no other, and says so.
func TestForcedRungs(t *testing.T) {
	t.Parallel()
	w := newKeepingWorld(t, ranktest.Options{}, 1<<20)
	full := w.answer(forced(query(), rank.RungFull))
	for rung, test := range map[rank.Rung]struct{ stages, graphs []string }{
		rank.RungFewerCandidates: {[]string{"retrieval", "preranking", "ranking", "blending"},
			[]string{bundle.SequenceEncoder, bundle.QueryEncoder, bundle.Index, bundle.Preranker, bundle.HistoryEncoder, bundle.Ranker}},
		rank.RungPrerankerOrder: {[]string{"retrieval", "preranking"},
			[]string{bundle.SequenceEncoder, bundle.QueryEncoder, bundle.Index, bundle.Preranker}},
		rank.RungRetrievalOrder: {[]string{"retrieval"}, []string{bundle.SequenceEncoder, bundle.QueryEncoder, bundle.Index}},
		rank.RungCached:         {nil, nil},
		rank.RungPopular:        {[]string{"retrieval"}, nil},
	} {
		before := map[string]int{}
		for _, graph := range bundle.GraphNames {
			before[graph] = w.runtime.Runs(graph)
		}
		result := w.answer(forced(query(), rung))
		if diff := cmp.Diff(test.stages, result.Coverage.StagesRun); diff != "" {
			t.Errorf("%s: stages (-want +got)\n%s", rung, diff)
		}
		for _, graph := range bundle.GraphNames {
			if ran := w.runtime.Runs(graph) > before[graph]; ran != slices.Contains(test.graphs, graph) {
				t.Errorf("%s: %s ran: %t", rung, graph, ran)
			}
		}
		if d := result.Coverage.Degradations; result.Coverage.Rung != rung || len(d) != 1 || d[0].Reason != "forced" || len(result.Rows) != 5 {
			t.Errorf("%s: %d items, coverage %+v", rung, len(result.Rows), result.Coverage)
		}
		if rung == rank.RungCached && (!slices.Equal(result.Rows, full.Rows) || !slices.Equal(result.Scores, full.Scores)) {
			t.Errorf("the kept answer is %v, the full one was %v", result.Rows, full.Rows)
		}
	}
}

// Given candidates are ordered by what the rung has, and stay the caller's own on the lowest ones.
func TestForcedRungsOfARanking(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ranktest.Options{})
	for _, rung := range []rank.Rung{rank.RungRetrievalOrder, rank.RungCached, rank.RungPopular} {
		result := w.answer(forced(rankQuery(50, 10, 30), rung))
		if diff := cmp.Diff([]int64{50, 10, 30}, result.Items.Ints); diff != "" {
			t.Errorf("%s (-want +got)\n%s", rung, diff)
		}
		if result.Coverage.Rung < rung {
			t.Errorf("%s: %+v", rung, result.Coverage)
		}
	}
	if fewer := w.answer(forced(rankQuery(10, 20, 30, 40, 50, 60, 70, 80), rank.RungFewerCandidates)); len(fewer.Rows) != 8 {
		t.Errorf("%d of 8 candidates came back, though all were asked for", len(fewer.Rows))
	}
}

// When retrieval fails, the kept answer comes before the popular list; what the user has seen since, or the
// filters of now leave out, is not in it.
func TestKeptAnswersAreFilteredAgain(t *testing.T) {
	t.Parallel()
	w := newKeepingWorld(t, ranktest.Options{}, 1<<20)
	ask := func(history ...int64) *rank.Query {
		q := query()
		q.UserID, q.History = "ann", &rank.History{Items: *ints(history...)}
		return q
	}
	full := w.answer(ask(20))
	for _, graph := range bundle.GraphNames {
		w.runtime.Inject(graph, fake.Fault{Err: errors.New("broken")})
	}
	seen := full.Items.Ints[0]
	kept := w.answer(forced(ask(20, seen), rank.RungCached))
	if diff := cmp.Diff(full.Items.Ints[1:], kept.Items.Ints); diff != "" {
		t.Errorf("the first item was seen since (-want +got)\n%s", diff)
	}
	if other := w.answer(forced(query(), rank.RungCached)); other.Coverage.Rung != rank.RungPopular {
		t.Errorf("another user got a kept answer: %+v", other.Coverage)
	}
	narrow := ask(20)
	narrow.Filters.Columns = []rank.ColumnFilter{{Column: "category", AnyOf: []rank.Value{text("games")}}}
	if other := w.answer(forced(narrow, rank.RungCached)); other.Coverage.Rung != rank.RungPopular {
		t.Errorf("another kind of request got a kept answer: %+v", other.Coverage)
	}
}

// Not one forbidden item leaves the server on any rung, whatever fails on the way. It uses all cores, so it
// runs beside no test that has a deadline.
func TestNoRungServesAForbiddenItem(t *testing.T) {
	w := newKeepingWorld(t, ranktest.Options{}, 1<<16)
	categories := []string{"books", "games", "music"}
	const requests = 10_000
	var asking sync.WaitGroup
	var answered atomic.Int64
	for worker := range 4 {
		asking.Go(func() {
			random := rand.New(rand.NewPCG(7, uint64(worker)))
			for range requests / 4 {
				if random.IntN(3) == 0 {
					graph := bundle.GraphNames[random.IntN(len(bundle.GraphNames))]
					w.runtime.Inject(graph, []fake.Fault{{Err: errors.New("broken"), Times: 1}, {NaN: true, Times: 1}, {Delay: time.Millisecond, Times: 1}}[random.IntN(3)])
				}
				q := query()
				q.UserID = strconv.Itoa(random.IntN(20))
				q.History = &rank.History{Items: *ints()}
				for range random.IntN(6) {
					q.History.Items.Ints = append(q.History.Items.Ints, ranktest.ItemID(random.Int64N(32)))
				}
				wanted := random.IntN(3)
				least, most := float64(random.IntN(16)), float64(16+random.IntN(16))
				q.Filters.Columns = []rank.ColumnFilter{
					{Column: "category", AnyOf: []rank.Value{text(categories[wanted])}}, {Column: "price", Min: &least, Max: &most}}
				forced(q, rank.Rung(random.IntN(7)))
				result, err := w.Answer(context.Background(), q)
				if overloaded := (*rank.OverloadedError)(nil); errors.As(err, &overloaded) {
					continue // a busy machine: a refusal holds no item
				}
				if err != nil {
					t.Error(err)
					return
				}
				answered.Add(1)
				for i, row := range result.Rows {
					price := float64(row) + 0.5
					if int(row)%3 != wanted || price < least || price > most || row >= 30 || slices.Contains(q.History.Items.Ints, result.Items.Ints[i]) {
						t.Errorf("%s served the forbidden item %d to %+v", result.Coverage.Rung, result.Items.Ints[i], q)
						return
					}
				}
			}
		})
	}
	asking.Wait()
	if answered.Load() < requests/2 {
		t.Errorf("only %d of %d requests were answered", answered.Load(), requests)
	}
}

// A refused call brings the next ones of its tenant, and of no other, down the ladder.
func TestPressureDegradesTheTenantThatPresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ranktest.Options{})
	leave := w.fill()
	noisy := query()
	noisy.Tenant, noisy.Priority = "noisy", rank.Normal
	for start := time.Now(); w.Level() < 1 && time.Since(start) < 20*time.Second; {
		_, _ = w.Answer(t.Context(), noisy)
	}
	leave()
	if result := w.answer(noisy); result.Coverage.Rung == rank.RungFull || result.Coverage.Degradations[0].Reason != "overload" {
		t.Errorf("the tenant that was refused got %+v at level %g", result.Coverage, w.Level())
	}
	if result := w.answer(query()); result.Coverage.Rung != rank.RungFull {
		t.Errorf("a tenant that was never refused got %+v", result.Coverage)
	}
}
