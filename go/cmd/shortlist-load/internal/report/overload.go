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
// as more is offered, answers stay within the deadline, refusals are immediate. The peak of the goodput is
// the best of the capacity and of the steps at lower rates.
func (l *Load) JudgeOverload(capacity float64, deadline time.Duration) {
	l.Capacity = capacity
	peak := capacity
	for i := range l.Steps {
		s := &l.Steps[i]
		times := s.Offered / capacity
		s.Name = fmt.Sprintf("%.3gx", times)
		if times >= overloaded*0.99 {
			l.judge(fmt.Sprintf("%s: goodput is at least %.0f%% of the peak", s.Name, goodputKept*100), s.Goodput >= goodputKept*peak,
				fmt.Sprintf("%.1f/s, %.0f%% of %.1f/s", s.Goodput, 100*s.Goodput/peak, peak))
			l.judge(fmt.Sprintf("%s: p99 of answers is within the deadline of %s", s.Name, deadline), s.Latency.P99 != nil && *s.Latency.P99 <= deadline.Microseconds(),
				micros(s.Latency.P99))
			l.judgeRefusals(s)
		}
		peak = max(peak, s.Goodput)
	}
	if len(l.Verdicts) == 0 {
		l.judge(fmt.Sprintf("a step offers %.0f times the capacity", overloaded), false, "none did: add a rate of 2 or more")
	}
}

// judgeRefusals says where the time of a slow refusal went: it counts from the moment when the call was due.
func (l *Load) judgeRefusals(s *Step) {
	promise := fmt.Sprintf("%s: p99 of refusals is at most %s", s.Name, refusalLimit)
	if s.Refusals.Count < refusalsNeeded {
		l.judge(promise, true, fmt.Sprintf("%d refusals, too few for a p99", s.Refusals.Count))
		return
	}
	l.judge(promise, *s.Refusals.P99 <= refusalLimit.Microseconds(),
		fmt.Sprintf("%s; p99 in the server %s, p99 of leaving the generator late %s", micros(s.Refusals.P99), micros(s.Refused.P99), micros(s.Late.P99)))
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
