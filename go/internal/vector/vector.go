// Package vector finds the k items with the largest inner product with a query, exactly: the scores are the fp32
// products of kernel.DotsFloat32, and items come by score descending, then row ascending.
//
// A scan over all fp32 vectors is bound by memory. Coded searches read a quarter of the bytes or less: a row's
// codes give its score up to an error that is bounded, not estimated (bound.go), so a row whose upper bound lies
// below the k-th best lower bound cannot be among the k best. The rows that are left, a few times k for most
// vectors at 8 bits and all of them for the worst, are scored again in fp32. Nothing is lost, whatever the vectors are.
//
// Shapes: I items, K width.
package vector

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/shortlist-serving/shortlist/go/internal/vector/kernel"
)

// Query asks for the best allowed rows.
type Query struct {
	Vector  []float32 // [K]
	Allowed Bitmap    // [I]
	Limit   int       // at most I rows are found
}

// Hits are the rows found, best first. Rows and Scores are parallel.
type Hits struct {
	Rows   []int64
	Scores []float32
}

// Parallel runs part(0) to part(parts-1), at once where it can, and waits. Its error means that some did not run.
type Parallel func(ctx context.Context, parts int, run func(part int)) error

// Serial runs the parts one after the other.
func Serial(_ context.Context, parts int, run func(part int)) error {
	for part := range parts {
		run(part)
	}
	return nil
}

// Index is a searchable set of vectors. It is immutable and safe for concurrent use.
type Index interface {
	// Search answers the queries together, one Hits for each. Work is cut into parts for p. The error is of p.
	Search(ctx context.Context, queries []Query, parts int, p Parallel) ([]Hits, error)
}

// ErrNonFinite says that a query or a score is NaN or infinite.
var ErrNonFinite = errors.New("a query vector or a score is NaN or infinite")

// check refuses queries that no index can answer.
func check(queries []Query, items, width int) error {
	for _, q := range queries {
		if len(q.Vector) != width || len(q.Allowed) != words(items) {
			return fmt.Errorf("a query has %d dimensions and a bitmap of %d words; the index has %d and %d",
				len(q.Vector), len(q.Allowed), width, words(items))
		}
		if n := norm(q.Vector); math.IsNaN(n) || math.IsInf(n, 0) {
			return ErrNonFinite
		}
	}
	return nil
}

// Rescore scores rows that were found elsewhere for a query, and gives the best Limit of those that are allowed. Rows that are outside of
// vectors [I,K], not allowed, or there twice are left out.
func Rescore(vectors []float32, k int, q Query, rows []int64) (Hits, error) {
	items := len(vectors) / max(k, 1)
	if err := check([]Query{q}, items, k); err != nil {
		return Hits{}, err
	}
	if q.Limit < 1 {
		return Hits{}, nil
	}
	var b best
	b.reset(q.Limit)
	rows = slices.Compact(slices.Sorted(slices.Values(rows)))
	var score [1]float32
	for _, row := range rows {
		if row >= 0 && row < int64(items) && q.Allowed.Has(row) {
			kernel.DotsFloat32(score[:], vectors[int(row)*k:int(row+1)*k], q.Vector)
			b.add(score[0], row)
		}
	}
	return b.hits()
}

// norm is the length of x in float64, where no fp32 can overflow.
func norm(x []float32) float64 {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum)
}
