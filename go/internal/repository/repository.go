package repository

import (
	"context"
	"time"

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
	// Prepare makes what the levels above keep per release (Snapshot.Prepared); nil for nothing.
	Prepare func(ctx context.Context, s *Snapshot) (any, error)
	// SelfTest must pass before a release is admitted; nil for none.
	SelfTest func(ctx context.Context, s *Snapshot) error
	// WatchInterval is how often `current` and new releases are looked for; default 5 s.
	WatchInterval time.Duration
	// OnEvent is told of everything that happens to releases, for logs and metrics; nil for nobody.
	OnEvent func(Event)
}

// Event is something that happened to a release.
type Event struct {
	Kind      string // "loaded", "activated", "refused", "closed", "watch_failed"
	ReleaseID string
	Err       error
	Took      time.Duration
}

// Repository is the releases of one model.
type Repository struct{}

// New makes a repository without reading anything.
func New(opts Options) (*Repository, error) { return &Repository{}, nil }

// Open activates the release that `current` names, or else the newest valid one. A refused release is
// remembered, and older ones are tried; an error means that no release could be activated.
func (r *Repository) Open(ctx context.Context) error { return nil }

// Acquire pins the active snapshot; release must be called exactly once. rank.ErrNoRelease when there is none.
func (r *Repository) Acquire() (s *Snapshot, release func(), err error) { return nil, func() {}, nil }

// AcquireRelease pins a loaded release by id: *rank.ReleaseNotFoundError when it is not loaded.
func (r *Repository) AcquireRelease(id string) (s *Snapshot, release func(), err error) {
	return nil, func() {}, nil
}

// Load verifies, loads and self-tests a release without serving from it. Fails with
// *rank.ReleaseNotFoundError or *rank.ReleaseRefusedError.
func (r *Repository) Load(ctx context.Context, id string) error { return nil }

// Activate serves from a release, loading it first when needed; the old one stays loaded for RollBack.
func (r *Repository) Activate(ctx context.Context, id string) (previous string, err error) {
	return "", nil
}

// RollBack activates the release that was active before and returns its id.
func (r *Repository) RollBack(ctx context.Context) (id string, err error) { return "", nil }

// SelfTest runs Options.SelfTest on a loaded release; "" is the active one.
func (r *Repository) SelfTest(ctx context.Context, id string) error { return nil }

// List is what the folder holds and what became of each, newest first.
func (r *Repository) List() ([]Release, error) { return nil, nil }

// Status is the active release and the id that RollBack would activate; zero when there is none.
func (r *Repository) Status() (active Release, previous string) { return Release{}, "" }

// Watch polls until ctx ends: a changed `current`, or without that file a newer release, is activated.
func (r *Repository) Watch(ctx context.Context) {}

// Close stops serving; snapshots close when their last request leaves, and Close waits for that or ctx.
func (r *Repository) Close(ctx context.Context) error { return nil }
