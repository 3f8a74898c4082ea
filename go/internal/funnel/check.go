package funnel

import (
	"context"
	"errors"
	"strings"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// Check lists the faults of a query against its release without answering it: an *rank.InvalidError, or
// nil. It is for queries that are known to be faulty, so that a caller sees all faults at once.
func (f *Funnel) Check(ctx context.Context, q *rank.Query) error {
	release, unpin, err := f.pin(q)
	if err != nil {
		return nil // not a fault of the query
	}
	defer unpin()
	bare := &Funnel{opts: f.opts, pool: f.pool}
	w, err := bare.assemble(ctx, release, q, nil)
	if err == nil {
		release.plan.Put(w.Scratch)
	}
	return err
}

// CheckUser checks a history and features against the active release, where there is one. Its faults are
// an *rank.InvalidError with fields under the given paths.
func (f *Funnel) CheckUser(historyPath, featuresPath string, history rank.History, features rank.Features) error {
	s, unpin, err := f.releases.Acquire()
	if err != nil {
		return nil // nothing to check against
	}
	defer unpin()
	encoder := s.Prepared.(*Release).plan.Encoder
	var faults rank.Faults
	_, historyErr := encoder.History(history, 0)
	_, featuresErr := encoder.Columns(features, nil)
	for _, err := range []error{historyErr, featuresErr} {
		var invalid *rank.InvalidError
		if !errors.As(err, &invalid) {
			if err != nil {
				return err
			}
			continue
		}
		for _, field := range invalid.Fields {
			path := strings.NewReplacer("user.history", historyPath, "user.features", featuresPath).Replace(field.Field)
			faults.Add(path, field.Reason, field.Problem, field.Fix)
		}
	}
	return faults.Err()
}
