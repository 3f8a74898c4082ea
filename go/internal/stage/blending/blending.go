package blending

import (
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// Score computes Score [M] from Logits by the value formula.
func (v *Value) ScoreAll(r *stage.Request) error {
	scores := stage.Resize(&r.Score, len(r.Rows))
	for i, row := range r.Rows {
		scores[i] = v.Score(row, r.Logits[i*v.tasks:(i+1)*v.tasks])
	}
	if !stage.Finite(scores) {
		r.Score = r.Score[:0]
		return stage.ErrNonFinite
	}
	r.NoteFloats("score", scores, int64(len(scores)))
	return nil
}

// Order is the final order of the candidates as positions in Rows: by score under the tie rule, or, with
// scores nil, as they are. It is cut to limit; forced candidates stay behind the cut.
func Order(r *stage.Request, scores []float32, limit int) []int {
	positions := make([]int, 0, min(limit, len(r.Rows))+len(r.Forced))
	keep := func(position int, row int64) {
		if len(positions) < limit || r.IsForced(row) {
			positions = append(positions, position)
		}
	}
	if scores == nil {
		for i, row := range r.Rows {
			keep(i, row)
		}
		return positions
	}
	for _, c := range r.Sort(scores, r.Rows) {
		keep(c.Was(), c.Row())
	}
	return positions
}

// Fill writes the ordered candidates into the result: their rows, ids, scores and predictions.
func Fill(r *stage.Request, result *rank.Result, scores []float32, positions []int) {
	result.Rows = make([]int64, len(positions))
	result.Scores = make([]float32, len(positions))
	for i, at := range positions {
		result.Rows[i], result.Scores[i] = r.Rows[at], scores[at]
	}
	result.Items = r.Plan.Catalog.IDs(result.Rows)
	if len(r.Logits) == 0 {
		return
	}
	tasks := len(r.Plan.Tasks)
	result.Tasks = r.Plan.Tasks
	result.Predictions = make([][]float32, tasks)
	flat := make([]float32, tasks*len(positions))
	for t := range tasks {
		column := flat[t*len(positions) : (t+1)*len(positions)]
		for i, at := range positions {
			column[i] = float32(Sigmoid(r.Logits[at*tasks+t]))
		}
		result.Predictions[t] = column
	}
}
