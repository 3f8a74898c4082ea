package retrieval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
	"github.com/shortlist-serving/shortlist/go/internal/vector"
	"github.com/shortlist-serving/shortlist/go/internal/vector/kernel"
)

// scanFrom is the size of a catalog from which a scan is the default where the CPU has instructions for it
// (docs/adr/0005).
const scanFrom = 20_000

// index finds the best allowed rows for a query.
type index interface {
	// search gives min(q.Limit, allowed) rows; by is the one of Searches that found them.
	search(ctx context.Context, r *stage.Request, q vector.Query) (hits vector.Hits, by string, err error)
}

// twoTower proposes the items that are nearest to the query vector. Filters apply inside the search, so that they never
// leave fewer than `limit` items where more are allowed.
type twoTower struct {
	name    string
	limit   int
	index   index
	exact   index // the oracle; index itself where that is exact
	observe func(by string, took time.Duration)
}

// newTwoTower makes the source with the index that the options or the release ask for.
func newTwoTower(source *bundlev1.Source, s *repository.Snapshot, opts Options) (stage.Source, error) {
	t := &twoTower{name: source.GetName(), limit: int(source.GetLimit()), observe: opts.Observe}
	kind := source.GetIndex()
	walks := kind == bundlev1.IndexKind_INDEX_HNSW
	if opts.Index == IndexHNSW && !walks {
		return nil, fmt.Errorf("source %s: retrieval.index is hnsw, and the release has no graph of neighbours; export it with --index hnsw, or set auto", t.name)
	}
	if walks {
		kind = bundlev1.IndexKind_INDEX_KIND_UNSPECIFIED
	}
	var err error
	if t.exact, err = newExact(kind, s); err != nil {
		return nil, fmt.Errorf("source %s: %w", t.name, err)
	}
	t.index = t.exact
	if opts.Index == IndexQdrant {
		if opts.Engine == nil {
			return nil, fmt.Errorf("source %s: retrieval.index is qdrant, and there is no connection; set retrieval.qdrant.address", t.name)
		}
		t.index = &engineIndex{engine: opts.Engine}
		return t, nil
	}
	if walks && opts.Index != IndexExact {
		links := vector.Links(*s.Bundle.HNSW[t.name])
		graph, err := vector.NewHNSW(s.RetrievalVectors, int(s.Dims.K), links, int(source.GetHnsw().GetEfSearch()))
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", t.name, err)
		}
		t.index = &walkIndex{graph: graph, exact: t.exact}
	}
	return t, nil
}

// newExact makes the index of a kind that finds every item; unspecified, the one that is fast for this catalog on this CPU.
func newExact(kind bundlev1.IndexKind, s *repository.Snapshot) (index, error) {
	if kind == bundlev1.IndexKind_INDEX_KIND_UNSPECIFIED {
		kind = bundlev1.IndexKind_INDEX_GRAPH
		if s.Dims.I >= scanFrom && kernel.Name() != "go" {
			kind = bundlev1.IndexKind_INDEX_INT8
		}
	}
	scan := func(name string, depth int) (index, error) {
		exact, err := vector.NewExact(s.RetrievalVectors, int(s.Dims.K), depth)
		if err != nil {
			return nil, fmt.Errorf("make the index: %w", err)
		}
		return &scanIndex{name: name, scans: newScans(exact, int(s.Dims.I))}, nil
	}
	switch kind {
	case bundlev1.IndexKind_INDEX_GRAPH:
		return graphIndex{}, nil
	case bundlev1.IndexKind_INDEX_FLOAT32:
		return scan("fp32", vector.Float32)
	case bundlev1.IndexKind_INDEX_INT8:
		return scan("int8", vector.Int8)
	case bundlev1.IndexKind_INDEX_INT4:
		return scan("int4", vector.Int4)
	}
	return nil, fmt.Errorf("the release asks for the index %s, which this server does not know; upgrade the server", kind)
}

var errNoQuery = errors.New("there is no query vector, because the query encoder did not answer")

func (t *twoTower) Name() string { return t.name }

func (t *twoTower) Retrieve(ctx context.Context, r *stage.Request) (stage.List, error) {
	if len(r.QueryVectors) == 0 {
		return stage.List{}, errNoQuery
	}
	// Head 0 is the retrieval head.
	q := vector.Query{Vector: r.QueryVectors[:r.Plan.Snapshot.Dims.K], Allowed: r.Allowed, Limit: t.limit}
	if r.Exact {
		return t.prove(ctx, r, q)
	}
	start := time.Now()
	hits, by, err := t.index.search(ctx, r, q)
	if t.observe != nil && err == nil {
		t.observe(by, time.Since(start))
	}
	return t.list(hits), finite(err)
}

// prove searches exactly, because golden tensors are what an exact search found, and notes how much of it a walk finds. An engine
// outside is no part of the release, and not asked.
func (t *twoTower) prove(ctx context.Context, r *stage.Request, q vector.Query) (stage.List, error) {
	want, _, err := t.exact.search(ctx, r, q)
	if _, walks := t.index.(*walkIndex); err != nil || !walks {
		return t.list(want), finite(err)
	}
	got, _, err := t.index.search(ctx, r, q)
	if err != nil {
		return stage.List{}, finite(err)
	}
	found := slices.Clone(got.Rows)
	slices.Sort(found)
	both := 0
	for _, row := range want.Rows {
		if _, ok := slices.BinarySearch(found, row); ok {
			both++
		}
	}
	if len(want.Rows) > 0 {
		r.Note(RecallOf(t.name), runtime.Floats([]float32{float32(both) / float32(len(want.Rows))}, 1))
	}
	return t.list(want), nil
}

// RecallOf is the name under which a source whose index misses items notes the share that it found, [1].
func RecallOf(source string) string { return "source." + source + ".recall" }

func (t *twoTower) list(hits vector.Hits) stage.List {
	return stage.List{Source: t.name, Rows: hits.Rows, Scores: hits.Scores}
}

func finite(err error) error {
	if errors.Is(err, vector.ErrNonFinite) {
		return stage.ErrNonFinite
	}
	return err
}
