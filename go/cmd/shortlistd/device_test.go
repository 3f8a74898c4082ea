package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/batching/dispatch"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/funnel"
	"github.com/shortlist-serving/shortlist/go/internal/kvcache"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/fake"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/guard"
	"github.com/shortlist-serving/shortlist/go/internal/stage"
	"github.com/shortlist-serving/shortlist/go/internal/stage/retrieval"
	"github.com/shortlist-serving/shortlist/go/internal/telemetry"
)

// gpu is a funnel over a fake GPU, with dispatchers and a guard as the server has them.
type gpu struct {
	*funnel.Funnel
	runtime, cpu *fake.Runtime
	device       *device
	log          bytes.Buffer
	changes      int
	batches      int // runs that calls shared
}

func newGPU(t *testing.T, spared bool) *gpu {
	t.Helper()
	dir, release := t.TempDir(), ranktest.Bundle(t, ranktest.Options{})
	ranktest.Write(t, dir, ranktest.Options{})
	g := &gpu{runtime: ranktest.Runtime(t, release), cpu: ranktest.Runtime(t, release)}
	logger := telemetry.NewLogger(&g.log, "info")
	g.device = &device{batches: true, logger: logger, changed: func() { g.changes++ }}
	var mu sync.Mutex
	g.device.batching.EnsureDefaults()
	g.device.batching.Observe = func(r dispatch.Run) {
		mu.Lock()
		defer mu.Unlock()
		if r.Calls > 1 {
			g.batches++
		}
	}
	g.device.guard = guard.New(2, g.device.onEvent)
	if spared {
		g.device.spare = g.cpu
	}
	repo, err := repository.New(repository.Options{Dir: dir, Runtime: g.runtime, Wrap: g.device.wrap, Prepare: funnel.Prepare(retrieval.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	pool := batching.NewPool(g.device.poolOptions(batching.PoolOptions{}))
	t.Cleanup(func() {
		if err := repo.Close(context.Background()); err != nil {
			t.Error(err)
		}
		pool.Close()
		if n := g.runtime.OpenSessions() + g.cpu.OpenSessions(); n != 0 {
			t.Errorf("%d sessions were never closed", n)
		}
	})
	if err := repo.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.Funnel = funnel.New(funnel.Options{}, releases{repo, g.device}, batching.NewGate(batching.GateOptions{}), pool, kvcache.New(kvcache.Options{}), nil, nil, logger)
	return g
}

func (g *gpu) query() *rank.Query {
	return &rank.Query{Mode: rank.Rank, Time: 1, Limit: 5, Candidates: &rank.ItemIDs{Ints: []int64{10, 20, 30, 40, 50, 60, 70}},
		History: &rank.History{Items: rank.ItemIDs{Ints: []int64{20, 40}}}}
}

func (g *gpu) ask(t *testing.T) (*rank.Result, error) {
	t.Helper()
	return g.Answer(t.Context(), g.query())
}

func lost() fake.Fault {
	return fake.Fault{Err: &runtime.DeviceError{Fault: runtime.DeviceLost, Cause: errors.New("CUDA failure 700")}}
}

func TestAFailedDeviceLeavesItsWorkToTheCPU(t *testing.T) {
	g := newGPU(t, true)
	before, err := g.ask(t)
	if err != nil || before.Coverage.Rung != rank.RungFull {
		t.Fatalf("%v %+v", err, before)
	}
	for _, name := range bundle.GraphNames {
		g.runtime.Inject(name, lost())
	}
	for range 3 {
		after, err := g.ask(t)
		if err != nil {
			t.Fatal(err)
		}
		if after.Coverage.Rung != rank.RungFull || !cmp.Equal(before.Rows, after.Rows) || !cmp.Equal(before.Scores, after.Scores) {
			t.Errorf("after the fault: %+v %v", after.Coverage, after.Scores)
		}
	}
	if g.changes != 1 || g.device.err() != nil || g.device.quarantined() != float64(len(bundle.GraphNames)) || g.device.spareRuns() == 0 {
		t.Errorf("%d changes, error %v, %v quarantined, %v runs of the CPU", g.changes, g.device.err(), g.device.quarantined(), g.device.spareRuns())
	}
	if !strings.Contains(g.log.String(), "SERVING FROM THE CPU") || !strings.Contains(g.log.String(), "CUDA failure 700") {
		t.Errorf("the log is not loud:\n%s", &g.log)
	}
}

// The context under which the self-test proves the CPU reaches every graph that a request runs.
func TestTheCPUIsProvedBeforeItIsNeeded(t *testing.T) {
	g := newGPU(t, true)
	proofs := g.device.proofs(t.Context())
	if len(proofs) != 2 {
		t.Fatalf("%d proofs, want one of the device and one of the CPU", len(proofs))
	}
	runs := func(rt *fake.Runtime) (n int) {
		for _, name := range bundle.GraphNames {
			n += rt.Runs(name)
		}
		return n
	}
	device := runs(g.runtime)
	result, err := g.Answer(proofs[1], g.query())
	if err != nil || result.Coverage.Rung != rank.RungFull {
		t.Fatalf("%v %+v", err, result)
	}
	if now := runs(g.runtime); now != device || runs(g.cpu) < 4 {
		t.Errorf("%d runs on the device and %d on the CPU, want 0 and 4 or more", now-device, runs(g.cpu))
	}
}

func TestAFailedDeviceWithoutASpareIsNotReady(t *testing.T) {
	g := newGPU(t, false)
	g.runtime.Inject(bundle.Ranker, lost())
	first, err := g.ask(t) // it was admitted: it gets what there is, and is told why
	if err != nil || first.Coverage.Rung < rank.RungPrerankerOrder || first.Coverage.Degradations[0].Reason != stage.ReasonDevice {
		t.Errorf("the first: %v %+v", err, first)
	}
	if _, err := g.ask(t); !errors.Is(err, rank.ErrNoDevice) {
		t.Errorf("the next: %v", err)
	}
	if g.changes != 1 || !errors.Is(g.device.err(), rank.ErrNoDevice) || !strings.Contains(g.log.String(), "NOT SERVING") {
		t.Errorf("%d changes, error %v, log\n%s", g.changes, g.device.err(), &g.log)
	}
}

// Requests that come together share runs, and each gets the answer it gets alone.
func TestRequestsShareRuns(t *testing.T) {
	g := newGPU(t, false)
	want, err := g.ask(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range bundle.GraphNames {
		g.runtime.Inject(name, fake.Fault{Delay: time.Millisecond}) // others come meanwhile
	}
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			got, err := g.ask(t)
			if err != nil || !cmp.Equal(got.Rows, want.Rows) || !cmp.Equal(got.Scores, want.Scores) {
				t.Errorf("%v %+v", err, got)
			}
		})
	}
	all.Wait()
	if g.batches == 0 {
		t.Error("no run was shared")
	}
}
