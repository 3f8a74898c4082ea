package vector

import (
	"math/bits"

	"github.com/shortlist-serving/shortlist/go/internal/vector/kernel"
)

// work is the memory of one part of a search.
type work struct {
	dots       []int32 // [Wide][TileRows]
	mask       [kernel.TileWords]uint64
	limits     [kernel.TileWords]float32
	found      []found // by query
	exhaustive []int   // queries
	groups     []group // of the others
}

// found is what a part found for a query: candidates by their bounds, or rows by their scores.
type found struct {
	pick
	best
}

// group is up to eight queries that are multiplied together.
type group struct {
	members []int
	jobs    []*job
	queries []int8 // one query, or eight interleaved
	offsets [kernel.Wide]int32
}

func (w *work) reset(jobs []*job) {
	w.found = resize(w.found, len(jobs))
	w.exhaustive, w.groups = w.exhaustive[:0], w.groups[:0]
	for i, j := range jobs {
		w.found[i].pick.reset(j.Limit)
		w.found[i].best.reset(j.Limit)
		if j.exhaustive {
			w.exhaustive = append(w.exhaustive, i)
			continue
		}
		if last := len(w.groups) - 1; last < 0 || len(w.groups[last].members) == kernel.Wide {
			w.groups = append(w.groups, group{})
		}
		g := &w.groups[len(w.groups)-1]
		g.members, g.jobs = append(g.members, i), append(g.jobs, j)
	}
	for i := range w.groups {
		w.groups[i].interleave()
	}
}

func (g *group) interleave() {
	for at, j := range g.jobs {
		g.offsets[at] = j.offset
	}
	if len(g.jobs) == 1 {
		g.queries = g.jobs[0].u
		return
	}
	g.queries = make([]int8, kernel.Wide*len(g.jobs[0].u))
	for at, j := range g.jobs {
		for d := 0; d < len(j.u); d += 4 {
			copy(g.queries[d*kernel.Wide+4*at:], j.u[d:d+4])
		}
	}
}

// anyAllowed says whether some query may have a row of the tile.
func (g *group) anyAllowed(tile int) bool {
	first := tile * kernel.TileWords
	for _, j := range g.jobs {
		for _, word := range j.Allowed[first:min(first+kernel.TileWords, len(j.Allowed))] {
			if word != 0 {
				return true
			}
		}
	}
	return false
}

func (g *group) dots(out []int32, c *codes, tile int) {
	packed := c.packed[tile*c.tile : (tile+1)*c.tile]
	switch alone := len(g.jobs) == 1; {
	case c.bits == Int8 && alone:
		kernel.Dots8(out, packed, g.queries, g.offsets[0])
	case c.bits == Int8:
		kernel.Dots8Wide(out, packed, g.queries, &g.offsets)
	case alone:
		kernel.Dots4(out, packed, g.queries, g.offsets[0])
	default:
		kernel.Dots4Wide(out, packed, g.queries, &g.offsets)
	}
}

// collect keeps the rows of a tile whose upper bounds reach the bar of query i. dots are [TileRows].
func (w *work) collect(c *codes, i int, j *job, tile int, dots []int32) {
	p := &w.found[i].pick
	first := tile * kernel.TileWords
	length, residual := c.length[first:first+kernel.TileWords], c.residual[first:first+kernel.TileWords]
	for at := range w.limits {
		w.limits[at] = p.bar - j.within(length[at], residual[at])
	}
	scale := c.scale[tile*kernel.TileRows:]
	kernel.Mask(w.mask[:], dots, scale, w.limits[:])
	for at, allowed := range j.Allowed[first:min(first+kernel.TileWords, len(j.Allowed))] {
		word := w.mask[at] & allowed
		if word == 0 {
			continue
		}
		within := j.within(length[at], residual[at])
		for ; word != 0; word &= word - 1 {
			r := at*kernel.Word + bits.TrailingZeros64(word)
			coarse := float32(dots[r]) * scale[r]
			p.kept = append(p.kept, candidate{coarse - within, coarse + within, int32(tile*kernel.TileRows + r)})
		}
	}
	if len(p.kept) >= p.full {
		p.prune()
	}
}
