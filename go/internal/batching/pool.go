// Package batching decides what runs when: a Gate admits requests by cost, and a Pool of fixed workers
// runs the chunks of the admitted ones, fairly.
package batching

import (
	"context"
)

// Task is one chunk of a request.
type Task struct {
	// Cost relative to other tasks, for fairness; candidates are a good unit.
	Cost int64
	// Run does the work; ctx is that of Do.
	Run func(ctx context.Context) error
}

// PoolOptions configure a Pool; zero fields take the defaults.
type PoolOptions struct {
	Workers  int // default GOMAXPROCS
	MaxQueue int // tasks waiting over all requests; default 4096
}

// Pool runs tasks on a fixed number of workers. Requests share them by cost; a more important priority
// goes first.
type Pool struct{}

// NewPool starts the workers.
func NewPool(opts PoolOptions) *Pool { return &Pool{} }

// Workers is the number of workers.
func (p *Pool) Workers() int { return 0 }

// Queued is the number of tasks waiting.
func (p *Pool) Queued() int { return 0 }

// Do runs the tasks and waits for them. Priority comes from the rank.Budget of ctx. Tasks that have not
// started when ctx ends, or when another task of the call fails, never run; tasks that started are waited
// for. errs[i] is nil when task i ran well, so that finished chunks can be used; err is the first failure.
// A full queue is an *rank.OverloadedError and nothing runs; a closed pool is rank.ErrDraining.
func (p *Pool) Do(ctx context.Context, tasks []Task) (errs []error, err error) { return nil, nil }

// Close lets running and queued tasks finish and stops the workers.
func (p *Pool) Close() {}
