package bundle

import (
	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// Texts is a list of texts over shared bytes.
type Texts struct {
	bytes   []byte
	offsets []int64
}

// Len is the number of texts.
func (t Texts) Len() int { return max(len(t.offsets)-1, 0) }

// At is text i, without a copy.
func (t Texts) At(i int) string { return string(t.bytes[t.offsets[i]:t.offsets[i+1]]) }

// InputColumn is an item column as the graphs take it, [I] or [I,W]. One of I64 and F32 is set.
type InputColumn struct {
	Column *bundlev1.Column
	Width  int // elements per item; 1 for scalars
	I64    []int64
	F32    []float32
}

// RawColumn is an item column before encoding, for filters and the value formula. Numbers is set for
// NUMBER columns, else Texts; a VOCABULARY_LIST item i has Texts[Rows[i]:Rows[i+1]].
type RawColumn struct {
	Column  *bundlev1.Column
	Numbers []float32
	Texts   Texts
	Rows    []int64
}

// Catalog is the items, rows ascending by id.
type Catalog struct {
	kind bundlev1.DType
}

// Len is I, the number of items.
func (c *Catalog) Len() int { return 0 }

// Kind is the type of the item ids: INT64 or STRING.
func (c *Catalog) Kind() bundlev1.DType { return c.kind }

// Row is the row of an integer id; false when it is unknown.
func (c *Catalog) Row(id int64) (int64, bool) { return 0, false }

// RowOf is the row of a string id; false when it is unknown.
func (c *Catalog) RowOf(id string) (int64, bool) { return 0, false }

// Rows appends the row of each id to dst, -1 for unknown items. ids of the other kind than Kind are an
// *rank.InvalidError on field.
func (c *Catalog) Rows(dst []int64, ids rank.ItemIDs, field string) ([]int64, error) { return nil, nil }

// IDs are the ids of rows, all of which must be rows of the catalog.
func (c *Catalog) IDs(rows []int64) rank.ItemIDs { return rank.ItemIDs{} }

// Inputs are the encoded columns in the order of the schema.
func (c *Catalog) Inputs() []*InputColumn { return nil }

// Raw is the raw column, nil when the schema has none of this name.
func (c *Catalog) Raw(column string) *RawColumn { return nil }

// Title of a row; "" when the catalog has no titles.
func (c *Catalog) Title(row int64) string { return "" }

// Available says whether a row may be shown at time (unix seconds).
func (c *Catalog) Available(row, time int64) bool { return false }

// HasAvailability says whether any item has an availability interval.
func (c *Catalog) HasAvailability() bool { return false }
