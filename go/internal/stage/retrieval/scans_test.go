package retrieval

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
	"github.com/shortlist-serving/shortlist/go/internal/vector"
)

// gatedIndex answers a query with its own first number, when it is let go; a negative one is an error, 13 a panic.
type gatedIndex struct {
	let     chan struct{}
	batches []int // guarded by the single scan
}

func (x *gatedIndex) Search(ctx context.Context, queries []vector.Query, parts int, p vector.Parallel) ([]vector.Hits, error) {
	<-x.let
	x.batches = append(x.batches, len(queries))
	var ran atomic.Int64
	if err := p(ctx, parts, func(int) { ran.Add(1) }); err != nil || int(ran.Load()) != parts {
		return nil, errors.New("not all parts ran")
	}
	hits := make([]vector.Hits, len(queries))
	for i, q := range queries {
		switch {
		case q.Vector[0] == 13:
			panic("thirteen")
		case q.Vector[0] < 0:
			return nil, vector.ErrNonFinite
		}
		hits[i] = vector.Hits{Scores: []float32{q.Vector[0]}}
	}
	return hits, nil
}

func TestWaitingQueriesAreScannedTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pool := batching.NewPool(batching.PoolOptions{Workers: 2})
		defer pool.Close()
		index := &gatedIndex{let: make(chan struct{})}
		s := newScans(index, 10*leastPart)
		var asking sync.WaitGroup
		ask := func(x float32) {
			asking.Go(func() {
				hits, err := s.search(t.Context(), pool, vector.Query{Vector: []float32{x}})
				if bad := x < 0 || x == 13; bad != (err != nil) || !bad && hits.Scores[0] != x {
					t.Errorf("query %v: %v, %v", x, hits, err)
				}
			})
			synctest.Wait()
		}
		for x := range 40 {
			ask(float32(x - 1)) // the first runs alone; one of those that wait is at fault, one panics
		}
		close(index.let)
		asking.Wait()
		if index.batches[0] != 1 || index.batches[1] != maxBatch {
			t.Errorf("batches of %v", index.batches)
		}
	})
}

func TestAQueryThatGivesUpIsTakenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pool := batching.NewPool(batching.PoolOptions{Workers: 1})
		defer pool.Close()
		index := &gatedIndex{let: make(chan struct{})}
		s := newScans(index, 1)
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 2)
		for range 2 { // one is being scanned, one waits
			go func() {
				_, err := s.search(ctx, pool, vector.Query{Vector: []float32{1}})
				left <- err
			}()
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		if len(left) != 1 {
			t.Errorf("%d left; the one being scanned lends its memory and must stay", len(left))
		}
		close(index.let)
		for range 2 {
			if err := <-left; err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if len(index.batches) != 1 {
			t.Errorf("scans of %v", index.batches)
		}
	})
}

func TestIndexKinds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		kind  bundlev1.IndexKind
		items int64
		graph bool
	}{
		{bundlev1.IndexKind_INDEX_KIND_UNSPECIFIED, 10, true},
		{bundlev1.IndexKind_INDEX_GRAPH, scanFrom, true},
		{bundlev1.IndexKind_INDEX_INT8, 10, false},
		{bundlev1.IndexKind_INDEX_FLOAT32, 10, false},
		{bundlev1.IndexKind_INDEX_INT4, 10, false},
	} {
		s := &repository.Snapshot{Dims: repository.Dims{I: test.items, K: 2}, RetrievalVectors: make([]float32, 2*test.items)}
		source, err := newTwoTower(&bundlev1.Source{Name: "t", Index: test.kind, Limit: 5}, s, Options{})
		if err != nil {
			t.Fatal(err)
		}
		index := source.(*twoTower).index
		if _, graph := index.(graphIndex); graph != test.graph {
			t.Errorf("%s of %d items is a %T", test.kind, test.items, index)
		}
	}
	if _, err := newTwoTower(&bundlev1.Source{Index: 99}, &repository.Snapshot{}, Options{}); err == nil {
		t.Error("an unknown kind was taken")
	}
}

// The graph's contract, on the scan: head 0, the mask inside, ties by lower row.
func TestScanIndexFindsTheBestAllowed(t *testing.T) {
	t.Parallel()
	pool := batching.NewPool(batching.PoolOptions{Workers: 1})
	defer pool.Close()
	r := request(t, nil, 3)
	items := r.Plan.Catalog.Len()
	s := &repository.Snapshot{Dims: repository.Dims{I: int64(items), K: 2}, RetrievalVectors: make([]float32, 2*items)}
	for _, row := range []int{3, 5, 9} {
		s.RetrievalVectors[2*row] = 1
	}
	r.Plan.Snapshot, r.Pool, r.Scratch = s, pool, &stage.Scratch{QueryVectors: []float32{2, 0, 0, 100}}
	for _, kind := range []bundlev1.IndexKind{bundlev1.IndexKind_INDEX_FLOAT32, bundlev1.IndexKind_INDEX_INT8, bundlev1.IndexKind_INDEX_INT4} {
		source, err := newTwoTower(&bundlev1.Source{Name: "t", Index: kind, Limit: 3}, s, Options{})
		if err != nil {
			t.Fatal(err)
		}
		list, err := source.Retrieve(t.Context(), r)
		if err != nil || len(list.Rows) != 3 || list.Rows[0] != 5 || list.Rows[1] != 9 || list.Rows[2] != 0 || list.Scores[0] != 2 {
			t.Errorf("%s: %+v, %v", kind, list, err)
		}
	}
	r.QueryVectors = nil
	source, _ := newTwoTower(&bundlev1.Source{Index: bundlev1.IndexKind_INDEX_INT8}, s, Options{})
	if _, err := source.Retrieve(t.Context(), r); !errors.Is(err, errNoQuery) {
		t.Errorf("without a query vector: %v", err)
	}
}
