// Package arrival makes schedules of open-loop load: when each call is due, whatever the server does.
package arrival

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Process says how arrivals are spaced.
type Process string

// Poisson arrivals are independent callers; constant ones are a metronome, and kinder than any real load.
const (
	Poisson  Process = "poisson"
	Constant Process = "constant"
)

// Parse reads the name of a process.
func Parse(name string) (Process, error) {
	switch p := Process(name); p {
	case Poisson, Constant:
		return p, nil
	}
	return "", fmt.Errorf("%q is not an arrival process; use %s or %s", name, Poisson, Constant)
}

// Schedule yields the due times of one step, as offsets from its start, in order. Not safe for concurrent use.
type Schedule struct {
	process  Process
	gap      float64 // mean seconds between arrivals
	duration float64
	at       float64
	rng      *rand.Rand
}

// New makes the schedule of a step at rate calls a second. The same seed yields the same times.
func New(process Process, rate float64, duration time.Duration, seed uint64) *Schedule {
	return &Schedule{process: process, gap: 1 / rate, duration: duration.Seconds(), rng: rand.New(rand.NewPCG(seed, 0x5eed))}
}

// Next is the next due time; false when the step is over.
func (s *Schedule) Next() (time.Duration, bool) {
	gap := s.gap
	if s.process == Poisson {
		gap *= s.rng.ExpFloat64()
	}
	s.at += gap
	if s.at >= s.duration {
		return 0, false
	}
	return time.Duration(s.at * float64(time.Second)), true
}
