package bundle

import (
	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
)

// HNSW holds the neighbours of the first N rows of the catalog in layers; a list of them ends at its first -1. Invariant:
// every neighbour in a layer is a row of that layer, and Entry is a row of the highest, so that no walk leaves the tables.
type HNSW struct {
	M      int
	Entry  int32
	Levels []uint8 // [N]
	Base   []int32 // [N,2M] layer 0
	Upper  []int32 // [sum of Levels, M] layers 1 to the row's level, row after row
}

func parseHNSW(t *Tensors, spec *bundlev1.Hnsw, items int64) (*HNSW, error) {
	h := &HNSW{M: int(spec.GetM())}
	levels, err := t.view("levels", "U8")
	if err != nil {
		return nil, err
	}
	n, lists := int64(len(levels.data)), int64(0)
	for _, level := range levels.data {
		lists += int64(level)
	}
	if err := t.checkShape("levels", levels.shape, []int64{n}); err != nil {
		return nil, err
	}
	if n > items {
		return nil, refuse(t.file, "shape", fixFactory, "the graph has %d rows and the catalog %d", n, items)
	}
	h.Levels = levels.data
	if h.Base, err = t.int32sOf("links", n, 2*int64(h.M)); err != nil {
		return nil, err
	}
	if h.Upper, err = t.int32sOf("upper_links", lists, int64(h.M)); err != nil {
		return nil, err
	}
	entry, err := t.int32sOf("entry", 1)
	if err != nil {
		return nil, err
	}
	h.Entry = entry[0]
	return h, h.check(t.file)
}

// check proves the invariant of HNSW.
func (h *HNSW) check(file string) error {
	n, top := int32(len(h.Levels)), uint8(0)
	for _, level := range h.Levels {
		top = max(top, level)
	}
	if empty := n == 0; empty != (h.Entry == -1) || !empty && (h.Entry < 0 || h.Entry >= n || h.Levels[h.Entry] != top) {
		return refuse(file, "entry", fixFactory, "a search cannot begin at row %d: it is not of the highest level, %d", h.Entry, top)
	}
	neighbours := func(row int32, layer uint8, list []int32) error {
		for _, near := range list {
			if near == -1 {
				break
			}
			if near < 0 || near >= n || h.Levels[near] < layer {
				return refuse(file, "links", fixFactory, "row %d has the neighbour %d in layer %d, where there is none", row, near, layer)
			}
		}
		return nil
	}
	upper := h.Upper
	for row := range n {
		if err := neighbours(row, 0, h.Base[2*int(row)*h.M:2*int(row+1)*h.M]); err != nil {
			return err
		}
		for layer := range h.Levels[row] {
			if err := neighbours(row, layer+1, upper[:h.M]); err != nil {
				return err
			}
			upper = upper[h.M:]
		}
	}
	return nil
}
