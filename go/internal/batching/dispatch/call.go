package dispatch

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// call is one Run that waits for, or is in, a batch.
//
// Invariant: the caller's tensors are touched under mu and only while gone is false. So a caller that gives
// up may use its memory again at once, whatever the batch does.
type call struct {
	ctx      context.Context
	inputs   []runtime.Tensor
	outputs  []runtime.Tensor
	rows     int64
	own      sizes // as they are
	key      sizes // as padded: calls of one key may share a run
	priority rank.Priority
	batch    *batch     // guarded by Session.mu; nil while it waits
	done     chan error // takes the one answer

	mu   sync.Mutex
	gone bool // guarded by mu: the caller left, or has its answer
}

// newCall is false for a call that fits no bucket.
func (s *Session) newCall(ctx context.Context, inputs, outputs []runtime.Tensor) (*call, bool, error) {
	rows, own, ok := s.layout.measure(inputs)
	if !ok || rows > int64(s.opts.MaxBatch) {
		return nil, false, nil
	}
	key, ok := s.layout.pad(own)
	if !ok {
		return nil, false, nil
	}
	for i := range outputs {
		want := s.layout.outputs[i].shape(rows, own)
		if outputs[i].Shape != nil && !slices.Equal(outputs[i].Shape, want) {
			return nil, false, fmt.Errorf("run graph %q: output %q has shape %v, the buffer %v", s.name, s.layout.outputs[i].name, want, outputs[i].Shape)
		}
	}
	return &call{
		ctx: ctx, inputs: inputs, outputs: outputs, rows: rows, own: own, key: key,
		priority: rank.BudgetFrom(ctx).Priority(), done: make(chan error, 1),
	}, true, nil
}

// expired is why a call must not run any more. A deadline counts from the moment it passes, which may be
// before its context says so.
func (c *call) expired(now time.Time) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if deadline, ok := c.ctx.Deadline(); ok && !now.Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// pack copies the inputs into the batch, from row at on; nothing when the caller has left.
func (c *call) pack(batch []runtime.Tensor, at int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return
	}
	for i := range c.inputs {
		pack(&batch[i], &c.inputs[i], at)
	}
}

// deliver copies the outputs out of the batch and answers.
func (c *call) deliver(outputs []tensor, batch []runtime.Tensor, at int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return
	}
	for i := range c.outputs {
		if c.outputs[i].Shape == nil {
			c.outputs[i] = newArena(1).tensor(0, outputs[i].dtype, outputs[i].shape(c.rows, c.own))
		}
		unpack(&c.outputs[i], &batch[i], at)
	}
	c.gone = true
	c.done <- nil
}

// fail answers with an error.
func (c *call) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return
	}
	c.gone = true
	c.done <- err
}
