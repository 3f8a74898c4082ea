package vector

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// The folder of bench/retrieval.py: vectors.f32 and queries.f32, [I,K] and [B,K] in little-endian fp32, and rows.json, which
// is written. Without it the vectors are drawn here.
const benchFolder = "SHORTLIST_BENCH_VECTORS"

func setting(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

func benchData(b *testing.B) (vectors, queries []float32, k int) {
	k = setting("SHORTLIST_BENCH_WIDTH", 64)
	dir := os.Getenv(benchFolder)
	if dir == "" {
		r := rand.New(rand.NewPCG(1, 2))
		return normal(r, setting("SHORTLIST_BENCH_ITEMS", 100_000)*k, 1), normal(r, 64*k, 1), k
	}
	read := func(name string) []float32 {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			b.Fatal(err)
		}
		x := make([]float32, len(data)/4)
		for i := range x {
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
		return x
	}
	return read("vectors.f32"), read("queries.f32"), k
}

// BenchmarkSearch times searches of the 500 best alone and in batches: the median search, divided by its
// queries, by the clock and by CPU time.
func BenchmarkSearch(b *testing.B) {
	vectors, vectorsOfQueries, k := benchData(b)
	all := Bitmap{}.Fill(len(vectors) / k)
	var queries []Query
	for from := 0; from < len(vectorsOfQueries); from += k {
		queries = append(queries, Query{Vector: vectorsOfQueries[from : from+k], Allowed: all, Limit: setting("SHORTLIST_BENCH_LIMIT", 500)})
	}
	for _, depth := range depths {
		index, err := NewExact(vectors, k, depth)
		if err != nil {
			b.Fatal(err)
		}
		for _, batch := range []int{1, 8, 32} {
			b.Run(fmt.Sprintf("bits=%d/batch=%d", depth, batch), func(b *testing.B) {
				b.ReportAllocs()
				var took, used []time.Duration
				for at := 0; b.Loop(); at = (at + batch) % (len(queries) - batch + 1) {
					start, before := time.Now(), processTime(b)
					if _, err := index.Search(b.Context(), queries[at:at+batch], 1, Serial); err != nil {
						b.Fatal(err)
					}
					took, used = append(took, time.Since(start)), append(used, processTime(b)-before)
				}
				slices.Sort(took)
				slices.Sort(used)
				b.ReportMetric(took[len(took)/2].Seconds()*1e3/float64(batch), "ms/query")
				b.ReportMetric(used[len(used)/2].Seconds()*1e3/float64(batch), "cpu-ms/query")
			})
		}
		writeRows(b, index, queries, depth)
	}
}

// BenchmarkWalk times walks over the graph of bench/retrieval.py --hnsw, one query at a time, as BenchmarkSearch times scans.
func BenchmarkWalk(b *testing.B) {
	dir := os.Getenv(benchFolder)
	file := filepath.Join(dir, "hnsw.safetensors")
	if _, err := os.Stat(file); dir == "" || err != nil {
		b.Skip("bench/retrieval.py --hnsw makes the graph")
	}
	vectors, queries, k := benchData(b)
	x, all, limit := readGraph(b, file, vectors, k), Bitmap{}.Fill(len(vectors)/k), setting("SHORTLIST_BENCH_LIMIT", 500)
	search := func(at int) Hits {
		hits, found, err := x.Search(Query{Vector: queries[at*k : (at+1)*k], Allowed: all, Limit: limit})
		if err != nil || !found {
			b.Fatalf("query %d: found %v, %v", at, found, err)
		}
		return hits
	}
	var used []time.Duration
	for at := 0; b.Loop(); at = (at + 1) % (len(queries) / k) {
		before := processTime(b)
		search(at)
		used = append(used, processTime(b)-before)
	}
	slices.Sort(used)
	b.ReportMetric(used[len(used)/2].Seconds()*1e3, "cpu-ms/query")
	hits := make([]Hits, len(queries)/k)
	for at := range hits {
		hits[at] = search(at)
	}
	writeHits(b, filepath.Join(dir, "rows_walk.json"), hits)
}

// processTime is the CPU time of this process: on a machine with other work it tells more than the clock.
func processTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// writeRows leaves what was found, for the recall against the other library.
func writeRows(b *testing.B, index Index, queries []Query, depth int) {
	dir := os.Getenv(benchFolder)
	if dir == "" {
		return
	}
	hits, err := index.Search(b.Context(), queries, 1, Serial)
	if err != nil {
		b.Fatal(err)
	}
	writeHits(b, filepath.Join(dir, fmt.Sprintf("rows_%d.json", depth)), hits)
}

func writeHits(b *testing.B, file string, hits []Hits) {
	data, err := json.Marshal(hits)
	if err == nil {
		err = os.WriteFile(file, data, 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
}
