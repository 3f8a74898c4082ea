package preranking_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/fake"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
	"github.com/shortlist-serving/shortlist/go/internal/stage/preranking"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// request is one with candidates over the fake release.
func request(t *testing.T, history []int64, rows ...int64) (*stage.Request, *fake.Runtime) {
	t.Helper()
	dir := t.TempDir()
	ranktest.Write(t, dir, ranktest.Options{})
	rt := ranktest.Runtime(t, ranktest.Bundle(t, ranktest.Options{}))
	repo, err := repository.New(repository.Options{Dir: dir, Runtime: rt})
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, unpin, err := repo.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	pool := batching.NewPool(batching.PoolOptions{Workers: 1})
	t.Cleanup(func() {
		unpin()
		pool.Close()
		if err := repo.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	plan, err := stage.NewPlan(s)
	if err != nil {
		t.Fatal(err)
	}
	r := &stage.Request{Scratch: plan.Get(), Query: &rank.Query{}, Plan: plan, Pool: pool}
	r.Rows, r.QueryVectors = rows, slices.Repeat([]float32{1}, ranktest.Q*ranktest.K)
	if r.History, err = plan.Encoder.History(rank.History{Items: rank.ItemIDs{Ints: history}}, 0); err != nil {
		t.Fatal(err)
	}
	stage.Resize(&r.Retrieval, len(rows))
	return r, rt
}

func TestCrossLooksUpEverySegment(t *testing.T) {
	t.Parallel()
	rows := []int64{0, 1, 2, 3, 4, 5}
	r, _ := request(t, []int64{20, 40}, rows...) // the newest event is row 3
	r.Query.User = rank.Features{"gender": {Kind: rank.KindText, Text: "m"}}
	r.Query.Context = rank.Features{"query": {Kind: rank.KindText, Text: " RED  Lamp"}}
	preranking.FillCross(r)
	for i, row := range rows {
		want := []float32{ranktest.Rate(1, row), ranktest.Rate(1, row), ranktest.Rate(3, row)}
		if got := r.Cross[i*ranktest.C : (i+1)*ranktest.C]; !slices.Equal(got, want) {
			t.Errorf("row %d: %v, want %v", row, got, want)
		}
	}
	r.Query.User, r.Query.Context = nil, rank.Features{"query": {Kind: rank.KindText, Text: "never seen"}}
	r.History.LastItem = -1
	preranking.FillCross(r) // on memory that holds old rates
	if slices.ContainsFunc(r.Cross, func(rate float32) bool { return rate != 0 }) {
		t.Errorf("without segments: %v", r.Cross)
	}
}

func TestCutKeepsTheBestAndTheForced(t *testing.T) {
	t.Parallel()
	for keep, want := range map[int][]int64{-1: {3, 1, 4, 2, 0}, 2: {3, 1, 2}, 3: {3, 1, 4, 2}, 4: {3, 1, 4, 2}, 9: {3, 1, 4, 2, 0}, 0: {2}} {
		r, _ := request(t, nil, 0, 1, 2, 3, 4)
		r.Prerank = append(r.Prerank, 1, 5, 2, 9, 5)
		r.Forced = []int64{2}
		preranking.FillCross(r)
		preranking.Cut(r, keep)
		if !slices.Equal(r.Rows, want) || len(r.Prerank) != len(want) || len(r.Cross) != len(want)*ranktest.C {
			t.Errorf("keep %d: %v, want %v", keep, r.Rows, want)
		}
	}
}

func TestFailedScoresAreNotUsed(t *testing.T) {
	t.Parallel()
	r, rt := request(t, nil, 0, 1, 2)
	if err := preranking.Prerank(t.Context(), r); err != nil || len(r.Prerank) != 3 {
		t.Fatalf("%v, scores %v", err, r.Prerank)
	}
	rt.Inject(bundle.Preranker, fake.Fault{NaN: true})
	if err := preranking.Prerank(t.Context(), r); !errors.Is(err, stage.ErrNonFinite) || len(r.Prerank) != 0 {
		t.Errorf("%v, scores %v", err, r.Prerank)
	}
}
