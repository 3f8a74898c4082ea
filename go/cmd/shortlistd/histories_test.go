package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/config"
	"github.com/shortlist-serving/shortlist/go/internal/feature"
	"github.com/shortlist-serving/shortlist/go/internal/funnel"
	"github.com/shortlist-serving/shortlist/go/internal/kvcache"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
	"github.com/shortlist-serving/shortlist/go/internal/telemetry"
)

// twoFunnels answers from one release with kept histories and without.
type twoFunnels struct {
	*engine
	plain    *funnel.Funnel
	snapshot *repository.Snapshot
}

func newTwoFunnels(t testing.TB, models string) *twoFunnels {
	t.Helper()
	cfg := &config.Config{}
	cfg.EnsureDefaults()
	cfg.Models, cfg.Runtime.Library = models, library(t)
	logger := telemetry.NewLogger(io.Discard, "error")
	e, err := newEngine(cfg, nil, nil, logger, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.close(); err != nil {
			t.Error(err)
		}
		if s := e.histories.Stats(); s.Entries != 0 || s.Bytes != 0 {
			t.Errorf("the release is closed, and %d of its histories are kept", s.Entries)
		}
	})
	if err := e.repository.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	snapshot, unpin, err := e.repository.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(unpin)
	plain := funnel.New(cfg.Funnel, e.repository, e.gate, e.pool, kvcache.New(kvcache.Options{}), nil, nil, logger)
	return &twoFunnels{engine: e, plain: plain, snapshot: snapshot}
}

// query asks for m candidates after n events, drawn from the seed: a longer history of a seed begins with the shorter.
func (w *twoFunnels) query(seed uint64, n, m int) *rank.Query {
	random := rand.New(rand.NewPCG(seed, 0))
	rows := make([]int64, m)
	for i, row := range random.Perm(w.snapshot.Bundle.Catalog.Len())[:m] {
		rows[i] = int64(row)
	}
	events := make([]int64, n)
	for i := range events {
		events[i] = random.Int64N(int64(w.snapshot.Bundle.Catalog.Len()))
	}
	candidates := w.snapshot.Bundle.Catalog.IDs(rows)
	return &rank.Query{Mode: rank.Rank, Candidates: &candidates, History: &rank.History{Items: w.snapshot.Bundle.Catalog.IDs(events)},
		Time: 1_760_000_000, Limit: 10}
}

// On the real runtime, answers with kept and extended histories have the order of those without.
func TestKeptHistoriesKeepTheOrder(t *testing.T) {
	w := newTwoFunnels(t, root+"/models/toy")
	for seed := range uint64(20) {
		for n := range 20 { // past the window, event by event
			q := w.query(seed, n, 20)
			want, err := w.plain.Answer(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				got, err := w.funnel.Answer(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got.Rows, want.Rows) || got.Coverage.Rung != rank.RungFull {
					t.Errorf("seed %d, %d events: %v %v, without the cache %v", seed, n, got.Coverage.Rung, got.Rows, want.Rows)
				}
			}
		}
	}
	s := w.histories.Stats()
	for encoder, n := range s.Of {
		if n.Hits < 400 || n.Extensions == 0 || n.Misses == 0 || s.Bytes == 0 {
			t.Errorf("%s: a way was not taken: %+v", kvcache.Encoder(encoder), s)
		}
	}
}

// BenchmarkHistories ranks 100 candidates after a full window of events, by turns without and with the
// history kept, and encodes that history, for retrieval and for the ranker, whole and as what one or two new events add.
// Times are CPU time of the process. SHORTLIST_BENCH_MODELS names a models/<name> folder.
func BenchmarkHistories(b *testing.B) {
	models := os.Getenv("SHORTLIST_BENCH_MODELS")
	if models == "" {
		b.Skip("SHORTLIST_BENCH_MODELS is not set: name the folder of a model with at least 100 items")
	}
	w := newTwoFunnels(b, models)
	n := int(w.snapshot.Bundle.Manifest.GetSchema().GetHistory().GetMaxEvents())
	b.Run(fmt.Sprintf("rank/events=%d", n), func(b *testing.B) {
		q := w.query(1, n, 100)
		answer := func(f *funnel.Funnel) time.Duration {
			start := cpuTime(b)
			if result, err := f.Answer(context.Background(), q); err != nil || result.Coverage.Rung != rank.RungFull {
				b.Fatalf("%v %+v", err, result)
			}
			return cpuTime(b) - start
		}
		answer(w.funnel)
		answer(w.plain)
		var whole, kept time.Duration
		for b.Loop() {
			whole += answer(w.plain)
			kept += answer(w.funnel)
		}
		report(b, map[string]time.Duration{"whole": whole, "kept": kept})
	})
	plan, err := stage.NewPlan(w.snapshot)
	if err != nil {
		b.Fatal(err)
	}
	for name, encoder := range map[string]*stage.HistoryEncoder{"sequence": &plan.SequenceEncoder, "history": &plan.HistoryEncoder} {
		b.Run(fmt.Sprintf("encode-%s/events=%d", name, n), func(b *testing.B) { w.encode(b, plan, encoder, n) })
	}
}

// encode measures one encoder.
func (w *twoFunnels) encode(b *testing.B, plan *stage.Plan, encoder *stage.HistoryEncoder, n int) {
	var inputs [3]*feature.History // without the last two events, without the last, whole
	for i := range inputs {
		var err error
		if inputs[i], err = plan.Encoder.History(*w.query(1, n-2+i, 1).History, 0); err != nil {
			b.Fatal(err)
		}
	}
	encode := func(cache *kvcache.Cache, h *feature.History) time.Duration {
		start := cpuTime(b)
		call := encoder.Start(b.Context(), &stage.Request{Query: &rank.Query{}, Plan: plan, Pool: w.pool, Histories: cache, History: h})
		if _, err := call.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
		call.Leave()
		return cpuTime(b) - start
	}
	var whole, one, two time.Duration
	for b.Loop() {
		cache := kvcache.New(kvcache.Options{MaxBytes: 64 << 20})
		encode(cache, inputs[1])
		one += encode(cache, inputs[2])
		cache = kvcache.New(kvcache.Options{MaxBytes: 64 << 20})
		encode(cache, inputs[0])
		two += encode(cache, inputs[2])
		whole += encode(kvcache.New(kvcache.Options{MaxBytes: 64 << 20}), inputs[2])
	}
	report(b, map[string]time.Duration{"whole": whole, "one-new": one, "two-new": two})
}

// report shows each time in ms, and as a share of "whole".
func report(b *testing.B, times map[string]time.Duration) {
	for name, took := range times {
		b.ReportMetric(took.Seconds()*1e3/float64(b.N), name+"-cpu-ms/op")
		if name != "whole" {
			b.ReportMetric(took.Seconds()/times["whole"].Seconds(), name+"/whole")
		}
	}
	b.ReportMetric(0, "ns/op") // the sum of all ways says nothing
}

func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
