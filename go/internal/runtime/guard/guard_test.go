package guard_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/fake"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/guard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is one device with its guard. A graph on the device answers its input plus 1, on the CPU plus 2,
// so that answers tell where they were computed.
type world struct {
	t      *testing.T
	gpu    *fake.Runtime
	cpu    *fake.Runtime
	device *guard.Device
	events []guard.Event
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, gpu: fake.New(adders(1)), cpu: fake.New(adders(2))}
	w.device = guard.New(2, func(e guard.Event) { w.events = append(w.events, e) })
	return w
}

func adders(add float32) map[string]fake.Graph {
	spec := []runtime.TensorSpec{{Name: "x", DType: runtime.Float32, Shape: []int64{-1}}}
	g := fake.Graph{Inputs: spec, Outputs: spec, Compute: func(in []runtime.Tensor) ([]runtime.Tensor, error) {
		y := slices.Clone(in[0].F32)
		for i := range y {
			y[i] += add
		}
		return []runtime.Tensor{runtime.Floats(y, in[0].Shape...)}, nil
	}}
	return map[string]fake.Graph{"ranker": g, "preranker": g}
}

func (w *world) load(rt *fake.Runtime, graph string) runtime.Session {
	w.t.Helper()
	s, err := rt.Load(graph, []byte("fake"))
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// session is a guarded graph; done closes it.
func (w *world) session(graph string, spared bool) runtime.Session {
	w.t.Helper()
	var spare runtime.Session
	if spared {
		spare = w.load(w.cpu, graph)
	}
	s, err := w.device.Guard(graph, w.load(w.gpu, graph), spare)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// done closes sessions and finds those that are left open.
func (w *world) done(sessions ...runtime.Session) {
	w.t.Helper()
	for _, s := range sessions {
		if err := s.Close(); err != nil {
			w.t.Error(err)
		}
	}
	if n := w.gpu.OpenSessions() + w.cpu.OpenSessions(); n != 0 {
		w.t.Errorf("%d sessions were never closed", n)
	}
}

// ask runs a session on 10: 11 is the device's answer, 12 the CPU's, 0 none.
func ask(s runtime.Session) (float32, error) {
	out := make([]runtime.Tensor, 1)
	if err := s.Run(context.Background(), []runtime.Tensor{runtime.Floats([]float32{10}, 1)}, out); err != nil {
		return 0, err
	}
	return out[0].F32[0], nil
}

func (w *world) expect(s runtime.Session, want float32) {
	w.t.Helper()
	got, err := ask(s)
	var device *runtime.DeviceError
	if got != want || (want == 0) != errors.As(err, &device) || (want != 0 && err != nil) {
		w.t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func fault(f runtime.DeviceFault) error {
	return &runtime.DeviceError{Fault: f, Cause: errors.New("failure")}
}

func TestALostDeviceTakesNoMoreRuns(t *testing.T) {
	t.Parallel()
	for _, spared := range []bool{true, false} {
		for _, f := range []runtime.DeviceFault{runtime.DeviceLost, runtime.DeviceHung} {
			w := newWorld(t)
			ranker, preranker := w.session("ranker", spared), w.session("preranker", spared)
			w.expect(ranker, 11)
			w.gpu.Inject("ranker", fake.Fault{Err: fault(f), Times: 1})
			want := float32(0)
			if spared {
				want = 12
			}
			w.expect(ranker, want) // the run that met the fault
			runs := w.gpu.Runs("ranker") + w.gpu.Runs("preranker")
			w.expect(ranker, want)
			w.expect(preranker, want) // another session of the same device
			if now := w.gpu.Runs("ranker") + w.gpu.Runs("preranker"); now != runs {
				t.Errorf("%s: the device took %d more runs", f, now-runs)
			}
			if err := w.device.Err(); (err == nil) != spared {
				t.Errorf("%s, spared %v: the device says %v", f, spared, err)
			}
			if len(w.events) != 1 || w.events[0].Graph != "" || w.events[0].OnSpare != spared || w.device.Quarantined() != 2 {
				t.Errorf("%s: events %+v, %d quarantined", f, w.events, w.device.Quarantined())
			}
			if got := w.device.SpareRuns(); (got == 3) != spared {
				t.Errorf("%s: %d runs of the spare", f, got)
			}
			w.done(ranker, preranker)
			if w.device.Err() == nil {
				t.Errorf("%s: the device recovered", f)
			}
			primary := w.load(w.gpu, "ranker")
			if _, err := w.device.Guard("ranker", primary, nil); err == nil {
				t.Errorf("%s: it took a new session", f)
			}
			w.done(primary)
		}
	}
}

func TestMemoryFaultsInARowQuarantineOneSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ranker, preranker := w.session("ranker", true), w.session("preranker", true)
	w.gpu.Inject("ranker", fake.Fault{Err: fault(runtime.DeviceMemory), Times: 2})
	w.expect(ranker, 12)
	w.expect(ranker, 12)
	w.expect(ranker, 11) // it fits again, and the count begins anew
	w.gpu.Inject("ranker", fake.Fault{Err: fault(runtime.DeviceMemory), Times: 3})
	for range 3 {
		w.expect(ranker, 12)
	}
	w.expect(ranker, 12) // although the device would take it
	w.expect(preranker, 11)
	if len(w.events) != 1 || w.events[0].Graph != "ranker" || w.device.Quarantined() != 1 {
		t.Errorf("events %+v, %d quarantined", w.events, w.device.Quarantined())
	}
	if err := ranker.Close(); err != nil {
		t.Fatal(err)
	}
	again := w.session("ranker", true) // as the next release has it
	w.expect(again, 11)
	if len(w.events) != 2 || w.events[1].Err != nil || w.device.Quarantined() != 0 {
		t.Errorf("after a reload: events %+v", w.events)
	}
	w.done(preranker, again)
}

func TestMemoryFaultsWithoutASpareFailTheRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ranker := w.session("ranker", false)
	w.gpu.Inject("ranker", fake.Fault{Err: fault(runtime.DeviceMemory), Times: 3})
	w.expect(ranker, 0)
	if err := w.device.Err(); err != nil {
		t.Errorf("one run out of memory stopped the server: %v", err)
	}
	w.expect(ranker, 0)
	w.expect(ranker, 0)
	if w.device.Err() == nil {
		t.Error("a quarantined session without a spare is no reason to stop")
	}
	w.done(ranker)
	if err := w.device.Err(); err != nil {
		t.Errorf("after its session was closed: %v", err)
	}
}

func TestOrdinaryErrorsAreTheCallers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ranker := w.session("ranker", true)
	boom := errors.New("id outside the table")
	w.gpu.Inject("ranker", fake.Fault{Err: boom, Times: 5})
	for range 5 {
		if _, err := ask(ranker); !errors.Is(err, boom) {
			t.Errorf("got %v", err)
		}
	}
	w.expect(ranker, 11)
	if w.device.SpareRuns() != 0 || len(w.events) != 0 {
		t.Errorf("%d runs of the spare, events %+v", w.device.SpareRuns(), w.events)
	}
	w.done(ranker)
}

// A run that saw nothing of the fault, but ended after it, is not believed.
func TestARunThatEndsAfterTheFaultIsNotBelieved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ranker, preranker := w.session("ranker", true), w.session("preranker", true)
		w.gpu.Inject("preranker", fake.Fault{Delay: time.Second, NaN: true})
		var slow sync.WaitGroup
		slow.Go(func() { w.expect(preranker, 12) })
		synctest.Wait()
		w.gpu.Inject("ranker", fake.Fault{Err: fault(runtime.DeviceLost)})
		w.expect(ranker, 12)
		slow.Wait()
		w.done(ranker, preranker)
	})
}

// Buffers of the caller hold the spare's answer alone, also where the device had written before it failed.
func TestNothingOfAFailedRunIsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, err := w.device.Guard("ranker", scribbler{w.load(w.gpu, "ranker")}, w.load(w.cpu, "ranker"))
	if err != nil {
		t.Fatal(err)
	}
	in := []runtime.Tensor{runtime.Floats([]float32{1, 2}, 2)}
	for _, out := range [][]runtime.Tensor{{runtime.Floats(make([]float32, 2), 2)}, {{}}} {
		if err := s.Run(t.Context(), in, out); err != nil || !slices.Equal(out[0].F32, []float32{3, 4}) {
			t.Errorf("got %v, %v", out[0].F32, err)
		}
	}
	w.done(s)
}

// scribbler writes, and then fails.
type scribbler struct{ runtime.Session }

func (scribbler) Run(_ context.Context, _, outputs []runtime.Tensor) error {
	if outputs[0].Shape == nil {
		outputs[0] = runtime.Floats(make([]float32, 1), 1)
	}
	for i := range outputs[0].F32 {
		outputs[0].F32[i] = float32(math.NaN())
	}
	return fault(runtime.DeviceMemory)
}

func TestSparesCanBeProvedFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, spared := range []bool{true, false} {
		s := w.session("ranker", spared)
		out := make([]runtime.Tensor, 1)
		err := s.Run(guard.OnSpare(t.Context()), []runtime.Tensor{runtime.Floats([]float32{10}, 1)}, out)
		if err != nil || (out[0].F32[0] == 12) != spared || w.device.SpareRuns() != 0 {
			t.Errorf("spared %v: %v, %v, %d", spared, out[0].F32, err, w.device.SpareRuns())
		}
		w.done(s)
	}
}

// The nth run of many concurrent ones loses the device: every answer is right, and one event is told.
func TestTheNthRunFailsUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.session("ranker", true)
	var all sync.WaitGroup
	var asked atomic.Int64
	for range 8 {
		all.Go(func() {
			for range 100 {
				if asked.Add(1) == 300 {
					w.gpu.Inject("ranker", fake.Fault{Err: fault(runtime.DeviceLost)})
				}
				if got, err := ask(s); err != nil || (got != 11 && got != 12) {
					t.Errorf("got %v, %v", got, err)
				}
			}
		})
	}
	all.Wait()
	w.expect(s, 12)
	if len(w.events) != 1 {
		t.Errorf("events %+v", w.events)
	}
	w.done(s)
}

func TestSparesRunAtMostOneACore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.session("ranker", true)
		w.gpu.Inject("ranker", fake.Fault{Err: fault(runtime.DeviceLost)})
		w.cpu.Inject("ranker", fake.Fault{Delay: time.Second})
		start := time.Now()
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() { w.expect(s, 12) })
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		err := s.Run(ctx, []runtime.Tensor{runtime.Floats([]float32{10}, 1)}, make([]runtime.Tensor, 1))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Millisecond {
			t.Errorf("a call whose time is over waited %s for a core: %v", time.Since(start), err)
		}
		all.Wait()
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("6 runs of 1s took %s on 2 cores", took)
		}
		w.done(s)
	})
}
