package bundle

import bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"

// SourceTable is the table of a retrieval source; the field of its kind is set.
type SourceTable struct {
	Source       *bundlev1.Source
	Cooccurrence *Cooccurrence
	Popular      *Popular
}

// Cooccurrence holds the neighbours of each item, heaviest first.
type Cooccurrence struct {
	indptr, rows []int64
	weights      []float32
}

// Neighbours of a catalog row and their weights, heaviest first; shared, not to be changed.
func (c *Cooccurrence) Neighbours(row int64) (rows []int64, weights []float32) {
	from, to := c.indptr[row], c.indptr[row+1]
	return c.rows[from:to], c.weights[from:to]
}

// Popular holds ranked lists of rows, one per segment value and a default.
type Popular struct{}

// List is the list of a segment value, the default list when there is none for it; shared, not to be changed.
func (p *Popular) List(segment string) (rows []int64, scores []float32) { return nil, nil }

// Default is the list without a segment.
func (p *Popular) Default() (rows []int64, scores []float32) { return nil, nil }
