package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	goruntime "runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/shortlist-serving/shortlist/go/internal/config"
	"github.com/shortlist-serving/shortlist/go/internal/feature"
	"github.com/shortlist-serving/shortlist/go/internal/funnel"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/rpc"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
	"github.com/shortlist-serving/shortlist/go/internal/stage/retrieval"
	"github.com/shortlist-serving/shortlist/go/internal/telemetry"
)

// serve runs the server until ctx ends, and then drains it.
func serve(ctx context.Context, cfg *config.Config, stderr io.Writer) (err error) {
	logger := telemetry.NewLogger(stderr, cfg.Telemetry.LogLevel)
	registry := prometheus.NewRegistry()
	metrics, err := telemetry.NewMetrics(registry, stage.Reasons)
	if err != nil {
		return err
	}
	store, err := openStore(cfg)
	if err != nil {
		return err
	}
	if store != nil {
		defer func() { err = errors.Join(err, store.Close()) }()
	}
	served, closeServed, err := openServedLog(cfg, registry, logger)
	if err != nil {
		return err
	}
	defer closeServed()
	batches, err := telemetry.NewBatches(registry)
	if err != nil {
		return err
	}
	cfg.Batching.Observe = batches.Ran
	searches, err := telemetry.NewSearches(registry, retrieval.Searches)
	if err != nil {
		return err
	}
	cfg.Retrieval.Observe = searches.Took
	e, err := newEngine(cfg, store, served, logger, func(event repository.Event) { onEvent(event, metrics, logger) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	cores := goruntime.GOMAXPROCS(0)
	defer goruntime.GOMAXPROCS(goruntime.GOMAXPROCS(processors(cores, e.pool.Workers())))
	metrics.Provider(e.runtime.Provider(), e.runtime.Version())
	if err := watchTuning(registry, e); err != nil {
		return err
	}
	if err := registry.Register(newLoadCollector(e.gate, e.pool, e.funnel)); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	if err := errors.Join(telemetry.WatchHistories(registry, e.histories),
		telemetry.WatchDevice(registry, e.device.quarantined, e.device.spareRuns)); err != nil {
		return err
	}

	cfg.RPC.Debug = cfg.Debug
	servers := rpc.New(cfg.RPC, rpc.Deps{
		Funnel: e.funnel, Replayer: e.replayer, Repository: e.repository, Gate: e.gate, Pool: e.pool, Runtime: e.runtime, Store: store,
		Observer: metrics, Logger: logger, Version: buildVersion(),
	})
	ready := func() error {
		_, unpin, err := releases{e.repository, e.device}.Acquire()
		if err == nil {
			unpin()
		}
		return errors.Join(err, ctx.Err())
	}
	e.device.changed = func() { servers.SetServing(ready() == nil) }
	listening, err := listen(ctx, cfg, servers, registry, ready, logger)
	if err != nil {
		return err
	}
	// Health answers NOT_SERVING from here on, while the release loads and proves itself.
	if err := e.repository.Open(ctx); err != nil {
		listening.stop(0, time.Second)
		return fmt.Errorf("open %s: %w", cfg.Models, err)
	}
	e.device.changed()
	logger.Info("ready", "data", listening.addresses[0], "admin", listening.addresses[1], "metrics", listening.addresses[2])

	watching, stopWatching := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if cfg.WatchInterval > 0 {
			e.repository.Watch(watching)
		}
	}()
	select {
	case <-ctx.Done():
		logger.Info("draining", "limit", cfg.Drain.Limit.String())
	case err = <-listening.failed:
		logger.Error("a listener failed, so the server stops", "error", err)
	}
	stopWatching()
	<-watched
	listening.stop(cfg.Drain.Delay, cfg.Drain.Limit)
	logger.Info("stopped")
	return err
}

// processors is what GOMAXPROCS should be: one for each core, and one for each worker that is in a graph. Go leaves a
// processor with a thread that is in C until it notices, which takes up to 10 ms; without spare ones a call is not
// even read while every core runs a graph. The threads share the cores, as the kernel sees fit.
func processors(cores, workers int) int { return cores + min(workers, cores) }

// openStore is nil where no store is configured.
func openStore(cfg *config.Config) (feature.Store, error) {
	if cfg.Store.Path == "" {
		return nil, nil
	}
	store, err := feature.OpenStore(cfg.Store.Path, feature.StoreOptions{MaxEvents: cfg.Store.MaxEvents})
	if err != nil {
		return nil, err
	}
	return store, nil
}

func onEvent(event repository.Event, metrics *telemetry.Metrics, logger *slog.Logger) {
	switch {
	case event.Err != nil:
		logger.Error("release "+event.Kind, "release", event.ReleaseID, "error", event.Err, "seconds", event.Took.Seconds())
	default:
		logger.Info("release "+event.Kind, "release", event.ReleaseID, "seconds", event.Took.Seconds())
	}
	if event.Kind == "activated" {
		metrics.Released(event.ReleaseID)
	}
}

// watchTuning shows how the release loaded last is cut into work; 0 before there is one.
func watchTuning(registry prometheus.Registerer, e *engine) error {
	for _, gauge := range []struct {
		name, help string
		value      func(*funnel.Tuning) float64
	}{
		{"shortlist_chunk_candidates", "Candidates of one run of the ranker.", func(t *funnel.Tuning) float64 { return float64(t.Chunk) }},
		{"shortlist_chunk_seconds", "Time of such a run with the longest history.", func(t *funnel.Tuning) float64 { return t.ChunkTime.Seconds() }},
		{"shortlist_history_candidates", "Cost of encoding the longest history for retrieval and for the ranker, in ranked candidates.", func(t *funnel.Tuning) float64 {
			return float64(t.Sequence.Of(t.Events)+t.History.Of(t.Events)) / float64(t.Rank.Each)
		}},
	} {
		read := func() float64 {
			if t := e.tuning.Load(); t != nil {
				return gauge.value(t)
			}
			return 0
		}
		if err := registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: gauge.name, Help: gauge.help}, read)); err != nil {
			return fmt.Errorf("register %s: %w", gauge.name, err)
		}
	}
	return nil
}

// listening is the three open doors.
type listening struct {
	servers   *rpc.Servers
	http      *http.Server
	addresses [3]string
	failed    chan error
}

func listen(ctx context.Context, cfg *config.Config, servers *rpc.Servers, gatherer prometheus.Gatherer, ready func() error,
	logger *slog.Logger) (*listening, error) {
	var listeners [3]net.Listener
	l := &listening{servers: servers, failed: make(chan error, 3)}
	for i, address := range []string{cfg.Data.Address, cfg.Admin.Address, cfg.Metrics.Address} {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			for _, open := range listeners[:i] {
				_ = open.Close()
			}
			return nil, fmt.Errorf("listen on %s: %w; is another server running?", address, err)
		}
		listeners[i], l.addresses[i] = listener, listener.Addr().String()
	}
	l.http = telemetry.NewHTTPServer(cfg.Metrics.Address, gatherer, ready)
	for i, server := range []*grpc.Server{servers.Data, servers.Admin} {
		go func() {
			if err := server.Serve(listeners[i]); err != nil {
				l.failed <- fmt.Errorf("serve %s: %w", l.addresses[i], err)
			}
		}()
	}
	go func() {
		if err := l.http.Serve(listeners[2]); err != nil && !errors.Is(err, http.ErrServerClosed) {
			l.failed <- fmt.Errorf("serve %s: %w", l.addresses[2], err)
		}
	}()
	logger.Info("listening, not ready", "data", l.addresses[0], "admin", l.addresses[1], "metrics", l.addresses[2])
	return l, nil
}

// stop says NOT_SERVING, waits for load balancers to see it, lets calls finish up to the limit, and closes the doors.
func (l *listening) stop(delay, limit time.Duration) {
	l.servers.SetServing(false)
	time.Sleep(delay)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	l.servers.Stop(ctx)
	_ = l.http.Shutdown(ctx) // scrapes may be cut: nothing is lost with them
}

func openServedLog(cfg *config.Config, registry prometheus.Registerer, logger *slog.Logger) (*telemetry.ServedLog, func(), error) {
	if cfg.Telemetry.ServedLog == "" {
		return nil, func() {}, nil
	}
	file, err := os.OpenFile(cfg.Telemetry.ServedLog, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, nil, fmt.Errorf("open served log: %w", err)
	}
	served, err := telemetry.NewServedLog(file, cfg.Telemetry, registry, logger)
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return served, func() {
		served.Close()
		if err := file.Close(); err != nil {
			logger.Error("close served log", "error", err)
		}
	}, nil
}
