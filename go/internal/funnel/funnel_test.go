package funnel_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/feature"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/fake"
)

func rankQuery(ids ...int64) *rank.Query {
	q := query()
	q.Mode, q.Candidates, q.Limit = rank.Rank, ints(ids...), 20
	return q
}

func scoresByID(r *rank.Result) map[int64]float32 {
	scores := make(map[int64]float32)
	for i, id := range r.Items.Ints {
		scores[id] = r.Scores[i]
	}
	return scores
}

// A candidate's score depends neither on the other candidates, nor on their order, nor on chunks.
func TestScoresBelongToTheCandidateAlone(t *testing.T) {
	t.Parallel()
	all := []int64{10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110}
	small := newWorld(t, ranktest.Options{})
	whole := newWorld(t, ranktest.Options{Edit: func(m *bundlev1.Manifest, _ map[string][]byte) { m.Funnel.Chunk = 1000 }})
	want := scoresByID(whole.answer(rankQuery(all...)))
	if len(want) != len(all) {
		t.Fatalf("%d of %d candidates came back", len(want), len(all))
	}
	slices.Reverse(all)
	if diff := cmp.Diff(want, scoresByID(small.answer(rankQuery(all...)))); diff != "" {
		t.Errorf("chunked and reversed (-whole +chunked)\n%s", diff)
	}
	for _, id := range all {
		if got := scoresByID(small.answer(rankQuery(id)))[id]; got != want[id] {
			t.Errorf("item %d alone scores %v, in company %v", id, got, want[id])
		}
	}
}

func TestRequestsShareNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ranktest.Options{})
	want := w.answer(rankQuery(10, 20, 30, 40, 50, 60))
	other := w.answer(query())
	var answering sync.WaitGroup
	for i := range 16 {
		answering.Go(func() {
			q, expected := rankQuery(10, 20, 30, 40, 50, 60), want
			if i%2 == 0 {
				q, expected = query(), other
			}
			for range 20 {
				got, err := w.Answer(context.Background(), q)
				if err != nil {
					t.Error(err)
				} else if !slices.Equal(got.Rows, expected.Rows) || !slices.Equal(got.Scores, expected.Scores) {
					t.Errorf("got %v, alone %v", got.Rows, expected.Rows)
				}
			}
		})
	}
	answering.Wait()
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		slow   string
		rung   rank.Rung
		reason string
	}{
		"in the ranker":           {bundle.Ranker, rank.RungPrerankerOrder, "deadline"},
		"in the history encoder":  {bundle.HistoryEncoder, rank.RungPrerankerOrder, "deadline"},
		"in the sequence encoder": {bundle.SequenceEncoder, rank.RungRetrievalOrder, "deadline"},
		"in the preranker":        {bundle.Preranker, rank.RungRetrievalOrder, "deadline"},
		"in the index":            {bundle.Index, rank.RungRetrievalOrder, "deadline"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ranktest.Options{})
			w.runtime.Inject(test.slow, fake.Fault{Delay: time.Minute})
			ctx, cancel := context.WithTimeout(t.Context(), 120*time.Millisecond)
			defer cancel()
			start := time.Now()
			result, err := w.Answer(ctx, query())
			if err != nil {
				t.Fatal(err)
			}
			if ctx.Err() != nil {
				t.Errorf("the answer came %s after the start, past its deadline", time.Since(start))
			}
			if result.Coverage.Rung != test.rung || len(result.Rows) != 5 {
				t.Errorf("coverage %+v with %d items", result.Coverage, len(result.Rows))
			}
			if !slices.ContainsFunc(result.Coverage.Degradations, func(d rank.Degradation) bool { return d.Reason == test.reason }) {
				t.Errorf("no degradation says %s: %+v", test.reason, result.Coverage.Degradations)
			}
		})
	}
}

func TestAPassedDeadlineIsAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ranktest.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	var late *rank.DeadlineError
	if _, err := w.Answer(ctx, query()); !errors.As(err, &late) {
		t.Errorf("error: %v", err)
	}
}

func TestACallerWhoLeavesGetsNoAnswer(t *testing.T) {
	t.Parallel()
	for _, graph := range []string{bundle.SequenceEncoder, bundle.HistoryEncoder, bundle.Ranker} {
		w := newWorld(t, ranktest.Options{})
		w.runtime.Inject(graph, fake.Fault{Delay: time.Minute})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		if _, err := w.Answer(ctx, query()); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error: %v", graph, err)
		}
	}
}

// When one chunk fails, the finished ones answer, as long as they hold what was asked for.
func TestFinishedChunksAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ranktest.Options{})
	healthy := scoresByID(w.answer(rankQuery(10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120)))
	w.runtime.Inject(bundle.Ranker, fake.Fault{Err: errors.New("broken"), Times: 1})
	q := rankQuery(10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120)
	q.Limit = 1
	result := w.answer(q)
	switch result.Coverage.Rung {
	case rank.RungFewerCandidates:
		if got := result.Scores[0]; got != healthy[result.Items.Ints[0]] {
			t.Errorf("item %d scores %v, healthy %v", result.Items.Ints[0], got, healthy[result.Items.Ints[0]])
		}
	case rank.RungPrerankerOrder: // the failing chunk came first, and no other ran
	default:
		t.Errorf("coverage: %+v", result.Coverage)
	}
}

func TestTheGateSheds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ranktest.Options{})
	defer w.fill()()
	var full *rank.OverloadedError
	if _, err := w.Answer(t.Context(), query()); !errors.As(err, &full) || full.RetryAfter <= 0 {
		t.Errorf("error: %v", err)
	}
}

func TestTheStoreNeverFailsARequest(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		store  memoryStore
		reason string
	}{
		"down": {memoryStore{err: errors.New("down")}, "store_failed"},
		"slow": {memoryStore{delay: time.Minute}, "store_failed"},
		"of another schema": {memoryStore{users: map[string]*feature.User{"ann": {
			History: rank.History{Items: rank.ItemIDs{Strings: []string{"a"}}}}}}, "stored_user_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ranktest.Options{})
			*w.store = test.store
			q := query()
			q.UserID = "ann"
			result := w.answer(q)
			if d := result.Coverage.Degradations; len(result.Rows) != 5 || len(d) != 1 || d[0].Reason != test.reason {
				t.Errorf("%d items, degradations %+v", len(result.Rows), d)
			}
		})
	}
}

func TestServedQueriesHoldWhatWasUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ranktest.Options{})
	w.store.users["ann"] = &feature.User{History: rank.History{Items: rank.ItemIDs{Ints: []int64{10, 20}}},
		Features: rank.Features{"gender": text("f"), "dropped_column": text("x")}}
	q := query()
	q.UserID = "ann"
	result := w.answer(q)
	silent := query()
	silent.Debug = &rank.Debug{DoNotLog: true}
	w.answer(silent)
	if len(w.served) != 1 {
		t.Fatalf("%d queries were served to the log, want 1", len(w.served))
	}
	used := w.served[0].Query
	if q.History != nil || used.History.Items.Len() != 2 || len(used.User) != 1 || used.User["gender"].Text != "f" || used.Limit != 5 {
		t.Errorf("used: %+v", used)
	}
	replayed := *used
	replayed.UserID = ""
	if again := w.answer(&replayed); !slices.Equal(again.Rows, result.Rows) || !slices.Equal(again.Scores, result.Scores) {
		t.Errorf("the logged query answers %v, the request got %v", again.Rows, result.Rows)
	}
}

func BenchmarkAnswer(b *testing.B) {
	w := newWorld(b, ranktest.Options{})
	q := query()
	b.ReportAllocs()
	for b.Loop() {
		w.served = w.served[:0]
		w.answer(q)
	}
}
