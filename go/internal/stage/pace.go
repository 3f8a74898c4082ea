package stage

import (
	"sync/atomic"
	"time"
)

// Pace estimates how long one candidate takes in a graph, from the runs so far. The zero value knows
// nothing and estimates zero. It is safe for concurrent use; a lost update only delays the estimate.
type Pace struct {
	nanos atomic.Int64
}

// Seen learns from a run of n candidates: an average that forgets by 1/8 a run.
func (p *Pace) Seen(n int, took time.Duration) {
	if n < 1 {
		return
	}
	now, old := took.Nanoseconds()/int64(n), p.nanos.Load()
	if old > 0 {
		now = old + (now-old)/8
	}
	p.nanos.Store(max(now, 1))
}

// For is the estimate for n candidates.
func (p *Pace) For(n int) time.Duration { return time.Duration(p.nanos.Load() * int64(n)) }

// Fit is how many of n candidates fit into the time when so many workers share them; n when nothing is known.
func (p *Pace) Fit(n int, left time.Duration, workers int) int {
	one := p.nanos.Load()
	if need := one * int64(n) / int64(max(workers, 1)); need <= int64(left) {
		return n
	}
	return int(int64(left) * int64(max(workers, 1)) / one)
}
