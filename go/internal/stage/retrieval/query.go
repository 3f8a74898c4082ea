package retrieval

import (
	"context"

	"github.com/shortlist-serving/shortlist/go/internal/kvcache"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// Encode starts the encoding of the request's history for EncodeQuery: State [W] and Recent [R,W]. It depends
// neither on the user's features nor on the context, so it is kept across requests.
func Encode(ctx context.Context, r *stage.Request) kvcache.Call {
	return r.Plan.SequenceEncoder.Start(ctx, r)
}

// EncodeQuery runs the query encoder: QueryVectors [Q,K] for the index and the preranker. Sequence must be set.
// Its cost does not depend on the history's length.
func EncodeQuery(ctx context.Context, r *stage.Request) error {
	d := r.Plan.Snapshot.Dims
	noteSequence(r)
	vectors := stage.Resize(&r.QueryVectors, int(d.Q*d.K))
	call := r.Plan.QueryEncoder.Call()
	defer call.Free()
	call.Floats(r.Sequence.State, 1, d.Sequence.W)
	call.Floats(r.Sequence.Recent, 1, d.Sequence.R, d.Sequence.W)
	call.Tensors(r.HistoryLength())
	call.Tensors(r.Columns...)
	call.Into(vectors, 1, d.Q, d.K)
	err := r.Do(ctx, call, r.Plan.QueryPace.Cost(1))
	if err == nil && !stage.Finite(vectors) {
		err = stage.ErrNonFinite
	}
	if err != nil {
		r.QueryVectors = r.QueryVectors[:0]
		return err
	}
	r.Plan.QueryPace.Seen(1, call.Took())
	r.NoteFloats("query_vectors", vectors, 1, d.Q, d.K)
	return nil
}

func noteSequence(r *stage.Request) {
	e, n := r.Plan.Snapshot.Dims.Sequence, int64(max(r.History.Length, 1))
	r.NoteFloats("state", r.Sequence.State, 1, e.W)
	r.NoteFloats("recent", r.Sequence.Recent, 1, e.R, e.W)
	r.NoteFloats("sequence_keys", r.Sequence.Keys, 1, e.L, e.H, n, e.X)
	r.NoteFloats("sequence_values", r.Sequence.Values, 1, e.L, e.H, n, e.X)
}
