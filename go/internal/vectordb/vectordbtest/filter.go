package vectordbtest

import (
	"slices"

	"github.com/qdrant/go-client/qdrant"
)

// passes is the meaning of a filter: all of must, none of must_not, and one of should where there are some.
func passes(f *qdrant.Filter, p *qdrant.PointStruct) bool {
	holds := func(c *qdrant.Condition) bool { return meets(c, p) }
	if slices.ContainsFunc(f.GetMustNot(), holds) || len(f.GetShould()) > 0 && !slices.ContainsFunc(f.GetShould(), holds) {
		return false
	}
	return !slices.ContainsFunc(f.GetMust(), func(c *qdrant.Condition) bool { return !holds(c) })
}

func meets(c *qdrant.Condition, p *qdrant.PointStruct) bool {
	switch {
	case c.GetFilter() != nil:
		return passes(c.GetFilter(), p)
	case c.GetHasId() != nil:
		return slices.ContainsFunc(c.GetHasId().GetHasId(), func(id *qdrant.PointId) bool { return id.GetNum() == p.GetId().GetNum() })
	}
	field := c.GetField()
	value, ok := p.GetPayload()[field.GetKey()]
	if !ok {
		return false
	}
	values := []*qdrant.Value{value}
	if list := value.GetListValue(); list != nil {
		values = list.GetValues()
	}
	return slices.ContainsFunc(values, func(v *qdrant.Value) bool { return fits(field, v) })
}

func fits(field *qdrant.FieldCondition, v *qdrant.Value) bool {
	if r := field.GetRange(); r != nil {
		x := v.GetDoubleValue()
		switch v.GetKind().(type) {
		case *qdrant.Value_IntegerValue:
			x = float64(v.GetIntegerValue())
		case *qdrant.Value_DoubleValue:
		default:
			return false
		}
		return (r.Gt == nil || x > *r.Gt) && (r.Gte == nil || x >= *r.Gte) && (r.Lt == nil || x < *r.Lt) && (r.Lte == nil || x <= *r.Lte)
	}
	if _, text := v.GetKind().(*qdrant.Value_StringValue); !text {
		return false
	}
	switch match := field.GetMatch().GetMatchValue().(type) {
	case *qdrant.Match_Keyword:
		return v.GetStringValue() == match.Keyword
	case *qdrant.Match_Keywords:
		return slices.Contains(match.Keywords.GetStrings(), v.GetStringValue())
	}
	return false
}
