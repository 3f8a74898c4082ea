package retrieval

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// walkWorld is a request over the test release with a graph of neighbours that leads to the given rows alone. Row r
// scores r; exact searches scan.
func walkWorld(t *testing.T, rows []int32) (*stage.Request, *bundlev1.Source, *repository.Snapshot) {
	t.Helper()
	b := ranktest.Bundle(t, ranktest.Options{Edit: func(manifest *bundlev1.Manifest, files map[string][]byte) {
		ranktest.AddHNSW(t, manifest, files, 32, rows)
	}})
	s := &repository.Snapshot{Bundle: b, Dims: repository.Dims{I: 32, K: 1}}
	for row := range 32 {
		s.RetrievalVectors = append(s.RetrievalVectors, float32(row))
	}
	pool := batching.NewPool(batching.PoolOptions{Workers: 1})
	t.Cleanup(pool.Close)
	r := request(t, nil)
	r.Plan.Snapshot, r.Pool, r.Scratch = s, pool, &stage.Scratch{QueryVectors: []float32{1}}
	source := b.Manifest.Funnel.Sources[0]
	source.Limit = 2
	return r, source, s
}

// scanExactly scans in fp32 instead of running the graph `index`, which this request has none of.
func scanExactly(t *testing.T, source stage.Source, s *repository.Snapshot) *twoTower {
	t.Helper()
	exact, err := newExact(bundlev1.IndexKind_INDEX_FLOAT32, s)
	if err != nil {
		t.Fatal(err)
	}
	tower := source.(*twoTower)
	tower.exact = exact
	if walk, ok := tower.index.(*walkIndex); ok {
		walk.exact = exact
	} else {
		tower.index = exact
	}
	return tower
}

func TestTheOptionsChooseTheIndex(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		index string
		graph bool // the release has one
		by    string
		best  []int64
	}{
		{"", true, "hnsw", []int64{8, 7}},
		{IndexAuto, true, "hnsw", []int64{8, 7}},
		{IndexHNSW, true, "hnsw", []int64{8, 7}},
		{IndexExact, true, "fp32", []int64{31, 30}},
		{IndexAuto, false, "fp32", []int64{31, 30}},
		{IndexHNSW, false, "", nil},
	} {
		r, spec, s := walkWorld(t, []int32{1, 2, 3, 4, 5, 6, 7, 8}) // leads to the worst, so that the two can be told apart
		if !test.graph {
			spec.Index, spec.Hnsw = bundlev1.IndexKind_INDEX_KIND_UNSPECIFIED, nil
		}
		var by []string
		source, err := newTwoTower(spec, s, Options{Index: test.index, Observe: func(name string, _ time.Duration) { by = append(by, name) }})
		if test.by == "" {
			if err == nil || !strings.Contains(err.Error(), "retrieval.index") {
				t.Errorf("%+v: %v", test, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		list, err := scanExactly(t, source, s).Retrieve(t.Context(), r)
		if err != nil || !slices.Equal(list.Rows, test.best) || list.Source != "two_tower" || !slices.Equal(by, []string{test.by}) {
			t.Errorf("%+v: %+v by %v, %v", test, list, by, err)
		}
	}
	for _, o := range []Options{{Index: "other"}, {Index: ""}} {
		if len(o.Validate()) != 1 {
			t.Errorf("index %q was taken", o.Index)
		}
	}
}

// Where a walk cannot answer, a scan does: no filter shortens the answer.
func TestAWalkThatCannotAnswerIsReplacedByAScan(t *testing.T) {
	t.Parallel()
	for name, allowed := range map[string][]int64{"few rows": {3, 20}, "rows that the graph does not lead to": {20, 21, 22, 23, 24, 25, 26, 27}} {
		r, spec, s := walkWorld(t, []int32{1, 2, 3})
		for row := range int64(32) {
			if !slices.Contains(allowed, row) {
				r.Allowed.Remove(row)
			}
		}
		var by string
		source, err := newTwoTower(spec, s, Options{Observe: func(name string, _ time.Duration) { by = name }})
		if err != nil {
			t.Fatal(err)
		}
		list, err := scanExactly(t, source, s).Retrieve(t.Context(), r)
		best := []int64{allowed[len(allowed)-1], allowed[len(allowed)-2]}
		if err != nil || !slices.Equal(list.Rows, best) || by != "hnsw_scan" {
			t.Errorf("%s: %+v by %s, %v", name, list, by, err)
		}
	}
}

func TestGoldenRequestsAreAnsweredExactly(t *testing.T) {
	t.Parallel()
	r, spec, s := walkWorld(t, []int32{1, 2, 31})
	source, err := newTwoTower(spec, s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var recall []float32
	r.Exact, r.Tap = true, func(name string, values runtime.Tensor) {
		if name == RecallOf("two_tower") {
			recall = slices.Clone(values.F32)
		}
	}
	list, err := scanExactly(t, source, s).Retrieve(t.Context(), r)
	if err != nil || !slices.Equal(list.Rows, []int64{31, 30}) || !slices.Equal(recall, []float32{0.5}) {
		t.Errorf("%+v, recall %v, %v", list, recall, err)
	}
	r.QueryVectors[0] = 3e38
	r.Exact = false
	if _, err := source.Retrieve(t.Context(), r); !errors.Is(err, stage.ErrNonFinite) {
		t.Errorf("scores that overflow: %v", err)
	}
}
