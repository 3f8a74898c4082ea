package funnel

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
	"github.com/shortlist-serving/shortlist/go/internal/stage/preranking"
	"github.com/shortlist-serving/shortlist/go/internal/stage/ranking"
	"github.com/shortlist-serving/shortlist/go/internal/stage/retrieval"
)

// Tuning is how a release is cut into work on this machine, and the measurements behind it.
type Tuning struct {
	Chunk     int           // candidates of one run of the ranker
	ChunkTime time.Duration // of such a run, with the longest history
	Events    int           // of the longest history
	Sequence  Linear        // n events, for retrieval
	History   Linear        // n events, for the ranker
	Query     time.Duration // with any history
	Prerank   Linear        // n candidates
	Rank      Linear        // n candidates, with the longest history
}

// Linear is the time of one worker for n: Fixed + Each * n.
type Linear struct{ Fixed, Each time.Duration }

// Of is the time for n.
func (l Linear) Of(n int) time.Duration { return l.Fixed + l.Each*time.Duration(n) }

// chunkSizes that are tried, ascending.
var chunkSizes = []int{64, 96, 128, 192, 256, 384, 512, 768, 1024}

const (
	// chunkWaste is what a candidate may cost in the chosen chunk over what it costs in the cheapest: small
	// chunks pay the fixed part of a run more often, but they end together and let small requests in between.
	chunkWaste = 0.03
	// tuneRounds are the runs of which the fastest counts, because noise only adds.
	tuneRounds = 7
)

// Tune measures the stages of a release, sets their paces and prices, and chooses the chunk, unless the options say
// it. It takes a fraction of a second, behind live traffic.
func (p *Replayer) Tune(ctx context.Context, s *repository.Snapshot) (*Tuning, error) {
	ctx = unhurried(ctx)
	release := s.Prepared.(*Release)
	t := &Tuning{Events: max(int(s.Bundle.Manifest.GetSchema().GetHistory().GetMaxEvents()), 1)}
	for _, step := range []func(context.Context, *Release, *Tuning) error{p.tuneEvents, p.tuneCandidates} {
		if err := step(ctx, release, t); err != nil {
			return nil, fmt.Errorf("tune release %s: %w", s.ID, err)
		}
	}
	if p.funnel.opts.Chunk > 0 {
		t.Chunk = p.funnel.opts.Chunk
	}
	t.ChunkTime = t.Rank.Of(t.Chunk)
	release.prices.Store(pricesOf(t))
	plan := release.plan
	plan.SetChunk(t.Chunk)
	for _, stage := range []struct {
		pace *stage.Pace
		cost Linear
	}{
		{&plan.SequenceEncoder.Pace, t.Sequence}, {&plan.HistoryEncoder.Pace, t.History}, {&plan.QueryPace, Linear{Each: t.Query}},
		{&plan.PrerankPace, t.Prerank}, {&plan.RankPace, t.Rank},
	} {
		stage.pace.Set(stage.cost.Fixed, stage.cost.Each)
	}
	return t, nil
}

// tuneEvents measures what grows with the history.
func (p *Replayer) tuneEvents(ctx context.Context, release *Release, t *Tuning) error {
	sizes := [2]int{max(t.Events/4, 1), t.Events}
	var sequence, history [2]time.Duration
	for i, events := range sizes {
		w, err := p.funnel.assemble(ctx, release, sample(release.plan, events, 1), nil)
		if err != nil {
			return err
		}
		sequence[i], err = fastest(func() error { return w.encodeForQuery(ctx) })
		if err == nil {
			history[i], err = fastest(func() error { return w.encodeForRanker(ctx) })
		}
		release.plan.Put(w.Scratch)
		if err != nil {
			return err
		}
	}
	t.Sequence, t.History = linear(sizes, sequence), linear(sizes, history)
	return nil
}

// tuneCandidates measures what grows with the candidates, and chooses the chunk: the smallest whose cost
// per candidate is near the least.
func (p *Replayer) tuneCandidates(ctx context.Context, release *Release, t *Tuning) error {
	plan := release.plan
	most := min(int(plan.Funnel.GetMaxCandidates()), plan.Catalog.Len(), chunkSizes[len(chunkSizes)-1])
	sizes := slices.DeleteFunc(slices.Clone(chunkSizes), func(size int) bool { return size > most })
	if len(sizes) == 0 {
		sizes = []int{most}
	}
	w, err := p.funnel.assemble(ctx, release, sample(plan, t.Events, sizes[len(sizes)-1]), nil)
	if err != nil {
		return err
	}
	defer plan.Put(w.Scratch)
	if err := errors.Join(w.encodeForQuery(ctx), w.encodeForRanker(ctx)); err != nil {
		return err
	}
	if t.Query, err = fastest(func() error { return retrieval.EncodeQuery(ctx, w.Request) }); err != nil {
		return err
	}
	rows, ends := w.Rows, [2]int{sizes[0], sizes[len(sizes)-1]}
	var prerank [2]time.Duration
	for i, size := range ends {
		w.Rows = rows[:size]
		if prerank[i], err = fastest(func() error { return preranking.Prerank(ctx, w.Request) }); err != nil {
			return err
		}
	}
	t.Prerank = linear(ends, prerank)

	took, cheapest := make([]time.Duration, len(sizes)), math.Inf(1)
	for i, size := range slices.Backward(sizes) {
		ranking.Truncate(w.Request, size)
		plan.SetChunk(size)
		took[i], err = fastest(func() error { _, err := ranking.Rank(ctx, w.Request, 0); return err })
		if err != nil {
			return err
		}
		cheapest = min(cheapest, float64(took[i])/float64(size))
	}
	chosen := 0
	for float64(took[chosen])/float64(sizes[chosen]) > cheapest*(1+chunkWaste) {
		chosen++
	}
	t.Chunk = sizes[chosen]
	far := min(max(chosen, 1), len(sizes)-1) // another size than the first, where there is one
	t.Rank = linear([2]int{sizes[0], sizes[far]}, [2]time.Duration{took[0], took[far]})
	return nil
}

func (w *walk) encodeForQuery(ctx context.Context) (err error) {
	call := retrieval.Encode(ctx, w.Request)
	defer call.Leave()
	w.Sequence, err = call.Wait(ctx)
	return err
}

func (w *walk) encodeForRanker(ctx context.Context) (err error) {
	call := ranking.Encode(ctx, w.Request)
	defer call.Leave()
	w.Encoding, err = call.Wait(ctx)
	return err
}

// sample is a query for the first items of the catalog, by a user who engaged with others. What the values
// are does not matter: no graph takes longer over one number than over another.
func sample(plan *stage.Plan, events, candidates int) *rank.Query {
	history, times := make([]int64, events), make([]int64, events)
	for i := range history {
		history[i], times[i] = int64((candidates+i)%plan.Catalog.Len()), 1
	}
	rows := make([]int64, candidates)
	for i := range rows {
		rows[i] = int64(i)
	}
	ids := plan.Catalog.IDs(rows)
	return &rank.Query{Mode: rank.Rank, Candidates: &ids, History: &rank.History{Items: plan.Catalog.IDs(history), Times: times},
		Time: time.Now().Unix()}
}

// fastest is the shortest time of some runs.
func fastest(run func() error) (time.Duration, error) {
	best := time.Duration(math.MaxInt64)
	for range tuneRounds {
		start := time.Now()
		if err := run(); err != nil {
			return 0, err
		}
		best = min(best, time.Since(start))
	}
	return best, nil
}

// linear goes through two measurements. Where noise turned it around, all of the larger one grows with n.
func linear(n [2]int, took [2]time.Duration) Linear {
	if n[0] < n[1] {
		each := (took[1] - took[0]) / time.Duration(n[1]-n[0])
		if fixed := took[0] - each*time.Duration(n[0]); each > 0 && fixed > 0 {
			return Linear{Fixed: fixed, Each: each}
		}
	}
	return Linear{Each: max(took[1]/time.Duration(max(n[1], 1)), 1)}
}
