package stage

import (
	"cmp"
	"math"
	"slices"

	"github.com/shortlist-serving/shortlist/go/internal/vector"
)

// Scratch is the memory of one request, kept between requests so that a ranking of 1,000 candidates makes
// no garbage of its size. Candidate i of the funnel is element i of Rows, Retrieval, Prerank and of the
// rows of Cross [M,C] and Logits [M,T].
type Scratch struct {
	Rows         []int64
	Retrieval    []float32 // score of the first source that proposed the candidate
	Cross        []float32 // [M,C]
	Prerank      []float32 // empty when the preranker did not run
	Logits       []float32 // [M,T]
	Score        []float32
	QueryVectors []float32 // [Q,K]; empty when the query encoder did not run

	Vectors []float32 // [M,K] gathered retrieval vectors
	Tokens  []float32 // [M,D] gathered ranker tokens
	Spare   []float32
	allowed vector.Bitmap
	mask    []bool
	stamps  []uint32 // stamps[row] == epoch: the row was marked
	epoch   uint32
	keys    []uint64
	order   []ranked
	rows    []int64
}

// Resize makes *s n long, with any content.
func Resize[T any](s *[]T, n int) []T {
	if cap(*s) < n {
		*s = make([]T, n, n+n/4)
	}
	*s = (*s)[:n]
	return *s
}

func (s *Scratch) reset() {
	s.Rows, s.Retrieval, s.Cross, s.Prerank = s.Rows[:0], s.Retrieval[:0], s.Cross[:0], s.Prerank[:0]
	s.Logits, s.Score, s.QueryVectors = s.Logits[:0], s.Score[:0], s.QueryVectors[:0]
}

// NewMarks forgets all marks.
func (s *Scratch) NewMarks() {
	s.epoch++
	if s.epoch == 0 { // after 2^32 requests old stamps could look new
		clear(s.stamps)
		s.epoch = 1
	}
}

// Mark marks a row of the catalog and says whether it was new.
func (s *Scratch) Mark(row int64) bool {
	if s.stamps[row] == s.epoch {
		return false
	}
	s.stamps[row] = s.epoch
	return true
}

// AllRows is the set of all rows of the catalog.
func (s *Scratch) AllRows(items int) vector.Bitmap {
	s.allowed = s.allowed.Fill(items)
	return s.allowed
}

// Mask is a set of rows as the graphs take it, [I].
func (s *Scratch) Mask(rows vector.Bitmap, items int) []bool {
	mask := Resize(&s.mask, items)
	for row := range mask {
		mask[row] = rows.Has(int64(row))
	}
	return mask
}

// ranked is a candidate in a sort: its score, its row and where it was.
type ranked struct {
	score float32
	row   int64
	was   int
}

// Sort orders candidates by the tie rule: score descending, then row ascending. The answer lists where
// each one was; it is valid until the next Sort.
//
// A packed key of score and place sorts as a plain number, several times faster than by a function; equal
// scores are put in the order of their rows afterwards.
func (s *Scratch) Sort(scores []float32, rows []int64) []ranked {
	keys := Resize(&s.keys, len(rows))
	for i := range keys {
		keys[i] = uint64(descending(scores[i]))<<32 | uint64(uint32(i))
	}
	slices.Sort(keys)
	order := Resize(&s.order, len(rows))
	for i, key := range keys {
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

// Was is the position before the sort.
func (c ranked) Was() int { return c.was }

// Row of the candidate.
func (c ranked) Row() int64 { return c.row }

// Gather copies rows of a table [I,width] next to each other.
func Gather(out, table []float32, rows []int64, width int64) {
	for i, row := range rows {
		copy(out[int64(i)*width:int64(i+1)*width], table[row*width:(row+1)*width])
	}
}
