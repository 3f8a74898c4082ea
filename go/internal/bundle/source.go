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

// Popular holds ranked lists of rows, best first: one per segment value and a default.
type Popular struct {
	keys   Texts
	indptr []int64
	rows   []int64
	scores []float32

	defaultRows   []int64
	defaultScores []float32
}

func parseSource(t *Tensors, source *bundlev1.Source, items int64) (*SourceTable, error) {
	table := &SourceTable{Source: source}
	var err error
	if source.GetKind() == bundlev1.SourceKind_COOCCURRENCE {
		table.Cooccurrence, err = parseCooccurrence(t, items)
	} else {
		table.Popular, err = parsePopular(t, source.GetSegment() != "", items)
	}
	return table, err
}

func parseCooccurrence(t *Tensors, items int64) (*Cooccurrence, error) {
	c := &Cooccurrence{}
	var err error
	if c.rows, c.weights, err = t.list("rows", "weights", items); err != nil {
		return nil, err
	}
	if c.indptr, err = t.indptr("indptr", items, int64(len(c.rows))); err != nil {
		return nil, err
	}
	for row := range items {
		_, weights := c.Neighbours(row)
		if err := checkDescending(t.file, weights); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func parsePopular(t *Tensors, segmented bool, items int64) (*Popular, error) {
	p := &Popular{}
	var err error
	if !segmented {
		if p.defaultRows, p.defaultScores, err = t.list("rows", "scores", items); err != nil {
			return nil, err
		}
		return p, checkDescending(t.file, p.defaultScores)
	}
	if p.defaultRows, p.defaultScores, err = t.list("default.rows", "default.scores", items); err != nil {
		return nil, err
	}
	if err := checkDescending(t.file, p.defaultScores); err != nil {
		return nil, err
	}
	if p.rows, p.scores, err = t.list("rows", "scores", items); err != nil {
		return nil, err
	}
	if p.keys, err = t.Texts("keys"); err != nil {
		return nil, err
	}
	if !p.keys.ascending() {
		return nil, refuse(t.file, "order", fixFactory, "keys are not strictly ascending")
	}
	if p.indptr, err = t.indptr("indptr", int64(p.keys.Len()), int64(len(p.rows))); err != nil {
		return nil, err
	}
	for s := range p.keys.Len() {
		if err := checkDescending(t.file, p.scores[p.indptr[s]:p.indptr[s+1]]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// list reads parallel rows and values.
func (t *Tensors) list(rowsName, valuesName string, items int64) ([]int64, []float32, error) {
	rows, shape, err := t.Ints(rowsName)
	if err != nil {
		return nil, nil, err
	}
	if err := t.checkShape(rowsName, shape, []int64{int64(len(rows))}); err != nil {
		return nil, nil, err
	}
	if err := checkRows(t.file, rows, items); err != nil {
		return nil, nil, err
	}
	values, err := t.floatsOf(valuesName, int64(len(rows)))
	return rows, values, err
}

// checkDescending refuses a list that is not best first.
func checkDescending(file string, values []float32) error {
	for i := 1; i < len(values); i++ {
		if values[i-1] < values[i] {
			return refuse(file, "order", fixFactory, "a list is not sorted best first at position %d", i)
		}
	}
	return nil
}

// Neighbours of a catalog row and their weights, heaviest first; shared, not to be changed.
func (c *Cooccurrence) Neighbours(row int64) (rows []int64, weights []float32) {
	from, to := c.indptr[row], c.indptr[row+1]
	return c.rows[from:to:to], c.weights[from:to:to]
}

// List is the list of a segment value, the default list when there is none for it; shared, not to be changed.
func (p *Popular) List(segment string) (rows []int64, scores []float32) {
	s, ok := p.keys.find(segment)
	if !ok {
		return p.Default()
	}
	from, to := p.indptr[s], p.indptr[s+1]
	return p.rows[from:to:to], p.scores[from:to:to]
}

// Default is the list without a segment.
func (p *Popular) Default() (rows []int64, scores []float32) { return p.defaultRows, p.defaultScores }
