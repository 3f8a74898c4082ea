package retrieval

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/feature"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
	"github.com/shortlist-serving/shortlist/go/internal/vector"
)

func text(s string) rank.Value         { return rank.Value{Kind: rank.KindText, Text: s} }
func number(n float64) rank.Value      { return rank.Value{Kind: rank.KindNumber, Number: n} }
func pointer(n float64) *float64       { return &n }
func one(v ...rank.Value) []rank.Value { return v }

// Rows of the test release: category by row mod 3 (books, games, music), price row + 0.5, and the first
// row mod 4 of the tags new, rare, sale.
func TestColumnFilters(t *testing.T) {
	t.Parallel()
	catalog := ranktest.Bundle(t, ranktest.Options{Items: 8}).Catalog
	for name, test := range map[string]struct {
		filter rank.ColumnFilter
		rows   []int64
	}{
		"any of texts":      {rank.ColumnFilter{Column: "category", AnyOf: one(text("books"), text("music"))}, []int64{0, 2, 3, 5, 6}},
		"none of texts":     {rank.ColumnFilter{Column: "category", NoneOf: one(text("books"))}, []int64{1, 2, 4, 5, 7}},
		"any of a list":     {rank.ColumnFilter{Column: "tags", AnyOf: one(text("rare"))}, []int64{2, 3, 6, 7}},
		"none of a list":    {rank.ColumnFilter{Column: "tags", NoneOf: one(text("new"))}, []int64{0, 4}},
		"bounds, inclusive": {rank.ColumnFilter{Column: "price", Min: pointer(1.5), Max: pointer(3.5)}, []int64{1, 2, 3}},
		"any of numbers":    {rank.ColumnFilter{Column: "price", AnyOf: one(number(2.5), number(9))}, []int64{2}},
		"none of numbers":   {rank.ColumnFilter{Column: "price", Max: pointer(3), NoneOf: one(number(1.5))}, []int64{0, 2}},
		"no condition":      {rank.ColumnFilter{Column: "price"}, []int64{0, 1, 2, 3, 4, 5, 6, 7}},
	} {
		predicates, err := CompileFilters(catalog, []rank.ColumnFilter{test.filter})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var rows []int64
		for row := range int64(catalog.Len()) {
			if verdict(row, predicates) == "" {
				rows = append(rows, row)
			}
		}
		if diff := cmp.Diff(test.rows, rows); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

func TestFaultyFiltersAreAllNamed(t *testing.T) {
	t.Parallel()
	_, err := CompileFilters(ranktest.Bundle(t, ranktest.Options{}).Catalog, []rank.ColumnFilter{
		{Column: "color"}, {Column: "price", AnyOf: one(number(1), text("x"))}, {Column: "tags", Min: pointer(1)}, {Column: "category", NoneOf: one(number(1))},
	})
	var invalid *rank.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("error: %v", err)
	}
	var fields []string
	for _, f := range invalid.Fields {
		fields = append(fields, f.Field)
	}
	want := []string{"filters.columns[0].column", "filters.columns[1].any_of[1]", "filters.columns[2]", "filters.columns[3].none_of[0]"}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// request is one over the test release with everything allowed but the given rows.
func request(t *testing.T, history []int64, banned ...int64) *stage.Request {
	t.Helper()
	b := ranktest.Bundle(t, ranktest.Options{})
	encoder, err := feature.NewEncoder(b.Manifest.GetSchema(), b.Catalog)
	if err != nil {
		t.Fatal(err)
	}
	r := &stage.Request{Query: &rank.Query{}, Plan: &stage.Plan{Encoder: encoder, Catalog: b.Catalog},
		History: &feature.History{Rows: history}, Allowed: vector.Bitmap{}.Fill(b.Catalog.Len())}
	for _, row := range banned {
		r.Allowed.Remove(row)
	}
	return r
}

// Each item's neighbours are its three successors with weights 1, 1/2, 1/3; the decay is 1/2.
func TestCooccurrenceSumsDecayedWeights(t *testing.T) {
	t.Parallel()
	b := ranktest.Bundle(t, ranktest.Options{})
	source := &bundlev1.Source{Name: "c", Limit: 3, HistoryEvents: 3, Decay: 0.5}
	s, err := newCooccurrence(source, b.Sources["cooccurrence"], b.Catalog.Len())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time on reused sums
		// Newest first: 5 (age 0), unknown (age 1), 4 (age 2); 0 is a fourth event, past the three.
		list, err := s.Retrieve(t.Context(), request(t, []int64{0, 4, -1, 5}, 8))
		if err != nil {
			t.Fatal(err)
		}
		third := float64(float32(1) / 3)
		want := stage.List{Source: "c", Rows: []int64{6, 7, 5}, Scores: []float32{1 + 0.25*0.5, float32(0.5 + 0.25*third), 0.25}}
		if diff := cmp.Diff(want, list); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	if list, err := s.Retrieve(t.Context(), request(t, nil)); err != nil || len(list.Rows) != 0 {
		t.Errorf("a cold user gets %v, %v", list, err)
	}
}

// Even rows are popular with "f", odd ones with "m", all by default.
func TestPopularPicksTheSegment(t *testing.T) {
	t.Parallel()
	b := ranktest.Bundle(t, ranktest.Options{})
	s, err := newPopular(&bundlev1.Source{Name: "p", Limit: 3, Segment: "user.gender"}, b.Sources["popular"])
	if err != nil {
		t.Fatal(err)
	}
	for gender, want := range map[string][]int64{"f": {0, 4, 6}, "m": {1, 3, 5}, "": {0, 1, 3}, "x": {0, 1, 3}} {
		r := request(t, nil, 2)
		if gender != "" {
			r.Query.User = rank.Features{"gender": text(gender)}
		}
		list, err := s.Retrieve(t.Context(), r)
		if err != nil || !slices.Equal(list.Rows, want) || len(list.Scores) != 3 {
			t.Errorf("gender %q: %v, %v, want %v", gender, list, err, want)
		}
	}
}

func TestSourcesWithoutTheirTableAreRefused(t *testing.T) {
	t.Parallel()
	for _, kind := range []bundlev1.SourceKind{bundlev1.SourceKind_COOCCURRENCE, bundlev1.SourceKind_POPULAR, 99} {
		if _, err := newSource(&bundlev1.Source{Name: "none", Kind: kind}, &repository.Snapshot{Bundle: ranktest.Bundle(t, ranktest.Options{})}, Options{}); err == nil {
			t.Errorf("kind %s was taken", kind)
		}
	}
}
