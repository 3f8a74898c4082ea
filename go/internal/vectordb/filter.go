package vectordb

import (
	"strconv"

	"github.com/qdrant/go-client/qdrant"

	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// Keys of a point's payload. Item columns have a prefix, so that none takes the name of another key.
const (
	columnKey = "item."
	fromKey   = "available_from"
	untilKey  = "available_until"
)

// filterOf says in the engine's words what package retrieval decides row by row, so that the engine leaves room for rows that may be
// used. Numbers are compared as float32, as the catalog keeps them.
func filterOf(q Query) *qdrant.Filter {
	f := &qdrant.Filter{}
	if len(q.Seen) > 0 {
		ids := make([]*qdrant.PointId, 0, len(q.Seen))
		for _, row := range q.Seen {
			ids = append(ids, qdrant.NewIDNum(uint64(row)))
		}
		f.MustNot = append(f.MustNot, qdrant.NewHasID(ids...))
	}
	if now := float64(q.Time); q.Time > 0 {
		f.MustNot = append(f.MustNot, qdrant.NewRange(fromKey, &qdrant.Range{Gt: &now}),
			qdrant.NewRange(untilKey, &qdrant.Range{Lte: &now})) // an item without an end has no such key
	}
	for _, column := range q.Columns {
		addColumn(f, column)
	}
	return f
}

func addColumn(f *qdrant.Filter, column rank.ColumnFilter) {
	key := columnKey + column.Column
	if column.Min != nil || column.Max != nil {
		f.Must = append(f.Must, qdrant.NewRange(key, &qdrant.Range{Gte: asFloat32(column.Min), Lte: asFloat32(column.Max)}))
	}
	if wanted := matches(key, column.AnyOf); len(wanted) > 0 {
		f.Must = append(f.Must, qdrant.NewFilterAsCondition(&qdrant.Filter{Should: wanted}))
	}
	f.MustNot = append(f.MustNot, matches(key, column.NoneOf)...)
}

// matches is one condition for each value. The engine compares numbers by range only, and an integer may stand for a text, so that it
// is asked for as both.
func matches(key string, values []rank.Value) []*qdrant.Condition {
	var conditions []*qdrant.Condition
	number := func(x float64) {
		x = float64(float32(x))
		conditions = append(conditions, qdrant.NewRange(key, &qdrant.Range{Gte: &x, Lte: &x}))
	}
	for _, v := range values {
		switch v.Kind {
		case rank.KindText:
			conditions = append(conditions, qdrant.NewMatchKeyword(key, v.Text))
		case rank.KindTexts:
			conditions = append(conditions, qdrant.NewMatchKeywords(key, v.Texts...))
		case rank.KindInteger:
			number(float64(v.Integer))
			conditions = append(conditions, qdrant.NewMatchKeyword(key, strconv.FormatInt(v.Integer, 10)))
		case rank.KindNumber:
			number(v.Number)
		}
	}
	return conditions
}

func asFloat32(x *float64) *float64 {
	if x == nil {
		return nil
	}
	rounded := float64(float32(*x))
	return &rounded
}

// payloadOf is what the engine filters a row by.
func payloadOf(catalog *bundle.Catalog, columns []string, row int64) map[string]*qdrant.Value {
	payload := make(map[string]*qdrant.Value, len(columns)+2)
	for _, name := range columns {
		raw := catalog.Raw(name)
		switch {
		case raw.Numbers != nil:
			payload[columnKey+name] = qdrant.NewValueDouble(float64(raw.Numbers[row]))
		case raw.Rows != nil:
			var texts []*qdrant.Value
			for i := raw.Rows[row]; i < raw.Rows[row+1]; i++ {
				texts = append(texts, qdrant.NewValueString(raw.Texts.At(int(i))))
			}
			payload[columnKey+name] = qdrant.NewValueFromList(texts...)
		default:
			payload[columnKey+name] = qdrant.NewValueString(raw.Texts.At(int(row)))
		}
	}
	from, until := catalog.Interval(row)
	if from != 0 {
		payload[fromKey] = qdrant.NewValueInt(from)
	}
	if until != 0 {
		payload[untilKey] = qdrant.NewValueInt(until)
	}
	return payload
}
