package retrieval

import (
	"context"
	"errors"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// notAllowed is the score that the index gives to rows outside the mask (docs/bundle.md); real scores lie far above.
const notAllowed = -3.0e38

// twoTower is the exact maximum inner product search of the index graph over all item vectors, with the
// mask inside the scan, so that filters never leave fewer than `limit` items where more are allowed.
type twoTower struct {
	name  string
	limit int
}

func newTwoTower(source *bundlev1.Source) *twoTower {
	return &twoTower{name: source.GetName(), limit: int(source.GetLimit())}
}

func (s *twoTower) Name() string { return s.name }

func (s *twoTower) Retrieve(ctx context.Context, r *stage.Request) (stage.List, error) {
	if len(r.QueryVectors) == 0 {
		return stage.List{}, errors.New("there is no query vector, because the query encoder did not answer")
	}
	d := r.Plan.Snapshot.Dims
	k := min(int64(s.limit), d.I)
	outputs := []runtime.Tensor{
		runtime.Ints(make([]int64, k), 1, k),
		runtime.Floats(make([]float32, k), 1, k),
	}
	inputs := []runtime.Tensor{
		runtime.Floats(r.QueryVectors, 1, d.Q, d.K),
		runtime.Floats(r.Plan.Snapshot.RetrievalVectors, d.I, d.K),
		runtime.Bools(r.Allowed, 1, d.I),
		runtime.Ints([]int64{k}, 1),
	}
	// The scan touches every item: it costs about what ranking I / 64 candidates does.
	if err := r.Run(ctx, r.Plan.Index, 1+d.I/64, inputs, outputs); err != nil {
		return stage.List{}, err
	}
	list := stage.List{Source: s.name, Rows: outputs[0].I64, Scores: outputs[1].F32}
	for i, score := range list.Scores {
		if score <= notAllowed {
			list.Rows, list.Scores = list.Rows[:i], list.Scores[:i]
			break
		}
	}
	if !stage.Finite(list.Scores) {
		return stage.List{}, stage.ErrNonFinite
	}
	return list, nil
}
