package drive

import (
	"fmt"
	"time"
)

// Limits past which a step measured the generator rather than the server.
const (
	BusyLimit = 0.8 // share of the generator's cores
	lateFloor = 2 * time.Millisecond
	lateShare = 0.1
)

// Void lists the reasons why a step's figures are not the server's; empty means that they are.
//
// Late sends are in every latency, since that counts from the due time. They may be a tenth of the p99
// that they are part of, or 2 ms where that is more.
func (s *Step) Void() []string {
	var reasons []string
	if s.Unsent > 0 {
		reasons = append(reasons, fmt.Sprintf("%d of %d calls were not sent: the cap on calls in flight was reached; raise -max-in-flight or lower the rate", s.Unsent, s.Due))
	}
	if reason := s.lateness(); reason != "" {
		reasons = append(reasons, reason)
	}
	if s.CPU > BusyLimit {
		reasons = append(reasons, fmt.Sprintf("the generator used %.0f%% of its cores (limit %.0f%%): give it more cores or lower the rate", s.CPU*100, BusyLimit*100))
	}
	return reasons
}

// lateness compares the late sends with the latency that they are part of. Fewer than 100 calls have no p99.
func (s *Step) lateness() string {
	if s.Late.Count() < 100 {
		return ""
	}
	p99 := max(s.Latency.Quantile(0.99), s.Failure.Quantile(0.99))
	limit := max(lateFloor, time.Duration(lateShare*float64(p99)))
	late := s.Late.Quantile(0.99)
	if late <= limit {
		return ""
	}
	return fmt.Sprintf("1%% of the calls left %.1f ms or more after they were due (limit %.1f ms): give the generator idle cores or lower the rate", ms(late), ms(limit))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Notes list what a reader must know of figures that stand.
func (s *Step) Notes() []string {
	var notes []string
	if s.Stopped {
		notes = append(notes, "interrupted before the end")
	}
	if s.Due == 0 {
		notes = append(notes, "no call was due: the step is too short for its rate")
	}
	if failed := s.Sent - s.Answered; failed > 0 {
		notes = append(notes, fmt.Sprintf("percentiles are those of answers; %d of %d calls (%.2f%%) failed", failed, s.Sent, 100*float64(failed)/float64(s.Sent)))
	}
	if degraded := s.Answered - s.Rungs[Full]; degraded > 0 {
		notes = append(notes, fmt.Sprintf("%d of %d answers (%.2f%%) were degraded", degraded, s.Answered, 100*float64(degraded)/float64(s.Answered)))
	}
	if len(s.Releases) > 1 {
		notes = append(notes, fmt.Sprintf("%d releases answered", len(s.Releases)))
	}
	return notes
}

// Goodput is answers within the deadline for each second of the schedule.
func (s *Step) Goodput() float64 { return float64(s.OnTime) / s.Length.Seconds() }
