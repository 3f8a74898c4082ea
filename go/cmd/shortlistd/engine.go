package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/config"
	"github.com/shortlist-serving/shortlist/go/internal/feature"
	"github.com/shortlist-serving/shortlist/go/internal/funnel"
	"github.com/shortlist-serving/shortlist/go/internal/kvcache"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/rpc"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/ort"
	"github.com/shortlist-serving/shortlist/go/internal/stage/retrieval"
	"github.com/shortlist-serving/shortlist/go/internal/telemetry"
	"github.com/shortlist-serving/shortlist/go/internal/vectordb"
)

// engine is everything that answers, without the doors.
type engine struct {
	runtime    runtime.Runtime
	vectors    *vectordb.Engine // nil where retrieval does not ask one
	device     *device
	repository *repository.Repository
	gate       *batching.Gate
	pool       *batching.Pool
	histories  *kvcache.Cache
	funnel     *funnel.Funnel
	replayer   *funnel.Replayer
	tuning     atomic.Pointer[funnel.Tuning] // of the release loaded last; nil before the first
}

// newEngine wires the levels together. Nothing is loaded yet. store, served and onEvent may be nil.
func newEngine(cfg *config.Config, store feature.Store, served *telemetry.ServedLog, logger *slog.Logger,
	onEvent func(repository.Event)) (*engine, error) {
	rt, err := startRuntime(cfg.Runtime, logger)
	if err != nil {
		return nil, err
	}
	d := newDevice(cfg, rt, logger)
	vectors, err := openVectors(&cfg.Retrieval)
	if err != nil {
		return nil, errors.Join(err, rt.Close())
	}
	e := &engine{runtime: rt, vectors: vectors, device: d, gate: batching.NewGate(cfg.Gate), pool: batching.NewPool(d.poolOptions(cfg.Pool)), histories: kvcache.New(cfg.HistoryCache)}
	e.repository, err = repository.New(repository.Options{
		Dir: cfg.Models, Runtime: rt, Wrap: d.wrap, Prepare: funnel.Prepare(cfg.Retrieval), WatchInterval: cfg.WatchInterval,
		OnEvent: func(event repository.Event) {
			if event.Kind == repository.EventClosed {
				e.histories.Forget(event.ReleaseID)
			}
			if onEvent != nil {
				onEvent(event)
			}
		},
		SelfTest: func(ctx context.Context, s *repository.Snapshot) error {
			for _, ctx := range d.proofs(ctx) {
				if err := e.replayer.SelfTest(ctx, s); err != nil {
					return err
				}
			}
			e.replayer.Warm(ctx, s)
			return e.tune(ctx, s, logger)
		},
	})
	if err != nil {
		e.pool.Close()
		return nil, errors.Join(err, e.closeVectors(), rt.Close())
	}
	e.funnel = funnel.New(cfg.Funnel, releases{e.repository, d}, e.gate, e.pool, e.histories, store, servedLine(served), logger)
	e.replayer = funnel.NewReplayer(e.funnel, rpc.ParseRequest)
	return e, nil
}

// tune cuts a release into work for this machine, and records how.
func (e *engine) tune(ctx context.Context, s *repository.Snapshot, logger *slog.Logger) error {
	t, err := e.replayer.Tune(ctx, s)
	if err != nil {
		return err
	}
	e.tuning.Store(t)
	micros := func(l funnel.Linear) string {
		return fmt.Sprintf("%.1f + %.3f n", l.Fixed.Seconds()*1e6, l.Each.Seconds()*1e6)
	}
	logger.Info("release tuned", "release", s.ID, "workers", e.pool.Workers(), "chunk", t.Chunk, "chunk_micros", t.ChunkTime.Microseconds(),
		"sequence_micros", micros(t.Sequence), "history_micros", micros(t.History), "query_micros", t.Query.Microseconds(), "prerank_micros", micros(t.Prerank), "rank_micros", micros(t.Rank))
	return nil
}

func servedLine(served *telemetry.ServedLog) func(funnel.Served) {
	if served == nil {
		return nil
	}
	return func(s funnel.Served) {
		now := time.Now()
		served.Offer(func() []byte { return rpc.ServedLine(now, s.Query, s.Result) })
	}
}

// close stops what newEngine started, in the order in which it is used.
func (e *engine) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := e.repository.Close(ctx)
	e.pool.Close()
	return errors.Join(err, e.closeVectors(), e.runtime.Close())
}

// openVectors connects retrieval to its vector engine, where it has one.
func openVectors(opts *retrieval.Options) (*vectordb.Engine, error) {
	if opts.Index != retrieval.IndexQdrant {
		return nil, nil
	}
	engine, err := vectordb.Open(opts.Qdrant)
	if err != nil {
		return nil, err
	}
	opts.Engine = engine
	return engine, nil
}

func (e *engine) closeVectors() error {
	if e.vectors == nil {
		return nil
	}
	return e.vectors.Close()
}

// startRuntime says loudly which execution provider graphs get. CUDA that cannot be had is an error unless
// the configuration allows the CPU.
func startRuntime(cfg config.Runtime, logger *slog.Logger) (runtime.Runtime, error) {
	library, err := findLibrary(cfg.Library)
	if err != nil {
		return nil, err
	}
	opts := ort.Options{Library: library, Provider: cfg.Provider, DeviceID: cfg.DeviceID}
	if cfg.CUDALibraries != "" {
		opts.CUDALibraries = strings.Split(cfg.CUDALibraries, ":")
	}
	opts.Placed = func(graph string, placement ort.Placement) {
		logger.Info("placement", "graph", graph, "nodes", placement)
	}
	rt, err := ort.New(opts)
	var absent *ort.ProviderError
	if errors.As(err, &absent) && cfg.AllowCPU {
		logger.Warn("CUDA WAS ASKED FOR AND IS NOT AVAILABLE: SERVING FROM THE CPU", "error", err)
		opts.Provider = ort.CPU
		rt, err = ort.New(opts)
	} else if errors.As(err, &absent) {
		return nil, fmt.Errorf("%w; install the driver and the CUDA libraries, or set runtime.allow_cpu", err)
	}
	if err != nil {
		return nil, err
	}
	logger.Info("runtime", "provider", rt.Provider(), "asked", cfg.Provider, "version", rt.Version(), "library", library)
	return rt, nil
}

func findLibrary(configured string) (string, error) {
	if configured != "" {
		return ort.FindLibrary(configured)
	}
	candidates := []string{".venv", "/opt/onnxruntime/lib", "/usr/local/lib", "/usr/lib"}
	if binary, err := os.Executable(); err == nil {
		candidates = append([]string{filepath.Dir(binary), filepath.Join(filepath.Dir(binary), "..", ".venv")}, candidates...)
	}
	library, err := ort.FindLibrary(candidates...)
	if err != nil {
		return "", fmt.Errorf("%w; set runtime.library to libonnxruntime.so", err)
	}
	return library, nil
}
