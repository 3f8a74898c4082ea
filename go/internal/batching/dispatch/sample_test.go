package dispatch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"go.uber.org/goleak"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/fake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// release is a manifest with sessions for its graphs.
type release struct {
	manifest *bundlev1.Manifest
	session  func(graph string) runtime.Session
}

// graphOf is the manifest's entry of a graph.
func (r *release) graphOf(name string) *bundlev1.Graph {
	at := slices.IndexFunc(r.manifest.GetGraphs(), func(g *bundlev1.Graph) bool { return g.GetName() == name })
	return r.manifest.GetGraphs()[at]
}

// newFake is the test release on the fake runtime; edit may change its graphs.
func newFake(t testing.TB, edit func(map[string]fake.Graph)) (*release, *fake.Runtime) {
	t.Helper()
	b := ranktest.Bundle(t, ranktest.Options{})
	graphs := ranktest.Graphs(b.Manifest)
	if edit != nil {
		edit(graphs)
	}
	rt := fake.New(graphs)
	return &release{b.Manifest, func(graph string) runtime.Session {
		session, err := rt.Load(graph, []byte("fake"))
		if err != nil {
			t.Fatal(err)
		}
		return session
	}}, rt
}

// sample makes the inputs of one call by the letters of the manifest's shapes. Whole numbers are small enough
// for any table. A history of 0 events is one event of padding.
func sample(random *rand.Rand, graph *bundlev1.Graph, session runtime.Session, rows, events, candidates, past int64) []runtime.Tensor {
	sizes := map[string]int64{"B": rows, "N": max(events, 1), "M": candidates, "P": past}
	inputs := make([]runtime.Tensor, len(session.Inputs()))
	for i, spec := range session.Inputs() {
		at := slices.IndexFunc(graph.GetInputs(), func(t *bundlev1.TensorSpec) bool { return t.GetName() == spec.Name })
		shape, overEvents := []int64{}, false
		for _, letter := range graph.GetInputs()[at].GetShape() {
			size, ok := sizes[letter]
			if !ok {
				_, _ = fmt.Sscan(letter, &size)
			}
			overEvents = overEvents || letter == "N"
			shape = append(shape, size)
		}
		n := runtime.Elements(shape)
		switch {
		case spec.Name == "history_length":
			inputs[i] = runtime.Ints(slices.Repeat([]int64{events}, int(n)), shape...)
		case spec.DType == runtime.Int64:
			inputs[i] = runtime.Ints(make([]int64, n), shape...)
		default:
			inputs[i] = runtime.Floats(make([]float32, n), shape...)
		}
		if spec.Name == "history_length" || (overEvents && events == 0) {
			continue
		}
		for j := range inputs[i].I64 {
			inputs[i].I64[j] = random.Int64N(3)
		}
		for j := range inputs[i].F32 {
			inputs[i].F32[j] = random.Float32() // counters are never negative
		}
	}
	return inputs
}

// near says how two sets of outputs differ beyond the parity rule; "" when they do not.
func near(got, want []runtime.Tensor) string {
	for i := range want {
		if !slices.Equal(got[i].Shape, want[i].Shape) || got[i].Len() != want[i].Len() {
			return fmt.Sprintf("output %d has shape %v, want %v", i, got[i].Shape, want[i].Shape)
		}
		for j, w := range want[i].F32 {
			if diff := math.Abs(float64(got[i].F32[j] - w)); !(diff <= 1e-5+1e-4*math.Abs(float64(w))) {
				return fmt.Sprintf("output %d, element %d is %v, want %v", i, j, got[i].F32[j], w)
			}
		}
		if !slices.Equal(got[i].I64, want[i].I64) {
			return fmt.Sprintf("output %d differs", i)
		}
	}
	return ""
}
