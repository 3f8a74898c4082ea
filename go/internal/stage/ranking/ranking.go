package ranking

import (
	"context"
	"slices"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// Rank scores the candidates in chunks over the pool: Logits [M,T]. Encoding must be set. When some
// chunks fail but the others hold at least wanted candidates, only these stay, in order, and the error says
// what stopped the rest. With ranked = 0 nothing was changed.
func Rank(ctx context.Context, r *stage.Request, wanted int) (ranked int, err error) {
	m, d := len(r.Rows), r.Plan.Snapshot.Dims
	chunk := max(int(r.Plan.Funnel.GetChunk()), 1)
	tokens := stage.Resize(&r.Tokens, m*int(d.D))
	logits := stage.Resize(&r.Logits, m*int(d.T))
	n := int64(max(r.History.Length, 1))
	shared := slices.Concat([]runtime.Tensor{
		runtime.Floats(r.Encoding.Keys, 1, d.L, d.H, n, d.X), runtime.Floats(r.Encoding.Values, 1, d.L, d.H, n, d.X), r.HistoryLength(),
	}, r.Columns)

	tasks := make([]batching.Task, 0, (m+chunk-1)/chunk)
	for from := 0; from < m; from += chunk {
		to := min(from+chunk, m)
		tasks = append(tasks, batching.Task{Cost: int64(to - from), Run: func(ctx context.Context) error {
			start, size := time.Now(), int64(to-from)
			part := tokens[from*int(d.D) : to*int(d.D)]
			stage.Gather(part, r.Plan.Snapshot.RankerTokens, r.Rows[from:to], d.D)
			scored := logits[from*int(d.T) : to*int(d.T)]
			inputs := append(slices.Clip(shared),
				runtime.Floats(part, 1, size, d.D),
				runtime.Floats(r.Cross[from*int(d.C):to*int(d.C)], 1, size, d.C),
				runtime.Floats(r.Prerank[from:to], 1, size))
			if err := r.Plan.Ranker.Run(ctx, inputs, []runtime.Tensor{runtime.Floats(scored, 1, size, d.T)}); err != nil {
				return err
			}
			if !stage.Finite(scored) {
				return stage.ErrNonFinite
			}
			r.Plan.RankPace.Seen(to-from, time.Since(start))
			return nil
		}})
	}
	faults, err := r.Pool.Do(ctx, tasks)
	if err == nil {
		r.Note("keys", shared[0])
		r.Note("values", shared[1])
		r.Note("logits", runtime.Floats(logits, int64(m), d.T))
		return m, nil
	}
	return keepRanked(r, faults, chunk, wanted), err
}

// keepRanked drops the candidates of chunks that failed or never ran.
func keepRanked(r *stage.Request, faults []error, chunk, wanted int) int {
	m, t, c := len(r.Rows), int(r.Plan.Snapshot.Dims.T), int(r.Plan.Snapshot.Dims.C)
	done := 0
	for i, fault := range faults {
		if fault == nil {
			done += min((i+1)*chunk, m) - i*chunk
		}
	}
	if done == 0 || done < wanted {
		r.Logits = r.Logits[:0]
		return 0
	}
	at := 0
	for i, fault := range faults {
		if fault != nil {
			continue
		}
		from, to := i*chunk, min((i+1)*chunk, m)
		copy(r.Rows[at:], r.Rows[from:to])
		copy(r.Retrieval[at:], r.Retrieval[from:to])
		copy(r.Prerank[at:], r.Prerank[from:to])
		copy(r.Cross[at*c:], r.Cross[from*c:to*c])
		copy(r.Logits[at*t:], r.Logits[from*t:to*t])
		at += to - from
	}
	Truncate(r, at)
	return at
}

// Truncate keeps the first m candidates.
func Truncate(r *stage.Request, m int) {
	t, c := int(r.Plan.Snapshot.Dims.T), int(r.Plan.Snapshot.Dims.C)
	r.Rows, r.Retrieval, r.Prerank, r.Cross = r.Rows[:m], r.Retrieval[:m], r.Prerank[:m], r.Cross[:m*c]
	r.Logits = r.Logits[:min(len(r.Logits), m*t)]
}
