package funnel

import (
	"slices"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/stage/blending"
	"github.com/shortlist-serving/shortlist/go/internal/stage/retrieval"
)

// debugRecord is what explanations need and the cuts would lose. Only debug requests pay for it.
type debugRecord struct {
	explain []int64 // rows to explain, -1 for unknown items; parallel to Debug.Explain
	rows    []int64 // all candidates, in prerank order
	scores  []float32
	cross   []float32 // [M,C], parallel to rows
}

// resolveDebug turns the ids of the debug block into rows. Unknown forced items cannot be carried and are left out.
func (w *walk) resolveDebug(faults *rank.Faults) {
	d := w.Query.Debug
	if d == nil {
		return
	}
	w.debug = &debugRecord{}
	var err error
	if w.debug.explain, err = w.Plan.Catalog.Rows(nil, d.Explain, "debug.explain"); err != nil {
		_ = faults.Merge(err)
	}
	forced, err := w.Plan.Catalog.Rows(nil, d.Force, "debug.force")
	if err != nil {
		_ = faults.Merge(err)
	}
	w.Forced = slices.DeleteFunc(forced, func(row int64) bool { return row < 0 })
}

// recordPrerank keeps the prerank scores of all candidates before the cut.
func (w *walk) recordPrerank() {
	if w.debug == nil {
		return
	}
	c := int(w.Plan.Snapshot.Dims.C)
	for _, candidate := range w.Sort(w.Prerank, w.Rows) {
		at := candidate.Was()
		w.debug.rows = append(w.debug.rows, candidate.Row())
		w.debug.scores = append(w.debug.scores, w.Prerank[at])
		w.debug.cross = append(w.debug.cross, w.Cross[at*c:(at+1)*c]...)
	}
}

// explain tells the stories of the items that the debug block asks for.
func (w *walk) explain(result *rank.Result) []rank.Explanation {
	if w.debug == nil {
		return nil
	}
	order := blending.Order(w.Request, w.scores, len(w.Rows)) // of everything that was ordered
	var explanations []rank.Explanation
	for i, row := range w.debug.explain {
		e := rank.Explanation{Row: row, ID: one(w.Query.Debug.Explain, i), DropReason: rank.DropUnknownItem}
		if row >= 0 {
			w.tell(&e, order, result)
		}
		explanations = append(explanations, e)
	}
	if w.Query.Debug.ExplainResults {
		for i, row := range result.Rows {
			e := rank.Explanation{Row: row, ID: one(result.Items, i)}
			w.tell(&e, order, result)
			explanations = append(explanations, e)
		}
	}
	return explanations
}

func (w *walk) tell(e *rank.Explanation, order []int, result *rank.Result) {
	for _, list := range w.Lists {
		if at := slices.Index(list.Rows, e.Row); at >= 0 {
			e.Sources = append(e.Sources, rank.SourceScore{Source: list.Source, Rank: at, Score: list.Scores[at]})
		}
	}
	c, t := int(w.Plan.Snapshot.Dims.C), int(w.Plan.Snapshot.Dims.T)
	preranked := slices.Index(w.debug.rows, e.Row)
	if preranked >= 0 {
		score := w.debug.scores[preranked]
		e.Prerank, e.PrerankRank = &score, &preranked
		e.Cross = slices.Clone(w.debug.cross[preranked*c : (preranked+1)*c])
	}
	at := slices.Index(w.Rows, e.Row)
	if at >= 0 && len(w.Logits) > 0 {
		e.Logits = slices.Clone(w.Logits[at*t : (at+1)*t])
	}
	if at >= 0 {
		place := slices.Index(order, at)
		e.Rank = &place
		if w.scores != nil {
			score := w.scores[at]
			e.Score = &score
		}
	}
	e.DropReason = w.dropReason(e.Row, preranked >= 0, at >= 0, result)
}

func (w *walk) dropReason(row int64, preranked, ordered bool, result *rank.Result) string {
	switch {
	case slices.Contains(result.Rows, row):
		return ""
	case ordered:
		return rank.DropLimit
	case preranked:
		return rank.DropPrerankCut
	}
	if reason := retrieval.WhyNot(w.Request, w.predicates, row); reason != "" {
		return reason
	}
	return rank.DropNotRetrieved
}

func one(ids rank.ItemIDs, i int) rank.ItemIDs {
	if i < len(ids.Ints) {
		return rank.ItemIDs{Ints: []int64{ids.Ints[i]}}
	}
	return rank.ItemIDs{Strings: []string{ids.Strings[i-len(ids.Ints)]}}
}
