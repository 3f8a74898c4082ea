package funnel

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// withBudget gives the request its deadline, less the reserve, its rung and its cost.
func (f *Funnel) withBudget(ctx context.Context, q *rank.Query) (context.Context, context.CancelFunc) {
	deadline := time.Now().Add(f.opts.Timeout)
	if asked, ok := ctx.Deadline(); ok && asked.Before(deadline) {
		deadline = asked
	}
	deadline = deadline.Add(-f.opts.Reserve)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	rung, reason := f.plan(q)
	budget := rank.NewBudget(deadline, f.expected(q).cost(rung, f.prices.Load()), q.Priority).ForTenant(q.Tenant)
	if rung > rank.RungFull {
		budget.Degrade(rung, cutStage[rung], reason, plannedDetails[reason])
	}
	return rank.WithBudget(ctx, budget), cancel
}

// plan chooses the rung before the request starts: the one that is forced, or a sampled one, or what the
// pressure asks for. Retrieve has nothing to give up before the cached answer.
func (f *Funnel) plan(q *rank.Query) (rung rank.Rung, reason string) {
	switch {
	case q.Debug != nil && q.Debug.ForceRung != 0:
		rung, reason = q.Debug.ForceRung, stage.ReasonForced
	case f.forced != 0:
		rung, reason = f.forced, stage.ReasonForced
	default:
		rung, reason = f.ladder.rung(q), stage.ReasonOverload
		if rung == rank.RungFull {
			rung, reason = f.sampled(), stage.ReasonSampled
		}
	}
	if q.Mode == rank.Retrieve && rung < rank.RungCached {
		rung = rank.RungFull
	}
	return rung, reason
}

// sampled sends a share of the traffic down each rung, so that no rung is code that only an emergency runs.
func (f *Funnel) sampled() rank.Rung {
	if f.opts.SampleRungs == 0 {
		return rank.RungFull
	}
	if at := int(rand.Float64() / f.opts.SampleRungs); at < int(rank.RungPopular-rank.RungFull) {
		return rank.RungFewerCandidates + rank.Rung(at)
	}
	return rank.RungFull
}

// cutStage is the first stage that a rung cuts short.
var cutStage = map[rank.Rung]string{
	rank.RungFewerCandidates: rank.StageRanking, rank.RungPrerankerOrder: rank.StageRanking, rank.RungRetrievalOrder: rank.StagePreranking,
	rank.RungCached: rank.StageRetrieval, rank.RungPopular: rank.StageRetrieval,
}

var plannedDetails = map[string]string{
	stage.ReasonForced:   "the rung was asked for",
	stage.ReasonSampled:  "a share of the traffic exercises this rung",
	stage.ReasonOverload: "the server is overloaded and gives up quality before it gives up calls",
}

// enter admits the request. What runs no graph waits for nobody.
func (f *Funnel) enter(ctx context.Context, q *rank.Query) (leave func(), err error) {
	admit := f.gate.Enter
	if rank.BudgetFrom(ctx).Rung() >= rank.RungCached {
		admit = f.gate.Pass
	}
	leave, err = admit(ctx)
	var full *rank.OverloadedError
	f.ladder.entered(time.Now(), q.Tenant, errors.As(err, &full))
	return leave, err
}

// parseRung reads a rung of the configuration; "" is none.
func parseRung(field, name string) (rank.Rung, error) {
	if name == "" {
		return 0, nil
	}
	if rung, ok := rank.ParseRung(name); ok {
		return rung, nil
	}
	return 0, fmt.Errorf("%s: %q is no rung; use full, fewer_candidates, preranker_order, retrieval_order, cached or popular", field, name)
}
