package dispatch

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/ort"
)

var root = filepath.Join("..", "..", "..", "..")

// newReal is the release that `current` of a model folder names, on ONNX Runtime. Tests with it do not run in parallel.
func newReal(t testing.TB, models string) *release {
	t.Helper()
	library, err := ort.FindLibrary(os.Getenv("SHORTLIST_ONNXRUNTIME"), filepath.Join(root, ".venv"))
	if err != nil {
		t.Skipf("ONNX Runtime is not installed (run `make setup`, or set SHORTLIST_ONNXRUNTIME): %v", err)
	}
	current, err := os.ReadFile(filepath.Join(models, "current"))
	if err != nil {
		t.Skipf("there is no release in %s: %v", models, err)
	}
	b, err := bundle.Load(filepath.Join(models, strings.TrimSpace(string(current))))
	if err != nil {
		t.Fatal(err)
	}
	rt, err := ort.New(ort.Options{Library: library})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rt.Close(); err != nil {
			t.Error(err)
		}
	})
	return &release{b.Manifest, func(graph string) runtime.Session {
		session, err := rt.Load(graph, b.Graphs[graph])
		if err != nil {
			t.Fatal(err)
		}
		return session
	}}
}

// busyDevice holds each run back a little, so that calls pile up behind it as behind a real device.
type busyDevice struct{ runtime.Session }

func (d busyDevice) Run(ctx context.Context, inputs, outputs []runtime.Tensor) error {
	time.Sleep(200 * time.Microsecond)
	return d.Session.Run(ctx, inputs, outputs)
}

// Packed runs of real graphs give what one-by-one runs give, over random mixes: histories of all lengths,
// empty ones too, any number of candidates, with and without a past, one row a call or two.
func TestPackedScoresAreThoseOfSingleRuns(t *testing.T) {
	release := newReal(t, filepath.Join(root, "models", "toy"))
	random := rand.New(rand.NewPCG(5, 6))
	limits := LimitsOf(release.manifest)
	for _, name := range shared {
		graph, direct := release.graphOf(name), release.session(name)
		for _, opts := range []Options{{}, {MinBucket: 1, MaxBatch: 5}, {MinBucket: 4, MaxPadding: 0.6}} {
			var mu sync.Mutex
			together := 0
			opts.Observe = func(r Run) {
				mu.Lock()
				defer mu.Unlock()
				together += r.Calls - 1
			}
			packed := New(graph, busyDevice{release.session(name)}, limits, opts)
			var all sync.WaitGroup
			for range 16 {
				var mix [][]runtime.Tensor
				for range 8 {
					mix = append(mix, sample(random, graph, direct, 1+random.Int64N(5)/4, random.Int64N(limits.Events+1), 1+random.Int64N(8), random.Int64N(2)))
				}
				all.Go(func() {
					for _, inputs := range mix {
						got, want := make([]runtime.Tensor, len(direct.Outputs())), make([]runtime.Tensor, len(direct.Outputs()))
						if err := errors.Join(packed.Run(t.Context(), inputs, got), direct.Run(t.Context(), inputs, want)); err != nil {
							t.Errorf("%s: %v", name, err)
						} else if problem := near(got, want); problem != "" {
							t.Errorf("%s: %s", name, problem)
						}
					}
				})
			}
			all.Wait()
			if together == 0 {
				t.Errorf("%s: no call shared a run", name)
			}
			if err := packed.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := direct.Close(); err != nil {
			t.Error(err)
		}
	}
}

// BenchmarkPacking holds packed runs against direct ones on the CPU, with 1 and 32 callers: microseconds a
// call. SHORTLIST_BENCH_MODELS names a models/<name> folder; the toy's graphs are all overhead.
func BenchmarkPacking(b *testing.B) {
	models := os.Getenv("SHORTLIST_BENCH_MODELS")
	if models == "" {
		models = filepath.Join(root, "models", "toy")
	}
	release := newReal(b, models)
	limits := LimitsOf(release.manifest)
	random := rand.New(rand.NewPCG(1, 2))
	chunk := int64(release.manifest.GetFunnel().GetChunk())
	for _, name := range shared {
		for _, candidates := range []int64{min(16, chunk), chunk} {
			if candidates == chunk && name != bundle.Ranker && name != bundle.Preranker {
				continue // it takes no candidates
			}
			graph, direct := release.graphOf(name), release.session(name)
			packed := New(graph, release.session(name), limits, Options{})
			var calls [][]runtime.Tensor
			for range 64 {
				calls = append(calls, sample(random, graph, direct, 1, min(limits.Events, 50), candidates, 0))
			}
			for _, callers := range []int{1, 32} {
				for label, session := range map[string]runtime.Session{"direct": direct, "packed": packed} {
					b.Run(strings.Join([]string{name, "candidates", strconv.FormatInt(candidates, 10), "callers", strconv.Itoa(callers), label}, "_"), func(b *testing.B) {
						start := time.Now()
						var all sync.WaitGroup
						for caller := range callers {
							all.Go(func() {
								for i := caller; i < b.N; i += callers {
									if err := session.Run(b.Context(), calls[i%len(calls)], make([]runtime.Tensor, len(session.Outputs()))); err != nil {
										b.Error(err)
									}
								}
							})
						}
						all.Wait()
						b.ReportMetric(float64(time.Since(start).Microseconds())/float64(b.N), "us/call")
					})
				}
			}
			if err := errors.Join(packed.Close(), direct.Close()); err != nil {
				b.Error(err)
			}
		}
	}
}
