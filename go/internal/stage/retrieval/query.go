package retrieval

import (
	"context"
	"slices"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// EncodeQuery runs the query encoder: QueryVectors [Q,K] for the index and the preranker.
func EncodeQuery(ctx context.Context, r *stage.Request) error {
	d := r.Plan.Snapshot.Dims
	inputs := slices.Concat(r.History.Tensors, []runtime.Tensor{r.HistoryLength()}, r.Columns)
	vectors := stage.Resize(&r.QueryVectors, int(d.Q*d.K))
	outputs := []runtime.Tensor{runtime.Floats(vectors, 1, d.Q, d.K)}
	err := r.Run(ctx, r.Plan.QueryEncoder, int64(1+r.History.Length), inputs, outputs)
	if err == nil && !stage.Finite(vectors) {
		err = stage.ErrNonFinite
	}
	if err != nil {
		r.QueryVectors = r.QueryVectors[:0]
		return err
	}
	r.Note("query_vectors", outputs[0])
	return nil
}
