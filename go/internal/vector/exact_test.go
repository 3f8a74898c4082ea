package vector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/shortlist-serving/shortlist/go/internal/vector/kernel"
)

var depths = []int{Float32, Int8, Int4}

// brute is the oracle: all scores in fp32 and a full sort by the tie rule.
func brute(vectors []float32, k int, q Query) Hits {
	scores := make([]float32, len(vectors)/k)
	kernel.DotsFloat32(scores, vectors, q.Vector)
	var h Hits
	for row := range scores {
		if q.Allowed.Has(int64(row)) {
			h.Rows = append(h.Rows, int64(row))
		}
	}
	slices.SortFunc(h.Rows, func(a, b int64) int { return cmp.Or(cmp.Compare(scores[b], scores[a]), cmp.Compare(a, b)) })
	h.Rows = h.Rows[:min(q.Limit, len(h.Rows))]
	for _, row := range h.Rows {
		h.Scores = append(h.Scores, scores[row])
	}
	return h
}

// sets of vectors [items,k], from kind to hard: each is drawn together with a query near its hard spot.
var sets = map[string]func(r *rand.Rand, items, k int) (vectors, query []float32){
	"normal": func(r *rand.Rand, items, k int) ([]float32, []float32) { return normal(r, items*k, 1), normal(r, k, 1) },
	"clusters": func(r *rand.Rand, items, k int) ([]float32, []float32) {
		centres, vectors := normal(r, 10*k, 1), normal(r, items*k, 1e-3)
		for row := range items {
			c := r.IntN(10)
			for d := range k {
				vectors[row*k+d] += centres[c*k+d]
			}
		}
		return vectors, slices.Clone(centres[:k])
	},
	"duplicates": func(r *rand.Rand, items, k int) ([]float32, []float32) {
		few, vectors := normal(r, 3*k, 1), make([]float32, 0, items*k)
		for range items {
			c := r.IntN(3)
			vectors = append(vectors, few[c*k:(c+1)*k]...)
		}
		return vectors, normal(r, k, 1)
	},
	// Scores that differ in their last bits only: codes cannot tell them apart.
	"last bits": func(r *rand.Rand, items, k int) ([]float32, []float32) {
		one, vectors := normal(r, k, 1), make([]float32, 0, items*k)
		for range items {
			vectors = append(vectors, one...)
			at := &vectors[len(vectors)-1-r.IntN(k)]
			*at = math.Nextafter32(*at, float32(r.NormFloat64()))
		}
		return vectors, one
	},
	// One coordinate rules the scale, the others the score: the codes of what matters are all 0.
	"hidden": func(r *rand.Rand, items, k int) ([]float32, []float32) {
		vectors, query := normal(r, items*k, 1e-4), normal(r, k, 1)
		for row := range items {
			vectors[row*k] = 1
		}
		query[0] = 0
		return vectors, query
	},
	"lengths": func(r *rand.Rand, items, k int) ([]float32, []float32) {
		vectors := normal(r, items*k, 1)
		for row := range items {
			length := float32(math.Pow(10, float64(r.IntN(12)-6)))
			for d := range k {
				vectors[row*k+d] *= length
			}
		}
		return vectors, normal(r, k, 1)
	},
	"zeros": func(r *rand.Rand, items, k int) ([]float32, []float32) {
		return make([]float32, items*k), normal(r, k, 1)
	},
	"no query": func(r *rand.Rand, items, k int) ([]float32, []float32) {
		return normal(r, items*k, 1), make([]float32, k)
	},
	"tiny": func(r *rand.Rand, items, k int) ([]float32, []float32) {
		return normal(r, items*k, 1e-43), normal(r, k, 1e-19)
	},
	"huge": func(r *rand.Rand, items, k int) ([]float32, []float32) {
		return normal(r, items*k, 1e17), normal(r, k, 1e15)
	},
	"integers": func(r *rand.Rand, items, k int) ([]float32, []float32) {
		vectors, query := make([]float32, items*k), make([]float32, k)
		for _, s := range [][]float32{vectors, query} {
			for i := range s {
				s[i] = float32(r.IntN(3) - 1) // a great many ties
			}
		}
		return vectors, query
	},
}

func normal(r *rand.Rand, n int, deviation float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64() * deviation)
	}
	return x
}

func allowed(r *rand.Rand, items int, share float64) Bitmap {
	b := Bitmap{}.Fill(items)
	for row := range int64(items) {
		if r.Float64() >= share {
			b.Remove(row)
		}
	}
	return b
}

func TestExactIsExact(t *testing.T) {
	t.Parallel()
	for name, draw := range sets {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(11, 12))
			for _, size := range []struct{ items, k int }{{1, 1}, {63, 3}, {512, 16}, {1025, 64}, {2100, 50}, {700, 128}} {
				vectors, query := draw(r, size.items, size.k)
				var queries []Query
				for _, limit := range []int{1, 10, 500, 10000} {
					for _, share := range []float64{1, 0.5, 0.02, 0} {
						q := Query{Vector: slices.Clone(query), Allowed: allowed(r, size.items, share), Limit: limit}
						if len(queries)%3 == 1 {
							q.Vector = vectors[:size.k] // an item as a query
						}
						queries = append(queries, q)
					}
				}
				for _, depth := range depths {
					holdAgainstBrute(t, fmt.Sprintf("%d bits, %+v", depth, size), vectors, size.k, depth, queries)
				}
			}
		})
	}
}

// holdAgainstBrute asks alone, together, and in parts.
func holdAgainstBrute(t *testing.T, name string, vectors []float32, k, depth int, queries []Query) {
	t.Helper()
	index, err := NewExact(vectors, k, depth)
	if err != nil {
		t.Fatal(err)
	}
	together, err := index.Search(t.Context(), queries, 1, Serial)
	if err != nil {
		t.Fatal(err)
	}
	inParts, err := index.Search(t.Context(), queries, 3, atOnce)
	if err != nil {
		t.Fatal(err)
	}
	for i, q := range queries {
		alone, err := index.Search(t.Context(), queries[i:i+1], 1+i%3, Serial)
		if err != nil {
			t.Fatal(err)
		}
		want := brute(vectors, k, q)
		for way, got := range map[string]Hits{"alone": alone[0], "together": together[i], "in parts": inParts[i]} {
			if !slices.Equal(got.Rows, want.Rows) || !slices.Equal(got.Scores, want.Scores) {
				t.Fatalf("%s, query %d (limit %d), %s: %d rows, want %d; first difference at %d", name, i, q.Limit, way,
					len(got.Rows), len(want.Rows), difference(got.Rows, want.Rows))
			}
		}
	}
}

func difference(a, b []int64) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func atOnce(_ context.Context, parts int, run func(int)) error {
	var done sync.WaitGroup
	for part := range parts {
		done.Go(func() { run(part) })
	}
	done.Wait()
	return nil
}

// The bound itself, row by row in float64: what recall 1.0 rests on.
func TestBoundHolds(t *testing.T) {
	t.Parallel()
	for name, draw := range sets {
		r := rand.New(rand.NewPCG(13, 14))
		for _, k := range []int{1, 7, 64, 300} {
			vectors, query := draw(r, 700, k)
			for _, c := range []*codes{encode8(vectors, k), encode4(vectors, k)} {
				worst := worstOfBound(t, fmt.Sprintf("%s, k = %d, %d bits", name, k, c.bits), c, vectors, query)
				if name == "normal" && k == 7 && worst < 0.2 {
					t.Errorf("%d bits: errors reach only %.2f of the bound: it is too wide to be worth a scan, or not of these codes", c.bits, worst)
				}
			}
		}
	}
}

// worstOfBound is the largest error as a share of its bound, 0 where there is none.
func worstOfBound(t *testing.T, name string, c *codes, vectors, query []float32) float64 {
	t.Helper()
	var q coded
	if !c.bounded() || !c.encodeQuery(&q, query) {
		return 0
	}
	g := group{jobs: []*job{{coded: q}}}
	g.interleave()
	k, dots, score := len(query), make([]int32, kernel.TileRows), make([]float32, 1)
	step := float64(largest(query)) / 127
	if c.signs != nil {
		rotated := make([]float64, c.width)
		rotate(rotated, query, c.signs)
		step = largest(rotated) / 127
	}
	worst := 0.0
	for row := range len(vectors) / k {
		g.dots(dots, c, row/kernel.TileRows)
		coarse := float64(float32(dots[row%kernel.TileRows]) * c.scale[row])
		kernel.DotsFloat32(score, vectors[row*k:], query)
		within := float64(q.within(c.length[row/kernel.Word], c.residual[row/kernel.Word]))
		off := math.Abs(float64(score[0])/step - coarse)
		if off > within {
			t.Fatalf("%s, row %d: off by %g, bound %g", name, row, off, within)
		}
		worst = max(worst, off/within)
	}
	return worst
}

func TestWhatCannotBeAnswered(t *testing.T) {
	t.Parallel()
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	index, err := NewExact([]float32{1, 2, 3, 4}, 2, Int8)
	if err != nil {
		t.Fatal(err)
	}
	all := Bitmap{}.Fill(2)
	for _, x := range []float32{nan, inf, -inf} {
		if _, err := index.Search(t.Context(), []Query{{Vector: []float32{x, 0}, Allowed: all, Limit: 1}}, 1, Serial); !errors.Is(err, ErrNonFinite) {
			t.Errorf("%v: %v", x, err)
		}
	}
	if _, err := index.Search(t.Context(), []Query{{Vector: []float32{3e38, 3e38}, Allowed: all, Limit: 1}}, 1, Serial); !errors.Is(err, ErrNonFinite) {
		t.Errorf("a score that overflows: %v", err)
	}
	for _, q := range []Query{{Vector: []float32{1}, Allowed: all}, {Vector: []float32{1, 1}}} {
		if _, err := index.Search(t.Context(), []Query{q}, 1, Serial); err == nil {
			t.Errorf("%+v was answered", q)
		}
	}
	broken := errors.New("broken")
	stop := func(context.Context, int, func(int)) error { return broken }
	if _, err := index.Search(t.Context(), []Query{{Vector: []float32{1, 1}, Allowed: all, Limit: 1}}, 1, stop); !errors.Is(err, broken) {
		t.Errorf("parts that did not run: %v", err)
	}
	for _, depth := range []int{0, 5} {
		if _, err := NewExact([]float32{1}, 1, depth); err == nil {
			t.Errorf("%d bits were taken", depth)
		}
	}
	if _, err := NewExact([]float32{1, 2, 3}, 2, Int8); err == nil {
		t.Error("half a row was taken")
	}
}
