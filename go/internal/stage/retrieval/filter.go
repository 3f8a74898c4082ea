// Package retrieval is the first stage: which items of the catalog may be candidates, what each source
// proposes, and how the proposals become one list.
package retrieval

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// Predicate says whether a row passes a filter.
type Predicate func(row int64) bool

// CompileFilters turns column filters into predicates over the catalog. Its faults are an
// *rank.InvalidError with fields under "filters.columns[i]".
func CompileFilters(catalog *bundle.Catalog, filters []rank.ColumnFilter) ([]Predicate, error) {
	var faults rank.Faults
	predicates := make([]Predicate, 0, len(filters))
	for i, filter := range filters {
		path := fmt.Sprintf("filters.columns[%d]", i)
		raw := catalog.Raw(filter.Column)
		switch {
		case raw == nil:
			faults.Add(path+".column", rank.ReasonUnknownColumn, "is not an item column of the release", "use a column of the schema")
		case raw.Numbers != nil:
			predicates = append(predicates, numberFilter(path, raw.Numbers, filter, &faults))
		default:
			predicates = append(predicates, textFilter(path, raw, filter, &faults))
		}
	}
	return predicates, faults.Err()
}

func numberFilter(path string, numbers []float32, filter rank.ColumnFilter, faults *rank.Faults) Predicate {
	anyOf := numberValues(path+".any_of", filter.AnyOf, faults)
	noneOf := numberValues(path+".none_of", filter.NoneOf, faults)
	return func(row int64) bool {
		value := numbers[row]
		switch {
		case filter.Min != nil && value < float32(*filter.Min), filter.Max != nil && value > float32(*filter.Max):
			return false
		case len(filter.AnyOf) > 0 && !slices.Contains(anyOf, value):
			return false
		}
		return !slices.Contains(noneOf, value)
	}
}

// numberValues are float32, as the catalog keeps numbers: 0.1 on the wire equals 0.1 in the catalog. So are bounds.
func numberValues(path string, values []rank.Value, faults *rank.Faults) []float32 {
	numbers := make([]float32, 0, len(values))
	for i, v := range values {
		switch v.Kind {
		case rank.KindInteger:
			numbers = append(numbers, float32(v.Integer))
		case rank.KindNumber:
			numbers = append(numbers, float32(v.Number))
		default:
			faults.Add(fmt.Sprintf("%s[%d]", path, i), rank.ReasonWrongType, "the column holds numbers", "give `number` or `integer`")
		}
	}
	return numbers
}

func textFilter(path string, raw *bundle.RawColumn, filter rank.ColumnFilter, faults *rank.Faults) Predicate {
	if filter.Min != nil || filter.Max != nil {
		faults.Add(path, rank.ReasonWrongType, "`min` and `max` need a column of numbers", "use `any_of` or `none_of`")
	}
	anyOf := textValues(path+".any_of", filter.AnyOf, faults)
	noneOf := textValues(path+".none_of", filter.NoneOf, faults)
	return func(row int64) bool {
		from, to := row, row+1
		if raw.Rows != nil {
			from, to = raw.Rows[row], raw.Rows[row+1]
		}
		wanted := len(anyOf) == 0
		for i := from; i < to; i++ {
			value := raw.Texts.At(int(i))
			if slices.Contains(noneOf, value) {
				return false
			}
			wanted = wanted || slices.Contains(anyOf, value)
		}
		return wanted
	}
}

func textValues(path string, values []rank.Value, faults *rank.Faults) []string {
	texts := make([]string, 0, len(values))
	for i, v := range values {
		switch v.Kind {
		case rank.KindText:
			texts = append(texts, v.Text)
		case rank.KindInteger:
			texts = append(texts, strconv.FormatInt(v.Integer, 10))
		case rank.KindTexts:
			texts = append(texts, v.Texts...)
		default:
			faults.Add(fmt.Sprintf("%s[%d]", path, i), rank.ReasonWrongType, "the column holds texts", "give `text` or `integer`")
		}
	}
	return texts
}

// verdict is why a row may not be a candidate, "" when it may.
func verdict(row int64, predicates []Predicate) string {
	for _, passes := range predicates {
		if !passes(row) {
			return rank.DropFilter
		}
	}
	return ""
}
