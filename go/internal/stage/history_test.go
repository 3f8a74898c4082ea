package stage

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/feature"
	"github.com/shortlist-serving/shortlist/go/internal/kvcache"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/ort"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const root = "../../.." // of the repository

// toy is the tracked toy release on the real runtime: a window of 8 events that moves by 3.
type toy struct {
	*testing.T
	plan   *Plan
	pool   *batching.Pool
	random *rand.Rand
}

func newToy(t *testing.T) *toy {
	t.Helper()
	library, err := ort.FindLibrary(os.Getenv("SHORTLIST_ORT_LIB"), filepath.Join(root, ".venv"))
	if err != nil {
		t.Skipf("ONNX Runtime is not here; set SHORTLIST_ORT_LIB to libonnxruntime.so, or run make setup: %v", err)
	}
	rt, err := ort.New(ort.Options{Library: library, Provider: ort.CPU})
	if err != nil {
		t.Fatal(err)
	}
	w := &toy{T: t, pool: batching.NewPool(batching.PoolOptions{Workers: 1}), random: rand.New(rand.NewPCG(1, 2))}
	repo, err := repository.New(repository.Options{Dir: filepath.Join(root, "models", "toy"), Runtime: rt})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := repo.Close(context.Background()); err != nil {
			t.Error(err)
		}
		w.pool.Close()
		if err := rt.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := repo.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	snapshot, unpin, err := repo.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(unpin)
	if w.plan, err = NewPlan(snapshot); err != nil {
		t.Fatal(err)
	}
	return w
}

// events draws a history; every tenth item is unknown.
func (w *toy) events(n int) rank.History {
	rows := make([]int64, n)
	h := rank.History{Actions: make([]string, n)}
	actions := w.plan.Snapshot.Bundle.Manifest.GetSchema().GetActions()
	for i := range n {
		rows[i] = w.random.Int64N(int64(w.plan.Catalog.Len()))
		h.Actions[i] = actions[w.random.IntN(len(actions))]
	}
	h.Items = w.plan.Catalog.IDs(rows)
	for i := range n {
		if w.random.IntN(10) == 0 && len(h.Items.Strings) > 0 {
			h.Items.Strings[i] = "unknown"
		} else if w.random.IntN(10) == 0 && len(h.Items.Ints) > 0 {
			h.Items.Ints[i] = -1
		}
	}
	return h
}

// upTo is the first n events of a history, encoded as inputs.
func (w *toy) upTo(h rank.History, n int) *feature.History {
	w.Helper()
	h.Actions = h.Actions[:n]
	if h.Items.Ints != nil {
		h.Items.Ints = h.Items.Ints[:n]
	} else {
		h.Items.Strings = h.Items.Strings[:n]
	}
	encoded, err := w.plan.Encoder.History(h, 0)
	if err != nil {
		w.Fatal(err)
	}
	return encoded
}

func (w *toy) encode(encoder *HistoryEncoder, h *feature.History, past *kvcache.Encoding) *kvcache.Encoding {
	w.Helper()
	e, err := encoder.Encode(w.Context(), w.pool, h, past)
	if err != nil {
		w.Fatal(err)
	}
	return e
}

// worst is the largest difference between two encodings in units of the parity tolerance.
func worst(t *testing.T, got, want *kvcache.Encoding) float64 {
	t.Helper()
	if got.Events != want.Events || len(got.Keys) != len(want.Keys) || len(got.Values) != len(want.Values) {
		t.Fatalf("%d events and %d keys, want %d and %d", got.Events, len(got.Keys), want.Events, len(want.Keys))
	}
	ratio := 0.0
	for _, pair := range [][2][]float32{{got.Keys, want.Keys}, {got.Values, want.Values}, {got.State, want.State}, {got.Recent, want.Recent}} {
		for i, x := range pair[1] {
			difference := math.Abs(float64(pair[0][i]) - float64(x))
			ratio = max(ratio, difference/(1e-5+1e-4*math.Abs(float64(x))))
		}
	}
	return ratio
}

// encoders are both of a plan, by name.
func (p *Plan) encoders() map[string]*HistoryEncoder {
	return map[string]*HistoryEncoder{"sequence": &p.SequenceEncoder, "history": &p.HistoryEncoder}
}

// A history encoded in pieces is the history encoded whole: at every cut, event by event, through the
// cache, and when its window has moved in between.
func TestAppendedHistoriesAreExact(t *testing.T) {
	w := newToy(t)
	for name, encoder := range w.plan.encoders() {
		if encoder.Sizes.L == 0 {
			t.Fatalf("the toy's %s encoder cannot go on from a past, so nothing is tested", name)
		}
		if largest := w.appended(encoder); largest > 1 {
			t.Errorf("%s: an appended encoding is off by %.3g times the parity tolerance", name, largest)
		} else {
			t.Logf("%s: largest difference: %.3g of the parity tolerance", name, largest)
		}
	}
}

// appended is the largest difference between histories encoded in pieces and whole.
func (w *toy) appended(encoder *HistoryEncoder) (largest float64) {
	w.Helper()
	window := w.plan.Snapshot.Bundle.Manifest.GetSchema().GetHistory()
	for range 20 {
		h := w.events(3 * int(window.GetMaxEvents()))
		for n := 1; n <= int(window.GetMaxEvents()); n++ {
			whole, chain := w.encode(encoder, w.upTo(h, n), nil), (*kvcache.Encoding)(nil)
			for cut := 1; cut < n; cut++ {
				cutOff := w.encode(encoder, w.upTo(h, n), w.encode(encoder, w.upTo(h, cut), nil))
				largest = max(largest, worst(w.T, cutOff, whole))
			}
			for i := 1; i <= n; i++ {
				chain = w.encode(encoder, w.upTo(h, i), chain)
			}
			largest = max(largest, worst(w.T, chain, whole))
		}
		largest = max(largest, w.grow(encoder, h))
	}
	return largest
}

// grow asks for a history after each of its events through a cache, as returning users do, and checks what
// the cache made of it: it must encode whole when the window moves, and only then.
func (w *toy) grow(encoder *HistoryEncoder, h rank.History) (largest float64) {
	w.Helper()
	cache, start := kvcache.New(kvcache.Options{MaxBytes: 1 << 20}), int64(0)
	for n := 1; n <= h.Items.Len(); n++ {
		inputs := w.upTo(h, n)
		r := &Request{Query: &rank.Query{UserID: "u"}, Plan: w.plan, Pool: w.pool, Histories: cache, History: inputs}
		before := cache.Stats().Of[encoder.kind]
		call := encoder.Start(w.Context(), r)
		got, err := call.Wait(w.Context())
		call.Leave()
		if err != nil {
			w.Fatal(err)
		}
		largest = max(largest, worst(w.T, got, w.encode(encoder, inputs, nil)))
		after := cache.Stats().Of[encoder.kind]
		extended, moved := after.Extensions > before.Extensions, inputs.Start != start
		if start = inputs.Start; moved && extended {
			w.Errorf("the window moved to event %d and the past was used", start)
		} else if !moved && inputs.Length > 5 && !extended {
			w.Errorf("%d events were encoded whole: %+v", inputs.Length, after)
		}
	}
	return largest
}
