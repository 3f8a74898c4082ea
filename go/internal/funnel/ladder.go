package funnel

import (
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// Constants of the ladder: up fast, down slow.
const (
	ladderWindow  = 250 * time.Millisecond // between two looks at the pressure
	ladderStep    = 0.25                   // of a rung, for a first window of pressure or a calm time
	ladderDwell   = time.Second            // calm before a step down; doubled when the step proves wrong
	ladderLongest = 30 * time.Second       // longest dwell
	maxStrained   = 1024                   // tenants remembered as strained
)

// ladder chooses the rung of requests by the pressure on the gate. Its level counts rungs from full, and
// lies between two of them for most of the time: then a share of the users gets the lower one, always the
// same users, so that nobody's answers flap. Pressure is that the gate refused somebody; it counts for the
// tenants that were refused, so one who stays within its share keeps full answers.
type ladder struct {
	worst rank.Rung // deepest rung that pressure may choose
	seed  maphash.Seed

	mu       sync.Mutex
	level    float64
	looked   time.Time // start of the window
	pressed  bool      // somebody was refused in this window
	streak   int       // windows of pressure in a row
	calm     time.Time // since when the level could fall
	lowered  int       // changes down in a row
	dwell    time.Duration
	strained map[string]struct{} // tenants refused since the level left 0
}

func newLadder(worst rank.Rung) *ladder {
	return &ladder{worst: worst, seed: maphash.MakeSeed(), dwell: ladderDwell, strained: make(map[string]struct{})}
}

// entered tells of a request that came to the gate, and whether it was refused for lack of room.
func (l *ladder) entered(now time.Time, tenant string, refused bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if refused {
		l.pressed = true
		if len(l.strained) < maxStrained {
			l.strained[tenant] = struct{}{}
		}
	}
	if now.Sub(l.looked) < ladderWindow {
		return
	}
	l.looked = now
	if l.pressed {
		l.raise(now)
	} else {
		l.lower(now)
	}
	l.pressed = false
}

// raise takes larger steps while the pressure lasts. A level that was lowered too early doubles the dwell.
func (l *ladder) raise(now time.Time) {
	if l.lowered > 0 {
		l.dwell = min(2*l.dwell, ladderLongest)
	}
	l.level = min(l.level+growing(l.streak), float64(l.worst-rank.RungFull))
	l.streak++
	l.calm, l.lowered = now, 0
}

// lower takes one step after each dwell without pressure, a larger one while it stays calm: a server that has
// room again must not give poor answers for long. A step that follows another shortens the dwell.
func (l *ladder) lower(now time.Time) {
	l.streak = 0
	if l.level == 0 || now.Sub(l.calm) < l.dwell {
		return
	}
	if l.lowered > 0 {
		l.dwell = max(l.dwell/2, ladderDwell)
	}
	l.level = max(l.level-growing(l.lowered), 0)
	l.calm = now
	l.lowered++
	if l.level == 0 {
		l.lowered, l.dwell = 0, ladderDwell
		clear(l.strained)
	}
}

// growing is the change of the level after so many in the same direction.
func growing(before int) float64 { return ladderStep * float64(int(1)<<min(before/2, 2)) }

// rung for a request. A critical one stands a rung above the others, a batch one a rung below.
func (l *ladder) rung(q *rank.Query) rank.Rung {
	l.mu.Lock()
	level := l.level
	if _, strained := l.strained[q.Tenant]; !strained && len(l.strained) < maxStrained {
		level = 0
	}
	l.mu.Unlock()
	if level == 0 {
		return rank.RungFull
	}
	switch q.Priority {
	case rank.Critical:
		level--
	case rank.Batch:
		level++
	}
	steps := int(max(level+l.share(q.UserID), 0))
	return min(rank.RungFull+rank.Rung(steps), l.worst)
}

// share is a user's place in 0..1; those without an id are placed anew each time.
func (l *ladder) share(user string) float64 {
	if user == "" {
		return rand.Float64()
	}
	return float64(maphash.String(l.seed, user)>>11) / (1 << 53)
}

// Level is how far the ladder is down, in rungs from full.
func (f *Funnel) Level() float64 {
	f.ladder.mu.Lock()
	defer f.ladder.mu.Unlock()
	return f.ladder.level
}
