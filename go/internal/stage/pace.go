package stage

import (
	"sync/atomic"
	"time"
)

// Pace estimates how long a graph runs over n candidates or events: a fixed part, and a part for each. The
// zero value knows nothing and estimates zero. It is safe for concurrent use; a lost update only delays the
// estimate.
type Pace struct {
	fixed, each atomic.Int64 // nanoseconds
}

// Set starts the estimate from a measurement.
func (p *Pace) Set(fixed, each time.Duration) {
	p.fixed.Store(max(int64(fixed), 0))
	p.each.Store(max(int64(each), 1))
}

// Seen learns from a run over n: an average that forgets by 1/8 a run.
func (p *Pace) Seen(n int, took time.Duration) {
	if n < 1 {
		return
	}
	now, old := (took.Nanoseconds()-p.fixed.Load())/int64(n), p.each.Load()
	if old > 0 {
		now = old + (now-old)/8
	}
	p.each.Store(max(now, 1))
}

// For is the estimate for n.
func (p *Pace) For(n int) time.Duration {
	return time.Duration(p.fixed.Load() + p.each.Load()*int64(n))
}

// Cost is the estimate in microseconds, the unit of batching.Task; n when nothing is known.
func (p *Pace) Cost(n int) int64 {
	if p.each.Load() == 0 {
		return int64(n)
	}
	return p.For(n).Microseconds()
}

// Fit is how many of n candidates fit into the time when so many workers share them; n when nothing is known.
func (p *Pace) Fit(n int, left time.Duration, workers int) int {
	fixed, each := p.fixed.Load(), p.each.Load()
	if need := fixed + each*int64(n)/int64(max(workers, 1)); need <= int64(left) {
		return n
	}
	return int(max(int64(left)-fixed, 0) * int64(max(workers, 1)) / each)
}
