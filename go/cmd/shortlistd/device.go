package main

import (
	"context"
	"errors"
	"log/slog"
	goruntime "runtime"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/batching/dispatch"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/config"
	"github.com/shortlist-serving/shortlist/go/internal/funnel"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/guard"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/ort"
)

// device is what stands between the stages and the sessions: a dispatcher that lets calls share runs, and
// around it, on a GPU, the guard. So a run that goes to the CPU after a fault is one call again, and goes
// beside the dispatcher, on a worker of its own.
type device struct {
	batching dispatch.Options
	batches  bool
	guard    *guard.Device   // nil on the CPU
	spare    runtime.Runtime // nil: nothing takes over
	logger   *slog.Logger
	changed  func() // told after each event; set before the first release loads, nil for nobody
}

// newDevice reads from the runtime whether there is a GPU.
func newDevice(cfg *config.Config, rt runtime.Runtime, logger *slog.Logger) *device {
	onGPU := rt.Provider() != ort.CPU
	d := &device{batching: cfg.Batching, logger: logger}
	d.batches = cfg.Batching.Mode == dispatch.On || (cfg.Batching.Mode == dispatch.Auto && onGPU)
	if d.batching.Runs == 0 && !onGPU {
		d.batching.Runs = goruntime.GOMAXPROCS(0)
	}
	if onGPU {
		d.guard = guard.New(goruntime.GOMAXPROCS(0), d.onEvent)
		if cfg.Runtime.AllowCPU {
			d.spare, _ = ort.OnCPU(rt)
		}
	}
	return d
}

// workersPerBatch is how many batches may wait while one runs: each waiting call holds a worker of the pool,
// though no thread.
const workersPerBatch = 4

// poolOptions gives the pool enough workers to fill batches.
func (d *device) poolOptions(opts batching.PoolOptions) batching.PoolOptions {
	if d.batches && opts.Workers == 0 {
		opts.Workers = max(workersPerBatch*d.batching.MaxBatch, goruntime.GOMAXPROCS(0))
	}
	return opts
}

// wrap is repository.Options.Wrap.
func (d *device) wrap(b *bundle.Bundle, graph *bundlev1.Graph, session runtime.Session) (runtime.Session, error) {
	if d.batches {
		session = dispatch.New(graph, session, dispatch.LimitsOf(b.Manifest), d.batching)
	}
	if d.guard == nil {
		return session, nil
	}
	var spare runtime.Session
	var err error
	if d.spare != nil {
		if spare, err = d.spare.Load(graph.GetName(), b.Graphs[graph.GetName()]); err != nil {
			return nil, errors.Join(err, session.Close())
		}
	}
	guarded, err := d.guard.Guard(graph.GetName(), session, spare)
	if err != nil {
		err = errors.Join(err, session.Close())
		if spare != nil {
			err = errors.Join(err, spare.Close())
		}
		return nil, err
	}
	return guarded, nil
}

// onEvent is loud: a GPU that fails is somebody's work.
func (d *device) onEvent(e guard.Event) {
	graph := e.Graph
	if graph == "" {
		graph = "all"
	}
	switch {
	case e.Err == nil:
		d.logger.Info("the quarantine of a graph ended with its release", "graph", graph)
	case e.OnSpare:
		d.logger.Error("THE DEVICE FAILED: SERVING FROM THE CPU", "graph", graph, "error", e.Err, "fix", "mend the device, then restart this replica")
	default:
		d.logger.Error("THE DEVICE FAILED: NOT SERVING", "graph", graph, "error", e.Err, "fix", "mend the device, then restart this replica")
	}
	if d.changed != nil {
		d.changed()
	}
}

// err is rank.ErrNoDevice while the device fails and nothing takes over.
func (d *device) err() error {
	if d.guard != nil && d.guard.Err() != nil {
		return rank.ErrNoDevice
	}
	return nil
}

// quarantined is the number of sessions that the device does not run any more, and spareRuns how many runs others took.
func (d *device) quarantined() float64 {
	if d.guard == nil {
		return 0
	}
	return float64(d.guard.Quarantined())
}

func (d *device) spareRuns() float64 {
	if d.guard == nil {
		return 0
	}
	return float64(d.guard.SpareRuns())
}

// proofs are the contexts under which a release must reproduce its golden requests: on the device, and on what
// takes over from it.
func (d *device) proofs(ctx context.Context) []context.Context {
	if d.spare == nil {
		return []context.Context{ctx}
	}
	return []context.Context{ctx, guard.OnSpare(ctx)}
}

// releases refuse requests while the device fails: another replica answers better than a popular list does.
type releases struct {
	funnel.Releases
	device *device
}

func (r releases) Acquire() (*repository.Snapshot, func(), error) {
	if err := r.device.err(); err != nil {
		return nil, nil, err
	}
	return r.Releases.Acquire()
}

func (r releases) AcquireRelease(id string) (*repository.Snapshot, func(), error) {
	if err := r.device.err(); err != nil {
		return nil, nil, err
	}
	return r.Releases.AcquireRelease(id)
}
