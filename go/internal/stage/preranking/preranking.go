// Package preranking is the second stage: cheap scores for all candidates, by which the best are kept for
// the ranker.
package preranking

import (
	"context"
	"runtime/trace"

	"github.com/shortlist-serving/shortlist/go/internal/stage"
	"github.com/shortlist-serving/shortlist/go/internal/vector/kernel"
)

// Prerank scores all candidates: Cross [M,C] and Prerank [M].
func Prerank(ctx context.Context, r *stage.Request) error {
	m, d := len(r.Rows), r.Plan.Snapshot.Dims
	FillCross(r)
	vectors := stage.Resize(&r.Vectors, m*int(d.K))
	gather := trace.StartRegion(ctx, stage.RegionGather)
	kernel.Gather(vectors, r.Plan.Snapshot.RetrievalVectors, r.Rows, int(d.K))
	gather.End()
	scores := stage.Resize(&r.Prerank, m)
	call := r.Plan.Preranker.Call()
	defer call.Free()
	call.Floats(r.QueryVectors, 1, d.Q, d.K)
	call.Floats(vectors, 1, int64(m), d.K)
	call.Floats(r.Cross, 1, int64(m), d.C)
	call.Into(scores, 1, int64(m))
	err := r.Do(ctx, call, r.Plan.PrerankPace.Cost(m))
	if err == nil && !stage.Finite(scores) {
		err = stage.ErrNonFinite
	}
	if err != nil {
		r.Prerank = r.Prerank[:0]
		return err
	}
	r.Plan.PrerankPace.Seen(m, call.Took())
	r.NoteFloats("cross", r.Cross, 1, int64(m), d.C)
	r.NoteFloats("prerank_score", scores, 1, int64(m))
	return nil
}

// Cut orders the candidates by their prerank scores and keeps the best, and the forced ones. keep < 0 keeps all.
func Cut(r *stage.Request, keep int) {
	order := r.Sort(r.Prerank, r.Rows)
	if keep >= 0 && keep < len(order) {
		kept := order[:keep]
		for _, c := range order[keep:] {
			if r.IsForced(c.Row()) {
				kept = append(kept, c) // never overtakes the element that is read
			}
		}
		order = kept
	}
	r.Take(order)
	r.NoteInts("kept_rows", r.Rows)
}
