package report

import (
	"fmt"
	"time"
)

// Bars of an overloaded server: what it may lose, and how fast it refuses.
const (
	overloaded     = 2.0 // times the capacity from which a step is judged
	goodputKept    = 0.95
	refusalLimit   = 10 * time.Millisecond
	refusalsNeeded = 100 // for a p99
)

// Verdict is one promise and whether a run kept it.
type Verdict struct {
	Promise string `json:"promise"`
	Kept    bool   `json:"kept"`
	Found   string `json:"found"`
}

// JudgeOverload compares the steps from twice the capacity on with the promises: goodput does not fall
// as more is offered, answers stay within the deadline, refusals are immediate.
func (l *Load) JudgeOverload(capacity float64, deadline time.Duration) {
	l.Capacity = capacity
	best := 0.0
	for _, s := range l.Steps {
		times := s.Offered / capacity
		if times >= overloaded*0.99 {
			l.judge(fmt.Sprintf("goodput at %.1fx is at least %.0f%% of the best at a lower rate", times, goodputKept*100), s.Goodput >= goodputKept*best,
				fmt.Sprintf("%.1f/s of %.1f/s", s.Goodput, best))
			l.judge(fmt.Sprintf("p99 of answers at %.1fx is within the deadline of %s", times, deadline), s.Latency.P99 != nil && *s.Latency.P99 <= deadline.Microseconds(),
				micros(s.Latency.P99))
			if s.Refusals.Count >= refusalsNeeded {
				l.judge(fmt.Sprintf("p99 of refusals at %.1fx is at most %s", times, refusalLimit), *s.Refusals.P99 <= refusalLimit.Microseconds(), micros(s.Refusals.P99))
			}
		}
		best = max(best, s.Goodput)
	}
	if len(l.Verdicts) == 0 {
		l.judge(fmt.Sprintf("a step offers %.0f times the capacity", overloaded), false, "none did: add a rate of 2 or more")
	}
}

func (l *Load) judge(promise string, kept bool, found string) {
	l.Verdicts = append(l.Verdicts, Verdict{Promise: promise, Kept: kept, Found: found})
}

// Kept says that no promise was broken.
func (l *Load) Kept() bool {
	for _, v := range l.Verdicts {
		if !v.Kept {
			return false
		}
	}
	return true
}
