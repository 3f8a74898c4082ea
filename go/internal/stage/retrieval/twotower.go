package retrieval

import (
	"context"
	"errors"
	"fmt"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
	"github.com/shortlist-serving/shortlist/go/internal/vector"
	"github.com/shortlist-serving/shortlist/go/internal/vector/kernel"
)

// notAllowed is the score that the index gives to rows outside the mask (docs/bundle.md); real scores lie far above.
const notAllowed = -3.0e38

// scanFrom is the size of a catalog from which a scan is the default where the CPU has instructions for it
// (docs/adr/0005).
const scanFrom = 20_000

// newTwoTower makes the source with the index that the release asks for. All kinds find the same items, and filters
// apply inside the search, so that they never leave fewer than `limit` items where more are allowed.
func newTwoTower(source *bundlev1.Source, s *repository.Snapshot) (stage.Source, error) {
	name, limit := source.GetName(), int(source.GetLimit())
	kind := source.GetIndex()
	if kind == bundlev1.IndexKind_INDEX_KIND_UNSPECIFIED {
		kind = bundlev1.IndexKind_INDEX_GRAPH
		if s.Dims.I >= scanFrom && kernel.Name() != "go" {
			kind = bundlev1.IndexKind_INDEX_INT8
		}
	}
	depths := map[bundlev1.IndexKind]int{
		bundlev1.IndexKind_INDEX_FLOAT32: vector.Float32, bundlev1.IndexKind_INDEX_INT8: vector.Int8, bundlev1.IndexKind_INDEX_INT4: vector.Int4,
	}
	switch depth, ok := depths[kind]; {
	case kind == bundlev1.IndexKind_INDEX_GRAPH:
		return &graphIndex{name: name, limit: limit}, nil
	case !ok:
		return nil, fmt.Errorf("source %s asks for the index %s, which this server does not know; upgrade the server", name, kind)
	default:
		index, err := vector.NewExact(s.RetrievalVectors, int(s.Dims.K), depth)
		if err != nil {
			return nil, fmt.Errorf("source %s: make the index: %w", name, err)
		}
		return &scanIndex{name: name, limit: limit, scans: newScans(index, int(s.Dims.I))}, nil
	}
}

var errNoQuery = errors.New("there is no query vector, because the query encoder did not answer")

// scanIndex searches by package vector.
type scanIndex struct {
	name  string
	limit int
	scans *scans
}

func (s *scanIndex) Name() string { return s.name }

func (s *scanIndex) Retrieve(ctx context.Context, r *stage.Request) (stage.List, error) {
	if len(r.QueryVectors) == 0 {
		return stage.List{}, errNoQuery
	}
	// Head 0 is the retrieval head.
	query := vector.Query{Vector: r.QueryVectors[:r.Plan.Snapshot.Dims.K], Allowed: r.Allowed, Limit: s.limit}
	hits, err := s.scans.search(ctx, r.Pool, query)
	if errors.Is(err, vector.ErrNonFinite) {
		err = stage.ErrNonFinite
	}
	return stage.List{Source: s.name, Rows: hits.Rows, Scores: hits.Scores}, err
}

// graphIndex runs the release's graph `index` over all item vectors.
type graphIndex struct {
	name  string
	limit int
}

func (s *graphIndex) Name() string { return s.name }

func (s *graphIndex) Retrieve(ctx context.Context, r *stage.Request) (stage.List, error) {
	if len(r.QueryVectors) == 0 {
		return stage.List{}, errNoQuery
	}
	d := r.Plan.Snapshot.Dims
	k := min(int64(s.limit), d.I)
	outputs := []runtime.Tensor{
		runtime.Ints(make([]int64, k), 1, k),
		runtime.Floats(make([]float32, k), 1, k),
	}
	inputs := []runtime.Tensor{
		runtime.Floats(r.QueryVectors, 1, d.Q, d.K),
		runtime.Floats(r.Plan.Snapshot.RetrievalVectors, d.I, d.K),
		runtime.Bools(r.Mask(r.Allowed, int(d.I)), 1, d.I),
		runtime.Ints([]int64{k}, 1),
	}
	// The scan touches every item: it costs about what ranking I / 64 candidates does.
	if err := r.Run(ctx, r.Plan.Index, 1+d.I/64, inputs, outputs); err != nil {
		return stage.List{}, err
	}
	list := stage.List{Source: s.name, Rows: outputs[0].I64, Scores: outputs[1].F32}
	for i, score := range list.Scores {
		if score <= notAllowed {
			list.Rows, list.Scores = list.Rows[:i], list.Scores[:i]
			break
		}
	}
	if !stage.Finite(list.Scores) {
		return stage.List{}, stage.ErrNonFinite
	}
	return list, nil
}
