package funnel

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
	"github.com/shortlist-serving/shortlist/go/internal/stage/blending"
	"github.com/shortlist-serving/shortlist/go/internal/stage/retrieval"
)

// Release is what the funnel prepares of a release when it is loaded.
type Release struct {
	plan      *stage.Plan
	retriever *retrieval.Retriever
	value     *blending.Value
	prices    atomic.Pointer[prices] // nil until it is tuned
}

// Prepare gives repository.Options.Prepare: it makes the *Release that Snapshot.Prepared holds, and so finds
// every disagreement of schema, graphs, sources and value formula before the release serves.
func Prepare(opts retrieval.Options) func(context.Context, *repository.Snapshot) (any, error) {
	return func(_ context.Context, s *repository.Snapshot) (any, error) {
		plan, planErr := stage.NewPlan(s)
		retriever, retrieverErr := retrieval.New(s, opts)
		value, valueErr := blending.NewValue(s.Bundle)
		if err := errors.Join(planErr, retrieverErr, valueErr); err != nil {
			return nil, fmt.Errorf("prepare release %s: %w", s.ID, err)
		}
		return &Release{plan: plan, retriever: retriever, value: value}, nil
	}
}
