// Package dispatch lets the calls of several requests share one run of a graph. While a run is under way,
// calls wait; when it ends, those of one bucket (of history and candidates) go together, padded to the
// bucket, along the batch axis. Nothing ever waits for company, so a lone call pays for no one.
//
// A session of this package is a runtime.Session like the one below it: stages do not know of it. Scores
// are those of one-by-one runs, by the laws that graphs keep (no candidate sees another, padding and batch
// mates change nothing).
package dispatch

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// Session packs calls into runs of the session below. Its goroutines end with Close.
type Session struct {
	runtime.Session // below
	name            string
	layout          *layout
	rows            []int64 // buckets of the batch axis
	opts            Options

	mu       sync.Mutex
	wake     sync.Cond
	waiting  []*call // by priority, then arrival
	closed   bool
	hung     error         // a *runtime.DeviceError once a run did not end
	stuck    chan struct{} // closed with hung
	finished chan struct{} // closed when all dispatchers ended
}

// batch is calls of one key on their way through one run.
type batch struct {
	ctx    context.Context // ends when nobody waits for the batch any more
	cancel context.CancelFunc
	calls  []*call
	live   int // guarded by Session.mu: callers that have not left
}

// shared are the graphs whose laws let calls share runs: padding and batch mates change nothing in them. Extra
// graphs of a release promise no such thing; item_encoder and index have no batch axis on all tensors.
var shared = []string{bundle.SequenceEncoder, bundle.QueryEncoder, bundle.Preranker, bundle.HistoryEncoder, bundle.Ranker}

// New puts a dispatcher before a session. A graph whose calls cannot share runs is returned as it is. Zero
// options take the defaults.
func New(graph *bundlev1.Graph, session runtime.Session, limits Limits, opts Options) runtime.Session {
	opts.EnsureDefaults()
	if !slices.Contains(shared, graph.GetName()) {
		return session
	}
	l, ok := newLayout(graph, session, limits, opts)
	if !ok {
		return session
	}
	s := &Session{
		Session: session, name: graph.GetName(), layout: l, rows: doubles(int64(opts.MaxBatch)), opts: opts,
		stuck: make(chan struct{}), finished: make(chan struct{}),
	}
	s.wake.L = &s.mu
	var dispatchers sync.WaitGroup
	for range max(opts.Runs, 1) {
		dispatchers.Go(s.dispatch)
	}
	go func() {
		dispatchers.Wait()
		close(s.finished)
	}()
	return s
}

// Run implements runtime.Session. A call that fits no bucket runs alone, as it is.
func (s *Session) Run(ctx context.Context, inputs, outputs []runtime.Tensor) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := runtime.CheckRun(s.Inputs(), s.Outputs(), inputs, outputs); err != nil {
		return fmt.Errorf("run graph %q: %w", s.name, err)
	}
	c, ok, err := s.newCall(ctx, inputs, outputs)
	if err != nil {
		return err
	}
	if !ok {
		return s.Session.Run(ctx, inputs, outputs)
	}
	if err := s.submit(c); err != nil {
		return err
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return s.leave(c)
	}
}

func (s *Session) submit(c *call) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("run graph %q: %w", s.name, runtime.ErrClosed)
	}
	if s.hung != nil {
		return s.hung
	}
	at, _ := slices.BinarySearchFunc(s.waiting, c.priority, func(w *call, p rank.Priority) int {
		if w.priority <= p { // after all of the same priority
			return -1
		}
		return 1
	})
	s.waiting = slices.Insert(s.waiting, at, c)
	s.wake.Signal()
	return nil
}

// leave gives up a call whose context ended. Its batch runs on for the others, and stops when it was the last.
func (s *Session) leave(c *call) error {
	s.mu.Lock()
	if c.batch == nil {
		if at := slices.Index(s.waiting, c); at >= 0 {
			s.waiting = slices.Delete(s.waiting, at, at+1)
		}
	} else if c.batch.live--; c.batch.live == 0 {
		c.batch.cancel()
	}
	s.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone { // answered meanwhile
		return <-c.done
	}
	c.gone = true
	return c.ctx.Err()
}

// dispatch runs batches until Close, or until a run hangs.
func (s *Session) dispatch() {
	memory := newArena(len(s.layout.inputs) + len(s.layout.outputs))
	for b := s.take(); b != nil; b = s.take() {
		err := s.run(b, memory)
		if err == nil {
			continue
		}
		if len(b.calls) == 1 || !separable(err) {
			for _, c := range b.calls {
				c.fail(err)
			}
			continue
		}
		for _, c := range b.calls { // one of them is at fault; the others must not suffer for it
			if b := s.alone(c); b != nil {
				if err := s.run(b, memory); err != nil {
					c.fail(err)
				}
			}
		}
	}
}

// separable says whether calls of a failed batch may succeed alone: not on a device that is gone.
func separable(err error) bool {
	var device *runtime.DeviceError
	return !errors.As(err, &device) || !device.Gone()
}

// take waits for calls and forms a batch: the first in line and whoever shares its key. nil: stop.
func (s *Session) take() *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for len(s.waiting) == 0 || s.hung != nil {
			if s.closed || s.hung != nil {
				return nil
			}
			s.wake.Wait()
		}
		if calls := s.takeCalls(); len(calls) > 0 {
			return newBatch(calls)
		}
	}
}

// takeCalls removes the calls of the next batch, and those that expired while they waited. The caller holds mu.
func (s *Session) takeCalls() []*call {
	var calls []*call
	var rows int64
	now, rest := time.Now(), s.waiting[:0]
	for _, c := range s.waiting {
		err := c.expired(now)
		switch {
		case err != nil:
			c.fail(err)
		case len(calls) == 0 || (c.key == calls[0].key && rows+c.rows <= int64(s.opts.MaxBatch)):
			calls = append(calls, c)
			rows += c.rows
		default:
			rest = append(rest, c)
		}
	}
	clear(s.waiting[len(rest):])
	s.waiting = rest
	return calls
}

// newBatch makes a batch; the caller holds mu.
func newBatch(calls []*call) *batch {
	b := &batch{calls: calls, live: len(calls)}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	for _, c := range calls {
		c.batch = b
	}
	return b
}

// alone makes a batch of one call; nil when its caller left or its time is over.
func (s *Session) alone(c *call) *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := c.expired(time.Now()); err != nil {
		c.fail(err)
		return nil
	}
	return newBatch([]*call{c})
}

// run packs a batch, runs it and answers its calls. On an error nobody was answered, and nothing of the
// outputs left the dispatcher.
func (s *Session) run(b *batch, memory *arena) error {
	defer b.cancel()
	key := b.calls[0].key
	var rows, used int64
	for _, c := range b.calls {
		rows += c.rows
		used += c.rows * s.layout.cells(c.own)
	}
	size, _ := fit(s.rows, rows) // no batch is larger than the largest bucket
	inputs := make([]runtime.Tensor, len(s.layout.inputs))
	for i, t := range s.layout.inputs {
		inputs[i] = memory.tensor(i, t.dtype, t.shape(size, key))
	}
	outputs := make([]runtime.Tensor, len(s.layout.outputs))
	for i, t := range s.layout.outputs {
		outputs[i] = memory.tensor(len(inputs)+i, t.dtype, t.shape(size, key))
	}
	at := int64(0)
	for _, c := range b.calls {
		c.pack(inputs, at)
		at += c.rows
	}
	watch := time.AfterFunc(s.opts.HangTimeout, func() { s.hang(b) })
	err := s.protected(b.ctx, inputs, outputs)
	watch.Stop()
	if s.opts.Observe != nil {
		s.opts.Observe(Run{Graph: s.name, Calls: len(b.calls), Used: used, Cells: size * s.layout.cells(key)})
	}
	if err != nil {
		return err
	}
	at = 0
	for _, c := range b.calls {
		c.deliver(s.layout.outputs, outputs, at)
		at += c.rows
	}
	return nil
}

// protected makes a panic below an error, as the worker pool does for the tasks it runs itself.
func (s *Session) protected(ctx context.Context, inputs, outputs []runtime.Tensor) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &batching.PanicError{Value: value, Stack: debug.Stack()}
		}
	}()
	return s.Session.Run(ctx, inputs, outputs)
}

// hang gives up a run that did not end, and this session with it. The dispatcher's memory stays with the
// run, which may still write into it; callers lose nothing of theirs, because a batch holds copies.
func (s *Session) hang(b *batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hung != nil {
		return
	}
	s.hung = &runtime.DeviceError{Fault: runtime.DeviceHung, Cause: fmt.Errorf("a run of graph %q took more than %s", s.name, s.opts.HangTimeout)}
	close(s.stuck)
	b.cancel() // should it only be slow, it ends now
	for _, c := range slices.Concat(b.calls, s.waiting) {
		c.fail(s.hung)
	}
	s.waiting = nil
	s.wake.Broadcast()
}

// Close implements runtime.Session: calls that were accepted finish first. The session below a hung run is
// not freed.
func (s *Session) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return fmt.Errorf("close graph %q: %w", s.name, runtime.ErrClosedTwice)
	}
	s.closed = true
	s.wake.Broadcast()
	s.mu.Unlock()
	select {
	case <-s.finished:
		return s.Session.Close()
	case <-s.stuck:
		return fmt.Errorf("close graph %q: %w; restart the process to free it", s.name, s.hung)
	}
}
