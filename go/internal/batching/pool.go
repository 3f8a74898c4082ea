// Package batching decides what runs when: a Gate admits requests by cost, and a Pool of fixed workers
// runs the chunks of the admitted ones, fairly.
package batching

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// Task is one chunk of a request.
type Task struct {
	// Cost is the time that the task is expected to hold a worker, in microseconds. Less than 1 counts as 1.
	Cost int64
	// Run does the work; ctx is that of Do.
	Run func(ctx context.Context) error
}

// PoolOptions configure a Pool; zero fields take the defaults.
type PoolOptions struct {
	Workers  int // default GOMAXPROCS
	MaxQueue int // tasks waiting over all requests; default 4096
	// Nice is how far the priority of the workers' threads is lowered, 0..19, so that the threads that talk to callers
	// and the express interrupt them. It costs each task a switch of threads. The default, 0, leaves threads as they are.
	Nice int
}

// Pool runs tasks on a fixed number of workers. Requests share them by cost, weighted by priority. Each
// worker blocks one thread in the runtime, so as many as there are cores is right. One more, the express,
// runs tasks of small requests while large ones have all workers: a run cannot be interrupted, so a small request
// would wait for the end of a chunk at each of its stages; but the kernel can divide a core between two threads.
type Pool struct {
	maxQueue int
	workers  int
	finished sync.WaitGroup
	jobs     sync.Pool // *job

	mu       sync.Mutex
	wake     sync.Cond
	queue    queue
	busy     int     // workers that run a task
	running  []int64 // cost of the request that a worker runs a task of; 0: idle
	hurry    sync.Cond
	closed   bool
	taskTime time.Duration // moving average
}

// PanicError is a panic of a task: a fault of the program, caught so that it costs one request and not the
// server.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("a task panicked: %v", e.Value) }

// NewPool starts the workers.
func NewPool(opts PoolOptions) *Pool {
	if opts.Workers <= 0 {
		opts.Workers = runtime.GOMAXPROCS(0)
	}
	if opts.MaxQueue <= 0 {
		opts.MaxQueue = 4096
	}
	p := &Pool{maxQueue: opts.MaxQueue, workers: opts.Workers}
	p.wake.L, p.hurry.L = &p.mu, &p.mu
	p.running = make([]int64, opts.Workers)
	p.jobs.New = func() any { return &job{done: make(chan struct{}, 1)} }
	for i := range opts.Workers {
		p.finished.Go(func() {
			if opts.Nice > 0 {
				giveWay(opts.Nice)
			}
			p.work(i)
		})
	}
	p.finished.Go(p.express)
	return p
}

// Workers is the number of workers.
func (p *Pool) Workers() int { return p.workers }

// Idle is the number of workers that neither run a task nor have one waiting for them.
func (p *Pool) Idle() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.workers-p.busy-p.queue.waiting, 0)
}

// Queued is the number of tasks waiting.
func (p *Pool) Queued() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.waiting
}

// Do runs the tasks and waits for them. Priority comes from the rank.Budget of ctx. Tasks that have not
// started when ctx ends, or when another task of the call fails, never run; tasks that started are waited
// for. err is the first failure; with one, errs[i] is nil when task i ran well, so that finished chunks can
// be used.
// A full queue is an *rank.OverloadedError and nothing runs; a closed pool is rank.ErrDraining. A call
// alone in the queue is taken whatever its number of tasks.
func (p *Pool) Do(ctx context.Context, tasks []Task) (errs []error, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(tasks) == 0 {
		return nil, nil
	}
	j := p.jobs.Get().(*job)
	j.begin(ctx, tasks)
	defer func() {
		j.reset()
		p.jobs.Put(j)
	}()
	if err := p.submit(j); err != nil {
		return nil, err
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		p.mu.Lock()
		p.fail(j, ctx.Err())
		p.mu.Unlock()
		<-j.done
	}
	if j.failed == nil {
		return nil, nil
	}
	return slices.Clone(j.errs), j.failed
}

func (p *Pool) submit(j *job) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return rank.ErrDraining
	}
	if waiting := p.queue.waiting; waiting > 0 && waiting+len(j.tasks) > p.maxQueue {
		wait := p.taskTime * time.Duration(waiting/p.workers+1)
		return &rank.OverloadedError{Where: "worker queue", RetryAfter: clampRetry(wait)}
	}
	p.queue.add(j)
	if len(j.tasks) == 1 {
		p.wake.Signal()
	} else {
		p.wake.Broadcast()
	}
	p.hurryOn()
	return nil
}

// fail records the first failure of j and drops what it has not started. The caller holds the mutex.
func (p *Pool) fail(j *job, err error) {
	if j.failed != nil || (j.next == len(j.tasks) && j.running == 0) {
		return
	}
	j.failed = err
	p.queue.drop(j, err)
	if j.running == 0 {
		j.done <- struct{}{}
	}
}

func (p *Pool) work(worker int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for len(p.queue.jobs) == 0 {
			if p.closed {
				return
			}
			p.wake.Wait()
		}
		j, task := p.queue.take()
		p.busy++
		p.running[worker] = j.cost
		p.hurryOn()
		p.run(j, task)
		p.busy--
		p.running[worker] = 0
	}
}

// smallShare is how many times more every running request costs than a small one.
const smallShare = 4

// next is the job whose task the express runs: of a request that is small beside all that the workers run,
// nil while one of them is idle or will soon be. The caller holds the mutex.
func (p *Pool) next() *job {
	if len(p.queue.jobs) == 0 {
		return nil
	}
	return p.queue.small(slices.Min(p.running) / smallShare)
}

// hurryOn wakes the express where there is something to do. The caller holds the mutex.
func (p *Pool) hurryOn() {
	if p.next() != nil {
		p.hurry.Signal()
	}
}

func (p *Pool) express() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed { // then the workers finish what is left
		if j := p.next(); j != nil {
			p.run(j, p.queue.takeOf(j))
		} else {
			p.hurry.Wait()
		}
	}
}

// run executes a task that was taken. The caller holds the mutex, which is free meanwhile.
func (p *Pool) run(j *job, task int) {
	p.mu.Unlock()
	start := time.Now()
	err := run(j.ctx, &j.tasks[task])
	took := time.Since(start)
	j.errs[task] = err
	p.mu.Lock()
	p.taskTime += (took - p.taskTime) / 16
	if err != nil {
		p.fail(j, err)
	}
	j.running--
	if j.running == 0 && j.next == len(j.tasks) {
		j.done <- struct{}{}
	}
}

func run(ctx context.Context, task *Task) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{Value: value, Stack: debug.Stack()}
		}
	}()
	return task.Run(ctx)
}

// Close lets running and queued tasks finish and stops the workers.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.wake.Broadcast()
	p.hurry.Broadcast()
	p.mu.Unlock()
	p.finished.Wait()
}

// clampRetry keeps a retry hint sensible: not so short that it makes a storm, not so long that it loses users.
func clampRetry(wait time.Duration) time.Duration {
	return min(max(wait, 10*time.Millisecond), 5*time.Second).Round(time.Millisecond)
}
