package retrieval

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/vector"
)

const (
	// maxBatch bounds the queries of one scan, and so how long a query waits for the others' results.
	maxBatch = 32
	// leastPart is how many rows a part of a scan has at least: less is not worth the handing over.
	leastPart = 8192
	// rowsPerCost is how many rows are scanned in the time in which one candidate is ranked, about.
	rowsPerCost = 256
)

// scans searches an index for concurrent requests. A large scan takes all workers, so only one runs at a time; the
// queries that come meanwhile are scanned together next, which reads every row once for all. Nobody waits for
// company: a query that finds a free place starts at once.
type scans struct {
	index vector.Index
	items int

	mu      sync.Mutex
	waiting []*pendingQuery
	running int
}

// pendingQuery belongs to its request: its vector and bitmap may be used until done is sent to, or until it is taken back.
type pendingQuery struct {
	vector.Query
	ctx  context.Context
	done chan scanned
}

type scanned struct {
	hits vector.Hits
	err  error
}

func newScans(index vector.Index, items int) *scans { return &scans{index: index, items: items} }

// search answers one query; it fails with the context's error when that ends before the query's scan begins.
func (s *scans) search(ctx context.Context, pool *batching.Pool, q vector.Query) (vector.Hits, error) {
	p := &pendingQuery{Query: q, ctx: ctx, done: make(chan scanned, 1)}
	s.mu.Lock()
	s.waiting = append(s.waiting, p)
	if s.running < max(1, pool.Workers()/s.parts(pool)) {
		s.running++
		go s.run(pool)
	}
	s.mu.Unlock()
	select {
	case answer := <-p.done:
		return answer.hits, answer.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	at := slices.Index(s.waiting, p)
	if at >= 0 {
		s.waiting = slices.Delete(s.waiting, at, at+1)
	}
	s.mu.Unlock()
	if at < 0 { // being scanned: it still reads the request's memory
		<-p.done
	}
	return vector.Hits{}, ctx.Err()
}

// parts of a scan on an idle pool.
func (s *scans) parts(pool *batching.Pool) int {
	return max(1, min(pool.Workers(), s.items/leastPart))
}

// run scans for what waits until nothing does.
func (s *scans) run(pool *batching.Pool) {
	for {
		s.mu.Lock()
		n := min(len(s.waiting), maxBatch)
		if n == 0 {
			s.running--
			s.mu.Unlock()
			return
		}
		batch := slices.Clone(s.waiting[:n])
		s.waiting = slices.Delete(s.waiting, 0, n)
		s.mu.Unlock()
		s.answer(pool, batch)
	}
}

// answer scans for a batch. When that fails the queries are scanned one by one, so that one at fault fails alone.
func (s *scans) answer(pool *batching.Pool, batch []*pendingQuery) {
	hits, err := s.scan(pool, batch)
	switch {
	case err == nil:
		for i, p := range batch {
			p.done <- scanned{hits: hits[i]}
		}
	case len(batch) == 1:
		batch[0].done <- scanned{err: err}
	default:
		for _, p := range batch {
			s.answer(pool, []*pendingQuery{p})
		}
	}
}

// scan searches for a batch with the priority of its first query. One request's deadline must not end the others' scan,
// which takes milliseconds at most.
func (s *scans) scan(pool *batching.Pool, batch []*pendingQuery) (hits []vector.Hits, err error) {
	defer func() { // a goroutine without a handler would end the server
		if p := recover(); p != nil {
			err = fmt.Errorf("the scan panicked: %v", p)
		}
	}()
	queries := make([]vector.Query, len(batch))
	for i, p := range batch {
		queries[i] = p.Query
	}
	parts := 1
	if pool.Queued() == 0 {
		parts = s.parts(pool)
	}
	cost := int64(1 + s.items/rowsPerCost/parts)
	return s.index.Search(context.WithoutCancel(batch[0].ctx), queries, parts, func(ctx context.Context, parts int, run func(int)) error {
		tasks := make([]batching.Task, parts)
		for i := range tasks {
			tasks[i] = batching.Task{Cost: cost, Run: func(context.Context) error { run(i); return nil }}
		}
		_, err := pool.Do(ctx, tasks)
		return err
	})
}
