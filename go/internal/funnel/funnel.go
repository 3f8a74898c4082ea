// Package funnel answers a query: retrieval, preranking, ranking, blending. Answer and run are the whole
// flow; whatever fails on the way leads one rung down the ladder, and the answer says so.
package funnel

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/feature"
	"github.com/shortlist-serving/shortlist/go/internal/kvcache"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// Releases pins releases; *repository.Repository is one.
type Releases interface {
	Acquire() (s *repository.Snapshot, release func(), err error)
	AcquireRelease(id string) (s *repository.Snapshot, release func(), err error)
}

// Funnel answers queries. It is safe for concurrent use.
type Funnel struct {
	opts      Options
	releases  Releases
	gate      *batching.Gate
	pool      *batching.Pool
	histories *kvcache.Cache
	store     feature.Store // nil: users are always inline
	served    func(Served)  // nil: nobody is told
	ladder    *ladder
	forced    rank.Rung // 0: none
	cache     *cache    // nil: nothing is kept
	failures  failures
	exact     bool                   // for golden requests: see stage.Request
	prices    atomic.Pointer[prices] // of the release that served last: admission comes before a release is pinned
}

// Served is an answered query, with history and features as they were used. Nothing of it changes any more.
type Served struct {
	Query  *rank.Query
	Result *rank.Result
}

// New makes a funnel. store and served may be nil.
func New(opts Options, releases Releases, gate *batching.Gate, pool *batching.Pool, histories *kvcache.Cache, store feature.Store,
	served func(Served), logger *slog.Logger) *Funnel {
	opts.EnsureDefaults()
	worst, _ := parseRung("", opts.WorstRung) // Validate has told
	forced, _ := parseRung("", opts.ForceRung)
	return &Funnel{
		opts: opts, releases: releases, gate: gate, pool: pool, histories: histories, store: store, served: served,
		failures: failures{logger: logger}, ladder: newLadder(worst), forced: forced, cache: newCache(opts.CacheBytes, opts.CacheAge),
	}
}

// Answer admits a query, pins a release and runs the funnel. Its errors are those of package rank, or that of ctx.
func (f *Funnel) Answer(ctx context.Context, q *rank.Query) (*rank.Result, error) {
	start := time.Now()
	ctx, done := f.withBudget(ctx, q)
	defer done()
	leave, err := f.enter(ctx, q)
	if err != nil {
		return nil, err
	}
	defer leave()
	release, unpin, err := f.pin(q)
	if err != nil {
		return nil, err
	}
	defer unpin()

	used, result, err := f.run(ctx, release, q, nil)
	if err != nil {
		return nil, err
	}
	f.cache.put(q, result)
	result.Micros = time.Since(start).Microseconds()
	if f.served != nil && (q.Debug == nil || !q.Debug.DoNotLog) {
		f.served(Served{Query: used, Result: result})
	}
	return result, nil
}

// run takes a query through the stages. Each asks the budget first and says whether the next one can go
// on; where one cannot, the answer is made of what there is: preranker order, retrieval order, popular list.
func (f *Funnel) run(ctx context.Context, release *Release, q *rank.Query, tap stage.Tap) (*rank.Query, *rank.Result, error) {
	w, err := f.assemble(ctx, release, q, tap) // user, history, context
	if err != nil {
		return nil, nil, err
	}
	defer release.plan.Put(w.Scratch)
	w.encodeHistory(ctx) // for retrieval and for the ranker, beside each other and beside what waits for neither
	defer w.leaveHistory()
	switch {
	case w.planned >= rank.RungCached || !w.retrieve(ctx): // sources in parallel, filter, merge
		w.fallback(ctx) // the last answer, or the popular list
	case q.Mode == rank.Retrieve || len(w.Rows) == 0 || w.planned == rank.RungRetrievalOrder:
	case !w.prerank(ctx) || w.planned == rank.RungPrerankerOrder: // all candidates, cheaply; then cut
	case !w.rank(ctx): // the kept ones, in chunks
	default:
		w.blend(ctx) // value formula
	}
	if err := canceled(ctx); err != nil {
		return nil, nil, err // nobody waits for the answer
	}
	return w.Query, w.respond(ctx), nil
}
