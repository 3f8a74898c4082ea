package retrieval

import (
	"context"
	"fmt"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// popular proposes the head of a ranked list, of the request's segment where the source has one. It runs
// no graph, so it is also the last rung of the ladder.
type popular struct {
	name    string
	limit   int
	segment string
	table   *bundle.Popular
}

func newPopular(source *bundlev1.Source, table *bundle.SourceTable) (*popular, error) {
	if table == nil || table.Popular == nil {
		return nil, fmt.Errorf("source %s: the release has no list of popular items at %q; export the release again", source.GetName(), source.GetPath())
	}
	return &popular{name: source.GetName(), limit: int(source.GetLimit()), segment: source.GetSegment(), table: table.Popular}, nil
}

func (s *popular) Name() string { return s.name }

func (s *popular) Retrieve(_ context.Context, r *stage.Request) (stage.List, error) {
	rows, scores := s.table.Default()
	if s.segment != "" {
		if value, ok := r.Plan.Encoder.Segment(s.segment, r.Query.User, r.Query.Context); ok {
			rows, scores = s.table.List(value)
		}
	}
	list := stage.List{Source: s.name, Rows: make([]int64, 0, s.limit), Scores: make([]float32, 0, s.limit)}
	for i, row := range rows {
		if len(list.Rows) == s.limit {
			break
		}
		if r.Allowed.Has(row) {
			list.Rows = append(list.Rows, row)
			list.Scores = append(list.Scores, scores[i])
		}
	}
	return list, nil
}
