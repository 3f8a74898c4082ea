package dispatch

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/fake"
)

// busy is how long a run takes in these tests, in the time of their bubble.
const busy = 10 * time.Millisecond

// device is the ranker of the test release behind a dispatcher, with a record of its runs.
type device struct {
	*release
	t       *testing.T
	runtime *fake.Runtime
	session runtime.Session
	runs    []Run
	random  *rand.Rand
}

// newDevice has runs that take busy. edit may be nil.
func newDevice(t *testing.T, opts Options, edit func(map[string]fake.Graph)) *device {
	t.Helper()
	d := &device{t: t, random: rand.New(rand.NewPCG(7, 7))}
	d.release, d.runtime = newFake(t, edit)
	opts.Observe = func(r Run) { d.runs = append(d.runs, r) }
	d.session = New(d.graphOf(bundle.Ranker), d.release.session(bundle.Ranker), LimitsOf(d.manifest), opts)
	d.runtime.Inject(bundle.Ranker, fake.Fault{Delay: busy})
	return d
}

// call starts a Run of one row; mark is the age of its user, by which graphs of tests tell calls apart.
func (d *device) call(ctx context.Context, events, candidates int64, mark float32) (outputs []runtime.Tensor, done chan error) {
	inputs := sample(d.random, d.graphOf(bundle.Ranker), d.session, 1, events, candidates, 0)
	for i, spec := range d.session.Inputs() {
		if spec.Name == "user_age" {
			inputs[i].F32[0] = mark
		}
	}
	outputs, done = make([]runtime.Tensor, 1), make(chan error, 1)
	go func() { done <- d.session.Run(ctx, inputs, outputs) }()
	synctest.Wait()
	return outputs, done
}

// close ends the dispatcher.
func (d *device) close() {
	d.t.Helper()
	if err := d.session.Close(); err != nil {
		d.t.Error(err)
	}
}

func marks(inputs []runtime.Tensor, specs []runtime.TensorSpec) []float32 {
	at := slices.IndexFunc(specs, func(s runtime.TensorSpec) bool { return s.Name == "user_age" })
	return inputs[at].F32
}

func TestCallsShareRunsAndGetTheirOwnAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release, rt := newFake(t, nil)
		random := rand.New(rand.NewPCG(3, 4))
		for _, name := range shared {
			direct := release.session(name)
			rt.Inject(name, fake.Fault{Delay: busy})
			var calls, runs int
			var used, cells int64
			packed := New(release.graphOf(name), release.session(name), LimitsOf(release.manifest), Options{MinBucket: 1, MaxBatch: 8,
				Observe: func(r Run) { runs, calls, used, cells = runs+1, calls+r.Calls, used+r.Used, cells+r.Cells }})
			var all sync.WaitGroup
			for range 200 {
				inputs := sample(random, release.graphOf(name), direct, 1+random.Int64N(2), random.Int64N(9), random.Int64N(6), random.Int64N(2))
				all.Go(func() {
					got, want := make([]runtime.Tensor, len(direct.Outputs())), make([]runtime.Tensor, len(direct.Outputs()))
					if err := errors.Join(packed.Run(t.Context(), inputs, got), direct.Run(t.Context(), inputs, want)); err != nil {
						t.Errorf("%s: %v", name, err)
					} else if problem := near(got, want); problem != "" {
						t.Errorf("%s: %s", name, problem)
					}
				})
			}
			all.Wait()
			if calls != 200 || runs > 120 || used > cells || used == 0 {
				t.Errorf("%s: %d calls in %d runs, %d of %d cells used", name, calls, runs, used, cells)
			}
			if err := errors.Join(packed.Close(), direct.Close()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestGraphsWithoutTheLawsStayAsTheyAre(t *testing.T) {
	t.Parallel()
	release, _ := newFake(t, nil)
	for _, name := range []string{bundle.ItemEncoder, bundle.Index} {
		session := release.session(name)
		if New(release.graphOf(name), session, LimitsOf(release.manifest), Options{}) != session {
			t.Errorf("%s got a dispatcher", name)
		}
	}
	extra := proto.Clone(release.graphOf(bundle.Ranker)).(*bundlev1.Graph)
	extra.Name = "somebody_elses"
	session := release.session(bundle.Ranker)
	if New(extra, session, LimitsOf(release.manifest), Options{}) != session {
		t.Error("a graph that promises no laws got a dispatcher")
	}
}

func TestALoneCallWaitsForNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t, Options{}, nil)
		defer d.close()
		start := time.Now()
		if _, done := d.call(t.Context(), 3, 2, 1); <-done != nil || time.Since(start) != busy {
			t.Errorf("a lone call took %s, a run takes %s", time.Since(start), busy)
		}
	})
}

func TestUrgentCallsGoFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var order []float32
		d := newDevice(t, Options{MaxBatch: 1}, func(graphs map[string]fake.Graph) {
			g := graphs[bundle.Ranker]
			compute := g.Compute
			g.Compute = func(in []runtime.Tensor) ([]runtime.Tensor, error) {
				order = append(order, marks(in, g.Inputs)...)
				return compute(in)
			}
			graphs[bundle.Ranker] = g
		})
		defer d.close()
		var all []chan error
		for mark, priority := range []rank.Priority{rank.Normal, rank.Batch, rank.Normal, rank.Critical} {
			_, done := d.call(rank.WithBudget(t.Context(), rank.NewBudget(time.Time{}, 1, priority)), 2, 2, float32(mark))
			all = append(all, done)
		}
		for _, done := range all {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if !slices.Equal(order, []float32{0, 3, 2, 1}) {
			t.Errorf("the order was %v, want the running one, then critical, normal, batch", order)
		}
	})
}

func TestLateCallsAreNotPacked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t, Options{}, nil)
		defer d.close()
		_, first := d.call(t.Context(), 2, 2, 0)
		ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(busy/2))
		defer cancel()
		_, late := d.call(ctx, 2, 2, 1)
		_, timely := d.call(t.Context(), 2, 2, 2)
		if err := <-late; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("late: %v", err)
		}
		if err := errors.Join(<-first, <-timely); err != nil {
			t.Error(err)
		}
		if len(d.runs) != 2 || d.runs[1].Calls != 1 {
			t.Errorf("the runs were %+v", d.runs)
		}
	})
}

// A deadline may have passed before its context's timer fired.
func TestDeadlinesCountBeforeTheirTimers(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ctx, cancel := context.WithDeadline(t.Context(), now.Add(time.Hour))
	defer cancel()
	c := &call{ctx: ctx}
	if err := c.expired(now); err != nil {
		t.Error(err)
	}
	if err := c.expired(now.Add(time.Hour)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after its deadline: %v", err)
	}
}

func TestACallThatLeavesHarmsNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t, Options{}, nil)
		defer d.close()
		_, first := d.call(t.Context(), 2, 2, 0)
		ctx, cancel := context.WithCancel(t.Context())
		_, stays := d.call(t.Context(), 2, 2, 1)
		left, leaves := d.call(ctx, 2, 2, 2)
		if err := <-first; err != nil {
			t.Error(err)
		}
		synctest.Wait() // the other two are in a run
		cancel()
		start := time.Now()
		if err := <-leaves; !errors.Is(err, context.Canceled) || time.Since(start) != 0 {
			t.Errorf("left after %s with %v", time.Since(start), err)
		}
		if err := <-stays; err != nil {
			t.Error(err)
		}
		if left[0].Shape != nil {
			t.Error("the batch wrote into the memory of a caller that had left")
		}
		if d.runs[1].Calls != 2 {
			t.Errorf("the runs were %+v", d.runs)
		}
	})
}

func TestARunEndsWhenNobodyWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t, Options{}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		_, first := d.call(ctx, 2, 2, 0)
		start := time.Now()
		cancel()
		<-first
		d.close() // waits for the dispatcher
		if took := time.Since(start); took != 0 {
			t.Errorf("the run went on for %s", took)
		}
	})
}

// poison makes the ranker refuse, or panic over, batches that hold a call with a mark.
func poison(panics bool) func(map[string]fake.Graph) {
	return func(graphs map[string]fake.Graph) {
		g := graphs[bundle.Ranker]
		compute := g.Compute
		g.Compute = func(in []runtime.Tensor) ([]runtime.Tensor, error) {
			switch {
			case !slices.Contains(marks(in, g.Inputs), 13):
				return compute(in)
			case panics:
				panic("an unlucky number")
			}
			return nil, errors.New("id 13 is outside the table")
		}
		graphs[bundle.Ranker] = g
	}
}

func TestAFaultyCallFailsAlone(t *testing.T) {
	t.Parallel()
	for _, panics := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := newDevice(t, Options{}, poison(panics))
			defer d.close()
			_, first := d.call(t.Context(), 2, 2, 0)
			_, good := d.call(t.Context(), 2, 2, 1)
			_, bad := d.call(t.Context(), 2, 2, 13)
			_, better := d.call(t.Context(), 2, 2, 2)
			if err := errors.Join(<-first, <-good, <-better); err != nil {
				t.Error(err)
			}
			var panicked *batching.PanicError
			if err := <-bad; err == nil || errors.As(err, &panicked) != panics {
				t.Errorf("the faulty call got %v", err)
			}
			if len(d.runs) != 5 || d.runs[1].Calls != 3 {
				t.Errorf("the runs were %+v; want one alone, three together, and each again", d.runs)
			}
		})
	}
}

func TestALostDeviceIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for fault, runs := range map[runtime.DeviceFault]int{runtime.DeviceLost: 2, runtime.DeviceMemory: 4} {
			d := newDevice(t, Options{}, nil)
			_, first := d.call(t.Context(), 2, 2, 0)
			_, second := d.call(t.Context(), 2, 2, 1)
			_, third := d.call(t.Context(), 2, 2, 2)
			d.runtime.Inject(bundle.Ranker, fake.Fault{Err: &runtime.DeviceError{Fault: fault, Cause: errors.New("failure 700")}})
			<-first
			var device *runtime.DeviceError
			if err := errors.Join(<-second, <-third); !errors.As(err, &device) || device.Fault != fault {
				t.Errorf("%s: %v", fault, err)
			}
			if len(d.runs) != runs {
				t.Errorf("%s: %d runs, want %d", fault, len(d.runs), runs)
			}
			d.close()
		}
	})
}

func TestAHungRunIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		forever := make(chan struct{})
		d := newDevice(t, Options{HangTimeout: time.Minute}, func(graphs map[string]fake.Graph) {
			g := graphs[bundle.Ranker]
			compute := g.Compute
			g.Compute = func(in []runtime.Tensor) ([]runtime.Tensor, error) {
				<-forever
				return compute(in)
			}
			graphs[bundle.Ranker] = g
		})
		start := time.Now()
		outputs, inside := d.call(t.Context(), 2, 2, 0)
		_, behind := d.call(t.Context(), 2, 2, 1)
		var device *runtime.DeviceError
		for _, done := range []chan error{inside, behind} {
			if err := <-done; !errors.As(err, &device) || device.Fault != runtime.DeviceHung || time.Since(start) != time.Minute {
				t.Errorf("after %s: %v", time.Since(start), err)
			}
		}
		_, later := d.call(t.Context(), 2, 2, 2)
		if err := <-later; !errors.As(err, &device) {
			t.Errorf("a later call: %v", err)
		}
		if err := d.session.Close(); err == nil || !strings.Contains(err.Error(), "restart") {
			t.Errorf("close: %v", err)
		}
		close(forever) // the run ends after all; its outputs are nobody's
		synctest.Wait()
		if outputs[0].Shape != nil {
			t.Error("outputs of a run that was given up reached a caller")
		}
	})
}

func TestCloseLetsAcceptedCallsFinish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t, Options{MaxBatch: 1}, nil)
		_, first := d.call(t.Context(), 2, 2, 0)
		_, second := d.call(t.Context(), 2, 2, 1)
		d.close()
		if err := errors.Join(<-first, <-second); err != nil {
			t.Error(err)
		}
		_, late := d.call(t.Context(), 2, 2, 2)
		if err := <-late; !errors.Is(err, runtime.ErrClosed) {
			t.Errorf("after close: %v", err)
		}
		if err := d.session.Close(); !errors.Is(err, runtime.ErrClosedTwice) {
			t.Errorf("second close: %v", err)
		}
		if n := d.runtime.OpenSessions(); n != 0 {
			t.Errorf("%d sessions are open", n)
		}
	})
}

// What fits no bucket, or contradicts itself, is the graph's to judge, and waits for nobody.
func TestOddCallsRunAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t, Options{MaxBatch: 2}, nil)
		defer d.close()
		graph := d.graphOf(bundle.Ranker)
		for name, inputs := range map[string][]runtime.Tensor{
			"too many rows":   sample(d.random, graph, d.session, 3, 2, 2, 0),
			"too many events": sample(d.random, graph, d.session, 1, 99, 2, 0),
		} {
			if err := d.session.Run(t.Context(), inputs, make([]runtime.Tensor, 1)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if len(d.runs) != 0 {
			t.Errorf("they went through the dispatcher: %+v", d.runs)
		}
		good := sample(d.random, graph, d.session, 1, 2, 2, 0)
		for name, test := range map[string]struct{ inputs, outputs []runtime.Tensor }{
			"a buffer of another size": {good, []runtime.Tensor{runtime.Floats(make([]float32, 6), 1, 3, 2)}},
			"too few inputs":           {good[:2], make([]runtime.Tensor, 1)},
		} {
			if err := d.session.Run(t.Context(), test.inputs, test.outputs); err == nil {
				t.Errorf("%s was taken", name)
			}
		}
	})
}
