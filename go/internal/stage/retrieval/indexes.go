package retrieval

import (
	"context"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
	"github.com/shortlist-serving/shortlist/go/internal/vector"
)

// notAllowed is the score that the index gives to rows outside the mask (docs/bundle.md); real scores lie far above.
const notAllowed = -3.0e38

// scanIndex searches by package vector.
type scanIndex struct {
	name  string
	scans *scans
}

func (s *scanIndex) search(ctx context.Context, r *stage.Request, q vector.Query) (vector.Hits, string, error) {
	hits, err := s.scans.search(ctx, r.Pool, q)
	return hits, s.name, err
}

// walkIndex walks the release's graph of neighbours, and searches exactly where a walk cannot answer.
type walkIndex struct {
	graph *vector.HNSW
	exact index
	pace  stage.Pace // of one walk
}

func (w *walkIndex) search(ctx context.Context, r *stage.Request, q vector.Query) (hits vector.Hits, by string, err error) {
	found := false
	walk := batching.Task{Cost: w.pace.Cost(1), Run: func(context.Context) (err error) {
		start := time.Now()
		hits, found, err = w.graph.Search(q)
		w.pace.Seen(1, time.Since(start))
		return err
	}}
	if _, err := r.Pool.Do(ctx, []batching.Task{walk}); err != nil {
		return vector.Hits{}, "", err
	}
	if found {
		return hits, "hnsw", nil
	}
	hits, _, err = w.exact.search(ctx, r, q)
	return hits, "hnsw_scan", err
}

// graphIndex runs the release's graph `index` over all item vectors.
type graphIndex struct{}

func (graphIndex) search(ctx context.Context, r *stage.Request, q vector.Query) (vector.Hits, string, error) {
	d := r.Plan.Snapshot.Dims
	k := min(int64(q.Limit), d.I)
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
		return vector.Hits{}, "", err
	}
	hits := vector.Hits{Rows: outputs[0].I64, Scores: outputs[1].F32}
	for i, score := range hits.Scores {
		if score <= notAllowed {
			hits.Rows, hits.Scores = hits.Rows[:i], hits.Scores[:i]
			break
		}
	}
	if !stage.Finite(hits.Scores) {
		return vector.Hits{}, "", stage.ErrNonFinite
	}
	return hits, "graph", nil
}
