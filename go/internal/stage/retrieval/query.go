package retrieval

import (
	"context"

	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// EncodeQuery runs the query encoder: QueryVectors [Q,K] for the index and the preranker.
func EncodeQuery(ctx context.Context, r *stage.Request) error {
	d := r.Plan.Snapshot.Dims
	vectors := stage.Resize(&r.QueryVectors, int(d.Q*d.K))
	call := r.Plan.QueryEncoder.Call()
	defer call.Free()
	call.Tensors(r.History.Tensors...)
	call.Tensors(r.HistoryLength())
	call.Tensors(r.Columns...)
	call.Into(vectors, 1, d.Q, d.K)
	err := r.Do(ctx, call, r.Plan.QueryPace.Cost(r.History.Length))
	if err == nil && !stage.Finite(vectors) {
		err = stage.ErrNonFinite
	}
	if err != nil {
		r.QueryVectors = r.QueryVectors[:0]
		return err
	}
	r.Plan.QueryPace.Seen(r.History.Length, call.Took())
	r.NoteFloats("query_vectors", vectors, 1, d.Q, d.K)
	return nil
}
