package retrieval

import (
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// Given makes the caller's items the candidates, in the given order, without duplicates, unknown items and
// what the column filters leave out. Its fault is an *rank.InvalidError on "candidates".
func Given(r *stage.Request, predicates []Predicate) error {
	rows, err := r.Plan.Catalog.Rows(r.Rows[:0], *r.Query.Candidates, "candidates")
	if err != nil {
		return err
	}
	r.NewMarks()
	kept := rows[:0]
	for _, row := range rows {
		switch {
		case row < 0:
			r.Dropped[rank.DropUnknownItem]++
		case !r.Mark(row):
			r.Dropped[rank.DropDuplicate]++
		case !r.IsForced(row) && verdict(row, predicates) != "":
			r.Dropped[rank.DropFilter]++
		default:
			kept = append(kept, row)
		}
	}
	r.Rows = kept
	force(r)
	// The caller's order carries no scores; zeros keep the lists parallel.
	clear(stage.Resize(&r.Retrieval, len(r.Rows)))
	r.NoteInts("merged_rows", r.Rows)
	return nil
}

// force adds the forced rows that are not candidates yet.
func force(r *stage.Request) {
	for _, row := range r.Forced {
		if r.Mark(row) {
			r.Rows = append(r.Rows, row)
		}
	}
}
