package feature

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// Column encodes the raw values of one column of a schema.
type Column struct {
	spec       *bundlev1.Column
	vocabulary map[string]int64 // value to 1 + its position
	shape      []int64          // of one request: [1] or [1,W]
}

// NewColumn indexes the vocabulary of a column, which passed the checks of package bundle.
func NewColumn(spec *bundlev1.Column) *Column {
	c := &Column{spec: spec, shape: []int64{1}}
	if spec.GetWidth() > 0 {
		c.shape = []int64{1, int64(spec.GetWidth())}
	}
	if n := len(spec.GetVocabulary()); n > 0 {
		c.vocabulary = make(map[string]int64, n)
		for i, value := range spec.GetVocabulary() {
			c.vocabulary[value] = int64(i) + 1
		}
	}
	return c
}

// dtype of the graph input.
func (c *Column) dtype() runtime.DType {
	if c.spec.GetOp() == bundlev1.Op_NUMBER {
		return runtime.Float32
	}
	return runtime.Int64
}

// width is the number of elements of one value.
func (c *Column) width() int { return max(int(c.spec.GetWidth()), 1) }

// EncodeNumber encodes a value of a NUMBER column. A value of KindNone is missing.
func (c *Column) EncodeNumber(v rank.Value) (float32, *rank.FieldError) {
	var x float64
	switch v.Kind {
	case rank.KindNone:
		return float32(c.spec.GetDefaultNumber()), nil
	case rank.KindInteger:
		x = float64(v.Integer)
	case rank.KindNumber:
		x = v.Number
	default:
		return 0, wrongKind(v, "a number")
	}
	if y := float64(float32(x)); math.IsNaN(y) || math.IsInf(y, 0) {
		return 0, &rank.FieldError{Reason: rank.ReasonNotFinite, Problem: "the value is not a finite float32",
			Fix: "leave it out: the default stands in"}
	}
	if (c.spec.Min != nil && x < c.spec.GetMin()) || (c.spec.Max != nil && x > c.spec.GetMax()) {
		return 0, &rank.FieldError{Reason: rank.ReasonInvalidField, Problem: "the value is out of range",
			Fix: "send a value " + c.bounds()}
	}
	return float32(x), nil
}

// EncodeIDs encodes a value of any other column into dst, whose length is the column's width. A value of
// KindNone is missing.
func (c *Column) EncodeIDs(dst []int64, v rank.Value) *rank.FieldError {
	clear(dst)
	if v.Kind == rank.KindNone {
		return nil
	}
	if c.spec.GetOp() == bundlev1.Op_VOCABULARY_LIST {
		if v.Kind != rank.KindTexts {
			return wrongKind(v, "a list of texts")
		}
		for i, text := range v.Texts {
			if !utf8.ValidString(text) {
				return notUTF8()
			}
			if i < len(dst) {
				dst[i] = c.vocabulary[text]
			}
		}
		return nil
	}
	text, fault := textOf(v)
	if fault != nil {
		return fault
	}
	switch c.spec.GetOp() {
	case bundlev1.Op_TOKENS:
		HashTokens(dst, text, c.spec.GetBuckets())
	case bundlev1.Op_HASH:
		dst[0] = HashID(Normalise(text), c.spec.GetBuckets())
	default: // VOCABULARY and ITEM_ROW
		dst[0] = c.vocabulary[text]
	}
	return nil
}

// Segment is the text by which a counter or popular list picks its segment; false when it is missing or
// empty.
func (c *Column) Segment(v rank.Value) (string, bool) {
	text, fault := textOf(v)
	if fault != nil || v.Kind == rank.KindNone {
		return "", false // Columns has refused the request
	}
	if c.spec.GetOp() == bundlev1.Op_HASH || c.spec.GetOp() == bundlev1.Op_TOKENS {
		text = Normalise(text)
	}
	return text, text != ""
}

// textOf is a text, or an integer as decimal text.
func textOf(v rank.Value) (string, *rank.FieldError) {
	switch v.Kind {
	case rank.KindNone:
		return "", nil
	case rank.KindText:
		if !utf8.ValidString(v.Text) {
			return "", notUTF8()
		}
		return v.Text, nil
	case rank.KindInteger:
		return strconv.FormatInt(v.Integer, 10), nil
	}
	return "", wrongKind(v, "a text or an integer")
}

func wrongKind(v rank.Value, wanted string) *rank.FieldError {
	kinds := map[rank.ValueKind]string{
		rank.KindInteger: "an integer", rank.KindNumber: "a number", rank.KindText: "a text", rank.KindTexts: "a list of texts",
	}
	return &rank.FieldError{Reason: rank.ReasonWrongType, Problem: "the value is " + kinds[v.Kind], Fix: "send " + wanted}
}

func notUTF8() *rank.FieldError {
	return &rank.FieldError{Reason: rank.ReasonInvalidField, Problem: "the text is not UTF-8", Fix: "encode texts as UTF-8"}
}

func (c *Column) bounds() string {
	switch {
	case c.spec.Min == nil:
		return fmt.Sprintf("of at most %v", c.spec.GetMax())
	case c.spec.Max == nil:
		return fmt.Sprintf("of at least %v", c.spec.GetMin())
	}
	return fmt.Sprintf("from %v to %v", c.spec.GetMin(), c.spec.GetMax())
}
