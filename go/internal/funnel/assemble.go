package funnel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/trace"
	"strings"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/feature"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
	"github.com/shortlist-serving/shortlist/go/internal/stage/retrieval"
)

// assemble makes the request that travels through the stages: it joins the stored user with what is
// inline, encodes everything, and checks the query against the release. It lists every fault at once.
func (f *Funnel) assemble(ctx context.Context, release *Release, q *rank.Query, tap stage.Tap) (*walk, error) {
	defer trace.StartRegion(ctx, "assemble").End()
	plan := release.plan
	w := &walk{
		request: stage.Request{Plan: plan, Pool: f.pool, Histories: f.histories, Dropped: make(map[string]int), Exact: f.exact, Tap: tap},
		used:    *q, release: release, failures: &f.failures, budget: rank.BudgetFrom(ctx),
		reports: make([]rank.StageReport, 0, maxReports), cache: f.cache, asked: q,
	}
	w.planned = w.budget.Rung()
	w.Request = &w.request
	w.Query = &w.used
	used := w.Query
	var faults rank.Faults
	checkLimits(plan.Funnel, used, &faults)
	applyOverrides(used, &faults)
	stored := f.storedUser(ctx, w)
	if err := w.encodeUser(stored, &faults); err != nil {
		return nil, err
	}
	var err error
	if w.predicates, err = retrieval.CompileFilters(plan.Catalog, used.Filters.Columns); faults.Merge(err) != nil {
		return nil, err
	}
	w.resolveDebug(&faults)

	w.Scratch = plan.Get()
	if used.Candidates != nil {
		if err := faults.Merge(retrieval.Given(w.Request, w.predicates)); err != nil {
			plan.Put(w.Scratch)
			return nil, err
		}
	}
	if err := faults.Err(); err != nil {
		plan.Put(w.Scratch)
		return nil, err
	}
	w.noteInputs()
	return w, nil
}

func checkLimits(sizes *bundlev1.Funnel, q *rank.Query, faults *rank.Faults) {
	if q.Limit > int(sizes.GetMaxLimit()) {
		faults.Add("limit", rank.ReasonTooLarge, fmt.Sprintf("is over the release's %d", sizes.GetMaxLimit()), "ask for fewer items")
	}
	if q.Limit == 0 {
		q.Limit = int(sizes.GetDefaultLimit())
	}
	if q.Candidates != nil && q.Candidates.Len() > int(sizes.GetMaxCandidates()) {
		faults.Add("candidates", rank.ReasonTooLarge, fmt.Sprintf("there are more than the release's %d", sizes.GetMaxCandidates()),
			"send fewer, or split the request")
	}
}

// applyOverrides replaces features by those of the debug block, in copies: the caller's maps stay as they are.
func applyOverrides(q *rank.Query, faults *rank.Faults) {
	if q.Debug == nil || len(q.Debug.Override) == 0 {
		return
	}
	q.User, q.Context = cloneFeatures(q.User), cloneFeatures(q.Context)
	for name, value := range q.Debug.Override {
		if column, ok := strings.CutPrefix(name, "user."); ok {
			q.User[column] = value
		} else if column, ok := strings.CutPrefix(name, "context."); ok {
			q.Context[column] = value
		} else {
			faults.Add("debug.override_features", rank.ReasonUnknownColumn, "a name begins with neither \"user.\" nor \"context.\"",
				"name columns like user.age")
		}
	}
}

func cloneFeatures(features rank.Features) rank.Features {
	if features == nil {
		return make(rank.Features)
	}
	return maps.Clone(features)
}

// storedUser looks the user up. A store that holds nothing, or does not answer, makes a cold user: that is
// flagged in the coverage, and never an error.
func (f *Funnel) storedUser(ctx context.Context, w *walk) *feature.User {
	if f.store == nil || w.Query.UserID == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, f.opts.StoreTimeout)
	defer cancel()
	user, err := f.store.Get(ctx, w.Query.UserID)
	switch {
	case err == nil:
		return user
	case errors.Is(err, rank.ErrUserNotFound):
		w.budget.Degrade(rank.RungFull, rank.StageRetrieval, stage.ReasonUnknownUser, "the store holds nothing of this user")
	default:
		w.budget.Degrade(rank.RungFewerCandidates, rank.StageRetrieval, stage.ReasonStoreFailed, "the user store did not answer")
	}
	return nil
}

// encodeUser encodes history and features. What was stored under another schema than the release's must
// not fail the caller's request: then the inline part is used alone, and the coverage says so.
func (w *walk) encodeUser(stored *feature.User, faults *rank.Faults) error {
	inline := *w.Query
	if stored != nil {
		err := w.encode(joinStored(w.Query, stored, w.Plan.Snapshot.Bundle.Manifest.GetSchema().GetUser()), stored.Dropped)
		var invalid *rank.InvalidError
		if !errors.As(err, &invalid) {
			return err
		}
		if inlineErr := w.encode(inline, 0); inlineErr == nil {
			w.budget.Degrade(rank.RungFewerCandidates, rank.StageRetrieval, stage.ReasonStoredInvalid, "the stored user does not fit the release's schema")
			return nil
		}
	}
	return faults.Merge(w.encode(inline, 0))
}

// joinStored is the query with what the store knows: the inline history wins whole, inline features column by column.
func joinStored(q *rank.Query, stored *feature.User, columns []*bundlev1.Column) rank.Query {
	joined := *q
	if q.History == nil {
		joined.History = &stored.History
	}
	joined.User = make(rank.Features, len(columns))
	for _, column := range columns {
		if value, ok := stored.Features[column.GetName()]; ok {
			joined.User[column.GetName()] = value
		}
	}
	maps.Copy(joined.User, q.User)
	return joined
}

func (w *walk) encode(q rank.Query, dropped int64) error {
	var faults rank.Faults
	w.history = rank.History{}
	if q.History != nil {
		w.history = *q.History
	}
	if w.Query.History != nil {
		dropped = 0 // the history is inline: the store's count is of another one
	}
	var err error
	if w.History, err = w.Plan.Encoder.History(w.history, dropped); faults.Merge(err) != nil {
		return err
	}
	if w.Columns, err = w.Plan.Encoder.Columns(q.User, q.Context); faults.Merge(err) != nil {
		return err
	}
	if err := faults.Err(); err != nil {
		return err
	}
	q.History = &w.history
	*w.Query = q
	return nil
}

// noteInputs shows the tap what the graphs get.
func (w *walk) noteInputs() {
	if w.Tap == nil {
		return
	}
	for i, name := range w.Plan.Encoder.HistoryNames() {
		w.Tap("in."+name, w.History.Tensors[i])
	}
	w.Tap("in.history_length", runtime.Ints([]int64{int64(w.History.Length)}, 1))
	for i, name := range w.Plan.Encoder.ColumnNames() {
		w.Tap("in."+name, w.Columns[i])
	}
}
