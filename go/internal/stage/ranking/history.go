// Package ranking is the third stage: the amortized ranker. The history is encoded once; the candidates
// pass through the ranker in chunks and never see each other.
package ranking

import (
	"context"
	"fmt"

	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/feature"
	"github.com/shortlist-serving/shortlist/go/internal/kvcache"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// Encode starts the encoding of the request's history: Keys and Values [L,H,N,D/H]. It depends on no
// candidate, so it runs beside retrieval and preranking; what is kept of earlier requests is not encoded again.
func Encode(ctx context.Context, r *stage.Request) *kvcache.Call {
	plan, pool, history := r.Plan, r.Pool, r.History // the work may outlive the request, so it must not hold its scratch memory
	return r.Histories.Start(ctx, kvcache.History{
		Release: plan.Snapshot.ID, User: r.Query.UserID, Events: history.Length, Columns: history.Tensors,
		Priority: rank.BudgetFrom(ctx).Priority(),
	}, func(ctx context.Context, past *kvcache.Encoding) (*kvcache.Encoding, error) {
		return encode(ctx, plan, pool, history, past)
	})
}

// encode runs the history encoder over the events after those of past, or over all when past is nil.
func encode(ctx context.Context, plan *stage.Plan, pool *batching.Pool, h *feature.History, past *kvcache.Encoding) (*kvcache.Encoding, error) {
	if past == nil {
		past = &kvcache.Encoding{}
	}
	d, p, n := plan.Snapshot.Dims, int64(past.Events), int64(max(h.Length, 1))
	inputs := make([]runtime.Tensor, 0, len(h.Tensors)+3)
	for _, column := range h.Tensors {
		inputs = append(inputs, eventsFrom(column, p))
	}
	inputs = append(inputs, runtime.Ints([]int64{int64(h.Length) - p}, 1),
		runtime.Floats(past.Keys, 1, d.L, d.H, p, d.X), runtime.Floats(past.Values, 1, d.L, d.H, p, d.X))
	size := d.L * d.H * n * d.X
	e := &kvcache.Encoding{Events: h.Length, Keys: make([]float32, size), Values: make([]float32, size)}
	outputs := []runtime.Tensor{runtime.Floats(e.Keys, 1, d.L, d.H, n, d.X), runtime.Floats(e.Values, 1, d.L, d.H, n, d.X)}
	_, err := pool.Do(ctx, []batching.Task{{Cost: plan.HistoryPace.Cost(int(n - p)), Run: func(ctx context.Context) error {
		return plan.HistoryEncoder.Run(ctx, inputs, outputs)
	}}})
	if err != nil {
		return nil, err
	}
	if !stage.Finite(e.Keys) || !stage.Finite(e.Values) {
		return nil, fmt.Errorf("run history_encoder: %w", stage.ErrNonFinite)
	}
	return e, nil
}

// eventsFrom is a column [1,N] or [1,N,W] without its first p events, and without a copy.
func eventsFrom(column runtime.Tensor, p int64) runtime.Tensor {
	shape := append([]int64(nil), column.Shape...)
	from := p * int64(column.Len()) / shape[1]
	shape[1] -= p
	switch column.DType {
	case runtime.Float32:
		return runtime.Floats(column.F32[from:], shape...)
	case runtime.Int64:
		return runtime.Ints(column.I64[from:], shape...)
	default:
		return runtime.Bools(column.Bool[from:], shape...)
	}
}
