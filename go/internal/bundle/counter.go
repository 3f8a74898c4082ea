package bundle

import (
	"slices"
	"sync"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
)

// NoSegment stands for a segment value that a counter does not hold: all its rates are 0.
const NoSegment = -1

// Counter is one cross feature: for each segment, the rates of the items engaged in it.
//
// Segment s holds rows[indptr[s]:indptr[s+1]], ascending, and their rates. A heavy segment is also kept as
// one rate per catalog row, where a look-up is one load.
type Counter struct {
	Cross  *bundlev1.CrossColumn
	keys   Texts
	indptr []int64
	rows   []int64
	rates  []float32
	dense  map[int][]float32 // heavy segments, [I] each

	// scratch holds *[]float32 of one 0 per catalog row, to spread a sparse segment over.
	scratch sync.Pool
}

// A segment with at least I/heavySegment items is heavy. A dense rate costs 4 bytes and a sparse one 12,
// so the dense copies add less than 3x heavySegment/12 of the sparse size.
const heavySegment = 8

// Spreading a segment over the catalog costs a few ns per rate; searching it about 40 ns per candidate,
// since no branch of a search is predictable. So a search pays only where the segment is this many times
// longer than the list of candidates.
const searchSegment = 16

func parseCounter(t *Tensors, cross *bundlev1.CrossColumn, items int64) (*Counter, error) {
	c := &Counter{Cross: cross, dense: map[int][]float32{}}
	c.scratch.New = func() any { s := make([]float32, items); return &s }
	var err error
	segments := items
	if !c.ByRow() {
		if c.keys, err = t.Texts("keys"); err != nil {
			return nil, err
		}
		if !c.keys.ascending() {
			return nil, refuse(t.file, "order", fixFactory, "keys are not strictly ascending")
		}
		segments = int64(c.keys.Len())
	}
	if c.rows, c.rates, err = t.list("rows", "rates", items); err != nil {
		return nil, err
	}
	if c.indptr, err = t.indptr("indptr", segments, int64(len(c.rows))); err != nil {
		return nil, err
	}
	for i, rate := range c.rates {
		if rate < 0 {
			return nil, refuse(t.file, "range", fixFactory, "rate %d is negative", i)
		}
	}
	for s := range int(segments) {
		rows := c.rows[c.indptr[s]:c.indptr[s+1]]
		for i := 1; i < len(rows); i++ {
			if rows[i-1] >= rows[i] {
				return nil, refuse(t.file, "order", fixFactory, "rows of segment %d are not strictly ascending", s)
			}
		}
		if int64(len(rows))*heavySegment >= items && len(rows) > heavySegment {
			row := make([]float32, items)
			for i, r := range rows {
				row[r] = c.rates[int(c.indptr[s])+i]
			}
			c.dense[s] = row
		}
	}
	return c, nil
}

// indptr is a row-pointer tensor: n+1 ascending values from 0 to total.
func (t *Tensors) indptr(name string, n, total int64) ([]int64, error) {
	p, err := t.intsOf(name, n+1)
	if err != nil {
		return nil, err
	}
	if p[0] != 0 || p[n] != total || !slices.IsSorted(p) {
		return nil, refuse(t.file, "row pointers", fixFactory, "tensor %q must ascend from 0 to %d", name, total)
	}
	return p, nil
}

// checkRows refuses rows outside the catalog.
func checkRows(file string, rows []int64, items int64) error {
	for i, row := range rows {
		if row < 0 || row >= items {
			return refuse(file, "range", fixFactory, "row %d at position %d is outside the catalog of %d items", row, i, items)
		}
	}
	return nil
}

// ByRow says whether segments are catalog rows (history.last_item) and not texts.
func (c *Counter) ByRow() bool { return c.Cross.GetSegment() == SegmentLastItem }

// Find is the segment of a text value, NoSegment when the counter has none.
func (c *Counter) Find(value string) int {
	if s, ok := c.keys.find(value); ok {
		return s
	}
	return NoSegment
}

// FindRow is the segment of a catalog row, NoSegment for a row outside the catalog.
func (c *Counter) FindRow(row int64) int {
	if row < 0 || row >= int64(len(c.indptr)-1) {
		return NoSegment
	}
	return int(row)
}

// Fill writes the rate of rows[i] in the segment to out[i*stride]; 0 where it has none. out must hold
// (len(rows)-1)*stride+1 elements; every row must be a row of the catalog.
func (c *Counter) Fill(segment int, rows []int64, out []float32, stride int) {
	if segment == NoSegment {
		for i := range rows {
			out[i*stride] = 0
		}
		return
	}
	if rates := c.dense[segment]; rates != nil {
		for i, row := range rows {
			out[i*stride] = rates[row]
		}
		return
	}
	from, to := c.indptr[segment], c.indptr[segment+1]
	segmentRows, rates := c.rows[from:to], c.rates[from:to]
	if len(segmentRows) > searchSegment*len(rows) {
		for i, row := range rows {
			out[i*stride] = lookUp(segmentRows, rates, row)
		}
		return
	}
	scratch := c.scratch.Get().(*[]float32)
	spread := *scratch
	for i, row := range segmentRows {
		spread[row] = rates[i]
	}
	for i, row := range rows {
		out[i*stride] = spread[row]
	}
	for _, row := range segmentRows {
		spread[row] = 0
	}
	c.scratch.Put(scratch)
}

// lookUp is the rate of row, 0 when rows (ascending) do not hold it. The loop has a fixed number of steps
// and no unpredictable branch.
func lookUp(rows []int64, rates []float32, row int64) float32 {
	base, n := 0, len(rows)
	if n == 0 {
		return 0
	}
	for n > 1 {
		half := n / 2
		if rows[base+half] <= row {
			base += half
		}
		n -= half
	}
	if rows[base] == row {
		return rates[base]
	}
	return 0
}
