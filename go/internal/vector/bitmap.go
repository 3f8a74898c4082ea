package vector

import "math/bits"

// Bitmap is a set of rows: row r is bit r%64 of word r/64. Bits past the last row are 0.
type Bitmap []uint64

func words(items int) int { return (items + 63) / 64 }

// Fill makes b the set of all rows 0..items-1, in its memory where that suffices.
func (b Bitmap) Fill(items int) Bitmap {
	if cap(b) < words(items) {
		b = make(Bitmap, words(items))
	}
	b = b[:words(items)]
	for w := range b {
		b[w] = ^uint64(0)
	}
	if rest := items % 64; rest > 0 {
		b[len(b)-1] = 1<<rest - 1
	}
	return b
}

// Has says whether a row is in the set.
func (b Bitmap) Has(row int64) bool { return b[row>>6]>>(row&63)&1 == 1 }

// Remove takes a row out of the set and says whether it was in.
func (b Bitmap) Remove(row int64) bool {
	word, bit := &b[row>>6], uint64(1)<<(row&63)
	was := *word&bit != 0
	*word &^= bit
	return was
}

// Keep takes out the rows that are not in other, a set over as many rows, and says how many those were.
func (b Bitmap) Keep(other Bitmap) (removed int) {
	for w, word := range b {
		removed += bits.OnesCount64(word &^ other[w])
		b[w] = word & other[w]
	}
	return removed
}

// Count is the number of rows in the set.
func (b Bitmap) Count() int {
	n := 0
	for _, word := range b {
		n += bits.OnesCount64(word)
	}
	return n
}
