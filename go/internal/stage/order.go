package stage

import (
	"cmp"
	"math"
	"slices"
)

// ranked is a candidate in a sort: its score, its row and where it was.
type ranked struct {
	score float32
	row   int64
	was   int
}

// Was is the position before the sort.
func (c ranked) Was() int { return c.was }

// Row of the candidate.
func (c ranked) Row() int64 { return c.row }

// Sort orders candidates by the tie rule: score descending, then row ascending. The answer lists where
// each one was; it is valid until the next Sort. Scores are finite.
func (s *Scratch) Sort(scores []float32, rows []int64) []ranked {
	order := Resize(&s.order, len(rows))
	for i, key := range s.sortedKeys(scores[:len(rows)]) {
		was := int(uint32(key))
		order[i] = ranked{scores[was], rows[was], was}
	}
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && order[to].score == order[from].score {
			to++
		}
		if to-from > 1 {
			slices.SortFunc(order[from:to], func(a, b ranked) int { return cmp.Compare(a.row, b.row) })
		}
		from = to
	}
	return order
}

// sortedKeys are the scores with their places, best first, equal scores in the order of their places: the
// upper half of a key is the score, as a number of the opposite order, the lower its place. A counting
// sort by one byte after the other has no branch that a CPU could guess wrong, which is what comparing costs.
func (s *Scratch) sortedKeys(scores []float32) []uint64 {
	from, to := Resize(&s.keys[0], len(scores)), Resize(&s.keys[1], len(scores))
	var counts [4][256]uint32 // of each byte of the upper halves
	for i, score := range scores {
		key := descending(score)
		from[i] = uint64(key)<<32 | uint64(uint32(i))
		for d := range counts {
			counts[d][uint8(key>>(8*d))]++
		}
	}
	for d := range counts {
		starts, sum := &counts[d], uint32(0)
		for symbol, n := range starts {
			starts[symbol], sum = sum, sum+n
		}
		for _, key := range from {
			place := &starts[uint8(key>>(32+8*d))]
			to[*place] = key
			*place++
		}
		from, to = to, from
	}
	return from
}

// descending maps finite scores to numbers of the opposite order; both zeros are equal.
func descending(score float32) uint32 {
	bits := math.Float32bits(score + 0) // -0 + 0 is 0
	if bits>>31 == 0 {
		bits |= 1 << 31
	} else {
		bits = ^bits
	}
	return ^bits
}

// Take keeps the candidates of an order, in that order. It permutes Rows, Retrieval, Prerank and Cross.
func (s *Scratch) Take(order []ranked) {
	m := len(order)
	rows := Resize(&s.rows, m)
	for i, c := range order {
		rows[i] = c.row
	}
	s.rows, s.Rows = s.Rows, rows
	for _, column := range []*[]float32{&s.Retrieval, &s.Prerank, &s.Cross} {
		if len(*column) == 0 {
			continue
		}
		width := len(*column) / len(s.rows)
		taken := Resize(&s.Spare, m*width)
		for i, c := range order {
			copy(taken[i*width:(i+1)*width], (*column)[c.was*width:])
		}
		s.Spare, *column = *column, taken
	}
}
