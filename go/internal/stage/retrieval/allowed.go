package retrieval

import (
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// Allow works out which rows of the catalog may be retrieved: available at the query's time, not seen, and
// passing the column filters. It counts what it leaves out.
func Allow(r *stage.Request, predicates []Predicate) {
	q, catalog := r.Query, r.Plan.Catalog
	r.Allowed = r.AllRows(catalog.Len())
	drop := func(row int64, reason string) {
		if r.Allowed.Remove(row) {
			r.Dropped[reason]++
		}
	}
	if !q.Filters.KeepSeen {
		for _, row := range r.History.Rows {
			if row >= 0 {
				drop(row, rank.DropSeen)
			}
		}
	}
	if !q.Filters.KeepUnavailable {
		if available := r.Plan.Availability.At(q.Time); available != nil {
			if removed := r.Allowed.Keep(available); removed > 0 {
				r.Dropped[rank.DropUnavailable] += removed
			}
		}
	}
	if len(predicates) > 0 {
		for row := range catalog.Len() {
			if r.Allowed.Has(int64(row)) {
				if reason := verdict(int64(row), predicates); reason != "" {
					drop(int64(row), reason)
				}
			}
		}
	}
}

// WhyNot is why a known row is not allowed, "" when it is.
func WhyNot(r *stage.Request, predicates []Predicate, row int64) string {
	if r.Query.Candidates == nil {
		if !r.Query.Filters.KeepSeen {
			for _, seen := range r.History.Rows {
				if seen == row {
					return rank.DropSeen
				}
			}
		}
		if !r.Query.Filters.KeepUnavailable && !r.Plan.Catalog.Available(row, r.Query.Time) {
			return rank.DropUnavailable
		}
	}
	return verdict(row, predicates)
}
