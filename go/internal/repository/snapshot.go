package repository

import (
	"maps"
	"slices"
	"sync"

	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// Snapshot is a loaded release. It is immutable; everything is safe for concurrent use until released.
type Snapshot struct {
	ID     string
	Bundle *bundle.Bundle
	Dims   Dims

	ItemEncoder     runtime.Session
	SequenceEncoder runtime.Session
	QueryEncoder    runtime.Session
	Index           runtime.Session
	Preranker       runtime.Session
	HistoryEncoder  runtime.Session
	Ranker          runtime.Session
	// Extra are the release's other graphs by name, for callers from outside; the funnel runs none of them.
	Extra map[string]runtime.Session

	RetrievalVectors []float32 // [I,K], computed by this server's item_encoder
	RankerTokens     []float32 // [I,D]

	// Prepared is what Options.Prepare made of this snapshot.
	Prepared any

	refs refCount
}

// sessions are the seven sessions by graph name.
func (s *Snapshot) sessions() map[string]*runtime.Session {
	return map[string]*runtime.Session{
		bundle.ItemEncoder:     &s.ItemEncoder,
		bundle.SequenceEncoder: &s.SequenceEncoder,
		bundle.QueryEncoder:    &s.QueryEncoder,
		bundle.Index:           &s.Index,
		bundle.Preranker:       &s.Preranker,
		bundle.HistoryEncoder:  &s.HistoryEncoder,
		bundle.Ranker:          &s.Ranker,
	}
}

// Session is the session of a graph by name, nil for an unknown name.
func (s *Snapshot) Session(graph string) runtime.Session {
	if session := s.sessions()[graph]; session != nil {
		return *session
	}
	return s.Extra[graph]
}

// GraphNames lists the graphs that Session knows: the seven of every release, then its own.
func (s *Snapshot) GraphNames() []string {
	return slices.Concat(bundle.GraphNames, slices.Sorted(maps.Keys(s.Extra)))
}

// refCount closes something when its last user leaves. It starts with one use, the owner's.
//
// Invariant: after users reached 0 nobody gets in again.
type refCount struct {
	mu     sync.Mutex
	users  int
	closed chan struct{} // closed once the last user left and onZero returned
	onZero func()
}

func newRefCount(onZero func()) refCount {
	return refCount{users: 1, closed: make(chan struct{}), onZero: onZero}
}

// acquire adds a user; false when the last one has left.
func (c *refCount) acquire() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users == 0 {
		return false
	}
	c.users++
	return true
}

func (c *refCount) release() {
	c.mu.Lock()
	c.users--
	last := c.users == 0
	c.mu.Unlock()
	if last {
		c.onZero()
		close(c.closed)
	}
}
