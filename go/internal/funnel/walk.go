package funnel

import (
	"context"
	"fmt"
	"runtime/trace"
	"slices"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/kvcache"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
	"github.com/shortlist-serving/shortlist/go/internal/stage/blending"
	"github.com/shortlist-serving/shortlist/go/internal/stage/preranking"
	"github.com/shortlist-serving/shortlist/go/internal/stage/ranking"
	"github.com/shortlist-serving/shortlist/go/internal/stage/retrieval"
)

const maxReports = 4 // one a stage

// walk is one request and how far it came.
type walk struct {
	*stage.Request
	request    stage.Request // what Request points to
	used       rank.Query    // what Query points to
	history    rank.History  // what Query.History points to
	release    *Release
	failures   *failures
	budget     *rank.Budget
	planned    rank.Rung // as far as the request goes at most; full for most
	cache      *cache
	asked      *rank.Query // as it came: the key of kept answers
	predicates []retrieval.Predicate
	sequence   kvcache.Call // the history for the query vector; zero where none is wanted
	encoding   kvcache.Call // the history for the ranker; zero where that does not run
	queryErr   error        // why there is no query vector
	reports    []rank.StageReport
	scores     []float32 // by which the answer is ordered; nil: as retrieved
	debug      *debugRecord
}

// step runs one stage under the budget and reports it. A stage that fails takes the answer down to rung.
func (w *walk) step(ctx context.Context, name string, need time.Duration, rung rank.Rung, run func() error) bool {
	defer trace.StartRegion(ctx, name).End()
	start, in := time.Now(), len(w.Rows)
	err := w.budget.Start(ctx, name, need)
	if err == nil {
		err = run()
	}
	if err != nil {
		w.degrade(rung, name, err)
		return false
	}
	w.reports = append(w.reports, rank.StageReport{Stage: name, In: in, Out: len(w.Rows), Micros: time.Since(start).Microseconds()})
	return true
}

// degrade records why a stage has no result. The detail is for callers: no paths, no input.
func (w *walk) degrade(rung rank.Rung, name string, err error) {
	reason := stage.ReasonOf(err)
	w.budget.Degrade(rung, name, reason, details[reason])
	w.failures.report(name, w.Plan.Snapshot.ID, err)
}

var details = map[string]string{
	stage.ReasonDeadline:    "the deadline left no time for the stage",
	stage.ReasonOverload:    "the worker queue was full",
	stage.ReasonNonFinite:   "a graph gave NaN or infinity, so its scores were not used",
	stage.ReasonDevice:      "the device that runs the graphs failed",
	stage.ReasonEngine:      "the vector engine failed; the server's log says why",
	stage.ReasonStageFailed: "the stage failed; the server's log says why",
}

// encodeHistory starts the encodings that the planned rung comes to use; leaveHistory must follow.
func (w *walk) encodeHistory(ctx context.Context) {
	if w.wantsQuery() {
		w.sequence = retrieval.Encode(ctx, w.Request)
	}
	if w.Query.Mode != rank.Retrieve && w.planned < rank.RungPrerankerOrder {
		w.encoding = ranking.Encode(ctx, w.Request)
	}
}

func (w *walk) leaveHistory() {
	w.sequence.Leave()
	w.encoding.Leave()
}

// wantsQuery says whether the planned rung uses the query vector: to retrieve, or to prerank what was given.
func (w *walk) wantsQuery() bool {
	return w.planned < rank.RungRetrievalOrder || w.planned < rank.RungCached && w.Query.Candidates == nil
}

// retrieve encodes the query and, unless candidates were given, asks the sources.
func (w *walk) retrieve(ctx context.Context) bool {
	if w.Query.Candidates != nil {
		if w.wantsQuery() {
			w.encodeQuery(ctx)
		}
		return true
	}
	retrieval.Allow(w.Request, w.predicates)
	return w.step(ctx, rank.StageRetrieval, 0, rank.RungCached, func() error {
		w.encodeQuery(ctx)
		err := w.release.retriever.Retrieve(ctx, w.Request)
		if err == nil { // else they are in it
			for _, fault := range w.Faults {
				w.failures.report(rank.StageRetrieval, w.Plan.Snapshot.ID, fault)
			}
		}
		return err
	})
}

// encodeQuery keeps its error for the stages that need the vector: the other sources can do without.
func (w *walk) encodeQuery(ctx context.Context) {
	if w.queryErr = w.budget.Start(ctx, "query encoding", 0); w.queryErr != nil {
		return
	}
	if w.Sequence, w.queryErr = w.sequence.Wait(ctx); w.queryErr == nil {
		w.queryErr = retrieval.EncodeQuery(ctx, w.Request)
	}
}

// fallback answers without any graph: from the kept answer of this user, or else from the popular list. Candidates
// that were given stay in the order in which they came.
func (w *walk) fallback(ctx context.Context) {
	if w.Query.Candidates == nil && w.Allowed == nil {
		retrieval.Allow(w.Request, w.predicates)
	}
	if w.planned <= rank.RungCached && w.cached() {
		return
	}
	w.budget.Lower(rank.RungPopular)
	if w.Query.Candidates == nil {
		w.popular(ctx)
	}
}

// cached answers from the kept answer: what the filters of now allow of it, in its order.
func (w *walk) cached() bool {
	entry := w.cache.get(w.asked, w.Plan.Snapshot.ID)
	if entry == nil {
		return false
	}
	allowed := func(row int64) bool { return w.Allowed.Has(row) }
	if w.Query.Candidates != nil {
		w.NewMarks()
		for _, row := range w.Rows {
			w.Mark(row)
		}
		allowed = func(row int64) bool { return !w.Mark(row) }
	}
	rows, scores := make([]int64, 0, len(entry.rows)), make([]float32, 0, len(entry.rows))
	for i, row := range entry.rows {
		if allowed(row) {
			rows, scores = append(rows, row), append(scores, entry.scores[i])
		}
	}
	if len(rows) == 0 {
		return false
	}
	w.Rows, w.Retrieval = rows, scores
	return true
}

// popular is the last rung: no graph, no time, but an answer.
func (w *walk) popular(ctx context.Context) {
	start := time.Now()
	if err := w.release.retriever.Popular(ctx, w.Request); err != nil {
		w.degrade(rank.RungPopular, rank.StageRetrieval, err)
		return
	}
	w.reports = append(w.reports, rank.StageReport{Stage: rank.StageRetrieval, Out: len(w.Rows), Micros: time.Since(start).Microseconds()})
}

// prerank orders the candidates and, where they were retrieved, cuts them to the release's prerank_keep.
func (w *walk) prerank(ctx context.Context) bool {
	need := w.Plan.PrerankPace.For(len(w.Rows))
	return w.step(ctx, rank.StagePreranking, need, rank.RungRetrievalOrder, func() error {
		if w.queryErr != nil {
			return w.queryErr
		}
		if err := preranking.Prerank(ctx, w.Request); err != nil {
			return err
		}
		keep := int(w.Plan.Funnel.GetPrerankKeep())
		if w.Query.Candidates != nil {
			keep = -1
		}
		w.recordPrerank()
		preranking.Cut(w.Request, keep)
		w.scores = w.Prerank
		return nil
	})
}

// rank scores the kept candidates: all, or as many as the time left is known to allow, but never fewer
// than the answer needs.
func (w *walk) rank(ctx context.Context) bool {
	return w.step(ctx, rank.StageRanking, 0, rank.RungPrerankerOrder, func() error {
		var err error
		if w.Encoding, err = w.encoding.Wait(ctx); err != nil {
			return err
		}
		m, wanted := len(w.Rows), min(w.Query.Limit, len(w.Rows))
		if w.planned == rank.RungFewerCandidates {
			m = min(m, max(wanted, m/fewerShare))
			ranking.Truncate(w.Request, m)
		}
		fit := w.Plan.RankPace.Fit(m, w.budget.Left(), w.Pool.Workers())
		if fit < wanted {
			return &rank.DeadlineError{Stage: rank.StageRanking}
		}
		if fit < m {
			ranking.Truncate(w.Request, fit)
			w.budget.Degrade(rank.RungFewerCandidates, rank.StageRanking, stage.ReasonDeadline, fmt.Sprintf("ranked the best %d of %d", fit, m))
		}
		ranked, err := ranking.Rank(ctx, w.Request, wanted)
		w.scores = w.Prerank // Rank may have dropped candidates
		if err != nil && ranked > 0 {
			w.budget.Degrade(rank.RungFewerCandidates, rank.StageRanking, stage.ReasonOf(err), fmt.Sprintf("ranked %d of %d", ranked, m))
			w.failures.report(rank.StageRanking, w.Plan.Snapshot.ID, err)
			return nil
		}
		return err
	})
}

// blend turns predictions into scores.
func (w *walk) blend(ctx context.Context) {
	w.step(ctx, rank.StageBlending, 0, rank.RungPrerankerOrder, func() error {
		if err := w.release.value.ScoreAll(w.Request); err != nil {
			return err
		}
		w.scores = w.Score
		return nil
	})
}

// respond cuts the ordered candidates to the limit and builds the answer.
func (w *walk) respond(ctx context.Context) *rank.Result {
	defer trace.StartRegion(ctx, "respond").End()
	positions := blending.Order(w.Request, w.scores, w.Query.Limit)
	result := &rank.Result{ReleaseID: w.Plan.Snapshot.ID, Stages: w.reports, Dropped: w.Dropped}
	if w.scores == nil {
		blending.Fill(w.Request, result, w.Retrieval, positions)
	} else {
		blending.Fill(w.Request, result, w.scores, positions)
	}
	if last := len(w.reports) - 1; last >= 0 && w.reports[last].Stage == rank.StageBlending {
		w.reports[last].Out = len(positions)
	}
	result.Coverage.StagesRun = slices.Grow(result.Coverage.StagesRun, len(w.reports))
	for _, report := range w.reports {
		result.Coverage.StagesRun = append(result.Coverage.StagesRun, report.Stage)
	}
	result.Coverage.Rung, result.Coverage.Degradations = w.budget.Rung(), w.budget.Degradations()
	w.budget.Answered(w.spent())
	w.NoteInts("final_rows", result.Rows)
	w.NoteFloats("final_scores", result.Scores, int64(len(result.Scores)))
	result.Explanations = w.explain(result)
	return result
}

// spent is what the request cost on the rung that was planned, from what is known of it now.
func (w *walk) spent() int64 {
	done := work{candidates: int64(len(w.Rows)), retrieve: w.Query.Candidates == nil, mode: w.Query.Mode}
	done.sequence, done.history = int64(w.sequence.Encoded()), int64(w.encoding.Encoded()) // what was kept costs nothing
	if w.planned == rank.RungFewerCandidates {
		done.candidates *= fewerShare
	}
	return done.cost(w.planned, w.release.prices.Load())
}
