package stage

import (
	"context"
	"fmt"
	"runtime/trace"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// Call is one run of a graph. Inputs and outputs are added in the order of the contract; shapes are copied.
// Calls are reused with their memory, so that a run makes no garbage.
type Call struct {
	graph *Graph
	in    []runtime.Tensor
	out   []runtime.Tensor
	moved []runtime.Tensor // inputs, then outputs, in the session's order where it is another
	ints  []int64          // all shapes, and the integers that were copied
	task  [1]batching.Task
	took  time.Duration
}

func newCall(g *Graph) *Call {
	c := &Call{graph: g}
	c.task[0].Run = c.Run
	return c
}

// Call takes an empty call; Free gives it back.
func (g *Graph) Call() *Call { return g.calls.Get().(*Call) }

// Free gives the call back once it is over; its tensors may not be used after it.
func (c *Call) Free() {
	for _, tensors := range []*[]runtime.Tensor{&c.in, &c.out, &c.moved} {
		clear(*tensors)
		*tensors = (*tensors)[:0]
	}
	c.ints, c.took = c.ints[:0], 0
	c.graph.calls.Put(c)
}

// Floats adds an input.
func (c *Call) Floats(data []float32, shape ...int64) {
	c.in = append(c.in, runtime.Floats(data, c.copied(shape)...))
}

// Ints adds an input [n] of integers, which are copied.
func (c *Call) Ints(data ...int64) {
	c.in = append(c.in, runtime.Ints(c.copied(data), c.copied([]int64{int64(len(data))})...))
}

// Events adds a history column [1,N] or [1,N,width] without its first events.
func (c *Call) Events(column *runtime.Tensor, first int64) {
	shape := c.copied(column.Shape)
	shape[1] -= first
	from := first
	if len(shape) == 3 {
		from *= shape[2]
	}
	t := runtime.Tensor{DType: column.DType, Shape: shape}
	switch column.DType {
	case runtime.Float32:
		t.F32 = column.F32[from:]
	case runtime.Int64:
		t.I64 = column.I64[from:]
	default:
		t.Bool = column.Bool[from:]
	}
	c.in = append(c.in, t)
}

// Tensors adds inputs.
func (c *Call) Tensors(tensors ...runtime.Tensor) { c.in = append(c.in, tensors...) }

// Into adds an output that is written in place.
func (c *Call) Into(data []float32, shape ...int64) {
	c.out = append(c.out, runtime.Floats(data, c.copied(shape)...))
}

// copied is a copy in memory of the call. Where that grows, earlier copies stay in what it leaves.
func (c *Call) copied(ints []int64) []int64 {
	from := len(c.ints)
	c.ints = append(c.ints, ints...)
	return c.ints[from:len(c.ints):len(c.ints)]
}

// Took is how long the graph ran, without waiting for a worker.
func (c *Call) Took() time.Duration { return c.took }

// Run executes the graph on this goroutine. Outputs are as in runtime.Session.Run.
func (c *Call) Run(ctx context.Context) error {
	g, in, out := c.graph, c.in, c.out
	defer trace.StartRegion(ctx, g.Name).End()
	if g.from != nil || g.to != nil {
		in, out = c.inSessionOrder()
	}
	start := time.Now()
	if err := g.session.Run(ctx, in, out); err != nil {
		return fmt.Errorf("run %s: %w", g.Name, err)
	}
	c.took = time.Since(start)
	for i, j := range g.to {
		c.out[j] = out[i]
	}
	return nil
}

func (c *Call) inSessionOrder() (in, out []runtime.Tensor) {
	c.moved = append(append(c.moved[:0], c.in...), c.out...)
	in, out = c.moved[:len(c.in):len(c.in)], c.moved[len(c.in):]
	for i, j := range c.graph.from {
		in[i] = c.in[j]
	}
	for i, j := range c.graph.to {
		out[i] = c.out[j]
	}
	if c.graph.to == nil {
		out = c.out
	}
	return in, out
}

// Run executes one graph as one task of the pool; cost is in microseconds.
func (r *Request) Run(ctx context.Context, g *Graph, cost int64, inputs, outputs []runtime.Tensor) error {
	c := g.Call()
	defer c.Free()
	c.in, c.out = append(c.in, inputs...), append(c.out, outputs...)
	err := r.Do(ctx, c, cost)
	copy(outputs, c.out)
	return err
}

// Do executes a call as one task of the request's pool; cost is in microseconds.
func (r *Request) Do(ctx context.Context, c *Call, cost int64) error { return c.Do(ctx, r.Pool, cost) }

// Do executes the call as one task of the pool; cost is in microseconds.
func (c *Call) Do(ctx context.Context, pool *batching.Pool, cost int64) error {
	c.task[0].Cost = cost
	_, err := pool.Do(ctx, c.task[:])
	return err
}
