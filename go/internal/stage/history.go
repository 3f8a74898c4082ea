package stage

import (
	"context"
	"fmt"
	"slices"

	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/feature"
	"github.com/shortlist-serving/shortlist/go/internal/kvcache"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
)

// HistoryEncoder is a graph that encodes histories: for retrieval, or for the ranker. What it made is kept
// across requests, and where the graph can go on from a past only new events pass through it.
type HistoryEncoder struct {
	*Graph // history tensors, history_length, past_keys, past_values[, past_recent] -> keys, values[, state, recent]
	Sizes  repository.EncodingDims
	Pace   Pace // of one event

	kind kvcache.Encoder
	none kvcache.Encoding // the past of a history that is encoded whole
}

// bind ties the encoder to its session; history are the names of what it reads of the events.
func (e *HistoryEncoder) bind(s *repository.Snapshot, kind kvcache.Encoder, sizes repository.EncodingDims, history []string) (err error) {
	e.kind, e.Sizes = kind, sizes
	inputs, outputs := slices.Concat(history, []string{"past_keys", "past_values"}), []string{"keys", "values"}
	if sizes.W > 0 {
		inputs, outputs = append(inputs, "past_recent"), append(outputs, "state", "recent")
		e.none.Recent = make([]float32, sizes.R*sizes.W)
	}
	e.Graph, err = NewGraph(kind.String(), s.Session(kind.String()), inputs, outputs)
	return err
}

// Start starts the encoding of the request's history, unless it is kept. It needs nothing else of the request,
// so it runs beside whatever the caller does until it waits. Leave must be called on the answer.
func (e *HistoryEncoder) Start(ctx context.Context, r *Request) kvcache.Call {
	pool, history := r.Pool, r.History // the work may outlive the request, so it must not hold its scratch memory
	return r.Histories.Start(ctx, e.kind, r.keptHistory(ctx), e.Sizes.L > 0, func(ctx context.Context, past *kvcache.Encoding) (*kvcache.Encoding, error) {
		return e.Encode(ctx, pool, history, past)
	})
}

// keptHistory is the history as the cache knows it: one for both encoders, because it is hashed once.
func (r *Request) keptHistory(ctx context.Context) *kvcache.History {
	if r.kept.Columns == nil {
		r.kept = kvcache.History{Release: r.Plan.Snapshot.ID, User: r.Query.UserID, Events: r.History.Length, Columns: r.History.Tensors,
			Priority: rank.BudgetFrom(ctx).Priority()}
	}
	return &r.kept
}

// Encode runs the graph over the events after those of past, or over all when past is nil.
func (e *HistoryEncoder) Encode(ctx context.Context, pool *batching.Pool, h *feature.History, past *kvcache.Encoding) (*kvcache.Encoding, error) {
	if past == nil {
		past = &e.none
	}
	d, p, n := e.Sizes, int64(past.Events), int64(max(h.Length, 1))
	out := e.newEncoding(h.Length)
	call := e.Call()
	defer call.Free()
	for i := range h.Tensors {
		call.Events(&h.Tensors[i], p)
	}
	call.Ints(int64(h.Length) - p)
	call.Floats(past.Keys, 1, d.L, d.H, p, d.X)
	call.Floats(past.Values, 1, d.L, d.H, p, d.X)
	call.Into(out.Keys, 1, d.L, d.H, n, d.X)
	call.Into(out.Values, 1, d.L, d.H, n, d.X)
	if d.W > 0 {
		call.Floats(past.Recent, 1, d.R, d.W)
		call.Into(out.State, 1, d.W)
		call.Into(out.Recent, 1, d.R, d.W)
	}
	if err := call.Do(ctx, pool, e.Pace.Cost(int(n-p))); err != nil {
		return nil, err
	}
	if !Finite(out.Keys) || !Finite(out.Values) || !Finite(out.State) || !Finite(out.Recent) {
		return nil, fmt.Errorf("run %s: %w", e.Name, ErrNonFinite)
	}
	if p == 0 { // a few new events after many would say little of all the others
		e.Pace.Seen(int(n), call.Took())
	}
	return out, nil
}

// newEncoding is one of n events in one piece of memory, to be written by the graph.
func (e *HistoryEncoder) newEncoding(n int) *kvcache.Encoding {
	d := e.Sizes
	memory := make([]float32, d.Size(n))
	take := func(size int64) []float32 {
		part := memory[:size:size]
		memory = memory[size:]
		return part
	}
	return &kvcache.Encoding{Events: n, Keys: take(d.KeySize(n)), Values: take(d.KeySize(n)), State: take(d.W), Recent: take(d.R * d.W)}
}
