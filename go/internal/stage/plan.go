package stage

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/feature"
	"github.com/shortlist-serving/shortlist/go/internal/kvcache"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
)

// Plan is what the stages need of one release, worked out once when the release is loaded. It is
// immutable but for its pool of scratch memory and what Availability keeps, and safe for concurrent use.
type Plan struct {
	Snapshot     *repository.Snapshot
	Encoder      *feature.Encoder
	Catalog      *bundle.Catalog
	Availability *Availability
	Funnel       *bundlev1.Funnel
	Tasks        []string

	SequenceEncoder HistoryEncoder
	QueryEncoder    *Graph // state, recent, history_length, columns -> query_vectors
	Index           *Graph // query_vectors, item_vectors, allowed, k -> rows, scores
	Preranker       *Graph // query_vectors, retrieval_vector, cross -> score
	HistoryEncoder  HistoryEncoder
	Ranker          *Graph // keys, values, history_length, columns, ranker_token, cross, prerank_score -> logits

	// Paces of one query, or one candidate: measured at load, and kept up to date by every run.
	QueryPace, PrerankPace, RankPace Pace

	chunk   atomic.Int64 // candidates of one run of the ranker
	scratch sync.Pool
}

// NewPlan checks that the graphs fit the schema and works out the order of their inputs.
func NewPlan(s *repository.Snapshot) (*Plan, error) {
	manifest := s.Bundle.Manifest
	encoder, err := feature.NewEncoder(manifest.GetSchema(), s.Bundle.Catalog)
	if err != nil {
		return nil, err
	}
	p := &Plan{Snapshot: s, Encoder: encoder, Catalog: s.Bundle.Catalog, Availability: NewAvailability(s.Bundle.Catalog), Funnel: manifest.GetFunnel()}
	for _, task := range manifest.GetTasks() {
		p.Tasks = append(p.Tasks, task.GetName())
	}
	history := append(slices.Clone(encoder.HistoryNames()), "history_length")
	columns := encoder.ColumnNames()
	var faults []error
	graph := func(name string, inputs, outputs []string) *Graph {
		g, err := NewGraph(name, s.Session(name), inputs, outputs)
		if err != nil {
			faults = append(faults, err)
		}
		return g
	}
	faults = append(faults, p.SequenceEncoder.bind(s, kvcache.Sequence, s.Dims.Sequence, history), p.HistoryEncoder.bind(s, kvcache.Ranker, s.Dims.History, history))
	p.QueryEncoder = graph(bundle.QueryEncoder, slices.Concat([]string{"state", "recent", "history_length"}, columns), []string{"query_vectors"})
	p.Index = graph(bundle.Index, []string{"query_vectors", "item_vectors", "allowed", "k"}, []string{"rows", "scores"})
	p.Preranker = graph(bundle.Preranker, []string{"query_vectors", "retrieval_vector", "cross"}, []string{"score"})
	p.Ranker = graph(bundle.Ranker,
		slices.Concat([]string{"keys", "values", "history_length"}, columns, []string{"ranker_token", "cross", "prerank_score"}), []string{"logits"})
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	p.chunk.Store(int64(p.Funnel.GetChunk()))
	p.scratch.New = func() any { return &Scratch{stamps: make([]uint32, p.Catalog.Len())} }
	return p, nil
}

// Get takes scratch memory for one request; Put gives it back.
func (p *Plan) Get() *Scratch { return p.scratch.Get().(*Scratch) }

// Put gives scratch memory back; nothing of the request may be used after it.
func (p *Plan) Put(s *Scratch) {
	s.reset()
	p.scratch.Put(s)
}

// SetChunk says how many candidates a run of the ranker should have; the release's own number until then.
func (p *Plan) SetChunk(candidates int) { p.chunk.Store(int64(max(candidates, 1))) }

// Chunk is how many candidates a run of the ranker should have.
func (p *Plan) Chunk() int { return int(p.chunk.Load()) }

// ChunkSize cuts m candidates into even chunks near that size, a multiple of the idle workers, so that all
// end together; but none under half of it, because each run has its fixed cost. While one worker is
// idle nobody waits for the end of a chunk and nobody else would take one: then chunks have up to twice the size.
func (p *Plan) ChunkSize(m, idle int) int {
	chunk := p.Chunk()
	if m <= chunk {
		return max(m, 1)
	}
	chunks := (2*m + chunk) / (2 * chunk) // the nearest
	if idle == 1 {
		chunks = (m + 2*chunk - 1) / (2 * chunk)
	}
	idle = max(idle, 1)
	even := (chunks + idle - 1) / idle * idle
	chunks = max(chunks, min(even, 2*m/chunk))
	return (m + chunks - 1) / chunks
}
