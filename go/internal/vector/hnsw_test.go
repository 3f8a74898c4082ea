package vector

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/vector/kernel"
)

// buildLinks is HNSW's insertion with an exact search for the neighbours: slow, and enough for tests.
func buildLinks(r *rand.Rand, vectors []float32, k, m int) Links {
	n := len(vectors) / k
	links := Links{M: m, Entry: -1, Levels: make([]uint8, n)}
	lists := make([][][]int32, n) // by row and layer
	dot := func(a, b int32) float32 {
		var s [1]float32
		kernel.DotsFloat32(s[:], vectors[int(a)*k:int(a+1)*k], vectors[int(b)*k:int(b+1)*k])
		return s[0]
	}
	// best sorts near by their products with row.
	best := func(row int32, near []int32) []int32 {
		keys := make([]uint64, len(near))
		for i, other := range near {
			keys[i] = keyOf(dot(row, other), int64(other))
		}
		slices.Sort(keys)
		for i, key := range keys {
			near[i] = int32(uint32(key))
		}
		return near
	}
	// diverse keeps the near rows that are nearer to the row than to each other, and fills up with the rest.
	diverse := func(row int32, near []int32, most int) []int32 {
		var kept, rest []int32
		for _, c := range best(row, near) {
			if len(kept) < most && !slices.ContainsFunc(kept, func(o int32) bool { return dot(c, o) > dot(c, row) }) {
				kept = append(kept, c)
			} else {
				rest = append(rest, c)
			}
		}
		return append(kept, rest[:min(len(rest), most-len(kept))]...)
	}
	for row := range int32(n) {
		level := int(min(-math.Log(1-r.Float64())/math.Log(float64(m)), 6))
		links.Levels[row] = uint8(level)
		lists[row] = make([][]int32, level+1)
		for layer := range level + 1 {
			var near []int32
			for other := range row {
				if int(links.Levels[other]) >= layer {
					near = append(near, other)
				}
			}
			most := m
			if layer == 0 {
				most = 2 * m
			}
			lists[row][layer] = diverse(row, best(row, near)[:min(len(near), 4*m)], m)
			for _, other := range lists[row][layer] {
				back := append(slices.Clone(lists[other][layer]), row)
				if len(back) > most {
					back = diverse(other, back, most)
				}
				lists[other][layer] = back
			}
		}
		if links.Entry < 0 || links.Levels[row] > links.Levels[links.Entry] {
			links.Entry = row
		}
	}
	for row := range lists {
		for layer, list := range lists[row] {
			if layer == 0 {
				links.Base = append(links.Base, padded(list, 2*m)...)
			} else {
				links.Upper = append(links.Upper, padded(list, m)...)
			}
		}
	}
	return links
}

func padded(list []int32, length int) []int32 {
	out := slices.Clone(list)
	for len(out) < length {
		out = append(out, -1)
	}
	return out
}

func newHNSW(t testing.TB, vectors []float32, k, rows, ef int) *HNSW {
	t.Helper()
	x, err := NewHNSW(vectors, k, buildLinks(rand.New(rand.NewPCG(5, 6)), vectors[:rows*k], k, 8), ef)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// holdWalk asks once and checks all that holds for any graph: allowed rows alone, true scores, the tie rule, the
// number of rows. It returns the share of the best rows that was found, and whether the walk answered.
func holdWalk(t *testing.T, name string, x *HNSW, q Query) (recall float64, found bool) {
	t.Helper()
	hits, found, err := x.Search(q)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if !found {
		if len(hits.Rows) > 0 {
			t.Errorf("%s: rows without an answer", name)
		}
		return 0, false
	}
	want := brute(x.vectors, x.width, q)
	if len(hits.Rows) != len(want.Rows) || len(hits.Scores) != len(want.Rows) {
		t.Fatalf("%s: %d rows, want %d", name, len(hits.Rows), len(want.Rows))
	}
	both := 0
	var score [1]float32
	for i, row := range hits.Rows {
		kernel.DotsFloat32(score[:], x.vectors[int(row)*x.width:int(row+1)*x.width], q.Vector)
		if !q.Allowed.Has(row) || hits.Scores[i] != score[0] {
			t.Fatalf("%s: row %d, allowed %v, with score %v of %v", name, row, q.Allowed.Has(row), hits.Scores[i], score[0])
		}
		if i > 0 && keyOf(hits.Scores[i-1], hits.Rows[i-1]) >= keyOf(hits.Scores[i], row) {
			t.Fatalf("%s: rows %d and %d break the tie rule", name, hits.Rows[i-1], row)
		}
		if slices.Contains(want.Rows, row) {
			both++
		}
	}
	return float64(both) / float64(max(len(want.Rows), 1)), true
}

// The sets of the exact index, hard ones among them: what is found is always sound, and on vectors as they are in life nearly all.
func TestAWalkFindsMostOfTheBest(t *testing.T) {
	t.Parallel()
	for name, draw := range sets {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(21, 22))
			const items, k = 1000, 16
			vectors, query := draw(r, items, k)
			x := newHNSW(t, vectors, k, items, 64)
			var sum float64
			var asked int
			for i := range 20 {
				for _, share := range []float64{1, 0.5, 0.2} {
					q := Query{Vector: query, Allowed: allowed(r, items, share), Limit: []int{1, 10, 50}[i%3]}
					if i > 0 && name == "normal" {
						q.Vector = normal(r, k, 1)
					}
					recall, found := holdWalk(t, fmt.Sprint(q.Limit, share), x, q)
					if found {
						sum, asked = sum+recall, asked+1
					}
				}
			}
			// Within a cluster of this set scores differ in their fourth digit only, so what is missed is nearly as good.
			least := map[string]float64{"normal": 0.95, "clusters": 0.8}[name]
			if least > 0 && (asked < 50 || sum/float64(asked) < least) {
				t.Errorf("%d of 60 were answered, recall %.3f", asked, sum/float64(asked))
			}
		})
	}
}

// A scan must answer where few rows are allowed, wherever they lie, and the walk must say so instead of answering short.
func TestNoFilterShortensAnAnswer(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(31, 32))
	const items, k = 2000, 8
	vectors := normal(r, items*k, 1)
	x := newHNSW(t, vectors, k, items, 16)
	for _, share := range []float64{0, 0.01, 0.1} {
		if _, found := holdWalk(t, "few", x, Query{Vector: normal(r, k, 1), Allowed: allowed(r, items, share), Limit: 10}); found {
			t.Errorf("a walk answered where a share of %v is allowed", share)
		}
	}
	// The worst third for this query: a walk goes through all the others first.
	query := normal(r, k, 1)
	far := Bitmap{}.Fill(items)
	for _, row := range brute(vectors, k, Query{Vector: query, Allowed: far, Limit: 2 * items / 3}).Rows {
		far.Remove(row)
	}
	if _, found := holdWalk(t, "far", x, Query{Vector: query, Allowed: far, Limit: 10}); found {
		t.Error("a walk through most of the catalog was not given up")
	}
	for _, limit := range []int{items, 10 * items} { // more than there are
		q := Query{Vector: query, Allowed: allowed(r, items, 0.5), Limit: limit}
		if recall, found := holdWalk(t, "all", x, q); found && recall != 1 {
			t.Errorf("limit %d: all that is allowed is recall %v", limit, recall)
		}
	}
}

// Items that came after the graph was built are scanned beside the walk, and none is missed.
func TestRowsBehindTheGraphAreAllFound(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(41, 42))
	const items, graph, k = 1200, 1100, 8
	vectors := normal(r, items*k, 1)
	x := newHNSW(t, vectors, k, graph, 64)
	late := 0
	for range 50 {
		q := Query{Vector: normal(r, k, 1), Allowed: allowed(r, items, 0.8), Limit: 20}
		hits, found, err := x.Search(q)
		if err != nil || !found {
			t.Fatal(found, err)
		}
		for _, row := range brute(vectors, k, q).Rows {
			if row >= graph {
				late++
				if !slices.Contains(hits.Rows, row) {
					t.Errorf("row %d is missing", row)
				}
			}
		}
	}
	if hits, found, err := x.Search(Query{Vector: normal(r, k, 1), Allowed: allowed(r, items, 0.8)}); err != nil || !found || len(hits.Rows) > 0 {
		t.Errorf("no rows were asked for: %v, %v, %v", hits, found, err)
	}
	if late == 0 {
		t.Error("the queries had no late row among the best")
	}
}

func TestSmallGraphs(t *testing.T) {
	t.Parallel()
	for items := range 4 {
		for graph := range items + 1 {
			vectors := []float32{3, 1, 2}[:items]
			x := newHNSW(t, vectors, 1, graph, 4)
			recall, found := holdWalk(t, fmt.Sprint(graph, " of ", items), x, Query{Vector: []float32{1}, Allowed: Bitmap{}.Fill(items), Limit: 2})
			if !found || items > 0 && recall != 1 {
				t.Errorf("%d of %d rows in the graph: recall %v, %v", graph, items, recall, found)
			}
		}
	}
}

// The same query takes the same way at any time, from any goroutine.
func TestAWalkIsTheSameEveryTime(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(51, 52))
	const items, k = 800, 4
	vectors := make([]float32, items*k)
	for i := range vectors {
		vectors[i] = float32(r.IntN(3) - 1) // ties everywhere
	}
	x := newHNSW(t, vectors, k, items, 32)
	q := Query{Vector: []float32{1, 0, -1, 1}, Allowed: allowed(r, items, 0.6), Limit: 25}
	want, _, err := x.Search(q)
	if err != nil {
		t.Fatal(err)
	}
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for range 20 {
				if got, _, err := x.Search(q); err != nil || !slices.Equal(got.Rows, want.Rows) {
					t.Errorf("%v, %v, at first %v", got.Rows, err, want.Rows)
				}
			}
		})
	}
	asking.Wait()
}

func TestWhatAWalkRefuses(t *testing.T) {
	t.Parallel()
	x := newHNSW(t, []float32{3e38, 3e38, 1, 1}, 2, 2, 4)
	all := Bitmap{}.Fill(2)
	for _, v := range [][]float32{{float32(math.NaN()), 0}, {3e38, 3e38}} {
		if _, found, err := x.Search(Query{Vector: v, Allowed: all, Limit: 1}); !errors.Is(err, ErrNonFinite) || found {
			t.Errorf("%v: %v, %v", v, found, err)
		}
	}
	if _, _, err := x.Search(Query{Vector: []float32{1}, Allowed: all}); err == nil {
		t.Error("a query of another width was answered")
	}
	good := buildLinks(rand.New(rand.NewPCG(1, 2)), []float32{1, 2}, 1, 8)
	if _, err := NewHNSW([]float32{1}, 1, good, 4); err == nil {
		t.Error("links of more rows than there are were taken")
	}
	if _, err := NewHNSW([]float32{1, 2}, 1, good, 0); err == nil {
		t.Error("an ef of 0 was taken")
	}
}

func TestTheHeapIsOrdered(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(61, 62))
	for range 200 {
		var heap, sorted []uint64
		for range r.IntN(40) {
			key := r.Uint64N(20)
			push(&heap, key)
			sorted = append(sorted, key)
		}
		slices.Sort(sorted)
		for _, want := range sorted {
			if got := pop(&heap); got != want {
				t.Fatalf("%d came before %d", got, want)
			}
		}
	}
}

// readGraph reads a graph over vectors as tests/cases/write_hnsw.py and bench/retrieval_peer.py write it: all in I32.
func readGraph(t testing.TB, file string, vectors []float32, k int) *HNSW {
	t.Helper()
	tensors := readTensors(t, file)
	read := func(name string) []int32 {
		values, _, err := tensors.Int32s(name)
		if err != nil {
			t.Fatal(err)
		}
		return values
	}
	settings := read("settings") // m, ef
	links := Links{M: int(settings[0]), Entry: read("entry")[0], Base: read("links"), Upper: read("upper_links")}
	for _, level := range read("levels") {
		links.Levels = append(links.Levels, uint8(level))
	}
	x, err := NewHNSW(vectors, k, links, int(settings[1]))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func readTensors(t testing.TB, file string) *bundle.Tensors {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tensors, err := bundle.ParseTensors(file, data)
	if err != nil {
		t.Fatal(err)
	}
	return tensors
}

// The graph and the rows of tests/cases/write_hnsw.py: a walk finds what hnswlib finds with its own graph.
func TestAWalkFindsWhatHnswlibFinds(t *testing.T) {
	t.Parallel()
	const file = "testdata/hnswlib.safetensors"
	tensors := readTensors(t, file)
	vectors, shape, err := tensors.Floats("vectors")
	if err != nil {
		t.Fatal(err)
	}
	queries, _, err := tensors.Floats("queries")
	if err != nil {
		t.Fatal(err)
	}
	found, _, err := tensors.Ints("found")
	if err != nil {
		t.Fatal(err)
	}
	items, k := int(shape[0]), int(shape[1])
	x := readGraph(t, file, vectors, k)
	limit := len(found) / (len(queries) / k)
	for i := range len(queries) / k {
		hits, ok, err := x.Search(Query{Vector: queries[i*k : (i+1)*k], Allowed: Bitmap{}.Fill(items), Limit: limit})
		if err != nil || !ok || !slices.Equal(hits.Rows, found[i*limit:(i+1)*limit]) {
			t.Errorf("query %d: %v (%v, %v), hnswlib has %v", i, hits.Rows, ok, err, found[i*limit:(i+1)*limit])
		}
	}
}
