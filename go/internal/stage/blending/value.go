// Package blending is the last stage: task predictions become one score, and the scores an order.
package blending

import (
	"fmt"
	"math"

	"github.com/shortlist-serving/shortlist/go/internal/bundle"
)

// Value is the value formula of a release: score = sum over terms of weight * p(task)^exponent *
// item[column], in float64, stored as float32; p = 1 / (1 + exp(-logit)).
type Value struct {
	tasks int
	terms []term
}

type term struct {
	task             int
	weight, exponent float64
	column           []float32 // [I]; nil counts as 1
}

// NewValue resolves the formula's names.
func NewValue(b *bundle.Bundle) (*Value, error) {
	tasks := make(map[string]int)
	for i, task := range b.Manifest.GetTasks() {
		tasks[task.GetName()] = i
	}
	v := &Value{tasks: len(tasks)}
	for i, t := range b.Manifest.GetValueFormula().GetTerms() {
		task, ok := tasks[t.GetTask()]
		if !ok {
			return nil, fmt.Errorf("value_formula.terms[%d]: the release has no task %q; export the release again", i, t.GetTask())
		}
		resolved := term{task: task, weight: t.GetWeight(), exponent: t.GetExponent()}
		if name := t.GetItemColumn(); name != "" {
			raw := b.Catalog.Raw(name)
			if raw == nil || raw.Numbers == nil {
				return nil, fmt.Errorf("value_formula.terms[%d]: %q is not an item column of numbers; export the release again", i, name)
			}
			resolved.column = raw.Numbers
		}
		v.terms = append(v.terms, resolved)
	}
	if len(v.terms) == 0 {
		return nil, fmt.Errorf("value_formula has no terms, so nothing could be ordered; export the release again")
	}
	return v, nil
}

// Score is the value of a row with these logits [T].
func (v *Value) Score(row int64, logits []float32) float32 {
	var score float64
	for _, t := range v.terms {
		value := t.weight * math.Pow(Sigmoid(logits[t.task]), t.exponent)
		if t.column != nil {
			value *= float64(t.column[row])
		}
		score += value
	}
	return float32(score)
}

// Sigmoid is the probability that a logit stands for.
func Sigmoid(logit float32) float64 { return 1 / (1 + math.Exp(-float64(logit))) }
