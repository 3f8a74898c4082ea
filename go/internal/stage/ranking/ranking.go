package ranking

import (
	"context"
	"runtime/trace"
	"sync"

	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
	"github.com/shortlist-serving/shortlist/go/internal/vector/kernel"
)

// Rank scores the candidates in chunks over the pool: Logits [M,T]. Encoding must be set. When some
// chunks fail but the others hold at least wanted candidates, only these stay, in order, and the error says
// what stopped the rest. With ranked = 0 nothing was changed.
func Rank(ctx context.Context, r *stage.Request, wanted int) (ranked int, err error) {
	m, d := len(r.Rows), r.Plan.Snapshot.Dims
	stage.Resize(&r.Tokens, m*int(d.D))
	stage.Resize(&r.Logits, m*int(d.T))
	size := r.Plan.ChunkSize(m, r.Pool.Idle()) // only idle workers are worth more runs
	p := passes.Get().(*pass)
	defer p.free()
	p.cut(r, size)
	faults, err := r.Pool.Do(ctx, p.tasks)
	if err == nil {
		n, e := int64(max(r.History.Length, 1)), d.History
		r.NoteFloats("keys", r.Encoding.Keys, 1, e.L, e.H, n, e.X)
		r.NoteFloats("values", r.Encoding.Values, 1, e.L, e.H, n, e.X)
		r.NoteFloats("logits", r.Logits, int64(m), d.T)
		return m, nil
	}
	return keepRanked(r, faults, size, wanted), err
}

// pass is the chunks of one request. It is reused, with its tasks and their functions.
type pass struct {
	chunks []*chunk
	tasks  []batching.Task
}

var passes = sync.Pool{New: func() any { return &pass{} }}

// chunk is the candidates [from, to) of a request.
type chunk struct {
	r        *stage.Request
	from, to int
	run      func(context.Context) error // score, bound once
}

func (p *pass) cut(r *stage.Request, size int) {
	for from := 0; from < len(r.Rows); from += size {
		i := len(p.tasks)
		if i == len(p.chunks) {
			c := &chunk{}
			c.run = c.score
			p.chunks = append(p.chunks, c)
		}
		c := p.chunks[i]
		c.r, c.from, c.to = r, from, min(from+size, len(r.Rows))
		p.tasks = append(p.tasks, batching.Task{Cost: r.Plan.RankPace.Cost(c.to - c.from), Run: c.run})
	}
}

func (p *pass) free() {
	for i := range p.tasks {
		p.chunks[i].r = nil
	}
	p.tasks = p.tasks[:0]
	passes.Put(p)
}

func (c *chunk) score(ctx context.Context) error {
	defer trace.StartRegion(ctx, rank.StageRanking).End()
	r, d := c.r, c.r.Plan.Snapshot.Dims
	m, n, e := int64(c.to-c.from), int64(max(r.History.Length, 1)), d.History
	tokens := r.Tokens[c.from*int(d.D) : c.to*int(d.D)]
	gather := trace.StartRegion(ctx, stage.RegionGather)
	kernel.Gather(tokens, r.Plan.Snapshot.RankerTokens, r.Rows[c.from:c.to], int(d.D))
	gather.End()
	logits := r.Logits[c.from*int(d.T) : c.to*int(d.T)]

	call := r.Plan.Ranker.Call()
	defer call.Free()
	call.Floats(r.Encoding.Keys, 1, e.L, e.H, n, e.X)
	call.Floats(r.Encoding.Values, 1, e.L, e.H, n, e.X)
	call.Tensors(r.HistoryLength())
	call.Tensors(r.Columns...)
	call.Floats(tokens, 1, m, d.D)
	call.Floats(r.Cross[c.from*int(d.C):c.to*int(d.C)], 1, m, d.C)
	call.Floats(r.Prerank[c.from:c.to], 1, m)
	call.Into(logits, 1, m, d.T)
	if err := call.Run(ctx); err != nil {
		return err
	}
	if !stage.Finite(logits) {
		return stage.ErrNonFinite
	}
	r.Plan.RankPace.Seen(int(m), call.Took())
	return nil
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
