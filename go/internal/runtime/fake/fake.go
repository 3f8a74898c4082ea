// Package fake is a runtime whose graphs are Go functions, with faults on demand. Tests of everything
// above the runtime use it.
package fake

import (
	"context"
	"errors"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// Graph is a function that stands for an ONNX graph. Compute returns one tensor per output.
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
type Runtime struct{}

// New makes a runtime that knows these graphs by the name given to Load.
func New(graphs map[string]Graph) *Runtime { return &Runtime{} }

// Inject makes the runs of a graph suffer f, replacing an earlier fault; a zero Fault heals it.
func (r *Runtime) Inject(graph string, f Fault) {}

// Runs counts the runs of a graph.
func (r *Runtime) Runs(graph string) int { return 0 }

// OpenSessions is the number of sessions not closed yet.
func (r *Runtime) OpenSessions() int { return 0 }

// Load makes a session of the graph of this name; the bytes are not looked at.
func (r *Runtime) Load(name string, graph []byte) (runtime.Session, error) {
	return nil, errors.New("not written yet")
}

// Provider is "cpu".
func (r *Runtime) Provider() string { return "cpu" }

// Version is "fake".
func (r *Runtime) Version() string { return "fake" }

// Close fails when sessions are still open.
func (r *Runtime) Close() error { return nil }

var _ runtime.Runtime = (*Runtime)(nil)
var _ = context.Background
