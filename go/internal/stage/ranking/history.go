// Package ranking is the third stage: the amortized ranker. The history is encoded once; the candidates
// pass through the ranker in chunks and never see each other.
package ranking

import (
	"context"
	"fmt"
	"slices"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// Encoding is a history encoding under way. It depends on no candidate, so it runs beside retrieval and
// preranking. Wait must be called before the request's scratch memory is given back.
type Encoding struct {
	done chan struct{}
	err  error
}

// Encode starts the history encoder: Keys and Values [L,H,N,D/H].
func Encode(ctx context.Context, r *stage.Request) *Encoding {
	e := &Encoding{done: make(chan struct{})}
	go func() {
		defer close(e.done)
		defer func() {
			if p := recover(); p != nil {
				e.err = fmt.Errorf("encode the history: panic: %v", p)
			}
		}()
		e.err = encode(ctx, r)
	}()
	return e
}

// Wait returns when the encoding is done, or has failed.
func (e *Encoding) Wait() error {
	<-e.done
	return e.err
}

func encode(ctx context.Context, r *stage.Request) error {
	d := r.Plan.Snapshot.Dims
	n := int64(max(r.History.Length, 1))
	size := int(d.L * d.H * n * d.X)
	keys, values := stage.Resize(&r.Keys, size), stage.Resize(&r.Values, size)
	inputs := slices.Concat(r.History.Tensors, []runtime.Tensor{
		r.HistoryLength(),
		runtime.Floats([]float32{}, 1, d.L, d.H, 0, d.X), // P = 0: nothing is encoded yet
		runtime.Floats([]float32{}, 1, d.L, d.H, 0, d.X),
	})
	outputs := []runtime.Tensor{runtime.Floats(keys, 1, d.L, d.H, n, d.X), runtime.Floats(values, 1, d.L, d.H, n, d.X)}
	if err := r.Run(ctx, r.Plan.HistoryEncoder, n, inputs, outputs); err != nil {
		return err
	}
	if !stage.Finite(keys) || !stage.Finite(values) {
		return fmt.Errorf("run history_encoder: %w", stage.ErrNonFinite)
	}
	return nil
}
