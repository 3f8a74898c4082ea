// Package repository keeps the releases of one model: it loads, verifies and proves them, publishes the
// active one as an immutable snapshot, and never lets a bad release replace a good one.
package repository

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// State of a release.
type State uint8

// States, as in shortlist.v1.ReleaseState.
const (
	Available State = iota + 1 // on disk, not loaded
	Loaded
	Active
	Refused
)

// Release is one line of List.
type Release struct {
	ID        string
	State     State
	Reason    string // why it was refused
	CreatedAt string // RFC 3339; "" before it was loaded
	Digest    string
}

// Options of a repository.
type Options struct {
	// Dir is the model's folder, models/<name>.
	Dir     string
	Runtime runtime.Runtime
	// Wrap stands between the stages and the session of a graph. It owns the session from then on, also when it
	// fails. nil for nothing.
	Wrap func(b *bundle.Bundle, graph *bundlev1.Graph, session runtime.Session) (runtime.Session, error)
	// Prepare makes what the levels above keep per release (Snapshot.Prepared); nil for nothing.
	Prepare func(ctx context.Context, s *Snapshot) (any, error)
	// SelfTest must pass before a release is admitted; nil for none.
	SelfTest func(ctx context.Context, s *Snapshot) error
	// WatchInterval is how often `current` and new releases are looked for; default 5 s.
	WatchInterval time.Duration
	// OnEvent is told of everything that happens to releases, for logs and metrics; nil for nobody.
	OnEvent func(Event)
}

// Event kinds.
const (
	EventLoaded    = "loaded"
	EventActivated = "activated"
	EventRefused   = "refused"
	EventClosed    = "closed"
	EventWatch     = "watch_failed"
)

// Event is something that happened to a release.
type Event struct {
	Kind      string
	ReleaseID string
	Err       error
	Took      time.Duration
}

// Repository is the releases of one model.
type Repository struct {
	opts   Options
	active atomic.Pointer[Snapshot] // what requests pin; the one thing they read

	// change orders loads, activations and roll-backs: one at a time.
	change sync.Mutex
	// mu guards the fields below; it is never held while a release loads.
	mu          sync.Mutex
	loaded      map[string]*Snapshot // each with one use, the repository's; the active and the previous among them
	previous    string               // "" for none
	refused     map[string]error
	open        sync.WaitGroup // snapshots not closed yet
	closing     bool
	lastCurrent string // what `current` said when it was acted on last
}

// New makes a repository without reading anything.
func New(opts Options) (*Repository, error) {
	if opts.Dir == "" || opts.Runtime == nil {
		return nil, errors.New("repository: Dir and Runtime must be set")
	}
	if opts.WatchInterval <= 0 {
		opts.WatchInterval = 5 * time.Second
	}
	return &Repository{opts: opts, loaded: map[string]*Snapshot{}, refused: map[string]error{}}, nil
}

// Open activates the release that `current` names, or else the newest valid one. A refused release is
// remembered, and the others are tried, newest first; an error means that none could be activated.
func (r *Repository) Open(ctx context.Context) error {
	current, err := r.current()
	if err != nil {
		r.event(Event{Kind: EventWatch, Err: err})
	}
	r.mu.Lock()
	r.lastCurrent = current
	r.mu.Unlock()
	ids, err := r.releaseIDs()
	if err != nil {
		return err
	}
	var refusals []error
	for _, id := range orderFrom(current, ids) {
		_, err := r.Activate(ctx, id)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var refused *rank.ReleaseRefusedError
		if !errors.As(err, &refused) { // a refusal was told already
			r.event(Event{Kind: EventWatch, ReleaseID: id, Err: err})
		}
		refusals = append(refusals, err)
	}
	if len(refusals) == 0 {
		return fmt.Errorf("%w: the model folder holds no release", rank.ErrNoRelease)
	}
	return fmt.Errorf("%w: all %d were refused: %w", rank.ErrNoRelease, len(refusals), errors.Join(refusals...))
}

// Acquire pins the active snapshot; release must be called exactly once. rank.ErrNoRelease when there is none.
func (r *Repository) Acquire() (s *Snapshot, release func(), err error) {
	for {
		s := r.active.Load()
		if s == nil {
			return nil, nil, rank.ErrNoRelease
		}
		if s.refs.acquire() {
			return s, s.refs.release, nil
		}
		// It was replaced and closed between the two steps: take its successor.
	}
}

// AcquireRelease pins a loaded release by id: *rank.ReleaseNotFoundError when it is not loaded.
func (r *Repository) AcquireRelease(id string) (s *Snapshot, release func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.loaded[id]; s != nil && s.refs.acquire() {
		return s, s.refs.release, nil
	}
	return nil, nil, &rank.ReleaseNotFoundError{ReleaseID: id}
}

// Load verifies, loads and self-tests a release without serving from it. Fails with
// *rank.ReleaseNotFoundError or *rank.ReleaseRefusedError. A release that was refused is tried again.
func (r *Repository) Load(ctx context.Context, id string) error {
	r.change.Lock()
	defer r.change.Unlock()
	return r.load(ctx, id)
}

// load is Load under the change lock.
func (r *Repository) load(ctx context.Context, id string) error {
	if !bundle.ValidReleaseID(id) || !r.exists(id) {
		return &rank.ReleaseNotFoundError{ReleaseID: id}
	}
	r.mu.Lock()
	loaded, closing := r.loaded[id] != nil, r.closing
	r.mu.Unlock()
	if loaded {
		return nil
	}
	if closing {
		return rank.ErrDraining
	}
	start := time.Now()
	s, err := r.loadSnapshot(ctx, id)
	if ctx.Err() != nil && err != nil {
		return ctx.Err() // given up, which says nothing about the release
	}
	r.mu.Lock()
	if err != nil {
		r.refused[id] = err
		r.mu.Unlock()
		r.event(Event{Kind: EventRefused, ReleaseID: id, Err: err, Took: time.Since(start)})
		return &rank.ReleaseRefusedError{ReleaseID: id, Cause: err}
	}
	delete(r.refused, id)
	r.loaded[id] = s
	r.open.Add(1)
	r.mu.Unlock()
	r.event(Event{Kind: EventLoaded, ReleaseID: id, Took: time.Since(start)})
	return nil
}

// Activate serves from a release, loading it first when needed. The old one stays loaded for RollBack; the
// one before that is closed when its last request leaves.
func (r *Repository) Activate(ctx context.Context, id string) (previous string, err error) {
	r.change.Lock()
	defer r.change.Unlock()
	if err := r.load(ctx, id); err != nil {
		return "", err
	}
	return r.publish(id)
}

// RollBack activates the release that was active before and returns its id. Rolling back twice returns to
// where it began.
func (r *Repository) RollBack(ctx context.Context) (id string, err error) {
	r.change.Lock()
	defer r.change.Unlock()
	r.mu.Lock()
	id = r.previous
	r.mu.Unlock()
	if id == "" {
		return "", fmt.Errorf("%w: no release was active before this one", rank.ErrNoRelease)
	}
	if err := r.load(ctx, id); err != nil {
		return "", err
	}
	_, err = r.publish(id)
	return id, err
}

// publish makes a loaded release the active one. The caller holds the change lock.
func (r *Repository) publish(id string) (previous string, err error) {
	r.mu.Lock()
	if r.closing {
		r.mu.Unlock()
		return "", rank.ErrDraining
	}
	next := r.loaded[id]
	old := r.active.Swap(next)
	var retired *Snapshot
	if old != nil && old != next {
		if r.previous != id && r.loaded[r.previous] != nil {
			retired = r.loaded[r.previous]
			delete(r.loaded, r.previous)
		}
		r.previous = old.ID
	}
	previous = r.previous
	r.mu.Unlock()
	if retired != nil {
		retired.refs.release()
	}
	if old != next {
		r.event(Event{Kind: EventActivated, ReleaseID: id})
	}
	return previous, nil
}

// SelfTest runs Options.SelfTest on a loaded release; "" is the active one.
func (r *Repository) SelfTest(ctx context.Context, id string) error {
	acquire := r.Acquire
	if id != "" {
		acquire = func() (*Snapshot, func(), error) { return r.AcquireRelease(id) }
	}
	s, release, err := acquire()
	if err != nil {
		return err
	}
	defer release()
	if r.opts.SelfTest == nil {
		return errors.New("self-test: this server was built without one")
	}
	return r.opts.SelfTest(ctx, s)
}

// Close stops serving; snapshots close when their last request leaves, and Close waits for that or ctx.
func (r *Repository) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closing = true
	r.active.Store(nil)
	snapshots := r.loaded
	r.loaded = map[string]*Snapshot{}
	r.mu.Unlock()
	for _, s := range snapshots {
		s.refs.release()
	}
	done := make(chan struct{})
	go func() { r.open.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close repository: requests still use a release: %w", ctx.Err())
	}
}

// closed frees a snapshot that nobody uses any more.
func (r *Repository) closed(s *Snapshot) {
	err := s.closeSessions()
	r.event(Event{Kind: EventClosed, ReleaseID: s.ID, Err: err})
	r.open.Done()
}

func (r *Repository) event(e Event) {
	if r.opts.OnEvent != nil {
		r.opts.OnEvent(e)
	}
}
