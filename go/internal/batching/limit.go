package batching

import (
	"math"
	"math/bits"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// Constants of the adaptive limit; docs/adr/0008 says why these.
const (
	limitWindow     = 100 * time.Millisecond // between two changes of the limit
	limitMaxWindow  = time.Second            // after which a window with few requests counts too
	limitMinSamples = 8                      // requests that a window needs
	tolerance       = 2.0                    // how much longer than alone a request may take before the limit falls
	minGradient     = 0.5                    // most that one window takes away
	baselineGain    = 0.25                   // how far one faster request moves the baseline
	probeInterval   = 15 * time.Second       // between two measurements of the baseline under load
	probeLongest    = 500 * time.Millisecond
)

// limiter adapts how much cost may be inside at once. A request's time per unit of cost, against what the
// same kind of request took when it was nearly alone, says how much of its time it queued; the limit
// follows that gradient, with room for a small queue. The caller guards it.
type limiter struct {
	min, max float64
	limit    float64
	typical  float64          // mean cost of the last window's requests
	baseline [classes]float64 // nanoseconds per unit of cost, nearly alone; 0: unknown

	started        time.Time // of the window; zero before the first sample
	expected, held float64   // nanoseconds over the window's samples: at the baseline, and measured
	cost           int64
	samples        int
	filled         bool // the limit was in use to more than half in this window

	probing    bool
	probed     [classes]float64
	probes     int
	probeStart time.Time
	nextProbe  time.Time
}

// classes of requests have baselines of their own, because a large request uses several workers and a
// small one does not, and a degraded one does other work: rung (0..7) by power of two of the cost.
const classes = 8 * 64

func classOf(rung rank.Rung, cost int64) int {
	return int(min(rung, 7))*64 + bits.Len64(uint64(max(cost, 1)))
}

// sample is one answered request.
type sample struct {
	class  int
	cost   int64
	held   time.Duration
	whole  bool // it did all that was planned, so its time may become a baseline
	probed bool // it was admitted while the baseline was measured
}

func newLimiter(least, most int64) limiter {
	return limiter{min: float64(least), max: float64(most), limit: float64(most)}
}

// now is the limit in force. While the baseline is measured it is the square root, counted in requests: well
// below what keeps the workers busy where the limit is right, and far below where it is much too high.
func (l *limiter) now() float64 {
	if l.probing {
		return l.typical * math.Sqrt(max(l.limit/l.typical, 1))
	}
	return l.limit
}

// used notes how much is inside.
func (l *limiter) used(cost int64) { l.filled = l.filled || float64(cost) > l.limit/2 }

// observe learns from a request and, at the end of a window, moves the limit.
func (l *limiter) observe(now time.Time, s sample) {
	if l.started.IsZero() {
		l.started, l.nextProbe = now, now.Add(2*time.Second)
	}
	pace := float64(s.held) / float64(s.cost)
	if s.whole {
		l.learn(s, pace)
	}
	if baseline := l.baseline[s.class]; baseline > 0 {
		l.expected += baseline * float64(s.cost)
		l.held += float64(s.held)
		l.cost += s.cost
		l.samples++
	}
	if l.probing {
		if l.probes >= limitMinSamples || now.Sub(l.probeStart) >= probeLongest {
			l.endProbe(now)
		}
		return
	}
	if age := now.Sub(l.started); age >= limitWindow && l.samples >= limitMinSamples || age >= limitMaxWindow && l.samples > 0 {
		l.move()
		contended := l.filled
		l.reset(now)
		if !now.Before(l.nextProbe) && l.min < l.max {
			l.nextProbe = now.Add(probeInterval)
			l.probing, l.probeStart = contended, now
		}
	}
}

// learn moves the baseline: down at a measured pace, so that one odd request does not set it, and up only
// by what a probe measures.
func (l *limiter) learn(s sample, pace float64) {
	switch baseline := &l.baseline[s.class]; {
	case *baseline == 0:
		*baseline = pace
	case pace < *baseline:
		*baseline += (pace - *baseline) * baselineGain
	}
	if l.probing && s.probed {
		l.probes++
		if probed := &l.probed[s.class]; *probed == 0 || pace < *probed {
			*probed = pace
		}
	}
}

// endProbe takes the measured baselines: a machine or a release that became slower is not overload.
func (l *limiter) endProbe(now time.Time) {
	for class, pace := range l.probed {
		if pace > 0 {
			l.baseline[class] = pace
		}
	}
	l.probing, l.probes, l.probed = false, 0, [classes]float64{}
	l.reset(now)
}

// move is one step of the gradient, counted in requests of the window's mean cost, so that the room for a
// queue means the same whatever requests cost.
func (l *limiter) move() {
	l.typical = float64(l.cost) / float64(l.samples)
	gradient := min(max(tolerance*l.expected/max(l.held, 1), minGradient), 1)
	next := l.limit*gradient + l.typical*math.Sqrt(max(l.limit/l.typical, 1))
	if next > l.limit && !l.filled {
		return // nobody needs more
	}
	l.limit = min(max((l.limit+next)/2, l.min), l.max)
}

func (l *limiter) reset(now time.Time) {
	l.started, l.expected, l.held, l.cost, l.samples, l.filled = now, 0, 0, 0, 0, false
}
