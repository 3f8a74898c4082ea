package repository_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/fake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a model folder with a repository over it.
type world struct {
	*repository.Repository
	t       *testing.T
	dir     string
	runtime *fake.Runtime
}

func newWorld(t *testing.T, edit func(*repository.Options)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), runtime: ranktest.Runtime(t, ranktest.Bundle(t, ranktest.Options{}))}
	opts := repository.Options{Dir: w.dir, Runtime: w.runtime, WatchInterval: time.Millisecond}
	if edit != nil {
		edit(&opts)
	}
	var err error
	if w.Repository, err = repository.New(opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if n := w.runtime.OpenSessions(); n != 0 {
			t.Errorf("%d sessions were never closed", n)
		}
	})
	return w
}

// release writes a release of the given day.
func (w *world) release(day int) (id string) {
	return ranktest.Write(w.t, w.dir, ranktest.Options{Created: time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC)})
}

// broken writes a release of the given day with one flipped byte.
func (w *world) broken(day int) (id string) {
	id = w.release(day)
	path := filepath.Join(w.dir, id, "graphs", "ranker.onnx")
	data, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	data[0] ^= 1
	if err := os.WriteFile(path, data, 0o644); err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) setCurrent(id string) {
	if err := os.WriteFile(filepath.Join(w.dir, "current"), []byte(id+"\n"), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) active() string {
	active, _ := w.Status()
	return active.ID
}

func (w *world) mustBeActive(id string) {
	w.t.Helper()
	if got := w.active(); got != id {
		w.t.Fatalf("active is %q, want %q", got, id)
	}
}

func (w *world) eventuallyActive(id string) {
	w.t.Helper()
	for end := time.Now().Add(5 * time.Second); w.active() != id; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("active is %q, want %q", w.active(), id)
		}
	}
}

func TestOpenServesCurrentOrNewest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	older, newer := w.release(1), w.release(2)
	ranktest.WriteFiles(t, filepath.Join(w.dir, ".tmp-x"), map[string][]byte{"manifest.json": nil})
	if err := w.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.mustBeActive(newer)
	w.setCurrent(older)
	if err := w.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.mustBeActive(older)
}

func TestOpenFallsBackToOlderValidRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	good, bad := w.release(1), w.broken(2)
	w.setCurrent(bad)
	if err := w.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.mustBeActive(good)
	releases, err := w.List()
	if err != nil {
		t.Fatal(err)
	}
	if len(releases) != 2 || releases[0].ID != bad || releases[0].State != repository.Refused ||
		!strings.Contains(releases[0].Reason, "graphs/ranker.onnx: sha256") || releases[1].State != repository.Active {
		t.Errorf("list = %+v", releases)
	}
}

func TestOpenWithoutValidRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	if err := w.Open(t.Context()); !errors.Is(err, rank.ErrNoRelease) {
		t.Errorf("empty folder: %v, want ErrNoRelease", err)
	}
	w.broken(1)
	var refused *rank.ReleaseRefusedError
	if err := w.Open(t.Context()); !errors.Is(err, rank.ErrNoRelease) || !errors.As(err, &refused) {
		t.Errorf("broken release: %v, want ErrNoRelease and the refusal", err)
	}
	if _, _, err := w.Acquire(); !errors.Is(err, rank.ErrNoRelease) {
		t.Errorf("Acquire: %v, want ErrNoRelease", err)
	}
}

func TestBadReleaseNeverReplacesGoodOne(t *testing.T) {
	t.Parallel()
	selfTest := errors.New("scores differ")
	var failing atomic.Bool
	w := newWorld(t, func(o *repository.Options) {
		o.SelfTest = func(context.Context, *repository.Snapshot) error {
			if failing.Load() {
				return selfTest
			}
			return nil
		}
	})
	good := w.release(1)
	if err := w.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	failing.Store(true)
	next := w.release(2)
	_, err := w.Activate(t.Context(), next)
	var refused *rank.ReleaseRefusedError
	if !errors.As(err, &refused) || !errors.Is(err, selfTest) {
		t.Errorf("err = %v, want a refusal by the self-test", err)
	}
	w.mustBeActive(good)
	if w.runtime.OpenSessions() != 7 {
		t.Errorf("%d sessions are open, want the 7 of the good release", w.runtime.OpenSessions())
	}
	if err := w.SelfTest(t.Context(), ""); !errors.Is(err, selfTest) {
		t.Errorf("SelfTest = %v", err)
	}
	failing.Store(false) // asked for again, a refused release gets another chance
	if _, err := w.Activate(t.Context(), next); err != nil {
		t.Error(err)
	}
	w.mustBeActive(next)
}

func TestRollBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	first, second, third := w.release(1), w.release(2), w.release(3)
	if _, err := w.RollBack(t.Context()); !errors.Is(err, rank.ErrNoRelease) {
		t.Errorf("err = %v, want ErrNoRelease", err)
	}
	for _, id := range []string{first, second, third} {
		if _, err := w.Activate(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.runtime.OpenSessions(); n != 14 {
		t.Errorf("%d sessions are open, want 14: the active and the previous release", n)
	}
	for _, want := range []string{second, third} {
		if id, err := w.RollBack(t.Context()); err != nil || id != want {
			t.Fatalf("rolled back to %q, %v; want %q", id, err, want)
		}
		w.mustBeActive(want)
	}
}

func TestLoadWithoutServing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	first, second, third := w.release(1), w.release(2), w.release(3)
	for _, id := range []string{"20260101T000000Z-000000000000", "../x", ""} {
		var notFound *rank.ReleaseNotFoundError
		if err := w.Load(t.Context(), id); !errors.As(err, &notFound) {
			t.Errorf("Load(%q) = %v, want ReleaseNotFoundError", id, err)
		}
	}
	if err := w.Load(t.Context(), third); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{first, second} {
		if _, err := w.Activate(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	s, release, err := w.AcquireRelease(third)
	if err != nil || s.ID != third {
		t.Fatalf("a loaded release is gone: %v", err)
	}
	release()
	w.mustBeActive(second)
}

// Requests hold their snapshot over two switches; it closes when the last one leaves, and not before.
func TestSnapshotClosesWhenLastRequestLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	first, second, third := w.release(1), w.release(2), w.release(3)
	if _, err := w.Activate(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	s, release, err := w.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{second, third} {
		if _, err := w.Activate(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.runtime.OpenSessions(); n != 21 {
		t.Errorf("%d sessions are open, want 21 while a request holds the first release", n)
	}
	if err := s.ItemEncoder.Run(t.Context(), nil, nil); !errors.Is(err, runtime.ErrArity) {
		t.Errorf("err = %v: the session of a held snapshot must still run", err)
	}
	release()
	if n := w.runtime.OpenSessions(); n != 14 {
		t.Errorf("%d sessions are open, want 14 after the last request left", n)
	}
}

func TestSwitchesUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ids := []string{w.release(1), w.release(2), w.release(3)}
	if err := w.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var stop atomic.Bool
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				s, release, err := w.Acquire()
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.Ranker.Run(t.Context(), nil, nil); errors.Is(err, runtime.ErrClosed) {
					t.Error("a pinned snapshot was closed")
				}
				release()
			}
		})
	}
	for i := range 12 {
		if _, err := w.Activate(t.Context(), ids[i%3]); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	wg.Wait()
}

func TestWatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	first := w.release(1)
	if err := w.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { w.Watch(ctx); close(done) }()
	defer func() { cancel(); <-done }()

	// A release is published by a rename, as the factory does.
	id, files := ranktest.Files(t, ranktest.Options{Created: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)})
	ranktest.WriteFiles(t, filepath.Join(w.dir, ".tmp-"+id), files)
	if err := os.Rename(filepath.Join(w.dir, ".tmp-"+id), filepath.Join(w.dir, id)); err != nil {
		t.Fatal(err)
	}
	w.eventuallyActive(id)
	w.setCurrent(first)
	w.eventuallyActive(first)

	// An operator's choice is not undone by an unchanged file.
	if _, err := w.Activate(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond)
	w.mustBeActive(id)
}

func TestWatchSkipsRefusedRelease(t *testing.T) {
	t.Parallel()
	var refusals atomic.Int32
	w := newWorld(t, func(o *repository.Options) {
		o.OnEvent = func(e repository.Event) {
			if e.Kind == repository.EventRefused {
				refusals.Add(1)
			}
		}
	})
	good := w.release(1)
	if err := w.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Complete before it appears: an unfinished copy would be refused and not be tried again.
	id, files := ranktest.Files(t, ranktest.Options{Created: time.Date(2026, 1, 9, 0, 0, 0, 0, time.UTC)})
	files["graphs/ranker.onnx"] = []byte("other")
	ranktest.WriteFiles(t, filepath.Join(w.dir, ".tmp-"+id), files)
	if err := os.Rename(filepath.Join(w.dir, ".tmp-"+id), filepath.Join(w.dir, id)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	w.Watch(ctx)
	w.mustBeActive(good)
	if refusals.Load() != 1 {
		t.Errorf("the broken release was tried %d times, want 1", refusals.Load())
	}
}

func TestCancelledLoadIsNoVerdict(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.release(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Load(ctx, id); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want context.Canceled", err)
	}
	if releases, _ := w.List(); releases[0].State != repository.Available {
		t.Errorf("state = %v, want Available", releases[0].State)
	}
}

// Each release is well-formed but does not fit its graphs.
func TestRefusesWhatDoesNotFitTheGraphs(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		edit func(*bundlev1.Manifest, map[string][]byte)
		want []string
	}{
		"dtype": {
			func(m *bundlev1.Manifest, _ map[string][]byte) {
				m.Graphs[0].Inputs[0].Dtype = bundlev1.DType_FLOAT32
			},
			[]string{"graphs/item_encoder.onnx", `graph "item_encoder"`, `input "item_id"`, "float32", "int64"},
		},
		"shape": {
			func(m *bundlev1.Manifest, _ map[string][]byte) {
				m.Graphs[6].Outputs[0].Shape = []string{"B", "M", "7"}
			},
			[]string{`graph "ranker"`, `output "logits"`, "[B M 7]"},
		},
		"missing input": {
			func(m *bundlev1.Manifest, _ map[string][]byte) {
				m.Schema.User = append(m.Schema.User, &bundlev1.Column{Name: "extra", Op: bundlev1.Op_NUMBER, Raw: bundlev1.DType_FLOAT32})
				for _, graph := range []int{2, 6} {
					m.Graphs[graph].Inputs = append(m.Graphs[graph].Inputs,
						&bundlev1.TensorSpec{Name: "user_extra", Dtype: bundlev1.DType_FLOAT32, Shape: []string{"B"}})
				}
			},
			[]string{`graph "query_encoder"`, `input "user_extra"`, "the graph does not have it"},
		},
		"vectors": {
			func(m *bundlev1.Manifest, files map[string][]byte) {
				files["index/items.safetensors"] = ranktest.NewTensorFile().
					Floats("retrieval_vector", make([]float32, 32*ranktest.K), 32, ranktest.K).
					Floats("ranker_token", make([]float32, 32*ranktest.D), 32, ranktest.D).Bytes(t)
			},
			[]string{"index/items.safetensors: tolerance", "retrieval_vector of row 0", "this server computes"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			id := ranktest.Write(t, w.dir, ranktest.Options{Edit: test.edit})
			err := w.Load(t.Context(), id)
			var check *bundle.Error
			if !errors.As(err, &check) {
				t.Fatalf("err = %v, want a bundle.Error", err)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v\ndoes not contain %q", err, part)
				}
			}
		})
	}
}

func TestSnapshotContents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *repository.Options) {
		o.Prepare = func(_ context.Context, s *repository.Snapshot) (any, error) { return "prepared " + s.ID, nil }
	})
	id := w.release(1)
	if err := w.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, release, err := w.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	want := repository.Dims{I: 32, K: ranktest.K, D: ranktest.D, Q: ranktest.Q, C: ranktest.C, T: ranktest.T,
		Sequence: repository.EncodingDims{L: ranktest.SequenceL, H: ranktest.SequenceH, X: ranktest.SequenceX, W: ranktest.W, R: ranktest.R},
		History:  repository.EncodingDims{L: ranktest.L, H: ranktest.H, X: ranktest.X}}
	if s.Dims != want || s.Prepared != "prepared "+id {
		t.Errorf("dims %+v, prepared %v", s.Dims, s.Prepared)
	}
	if s.Session(bundle.Ranker) != s.Ranker || s.Session("other") != nil {
		t.Error("Session does not find graphs by name")
	}
	factory := ranktest.Bundle(t, ranktest.Options{}).Vectors
	if !slices.Equal(s.RetrievalVectors, factory.RetrievalVector) || !slices.Equal(s.RankerTokens, factory.RankerToken) {
		t.Error("the item vectors are not those of the encoder")
	}
}

// A session that Wrap refused is Wrap's to close, and the release is refused.
func TestWrapOwnsTheSessions(t *testing.T) {
	t.Parallel()
	broken := errors.New("the device is lost")
	var fail atomic.Bool
	var wrapped atomic.Int64
	w := newWorld(t, func(o *repository.Options) {
		o.Wrap = func(_ *bundle.Bundle, graph *bundlev1.Graph, session runtime.Session) (runtime.Session, error) {
			if fail.Load() && graph.GetName() == bundle.Ranker {
				return nil, errors.Join(broken, session.Close())
			}
			wrapped.Add(1)
			return session, nil
		}
	})
	good, bad := w.release(1), w.release(2)
	if err := w.Load(t.Context(), good); err != nil || wrapped.Load() != int64(len(bundle.GraphNames)) {
		t.Fatalf("%d sessions were wrapped, %v", wrapped.Load(), err)
	}
	open := w.runtime.OpenSessions()
	fail.Store(true)
	var refused *rank.ReleaseRefusedError
	if err := w.Load(t.Context(), bad); !errors.As(err, &refused) || !errors.Is(err, broken) {
		t.Errorf("err = %v, want a refusal that says why", err)
	}
	if now := w.runtime.OpenSessions(); now != open {
		t.Errorf("%d sessions were left open", now-open)
	}
}
