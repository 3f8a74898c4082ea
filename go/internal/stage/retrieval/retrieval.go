package retrieval

import (
	"context"
	"errors"
	"fmt"
	"sync"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// Retriever asks the sources of one release.
type Retriever struct {
	sources []stage.Source
}

// New makes the sources of a release, in the manifest's order.
func New(s *repository.Snapshot, opts Options) (*Retriever, error) {
	retriever := &Retriever{}
	var faults []error
	for _, source := range s.Bundle.Manifest.GetFunnel().GetSources() {
		made, err := newSource(source, s, opts)
		if err != nil {
			faults = append(faults, err)
		}
		retriever.sources = append(retriever.sources, made)
	}
	return retriever, errors.Join(faults...)
}

func newSource(source *bundlev1.Source, s *repository.Snapshot, opts Options) (stage.Source, error) {
	b := s.Bundle
	table := b.Sources[source.GetName()]
	switch source.GetKind() {
	case bundlev1.SourceKind_TWO_TOWER:
		return newTwoTower(source, s, opts)
	case bundlev1.SourceKind_COOCCURRENCE:
		return newCooccurrence(source, table, b.Catalog.Len())
	case bundlev1.SourceKind_POPULAR:
		return newPopular(source, table)
	}
	return nil, fmt.Errorf("source %s has the kind %s, which this server does not know; upgrade the server", source.GetName(), source.GetKind())
}

// Retrieve asks all sources in parallel and merges what they propose. A source that fails degrades the
// answer; the error is for the case that no source answered.
func (t *Retriever) Retrieve(ctx context.Context, r *stage.Request) error {
	r.Lists = make([]stage.List, len(t.sources))
	faults := make([]error, len(t.sources))
	var asking sync.WaitGroup
	for i, source := range t.sources {
		asking.Go(func() { r.Lists[i], faults[i] = ask(ctx, source, r) })
	}
	asking.Wait()
	answered := false
	for i, err := range faults {
		answered = answered || err == nil
		if err != nil {
			r.Lists[i] = stage.List{Source: t.sources[i].Name()}
			r.Faults = append(r.Faults, fmt.Errorf("source %s: %w", t.sources[i].Name(), err))
			detail := fmt.Sprintf("source %s did not answer (%s)", t.sources[i].Name(), stage.ReasonOf(err))
			rank.BudgetFrom(ctx).Degrade(rank.RungFewerCandidates, rank.StageRetrieval, stage.ReasonSourceFailed, detail)
		}
	}
	if !answered {
		return fmt.Errorf("ask the sources: %w", errors.Join(faults...))
	}
	merge(r)
	return nil
}

// ask turns a panic of a source into its failure: other goroutines have no handler to catch it.
func ask(ctx context.Context, source stage.Source, r *stage.Request) (list stage.List, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("source %s panicked: %v", source.Name(), p)
		}
	}()
	return source.Retrieve(ctx, r)
}

// Popular answers without any graph, from the first popular source: the last rung of the ladder.
func (t *Retriever) Popular(ctx context.Context, r *stage.Request) error {
	for _, source := range t.sources {
		if _, ok := source.(*popular); !ok {
			continue
		}
		list, err := ask(ctx, source, r)
		if err != nil {
			return err
		}
		r.Lists = []stage.List{list}
		merge(r)
		return nil
	}
	return errors.New("the release has no popular source to fall back on")
}

// merge makes the proposals one list: in the order of the sources, first occurrence kept.
func merge(r *stage.Request) {
	r.NewMarks()
	r.Rows, r.Retrieval = r.Rows[:0], r.Retrieval[:0]
	for _, list := range r.Lists {
		r.Note("source."+list.Source+".rows", runtime.Ints(list.Rows, int64(len(list.Rows))))
		r.Note("source."+list.Source+".scores", runtime.Floats(list.Scores, int64(len(list.Scores))))
		for i, row := range list.Rows {
			if r.Mark(row) {
				r.Rows = append(r.Rows, row)
				r.Retrieval = append(r.Retrieval, list.Scores[i])
			}
		}
	}
	force(r)
	for len(r.Retrieval) < len(r.Rows) {
		r.Retrieval = append(r.Retrieval, 0)
	}
	r.Note("merged_rows", runtime.Ints(r.Rows, int64(len(r.Rows))))
}
