package bundle

import "math/bits"

// rowTable finds the row of an integer id. Ids that lie close together index it; others are hashed: a search
// of 4,000 ids mispredicts half of its twelve steps, some 80 ns an id.
type rowTable struct {
	ids   []int64 // ascending; the row of an id is its place
	rows  []int32 // -1: none. Dense: of id ids[0]+i. Hashed: at or after home(id), around the end
	shift uint    // of a hash, to a place of rows; 0 where the table is dense
}

// denseFactor bounds the memory of a dense table: at most this many places per item.
const denseFactor = 8

func newRowTable(ids []int64) rowTable {
	if len(ids) == 0 {
		return rowTable{}
	}
	t := rowTable{ids: ids}
	span := uint64(ids[len(ids)-1]) - uint64(ids[0]) // two's complement: right for any pair of int64
	if span < denseFactor*uint64(len(ids)) {
		t.rows = make([]int32, span+1)
	} else {
		size := bits.Len(uint(2*len(ids) - 1)) // at most half full
		t.rows, t.shift = make([]int32, 1<<size), uint(64-size)
	}
	for i := range t.rows {
		t.rows[i] = -1
	}
	for row, id := range ids {
		place := id - ids[0]
		if t.shift > 0 {
			for place = t.home(id); t.rows[place] >= 0; place = t.next(place) {
			}
		}
		t.rows[place] = int32(row)
	}
	return t
}

// home is where the search of an id begins: the upper bits of a product with 2^64 / golden ratio (Knuth).
func (t *rowTable) home(id int64) int64 { return int64(uint64(id) * 0x9E37_79B9_7F4A_7C15 >> t.shift) }

func (t *rowTable) next(place int64) int64 { return (place + 1) & int64(len(t.rows)-1) }

// row is the row of an id; false when it is unknown.
func (t *rowTable) row(id int64) (int64, bool) {
	if len(t.ids) == 0 {
		return 0, false
	}
	if t.shift == 0 {
		place := uint64(id) - uint64(t.ids[0])
		if id < t.ids[0] || place >= uint64(len(t.rows)) || t.rows[place] < 0 {
			return 0, false
		}
		return int64(t.rows[place]), true
	}
	for place := t.home(id); t.rows[place] >= 0; place = t.next(place) {
		if row := int64(t.rows[place]); t.ids[row] == id {
			return row, true
		}
	}
	return 0, false
}
