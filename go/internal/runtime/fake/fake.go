// Package fake is a runtime whose graphs are Go functions, with faults on demand. Tests of everything
// above the runtime use it; it passes the same contract as ONNX Runtime.
package fake

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// Graph is a function that stands for an ONNX graph. Compute returns one tensor per output; it may keep
// neither the inputs nor the results.
type Graph struct {
	Inputs, Outputs []runtime.TensorSpec
	Compute         func(inputs []runtime.Tensor) ([]runtime.Tensor, error)
}

// Fault is what goes wrong in the next runs of a graph.
type Fault struct {
	Err   error         // returned by Run
	Delay time.Duration // before computing; ends early when ctx does
	NaN   bool          // every float output becomes NaN
	Times int           // runs that suffer it; 0 means all
}

// Runtime is a runtime.Runtime over functions.
type Runtime struct {
	mu     sync.Mutex
	graphs map[string]Graph
	faults map[string]*Fault
	runs   map[string]int
	open   int
}

// New makes a runtime that knows these graphs by the name given to Load.
func New(graphs map[string]Graph) *Runtime {
	return &Runtime{graphs: graphs, faults: map[string]*Fault{}, runs: map[string]int{}}
}

// Inject makes the runs of a graph suffer f, replacing an earlier fault; a zero Fault heals it.
func (r *Runtime) Inject(graph string, f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f == (Fault{}) {
		delete(r.faults, graph)
		return
	}
	r.faults[graph] = &f
}

// Runs counts the runs of a graph.
func (r *Runtime) Runs(graph string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.runs[graph]
}

// OpenSessions is the number of sessions not closed yet.
func (r *Runtime) OpenSessions() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open
}

// Load makes a session of the graph of this name; the bytes must not be empty and are not looked at.
func (r *Runtime) Load(name string, graph []byte) (runtime.Session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g, ok := r.graphs[name]
	if !ok || len(graph) == 0 {
		return nil, fmt.Errorf("load graph %q: the fake runtime has no such graph, or it is empty", name)
	}
	r.open++
	return &session{runtime: r, name: name, graph: g}, nil
}

// Provider is "cpu".
func (r *Runtime) Provider() string { return "cpu" }

// Version is "fake".
func (r *Runtime) Version() string { return "fake" }

// Close fails when sessions are still open.
func (r *Runtime) Close() error {
	if n := r.OpenSessions(); n > 0 {
		return fmt.Errorf("close runtime: %d sessions are still open", n)
	}
	return nil
}

// begin counts a run and takes its fault.
func (r *Runtime) begin(graph string) Fault {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs[graph]++
	f := r.faults[graph]
	if f == nil {
		return Fault{}
	}
	current := *f
	if f.Times > 0 {
		if f.Times--; f.Times == 0 {
			delete(r.faults, graph)
		}
	}
	return current
}

type session struct {
	runtime *Runtime
	name    string
	graph   Graph

	running sync.RWMutex // held shared by runs, exclusively by Close
	closed  bool
}

func (s *session) Inputs() []runtime.TensorSpec  { return s.graph.Inputs }
func (s *session) Outputs() []runtime.TensorSpec { return s.graph.Outputs }

func (s *session) Run(ctx context.Context, inputs, outputs []runtime.Tensor) error {
	s.running.RLock()
	defer s.running.RUnlock()
	if s.closed {
		return fmt.Errorf("run graph %q: %w", s.name, runtime.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := runtime.CheckRun(s.graph.Inputs, s.graph.Outputs, inputs, outputs); err != nil {
		return fmt.Errorf("run graph %q: %w", s.name, err)
	}
	fault := s.runtime.begin(s.name)
	if fault.Delay > 0 {
		select {
		case <-time.After(fault.Delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if fault.Err != nil {
		return fmt.Errorf("run graph %q: %w", s.name, fault.Err)
	}
	results, err := s.graph.Compute(inputs)
	if err != nil {
		return fmt.Errorf("run graph %q: %w", s.name, err)
	}
	for i := range results {
		if fault.NaN {
			for j := range results[i].F32 {
				results[i].F32[j] = float32(math.NaN())
			}
		}
		if err := deliver(&s.graph.Outputs[i], &results[i], &outputs[i]); err != nil {
			return fmt.Errorf("run graph %q: %w", s.name, err)
		}
	}
	return nil
}

// deliver writes a result into the caller's tensor, or hands it over when that has no shape.
func deliver(spec *runtime.TensorSpec, result, out *runtime.Tensor) error {
	if err := result.Check(spec); err != nil {
		return err
	}
	if out.Shape == nil {
		*out = *result
		return nil
	}
	if out.Len() != result.Len() {
		return fmt.Errorf("output %q has shape %v, the buffer %v", spec.Name, result.Shape, out.Shape)
	}
	copy(out.F32, result.F32)
	copy(out.I64, result.I64)
	copy(out.Bool, result.Bool)
	return nil
}

func (s *session) Close() error {
	s.running.Lock()
	defer s.running.Unlock()
	if s.closed {
		return fmt.Errorf("close graph %q: %w", s.name, runtime.ErrClosedTwice)
	}
	s.closed = true
	s.runtime.mu.Lock()
	s.runtime.open--
	s.runtime.mu.Unlock()
	return nil
}

var _ runtime.Runtime = (*Runtime)(nil)
