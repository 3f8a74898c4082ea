package bundle_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
)

func nan() float32 { return float32(math.NaN()) }

func TestCatalog(t *testing.T) {
	t.Parallel()
	c := ranktest.Bundle(t, ranktest.Options{}).Catalog
	rows, err := c.Rows(nil, rank.ItemIDs{Ints: []int64{10, 320, 11, -5, math.MaxInt64, math.MinInt64, 20}}, "candidates")
	if err != nil || !slices.Equal(rows, []int64{0, 31, -1, -1, -1, -1, 1}) {
		t.Errorf("rows = %v, %v", rows, err)
	}
	if ids := c.IDs([]int64{31, 0}); !slices.Equal(ids.Ints, []int64{320, 10}) || ids.Strings != nil {
		t.Errorf("ids = %v", ids)
	}
	_, err = c.Rows(nil, rank.ItemIDs{Strings: []string{"10"}}, "candidates")
	var invalid *rank.InvalidError
	if !errors.As(err, &invalid) || invalid.Fields[0].Field != "candidates" || invalid.Fields[0].Reason != rank.ReasonWrongType {
		t.Errorf("err = %v, want the wrong kind of candidates named", err)
	}
	if c.Len() != 32 || c.Title(3) != "item 3" || c.Kind() != bundlev1.DType_INT64 {
		t.Errorf("%d items, title %q", c.Len(), c.Title(3))
	}
	now := int64(1_700_000_000)
	for row, want := range map[int64]bool{0: true, 30: false, 31: false} {
		if got := c.Available(row, now); got != want {
			t.Errorf("Available(%d) = %v", row, got)
		}
	}
	if !c.Available(30, 999_999_999) || c.Available(30, 1_000_000_000) || !c.Available(31, 4_000_000_000) || !c.HasAvailability() {
		t.Error("the interval is not inclusive below and exclusive above")
	}
	var names []string
	for _, input := range c.Inputs() {
		names = append(names, fmt.Sprintf("%s/%d", input.Column.GetName(), input.Width))
	}
	if got := fmt.Sprint(names); got != "[id/1 category/1 price/1 tags/3]" {
		t.Errorf("inputs %s", got)
	}
	if tags := c.Raw("tags"); tags.Texts.At(int(tags.Rows[3])) != "new" || tags.Rows[4]-tags.Rows[3] != 3 {
		t.Error("the tags of row 3 are not new, rare, sale")
	}
	if c.Raw("price").Numbers[2] != 2.5 || c.Raw("category").Texts.At(1) != "games" || c.Raw("nothing") != nil {
		t.Error("raw columns are wrong")
	}
}

// Ids with gaps use the search, dense ones the table; string ids a map. All must agree with the list.
func TestCatalogFindsIDsOfAnyKind(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, spread := range []int64{1, 3, 1 << 40} {
		ids := make([]int64, 200)
		for i := range ids {
			ids[i] = rng.Int64N(1000*spread) - 500*spread
		}
		slices.Sort(ids)
		ids = slices.Compact(ids)
		c := catalogOf(t, bundlev1.DType_INT64, ids, nil)
		for row, id := range ids {
			if got, ok := c.Row(id); !ok || got != int64(row) {
				t.Fatalf("spread %d: Row(%d) = %d, %v; want %d", spread, id, got, ok, row)
			}
		}
		for range 1000 {
			id := rng.Int64N(1200*spread) - 600*spread
			if _, ok := c.Row(id); ok != slices.Contains(ids, id) {
				t.Fatalf("spread %d: Row(%d) = %v", spread, id, ok)
			}
		}
	}
	c := catalogOf(t, bundlev1.DType_STRING, nil, []string{"B", "a", "б"})
	for row, id := range []string{"B", "a", "б"} {
		if got, ok := c.RowOf(id); !ok || got != int64(row) {
			t.Errorf("RowOf(%q) = %d, %v", id, got, ok)
		}
	}
	if _, ok := c.RowOf("A"); ok {
		t.Error("an unknown id was found")
	}
	if ids := c.IDs([]int64{2, 0}); !slices.Equal(ids.Strings, []string{"б", "B"}) {
		t.Errorf("ids = %v", ids)
	}
}

// catalogOf is the catalog of a release whose items have ids and one number.
func catalogOf(t *testing.T, kind bundlev1.DType, ints []int64, texts []string) *bundle.Catalog {
	t.Helper()
	n := len(ints) + len(texts)
	return ranktest.Bundle(t, ranktest.Options{Items: n, Edit: func(m manifest, f files) {
		m.Schema.ItemId = kind
		m.Schema.Item = []*bundlev1.Column{{Name: "price", Op: bundlev1.Op_NUMBER, Raw: bundlev1.DType_FLOAT32}}
		m.ValueFormula.Terms = m.ValueFormula.Terms[:1]
		for _, g := range m.Graphs {
			inputs := g.Inputs
			g.Inputs = nil
			for _, spec := range inputs {
				if slices.Contains(bundle.GraphInputs(g.Name, m.Schema), spec.Name) {
					g.Inputs = append(g.Inputs, spec)
				}
			}
		}
		catalog := ranktest.NewTensorFile().Floats("input.price", make([]float32, n), n).Floats("raw.price", make([]float32, n), n)
		if kind == bundlev1.DType_STRING {
			catalog.Texts("id", texts...)
		} else {
			catalog.Ints("id", ints, n)
		}
		f["catalog/items.safetensors"] = catalog.Bytes(t)
	}}).Catalog
}

func TestCounterFill(t *testing.T) {
	t.Parallel()
	b := ranktest.Bundle(t, ranktest.Options{Items: 300})
	for at, c := range b.Counters {
		segments := map[int]int{bundle.NoSegment: -1}
		if c.ByRow() {
			for _, row := range []int64{0, 7, 299} {
				segments[c.FindRow(row)] = int(row)
			}
			if c.FindRow(-1) != bundle.NoSegment || c.FindRow(300) != bundle.NoSegment {
				t.Error("a row outside the catalog has a segment")
			}
		} else {
			keys := map[string][]string{"by_gender": {"f", "m"}, "by_query": {"blue lamp", "red lamp"}}[c.Cross.GetName()]
			for i, key := range keys {
				segments[c.Find(key)] = i
			}
			for _, key := range []string{"", "g", "zzz"} {
				if c.Find(key) != bundle.NoSegment {
					t.Errorf("an unknown value %q has a segment", key)
				}
			}
		}
		rows := []int64{299, 0, 5, 5, 1, 2, 3, 150}
		for segment, position := range segments {
			out := make([]float32, 3*len(rows))
			for i := range out {
				out[i] = 77
			}
			c.Fill(segment, rows, out[at:], 3)
			for i, row := range rows {
				want := float32(0)
				if position >= 0 {
					want = ranktest.Rate(position, row)
				}
				if out[3*i+at] != want {
					t.Errorf("%s: segment %d, row %d: rate %v, want %v", c.Cross.GetName(), position, row, out[3*i+at], want)
				}
				if out[3*i+(at+1)%3] != 77 {
					t.Fatal("a value of another column was written")
				}
			}
		}
	}
}

// A sparse segment and a heavy one, which is kept densely, must look the same.
func TestCounterSparseAndHeavySegmentsAgree(t *testing.T) {
	t.Parallel()
	const items = 2000
	rng := rand.New(rand.NewPCG(3, 4))
	var keys []string
	indptr, rows, rates := []int64{0}, []int64{}, []float32{}
	want := make([]map[int64]float32, 0, 8)
	for s, size := range []int{0, 1, 2, 9, 100, 249, 250, 1500} {
		keys = append(keys, fmt.Sprintf("%02d", s))
		rates0 := map[int64]float32{}
		for _, row := range rng.Perm(items)[:size] {
			rates0[int64(row)] = rng.Float32()
		}
		for row := range int64(items) {
			if rate, ok := rates0[row]; ok {
				rows, rates = append(rows, row), append(rates, rate)
			}
		}
		want = append(want, rates0)
		indptr = append(indptr, int64(len(rows)))
	}
	b := ranktest.Bundle(t, ranktest.Options{Items: items, Edit: func(_ manifest, f files) {
		f["counters/by_gender.safetensors"] = ranktest.NewTensorFile().Texts("keys", keys...).Ints("indptr", indptr, len(indptr)).
			Ints("rows", rows, len(rows)).Floats("rates", rates, len(rates)).Bytes(t)
	}})
	all := make([]int64, items)
	for i := range all {
		all[i] = int64(i)
	}
	out := make([]float32, items)
	for s, key := range keys {
		segment := b.Counters[0].Find(key)
		for _, step := range []int{items, 4, 1} { // few candidates are searched for, many are spread
			for from := 0; from < items; from += step {
				b.Counters[0].Fill(segment, all[from:from+step], out[from:], 1)
			}
			for row, rate := range out {
				if rate != want[s][int64(row)] {
					t.Fatalf("segment %d, row %d, %d at a time: rate %v, want %v", s, row, step, rate, want[s][int64(row)])
				}
			}
		}
	}
}

func TestSources(t *testing.T) {
	t.Parallel()
	b := ranktest.Bundle(t, ranktest.Options{})
	rows, weights := b.Sources["cooccurrence"].Cooccurrence.Neighbours(31)
	if !slices.Equal(rows, []int64{0, 1, 2}) || !slices.Equal(weights, []float32{1, 0.5, 1.0 / 3}) {
		t.Errorf("neighbours %v %v", rows, weights)
	}
	popular := b.Sources["popular"].Popular
	for segment, first := range map[string]int64{"f": 0, "m": 1, "x": 0, "": 0} {
		if rows, _ := popular.List(segment); rows[0] != first || (len(rows) == 32) != (segment == "x" || segment == "") {
			t.Errorf("list of %q: %v", segment, rows)
		}
	}
	if b.Sources["two_tower"] != nil {
		t.Error("the two-tower source has a table")
	}
}

func BenchmarkCounterFill(b *testing.B) {
	const items = 2000
	release := ranktest.Bundle(b, ranktest.Options{Items: items, Edit: func(_ manifest, f files) {
		indptr, rows, rates := []int64{0}, []int64{}, []float32{}
		for _, step := range []int{10, 100, 2} {
			for row := 0; row < items; row += step {
				rows, rates = append(rows, int64(row)), append(rates, 0.5)
			}
			indptr = append(indptr, int64(len(rows)))
		}
		f["counters/by_gender.safetensors"] = ranktest.NewTensorFile().Texts("keys", "10", "100", "2").Ints("indptr", indptr, 4).
			Ints("rows", rows, len(rows)).Floats("rates", rates, len(rates)).Bytes(b)
	}})
	rng := rand.New(rand.NewPCG(5, 6))
	rows := make([]int64, 1000)
	for i := range rows {
		rows[i] = rng.Int64N(items)
	}
	out := make([]float32, 4*len(rows))
	for key, name := range map[string]string{"2": "1000 items, dense", "10": "200 items", "100": "20 items"} {
		b.Run(name, func(b *testing.B) {
			c := release.Counters[0]
			for b.Loop() {
				c.Fill(c.Find(key), rows, out, 4)
			}
		})
	}
}
