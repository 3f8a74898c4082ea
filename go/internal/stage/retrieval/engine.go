package retrieval

import (
	"context"
	"fmt"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
	"github.com/shortlist-serving/shortlist/go/internal/vector"
	"github.com/shortlist-serving/shortlist/go/internal/vectordb"
)

// Engine finds rows of a release in a vector engine outside this process; *vectordb.Engine is one.
type Engine interface {
	Search(ctx context.Context, releaseID string, q vectordb.Query) ([]int64, error)
}

// engineIndex leaves the choice of rows to an engine and nothing else: whether a row is allowed, its score and its place are
// decided here.
type engineIndex struct{ engine Engine }

func (e *engineIndex) search(ctx context.Context, r *stage.Request, q vector.Query) (vector.Hits, string, error) {
	s, filters := r.Plan.Snapshot, r.Query.Filters
	asked := vectordb.Query{Vector: q.Vector, Limit: q.Limit, Columns: filters.Columns}
	if !filters.KeepUnavailable {
		asked.Time = r.Query.Time
	}
	if !filters.KeepSeen {
		for _, row := range r.History.Rows {
			if row >= 0 {
				asked.Seen = append(asked.Seen, row)
			}
		}
	}
	rows, err := e.engine.Search(ctx, s.ID, asked)
	if err != nil {
		return vector.Hits{}, "", err
	}
	hits, err := vector.Rescore(s.RetrievalVectors, int(s.Dims.K), q, rows)
	if err != nil {
		return vector.Hits{}, "", err
	}
	wanted := min(q.Limit, q.Allowed.Count())
	switch found := len(hits.Rows); {
	case found == 0 && wanted > 0:
		return vector.Hits{}, "", &vectordb.Error{Doing: "find items", Cause: fmt.Errorf("none of its %d rows is allowed, and %d are", len(rows), q.Allowed.Count()),
			Fix: "upload the release again"}
	case found < wanted:
		rank.BudgetFrom(ctx).Degrade(rank.RungFewerCandidates, rank.StageRetrieval, stage.ReasonSourceShort,
			fmt.Sprintf("the vector engine found %d of %d items", found, wanted))
	}
	return hits, "qdrant", nil
}
