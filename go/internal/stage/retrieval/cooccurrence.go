package retrieval

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// cooccurrence proposes the neighbours of the newest events: the score of p is the sum over events e,
// newest first with age 0, 1, ..., of decay^age * weight(e, p).
type cooccurrence struct {
	name   string
	limit  int
	events int
	decay  float64
	table  *bundle.Cooccurrence
	sums   sync.Pool // of *sums
}

// sums accumulates one score per item. Invariant between uses: all zero and empty.
type sums struct {
	score   []float64
	reached []bool
	rows    []int64
}

func newCooccurrence(source *bundlev1.Source, table *bundle.SourceTable, items int) (*cooccurrence, error) {
	if table == nil || table.Cooccurrence == nil {
		return nil, fmt.Errorf("source %s: the release has no co-occurrence table at %q; export the release again", source.GetName(), source.GetPath())
	}
	s := &cooccurrence{name: source.GetName(), limit: int(source.GetLimit()), events: int(source.GetHistoryEvents()),
		decay: source.GetDecay(), table: table.Cooccurrence}
	s.sums.New = func() any { return &sums{score: make([]float64, items), reached: make([]bool, items)} }
	return s, nil
}

func (s *cooccurrence) Name() string { return s.name }

func (s *cooccurrence) Retrieve(_ context.Context, r *stage.Request) (stage.List, error) {
	sum := s.sums.Get().(*sums)
	defer s.putBack(sum)
	history := r.History.Rows
	for age := range min(s.events, len(history)) {
		event := history[len(history)-1-age]
		if event < 0 {
			continue // an unknown item has no neighbours, but it does take an age
		}
		factor := math.Pow(s.decay, float64(age))
		rows, weights := s.table.Neighbours(event)
		for i, row := range rows {
			if !sum.reached[row] {
				sum.reached[row] = true
				sum.rows = append(sum.rows, row)
			}
			sum.score[row] += factor * float64(weights[i])
		}
	}
	list := stage.List{Source: s.name, Rows: make([]int64, 0, len(sum.rows))}
	for _, row := range sum.rows {
		if r.Allowed.Has(row) {
			list.Rows = append(list.Rows, row)
		}
	}
	slices.SortFunc(list.Rows, func(a, b int64) int {
		return cmp.Or(cmp.Compare(float32(sum.score[b]), float32(sum.score[a])), cmp.Compare(a, b))
	})
	list.Rows = list.Rows[:min(len(list.Rows), s.limit)]
	list.Scores = make([]float32, len(list.Rows))
	for i, row := range list.Rows {
		list.Scores[i] = float32(sum.score[row])
	}
	if !stage.Finite(list.Scores) {
		return stage.List{}, stage.ErrNonFinite
	}
	return list, nil
}

func (s *cooccurrence) putBack(sum *sums) {
	for _, row := range sum.rows {
		sum.score[row], sum.reached[row] = 0, false
	}
	sum.rows = sum.rows[:0]
	s.sums.Put(sum)
}
