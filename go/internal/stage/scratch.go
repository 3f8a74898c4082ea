package stage

import (
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
	keys    [2][]uint64
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
