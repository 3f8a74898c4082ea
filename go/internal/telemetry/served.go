package telemetry

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// ServedLog appends lines to w from a bounded queue. Offer never waits: a line that finds the queue full is
// counted and dropped, because a slow disk must not slow an answer.
type ServedLog struct {
	sample  float64
	queue   chan func() []byte
	dropped prometheus.Counter
	logger  *slog.Logger
	done    chan struct{}

	mu     sync.RWMutex
	closed bool // guarded by mu
}

// NewServedLog starts the writer. Close flushes and stops it; w stays the caller's.
func NewServedLog(w io.Writer, o Options, registry prometheus.Registerer, logger *slog.Logger) (*ServedLog, error) {
	s := &ServedLog{
		sample: o.ServedLogSample, queue: make(chan func() []byte, o.ServedLogQueue), logger: logger, done: make(chan struct{}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shortlist_served_log_dropped_total", Help: "Lines of the served log that found its queue full."}),
	}
	if err := registry.Register(s.dropped); err != nil {
		return nil, fmt.Errorf("register served log: %w", err)
	}
	go s.write(bufio.NewWriterSize(w, 1<<16))
	return s, nil
}

// Offer samples and queues one line. line runs later, on the writer's goroutine, and returns it without a
// line end; what it reads must not change any more.
func (s *ServedLog) Offer(line func() []byte) {
	if s.sample < 1 && rand.Float64() >= s.sample {
		return
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return
	}
	select {
	case s.queue <- line:
	default:
		s.dropped.Inc()
	}
}

func (s *ServedLog) write(w *bufio.Writer) {
	defer close(s.done)
	failing := false
	for line := range s.queue {
		_, err := w.Write(append(line(), '\n'))
		if err == nil && len(s.queue) == 0 {
			err = w.Flush()
		}
		if err != nil && !failing {
			s.logger.Error("served log is not written", "error", err, "fix", "check the disk, then restart")
		}
		failing = err != nil
	}
	if err := w.Flush(); err != nil && !failing {
		s.logger.Error("served log is not flushed", "error", err)
	}
}

// Close writes what is queued. Offers that come later are ignored.
func (s *ServedLog) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	close(s.queue)
	s.mu.Unlock()
	<-s.done
}
