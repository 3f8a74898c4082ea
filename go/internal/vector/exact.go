package vector

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"sync"

	"github.com/shortlist-serving/shortlist/go/internal/vector/kernel"
)

// Exact is the exact index: a scan, over codes where it has some.
type Exact struct {
	items, width int
	vectors      []float32 // [I,K]
	codes        *codes    // nil: scan in fp32
	works        sync.Pool // of *work
}

// Bits of the codes that a scan reads.
const (
	Float32 = 32
	Int8    = 8
	Int4    = 4
)

// NewExact makes an exact index over vectors [I,K], which must not change afterwards. depth is Float32, Int8 or Int4:
// what the scan reads; the result is the same.
func NewExact(vectors []float32, k, depth int) (*Exact, error) {
	if k < 1 || len(vectors)%max(k, 1) != 0 || len(vectors)/max(k, 1) > math.MaxInt32 {
		return nil, fmt.Errorf("%d numbers are not vectors of width %d, or too many", len(vectors), k)
	}
	x := &Exact{items: len(vectors) / k, width: k, vectors: vectors}
	switch {
	case depth == Float32 || k > largestWidth && (depth == Int8 || depth == Int4):
	case depth == Int8:
		x.codes = encode8(vectors, k)
	case depth == Int4:
		x.codes = encode4(vectors, k)
	default:
		return nil, fmt.Errorf("an exact index has no codes of %d bits", depth)
	}
	if x.codes != nil && !x.codes.bounded() {
		x.codes = nil
	}
	x.works.New = func() any { return &work{dots: make([]int32, kernel.Wide*kernel.TileRows)} }
	return x, nil
}

// bounded says whether every row is short enough for the bound.
func (c *codes) bounded() bool {
	for _, length := range c.length {
		if !(length <= largestLength) {
			return false
		}
	}
	return true
}

// job is one query in one search.
type job struct {
	Query
	coded
	exhaustive bool // score all allowed rows in fp32
}

// Search is Index.Search; a query gets min(Limit, allowed rows) hits.
func (x *Exact) Search(ctx context.Context, queries []Query, parts int, p Parallel) ([]Hits, error) {
	if err := check(queries, x.items, x.width); err != nil {
		return nil, err
	}
	jobs := make([]*job, len(queries))
	for i, q := range queries {
		q.Limit = min(q.Limit, x.items)
		jobs[i] = x.plan(q)
	}
	tiles := (x.items + kernel.TileRows - 1) / kernel.TileRows
	parts = max(1, min(parts, tiles))
	works := make([]*work, parts)
	for i := range works {
		works[i] = x.works.Get().(*work)
		works[i].reset(jobs)
		defer x.works.Put(works[i])
	}
	if err := p(ctx, parts, func(i int) { x.scan(works[i], jobs, i*tiles/parts, (i+1)*tiles/parts) }); err != nil {
		return nil, err
	}
	hits, faults := make([]Hits, len(jobs)), make([]error, len(jobs))
	finish := func(i int) {
		for j := i; j < len(jobs); j += parts {
			hits[j], faults[j] = x.merge(works, jobs[j], j)
		}
	}
	if len(jobs) == 1 {
		finish(0)
	} else if err := p(ctx, parts, finish); err != nil {
		return nil, err
	}
	return hits, errors.Join(faults...)
}

// plan decides how a query is answered: where few rows are allowed, their fp32 vectors are read sooner than all codes.
func (x *Exact) plan(q Query) *job {
	j := &job{Query: q}
	j.exhaustive = x.codes == nil || q.Allowed.Count() < max(q.Limit, x.items/32) || !x.codes.encodeQuery(&j.coded, q.Vector)
	return j
}

// merge makes one list of what the parts found for query i, and scores it.
func (x *Exact) merge(works []*work, j *job, i int) (Hits, error) {
	all := &works[0].found[i]
	if j.exhaustive {
		for _, w := range works[1:] {
			for _, key := range w.found[i].keys {
				all.add(scoreOf(key), int64(uint32(key)))
			}
		}
		return all.hits()
	}
	for _, w := range works[1:] {
		all.kept = append(all.kept, w.found[i].kept...)
	}
	all.prune()
	var score [1]float32
	for _, c := range all.kept {
		kernel.DotsFloat32(score[:], x.vectors[int(c.row)*x.width:], j.Vector)
		all.add(score[0], int64(c.row))
	}
	return all.hits()
}

// scan looks at the tiles [from,to) for all queries, eight at a time.
func (x *Exact) scan(w *work, jobs []*job, from, to int) {
	for tile := from; tile < to; tile++ {
		for _, i := range w.exhaustive {
			x.score(&w.found[i].best, jobs[i], tile)
		}
		for _, g := range w.groups {
			if g.anyAllowed(tile) {
				g.dots(w.dots, x.codes, tile)
				for at, i := range g.members {
					w.collect(x.codes, i, jobs[i], tile, w.dots[at*kernel.TileRows:])
				}
			}
		}
	}
	for i := range w.found {
		w.found[i].prune()
	}
}

// score adds the allowed rows of a tile by their fp32 scores.
func (x *Exact) score(b *best, j *job, tile int) {
	var scores [kernel.Word]float32
	first := tile * kernel.TileWords
	for at, word := range j.Allowed[first:min(first+kernel.TileWords, len(j.Allowed))] {
		base := (first + at) * kernel.Word
		whole := bits.OnesCount64(word) > kernel.Word/8 // then reading the word's rows in line is sooner done
		if whole {
			n := min(kernel.Word, x.items-base)
			kernel.DotsFloat32(scores[:n], x.vectors[base*x.width:], j.Vector)
		}
		for ; word != 0; word &= word - 1 {
			r := bits.TrailingZeros64(word)
			if !whole {
				kernel.DotsFloat32(scores[r:r+1], x.vectors[(base+r)*x.width:], j.Vector)
			}
			b.add(scores[r], int64(base+r))
		}
	}
}
