package funnel

import (
	"log/slog"
	"sync"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/stage"
)

// quiet is the shortest time between two log lines about the same stage: a failing graph fails for every
// request, and the log must survive that. Metrics count each one.
const quiet = 10 * time.Second

// failures logs why stages failed. Deadlines and full queues are load, not failures, and are left to metrics.
type failures struct {
	logger *slog.Logger

	mu    sync.Mutex
	stage map[string]*silence // guarded by mu
}

type silence struct {
	until      time.Time
	suppressed int
}

func (f *failures) report(stageName, releaseID string, err error) {
	switch stage.ReasonOf(err) {
	case stage.ReasonDeadline, stage.ReasonOverload:
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stage == nil {
		f.stage = make(map[string]*silence)
	}
	s := f.stage[stageName]
	if s == nil {
		s = &silence{}
		f.stage[stageName] = s
	}
	now := time.Now()
	if now.Before(s.until) {
		s.suppressed++
		return
	}
	f.logger.Error("a stage failed, and requests are answered without it", "stage", stageName, "release", releaseID, "error", err,
		"suppressed", s.suppressed)
	s.until, s.suppressed = now.Add(quiet), 0
}
