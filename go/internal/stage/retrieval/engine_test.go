package retrieval

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
	"github.com/shortlist-serving/shortlist/go/internal/vectordb"
	"github.com/shortlist-serving/shortlist/go/internal/vectordb/vectordbtest"
)

// engineWorld is a request whose two-tower source asks a fake engine that holds the release, and an exact source over the same.
func engineWorld(t *testing.T) (r *stage.Request, fake *vectordbtest.Server, tower, exact *twoTower) {
	t.Helper()
	b, fake := ranktest.Bundle(t, ranktest.Options{}), vectordbtest.New(t)
	engine, err := vectordb.Open(vectordb.Options{Address: fake.Address, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	pool := batching.NewPool(batching.PoolOptions{Workers: 1})
	t.Cleanup(func() {
		pool.Close()
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := engine.Upload(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	s := &repository.Snapshot{ID: b.Manifest.GetReleaseId(), Bundle: b, RetrievalVectors: b.Vectors.RetrievalVector, Dims: repository.Dims{I: 32, K: b.Vectors.K}}
	r = request(t, []int64{4, -1, 9})
	r.Plan.Snapshot, r.Pool, r.Scratch, r.Dropped = s, pool, &stage.Scratch{QueryVectors: []float32{1, -0.5, 0.25, 2}}, map[string]int{}
	r.Query.Time = 2_000_000_000
	r.Plan.Availability = stage.NewAvailability(b.Catalog)
	spec := &bundlev1.Source{Name: "t", Kind: bundlev1.SourceKind_TWO_TOWER, Limit: 6, Index: bundlev1.IndexKind_INDEX_FLOAT32}
	sources := [2]*twoTower{}
	for i, opts := range []Options{{Index: IndexQdrant, Engine: engine}, {Index: IndexExact}} {
		source, err := newTwoTower(spec, s, opts)
		if err != nil {
			t.Fatal(err)
		}
		sources[i] = source.(*twoTower)
	}
	return r, fake, sources[0], sources[1]
}

func filter(t *testing.T, r *stage.Request, filters ...rank.ColumnFilter) {
	t.Helper()
	predicates, err := CompileFilters(r.Plan.Catalog, filters)
	if err != nil {
		t.Fatal(err)
	}
	r.Query.Filters.Columns = filters
	Allow(r, predicates)
}

// An engine that searches exactly gives what the exact index gives: rows, scores and order; also when it knows nothing of filters
// that leave enough.
func TestTheEngineAnswersAsTheExactIndexDoes(t *testing.T) {
	t.Parallel()
	r, fake, tower, exact := engineWorld(t)
	for _, filters := range [][]rank.ColumnFilter{nil, {{Column: "category", AnyOf: one(text("games"))}}, {{Column: "price", Max: pointer(20)}, {Column: "tags", NoneOf: one(text("sale"))}}} {
		filter(t, r, filters...)
		want, err := exact.Retrieve(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tower.Retrieve(t.Context(), r)
		if err != nil || !slices.Equal(got.Rows, want.Rows) || !slices.Equal(got.Scores, want.Scores) || len(got.Rows) != 6 {
			t.Errorf("%v: %+v, %v; want %+v", filters, got, err, want)
		}
	}
	fake.IgnoreFilters()
	filter(t, r, rank.ColumnFilter{Column: "category", AnyOf: one(text("games"))})
	got, err := tower.Retrieve(t.Context(), r)
	for _, row := range got.Rows {
		if !r.Allowed.Has(row) {
			t.Errorf("row %d is not allowed", row)
		}
	}
	if err != nil || len(got.Rows) == 0 {
		t.Errorf("without filters: %+v, %v", got, err)
	}
}

// A list that is short without need is said to be, and an empty one is a failure.
func TestAnEngineThatFindsTooLittle(t *testing.T) {
	t.Parallel()
	r, fake, tower, _ := engineWorld(t)
	filter(t, r)
	var all []uint64
	for row := range uint64(32) {
		if row != 2 && row != 3 {
			all = append(all, row)
		}
	}
	name := vectordb.Collection(r.Plan.Snapshot.ID)
	fake.Remove(name, all...)
	budget := rank.NewBudget(time.Time{}, 1, rank.Normal)
	got, err := tower.Retrieve(rank.WithBudget(t.Context(), budget), r)
	degradations := budget.Degradations()
	if err != nil || len(got.Rows) != 2 || len(degradations) != 1 || degradations[0].Reason != stage.ReasonSourceShort || degradations[0].Detail != "the vector engine found 2 of 6 items" {
		t.Errorf("%+v, %v, %+v", got, err, degradations)
	}
	fake.Remove(name, 2, 3)
	var failure *vectordb.Error
	if got, err := tower.Retrieve(t.Context(), r); !errors.As(err, &failure) {
		t.Errorf("an empty collection: %+v, %v", got, err)
	}
}

func TestEngineFailuresHaveReasons(t *testing.T) {
	t.Parallel()
	r, fake, tower, _ := engineWorld(t)
	filter(t, r)
	fake.Fail(status.Error(codes.Unavailable, "connect to 10.1.2.3 refused"))
	retriever, budget := &Retriever{sources: []stage.Source{tower, working{}}}, rank.NewBudget(time.Time{}, 1, rank.Normal)
	if err := retriever.Retrieve(rank.WithBudget(t.Context(), budget), r); err != nil {
		t.Fatal(err)
	}
	said := budget.Degradations()
	if len(said) != 1 || said[0].Reason != stage.ReasonSourceFailed || said[0].Detail != "source t did not answer (engine_failed)" || budget.Rung() != rank.RungFewerCandidates {
		t.Errorf("%+v at %s", said, budget.Rung())
	}
	if len(r.Faults) != 1 || !strings.Contains(r.Faults[0].Error(), "10.1.2.3") {
		t.Errorf("the log is told %v", r.Faults)
	}
	fake.Fail(nil)
	fake.Hang()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := tower.Retrieve(ctx, r); stage.ReasonOf(err) != stage.ReasonDeadline {
		t.Errorf("past its time: %v", err)
	}
	if _, err := newTwoTower(&bundlev1.Source{Name: "t"}, r.Plan.Snapshot, Options{Index: IndexQdrant}); err == nil {
		t.Error("an index without its engine was made")
	}
}

// working is a source that answers, with nothing.
type working struct{}

func (working) Name() string { return "working" }

func (working) Retrieve(context.Context, *stage.Request) (stage.List, error) {
	return stage.List{Source: "working"}, nil
}
