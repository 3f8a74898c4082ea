package vector

import (
	"fmt"
	"sync"

	"github.com/shortlist-serving/shortlist/go/internal/vector/kernel"
)

// Links are the neighbours of the rows 0..N-1 in layers (HNSW: Malkov and Yashunin, arXiv 1603.09320). Every row is in
// layer 0, and in all up to its level. A list of neighbours ends at its first -1.
type Links struct {
	M      int     // neighbours in a layer above 0; in layer 0 twice as many
	Entry  int32   // where a search begins: a row of the highest level; -1 where there are no rows
	Levels []uint8 // [N]
	Base   []int32 // [N,2M] layer 0
	Upper  []int32 // [sum of Levels, M] layers 1 to the level, row after row
}

const (
	// leastShare is the share of allowed rows, 1 in so many, below which a walk is not begun: it would pass mostly rows
	// that it may not take, and a scan of the allowed ones is the sooner done.
	leastShare = 8
	// mostSteps bounds the rows that a walk looks at, as a multiple of ef: allowed rows may lie far from the query, and then
	// a walk would see most of the catalog before it has found enough.
	mostSteps = 64
)

// HNSW finds most of the best rows by a walk over a graph of neighbours, and looks at few rows for that. The scores, and
// the order of what it finds, are those of Exact. It is immutable and safe for concurrent use.
//
// Rows behind the graph's, such as items that came after it was built, are scanned beside the walk: none is missed.
type HNSW struct {
	items, width int
	vectors      []float32 // [I,K]
	links        Links
	upper        []int32 // [N] the first list of a row in links.Upper
	ef           int
	walks        sync.Pool // of *walk
}

// NewHNSW makes an index over vectors [I,K], which must not change afterwards, from links over the first N <= I of them. ef
// is how many of the best rows so far a search goes on from: more cost time and find more. The links must be sound:
// package bundle refuses those of a release that are not.
func NewHNSW(vectors []float32, k int, links Links, ef int) (*HNSW, error) {
	n := len(links.Levels)
	if k < 1 || len(vectors)%max(k, 1) != 0 || n > len(vectors)/max(k, 1) || len(links.Base) != 2*n*links.M || ef < 1 {
		return nil, fmt.Errorf("links of %d rows with %d neighbours and an ef of %d do not fit %d numbers as vectors of width %d",
			n, len(links.Base), ef, len(vectors), k)
	}
	x := &HNSW{items: len(vectors) / k, width: k, vectors: vectors, links: links, ef: ef, upper: make([]int32, n)}
	lists := int32(0)
	for row, level := range links.Levels {
		x.upper[row] = lists
		lists += int32(level)
	}
	x.walks.New = func() any { return &walk{seen: make([]uint32, n)} }
	return x, nil
}

// Search answers a query; found is false where a scan must answer instead: few rows are allowed, or the walk did not reach
// min(Limit, allowed) of them in reasonable time. So no filter shortens an answer.
func (x *HNSW) Search(q Query) (hits Hits, found bool, err error) {
	if err := check([]Query{q}, x.items, x.width); err != nil {
		return Hits{}, false, err
	}
	allowed := q.Allowed.Count()
	limit := min(q.Limit, allowed)
	if allowed < x.items/leastShare {
		return Hits{}, false, nil
	}
	if limit < 1 {
		return Hits{}, true, nil
	}
	w := x.walks.Get().(*walk)
	defer func() {
		w.Query = Query{} // it is the request's memory
		x.walks.Put(w)
	}()
	w.begin(x, q, max(x.ef, limit))
	if len(x.links.Levels) > 0 && !w.run() {
		return Hits{}, false, nil
	}
	w.best.reset(limit)
	for _, key := range w.kept {
		w.best.add(scoreOf(^key), int64(uint32(^key)))
	}
	for row := int64(len(x.links.Levels)); row < int64(x.items); row++ {
		if q.Allowed.Has(row) {
			w.best.add(w.score(int32(row)), row)
		}
	}
	if len(w.best.keys) < limit {
		return Hits{}, false, nil
	}
	hits, err = w.best.hits()
	return hits, err == nil, err
}

// walk is the memory of one search. Rows are held by their keys, so that equal scores are decided by row and a search
// takes the same way every time.
//
// Invariant: kept holds the best ef allowed rows seen so far; open the rows whose neighbours were not looked at.
type walk struct {
	*HNSW
	Query
	best
	beam  int      // ef of this search
	left  int      // rows that may still be looked at
	open  []uint64 // heap of keys: the best first
	kept  []uint64 // heap of complements of keys: the worst first
	seen  []uint32 // [N] seen[row] == epoch: the row was looked at
	epoch uint32
	one   [1]float32
}

func (w *walk) begin(x *HNSW, q Query, beam int) {
	w.HNSW, w.Query, w.beam = x, q, beam
	w.left = max(x.items/leastShare, mostSteps*beam)
	w.open, w.kept = w.open[:0], w.kept[:0]
	w.epoch++
	if w.epoch == 0 { // after 2^32 searches old marks could look new
		clear(w.seen)
		w.epoch = 1
	}
}

// run walks; false where it gave up.
func (w *walk) run() bool {
	w.look(w.descend())
	for len(w.open) > 0 && w.left > 0 {
		key := pop(&w.open)
		if len(w.kept) == w.beam && key > ^w.kept[0] {
			return true // no row that is open leads to a better one
		}
		row := int(uint32(key))
		for _, near := range w.links.Base[2*row*w.links.M : 2*(row+1)*w.links.M] {
			if near < 0 {
				break
			}
			if w.seen[near] != w.epoch {
				w.look(near)
			}
		}
	}
	return len(w.open) == 0
}

// descend goes to the best neighbour, layer by layer, until in each none is better.
func (w *walk) descend() int32 {
	m, at := w.links.M, w.links.Entry
	key := keyOf(w.score(at), int64(at))
	for layer := int(w.links.Levels[at]); layer > 0; layer-- {
		for moved := true; moved; {
			moved = false
			list := (int(w.upper[at]) + layer - 1) * m
			for _, near := range w.links.Upper[list : list+m] {
				if near < 0 {
					break
				}
				if k := keyOf(w.score(near), int64(near)); k < key {
					key, at, moved = k, near, true
				}
			}
		}
	}
	return at
}

// look scores a row, and keeps it open where it is good enough to go on from. Rows that are not allowed lead to others that are.
func (w *walk) look(row int32) {
	w.seen[row] = w.epoch
	w.left--
	key := keyOf(w.score(row), int64(row))
	if len(w.kept) == w.beam && key > ^w.kept[0] {
		return
	}
	push(&w.open, key)
	if !w.Allowed.Has(int64(row)) {
		return
	}
	if len(w.kept) == w.beam {
		pop(&w.kept)
	}
	push(&w.kept, ^key)
}

func (w *walk) score(row int32) float32 {
	kernel.DotsFloat32(w.one[:], w.vectors[int(row)*w.width:(int(row)+1)*w.width], w.Vector)
	return w.one[0]
}

// push and pop keep a binary heap, the smallest first. container/heap would box each number.
func push(heap *[]uint64, key uint64) {
	h := append(*heap, key)
	at := len(h) - 1
	for at > 0 {
		parent := (at - 1) / 2
		if h[parent] <= key {
			break
		}
		h[at], at = h[parent], parent
	}
	h[at] = key
	*heap = h
}

func pop(heap *[]uint64) uint64 {
	h := *heap
	first, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	at := 0
	for child := 1; child < len(h); child = 2*at + 1 {
		if child+1 < len(h) && h[child+1] < h[child] {
			child++
		}
		if h[child] >= last {
			break
		}
		h[at], at = h[child], child
	}
	if len(h) > 0 {
		h[at] = last
	}
	*heap = h
	return first
}
