package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/config"
	"github.com/shortlist-serving/shortlist/go/internal/feature"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/telemetry"
	"github.com/shortlist-serving/shortlist/go/internal/vector/kernel"
)

// benchHistory is the events of one request of the benchmark.
const benchHistory = 200

// BenchmarkRank compares the time and the processor time of Rank, one request at a time, with the sums of its
// graphs, run one after the other on the same inputs in the same process. Rounds alternate, so that both
// see the same machine. The wire is not in it. SHORTLIST_BENCH_MODELS names a models/<name> folder; the promise is for D=64, L=2.
func BenchmarkRank(b *testing.B) {
	models := benchModels(b)
	cfg := &config.Config{Models: models}
	cfg.EnsureDefaults()
	cfg.Models = models
	cfg.Runtime.Library = library(b)
	cfg.HistoryCache.MaxBytes = 0 // the graphs run in full on both sides
	e, err := newEngine(cfg, nil, nil, telemetry.NewLogger(io.Discard, "error"), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := e.close(); err != nil {
			b.Error(err)
		}
	}()
	if err := e.repository.Open(b.Context()); err != nil {
		b.Fatal(err)
	}
	snapshot, unpin, err := e.repository.Acquire()
	if err != nil {
		b.Fatal(err)
	}
	defer unpin()
	for _, candidates := range []int{100, 1000, 3000} {
		b.Run(fmt.Sprintf("m=%d", candidates), func(b *testing.B) {
			q := benchQuery(b, snapshot.Bundle, candidates)
			benchRank(b, e, q, newRawRun(b, snapshot, q))
		})
	}
}

// benchModels is the folder of the model that benchmarks serve.
func benchModels(b *testing.B) string {
	models := os.Getenv("SHORTLIST_BENCH_MODELS")
	if models == "" {
		b.Skip("SHORTLIST_BENCH_MODELS is not set: name the folder of a model with at least 3,000 items and a window of 200 events")
	}
	return models
}

func benchRank(b *testing.B, e *engine, q *rank.Query, raw *rawRun) {
	answer := func() {
		result, err := e.funnel.Answer(context.Background(), q)
		if err != nil || result.Coverage.Rung != rank.RungFull || len(result.Rows) == 0 {
			b.Fatalf("%v %+v", err, result)
		}
	}
	var service, graphs, serviceCPU, graphsCPU time.Duration
	timed := func(wall, cpu *time.Duration, run func()) {
		start, startCPU := time.Now(), processTime(b)
		run()
		*wall += time.Since(start)
		*cpu += processTime(b) - startCPU
	}
	for b.Loop() {
		timed(&service, &serviceCPU, answer)
		timed(&graphs, &graphsCPU, func() { raw.run(b) })
	}
	n := float64(b.N)
	b.ReportMetric(service.Seconds()*1e3/n, "service-ms/op")
	b.ReportMetric(graphs.Seconds()*1e3/n, "graphs-ms/op")
	b.ReportMetric(service.Seconds()/graphs.Seconds(), "service/graphs")
	b.ReportMetric(serviceCPU.Seconds()/graphsCPU.Seconds(), "cpu-service/graphs")
	b.ReportMetric(testing.AllocsPerRun(100, answer), "service-allocs/op")
}

// processTime is what all threads of the process have used of the processors.
func processTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// benchQuery ranks random items for a random history.
func benchQuery(b *testing.B, release *bundle.Bundle, m int) *rank.Query {
	random := rand.New(rand.NewPCG(1, 2))
	items := release.Catalog.Len()
	if items < m || release.Manifest.GetSchema().GetHistory().GetMaxEvents() < benchHistory {
		b.Skipf("the release has %d items and a window of %d events: the benchmark needs %d and %d", items,
			release.Manifest.GetSchema().GetHistory().GetMaxEvents(), m, benchHistory)
	}
	pick := func(n int) rank.ItemIDs {
		rows := make([]int64, n)
		for i, row := range random.Perm(items)[:n] {
			rows[i] = int64(row)
		}
		return release.Catalog.IDs(rows)
	}
	candidates := pick(m)
	return &rank.Query{Mode: rank.Rank, Candidates: &candidates, History: &rank.History{Items: pick(benchHistory)}, Time: 1_760_000_000, Limit: 100}
}

// rawRun is the graphs of a Rank call with everything prepared.
type rawRun struct {
	sessions []runtime.Session
	inputs   [][]runtime.Tensor
	outputs  [][]runtime.Tensor
}

func (r *rawRun) add(b *testing.B, session runtime.Session, inputs, outputs map[string]runtime.Tensor) {
	pick := func(specs []runtime.TensorSpec, from map[string]runtime.Tensor) []runtime.Tensor {
		tensors := make([]runtime.Tensor, len(specs))
		for i, spec := range specs {
			tensor, ok := from[spec.Name]
			if !ok {
				b.Fatalf("no tensor %s", spec.Name)
			}
			tensors[i] = tensor
		}
		return tensors
	}
	r.sessions = append(r.sessions, session)
	r.inputs = append(r.inputs, pick(session.Inputs(), inputs))
	r.outputs = append(r.outputs, pick(session.Outputs(), outputs))
}

func (r *rawRun) run(b *testing.B) {
	for i, session := range r.sessions {
		if err := session.Run(context.Background(), r.inputs[i], r.outputs[i]); err != nil {
			b.Fatal(err)
		}
	}
}

func newRawRun(b *testing.B, s *repository.Snapshot, q *rank.Query) *rawRun {
	encoder, err := feature.NewEncoder(s.Bundle.Manifest.GetSchema(), s.Bundle.Catalog)
	if err != nil {
		b.Fatal(err)
	}
	history, err := encoder.History(*q.History, 0)
	if err != nil {
		b.Fatal(err)
	}
	columns, err := encoder.Columns(q.User, q.Context)
	if err != nil {
		b.Fatal(err)
	}
	rows, err := s.Bundle.Catalog.Rows(nil, *q.Candidates, "candidates")
	if err != nil {
		b.Fatal(err)
	}
	d, n, m := s.Dims, int64(history.Length), int64(len(rows))
	named := map[string]runtime.Tensor{"history_length": runtime.Ints([]int64{n}, 1)}
	for i, name := range encoder.HistoryNames() {
		named[name] = history.Tensors[i]
	}
	for i, name := range encoder.ColumnNames() {
		named[name] = columns[i]
	}
	floats := func(shape ...int64) runtime.Tensor {
		return runtime.Floats(make([]float32, runtime.Elements(shape)), shape...)
	}
	run := &rawRun{}
	past := func(e repository.EncodingDims) {
		named["past_keys"], named["past_values"] = floats(1, e.L, e.H, 0, e.X), floats(1, e.L, e.H, 0, e.X)
	}
	keys := func(e repository.EncodingDims) runtime.Tensor { return floats(1, e.L, e.H, n, e.X) }
	past(d.Sequence)
	named["past_recent"] = floats(1, d.Sequence.R, d.Sequence.W)
	named["state"], named["recent"] = floats(1, d.Sequence.W), floats(1, d.Sequence.R, d.Sequence.W)
	run.add(b, s.SequenceEncoder, named, map[string]runtime.Tensor{
		"state": named["state"], "recent": named["recent"], "keys": keys(d.Sequence), "values": keys(d.Sequence)})
	query := floats(1, d.Q, d.K)
	run.add(b, s.QueryEncoder, named, map[string]runtime.Tensor{"query_vectors": query})
	vectors, cross, prerank := floats(1, m, d.K), floats(1, m, d.C), floats(1, m)
	kernel.Gather(vectors.F32, s.RetrievalVectors, rows, int(d.K))
	run.add(b, s.Preranker, map[string]runtime.Tensor{"query_vectors": query, "retrieval_vector": vectors, "cross": cross},
		map[string]runtime.Tensor{"score": prerank})
	past(d.History)
	named["keys"], named["values"] = keys(d.History), keys(d.History)
	run.add(b, s.HistoryEncoder, named, named)
	chunk := int64(s.Bundle.Manifest.GetFunnel().GetChunk())
	for from := int64(0); from < m; from += chunk {
		size := min(chunk, m-from)
		tokens := floats(1, size, d.D)
		kernel.Gather(tokens.F32, s.RankerTokens, rows[from:from+size], int(d.D))
		named["ranker_token"], named["cross"] = tokens, runtime.Floats(cross.F32[from*d.C:(from+size)*d.C], 1, size, d.C)
		named["prerank_score"] = runtime.Floats(prerank.F32[from:from+size], 1, size)
		run.add(b, s.Ranker, named, map[string]runtime.Tensor{"logits": floats(1, size, d.T)})
	}
	return run
}
