package bundle

import (
	"slices"
	"unsafe"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// Texts is a list of texts over shared bytes, which never change.
type Texts struct {
	bytes   []byte
	offsets []int64
}

// Len is the number of texts.
func (t Texts) Len() int { return max(len(t.offsets)-1, 0) }

// At is text i, without a copy.
func (t Texts) At(i int) string {
	b := t.bytes[t.offsets[i]:t.offsets[i+1]]
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// find is the position of text in an ascending list.
func (t Texts) find(text string) (int, bool) {
	low, high := 0, t.Len()
	for low < high {
		mid := (low + high) / 2
		if t.At(mid) < text {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, low < t.Len() && t.At(low) == text
}

// ascending says whether every text is larger than the one before.
func (t Texts) ascending() bool {
	for i := 1; i < t.Len(); i++ {
		if t.At(i-1) >= t.At(i) {
			return false
		}
	}
	return true
}

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
	kind    bundlev1.DType
	ints    []int64          // INT64 ids
	texts   Texts            // STRING ids
	byInt   rowTable         // of INT64 ids
	byText  map[string]int32 // row of a STRING id; keys share the bytes of texts
	inputs  []*InputColumn
	raw     map[string]*RawColumn
	titles  Texts
	from    []int64 // nil when no item has an interval
	until   []int64
	numRows int
}

func parseCatalog(t *Tensors, schema *bundlev1.Schema) (*Catalog, error) {
	c := &Catalog{kind: schema.GetItemId(), raw: map[string]*RawColumn{}}
	if err := c.parseIDs(t); err != nil {
		return nil, err
	}
	for _, column := range schema.GetItem() {
		input, err := parseInput(t, column, int64(c.numRows))
		if err != nil {
			return nil, err
		}
		raw, err := parseRaw(t, column, int64(c.numRows))
		if err != nil {
			return nil, err
		}
		c.inputs = append(c.inputs, input)
		c.raw[column.GetName()] = raw
	}
	if t.Has("title.bytes") {
		titles, err := t.Texts("title")
		if err != nil {
			return nil, err
		}
		if titles.Len() != c.numRows {
			return nil, refuse(t.file, "shape", fixFactory, "%d titles for %d items", titles.Len(), c.numRows)
		}
		c.titles = titles
	}
	for name, dst := range map[string]*[]int64{"available_from": &c.from, "available_until": &c.until} {
		if !t.Has(name) {
			continue
		}
		times, err := t.intsOf(name, int64(c.numRows))
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(times, func(v int64) bool { return v != 0 }) {
			*dst = times
		}
	}
	return c, nil
}

func (c *Catalog) parseIDs(t *Tensors) error {
	if c.kind == bundlev1.DType_STRING {
		ids, err := t.Texts("id")
		if err != nil {
			return err
		}
		if !ids.ascending() {
			return refuse(t.file, "order", fixFactory, "ids are not strictly ascending by their bytes")
		}
		c.texts, c.numRows = ids, ids.Len()
		c.byText = make(map[string]int32, ids.Len())
		for row := range ids.Len() {
			c.byText[ids.At(row)] = int32(row)
		}
	} else {
		ids, shape, err := t.Ints("id")
		if err != nil {
			return err
		}
		if len(shape) != 1 {
			return refuse(t.file, "shape", fixFactory, "id has shape %v, not [I]", shape)
		}
		for i := 1; i < len(ids); i++ {
			if ids[i-1] >= ids[i] {
				return refuse(t.file, "order", fixFactory, "ids are not strictly ascending at row %d", i)
			}
		}
		c.ints, c.numRows = ids, len(ids)
		c.byInt = newRowTable(ids)
	}
	if c.numRows == 0 || c.numRows > 1<<31-1 {
		return refuse(t.file, "size", fixExport, "the catalog has %d items; 1 to 2^31-1 are possible", c.numRows)
	}
	return nil
}

func parseInput(t *Tensors, column *bundlev1.Column, items int64) (*InputColumn, error) {
	shape := []int64{items}
	if column.GetWidth() > 0 {
		shape = append(shape, int64(column.GetWidth()))
	}
	in := &InputColumn{Column: column, Width: max(int(column.GetWidth()), 1)}
	name := "input." + column.GetName()
	var err error
	if column.GetOp() == bundlev1.Op_NUMBER {
		in.F32, err = t.floatsOf(name, shape...)
		return in, err
	}
	if in.I64, err = t.intsOf(name, shape...); err != nil {
		return nil, err
	}
	largest := Cardinality(column) - 1
	for i, v := range in.I64 {
		if v < 0 || v > largest {
			return nil, refuse(t.file, "range", fixFactory, "tensor %q: element %d is %d; ids of this column go from 0 to %d", name, i, v, largest)
		}
	}
	return in, nil
}

func parseRaw(t *Tensors, column *bundlev1.Column, items int64) (*RawColumn, error) {
	raw := &RawColumn{Column: column}
	name := "raw." + column.GetName()
	var err error
	if column.GetOp() == bundlev1.Op_NUMBER {
		raw.Numbers, err = t.floatsOf(name, items)
		return raw, err
	}
	if raw.Texts, err = t.Texts(name); err != nil {
		return nil, err
	}
	want := items
	if column.GetOp() == bundlev1.Op_VOCABULARY_LIST {
		if raw.Rows, err = t.indptr(name+".rows", items, int64(raw.Texts.Len())); err != nil {
			return nil, err
		}
		want = int64(raw.Texts.Len())
	}
	if int64(raw.Texts.Len()) != want {
		return nil, refuse(t.file, "shape", fixFactory, "%q has %d texts for %d items", name, raw.Texts.Len(), items)
	}
	return raw, nil
}

// Cardinality is the number of ids of a column with the unknown id 0; 0 for numbers.
func Cardinality(column *bundlev1.Column) int64 {
	switch column.GetOp() {
	case bundlev1.Op_VOCABULARY, bundlev1.Op_VOCABULARY_LIST, bundlev1.Op_ITEM_ROW:
		return int64(len(column.GetVocabulary())) + 1
	case bundlev1.Op_HASH, bundlev1.Op_TOKENS:
		return int64(column.GetBuckets()) + 1
	}
	return 0
}

// Len is I, the number of items.
func (c *Catalog) Len() int { return c.numRows }

// Kind is the type of the item ids: INT64 or STRING.
func (c *Catalog) Kind() bundlev1.DType { return c.kind }

// Row is the row of an integer id; false when it is unknown.
func (c *Catalog) Row(id int64) (int64, bool) { return c.byInt.row(id) }

// RowOf is the row of a string id; false when it is unknown.
func (c *Catalog) RowOf(id string) (int64, bool) {
	row, ok := c.byText[id]
	return int64(row), ok
}

// Rows appends the row of each id to dst, -1 for unknown items. ids of the other kind than Kind are an
// *rank.InvalidError on field.
func (c *Catalog) Rows(dst []int64, ids rank.ItemIDs, field string) ([]int64, error) {
	var faults rank.Faults
	switch {
	case c.kind == bundlev1.DType_INT64 && len(ids.Strings) > 0:
		faults.Add(field, rank.ReasonWrongType, "string item ids were sent", "this release's items have integer ids: send them in ints")
	case c.kind == bundlev1.DType_STRING && len(ids.Ints) > 0:
		faults.Add(field, rank.ReasonWrongType, "integer item ids were sent", "this release's items have string ids: send them in strings")
	}
	if err := faults.Err(); err != nil {
		return dst, err
	}
	dst = slices.Grow(dst, ids.Len())
	for _, id := range ids.Ints {
		row, ok := c.Row(id)
		if !ok {
			row = -1
		}
		dst = append(dst, row)
	}
	for _, id := range ids.Strings {
		row, ok := c.RowOf(id)
		if !ok {
			row = -1
		}
		dst = append(dst, row)
	}
	return dst, nil
}

// IDs are the ids of rows, all of which must be rows of the catalog.
func (c *Catalog) IDs(rows []int64) rank.ItemIDs {
	var ids rank.ItemIDs
	if c.kind == bundlev1.DType_STRING {
		ids.Strings = make([]string, len(rows))
		for i, row := range rows {
			ids.Strings[i] = c.texts.At(int(row))
		}
		return ids
	}
	ids.Ints = make([]int64, len(rows))
	for i, row := range rows {
		ids.Ints[i] = c.ints[row]
	}
	return ids
}

// Inputs are the encoded columns in the order of the schema.
func (c *Catalog) Inputs() []*InputColumn { return c.inputs }

// Raw is the raw column, nil when the schema has none of this name.
func (c *Catalog) Raw(column string) *RawColumn { return c.raw[column] }

// Title of a row; "" when the catalog has no titles.
func (c *Catalog) Title(row int64) string {
	if c.titles.Len() == 0 {
		return ""
	}
	return c.titles.At(int(row))
}

// Available says whether a row may be shown at time (unix seconds).
func (c *Catalog) Available(row, time int64) bool {
	if c.from != nil && c.from[row] > time {
		return false
	}
	return c.until == nil || c.until[row] == 0 || time < c.until[row]
}

// AvailabilityChanges are the times at which an item may be shown from, or no longer, ascending: Available
// answers the same for every time between two of them, the earlier included.
func (c *Catalog) AvailabilityChanges() []int64 {
	changes := slices.Concat(c.from, c.until)
	slices.Sort(changes)
	return slices.Compact(changes)
}

// Interval is when a row may be shown, inclusive and exclusive unix seconds; 0 is open.
func (c *Catalog) Interval(row int64) (from, until int64) {
	if c.from != nil {
		from = c.from[row]
	}
	if c.until != nil {
		until = c.until[row]
	}
	return from, until
}

// HasAvailability says whether any item has an availability interval.
func (c *Catalog) HasAvailability() bool { return c.from != nil || c.until != nil }
