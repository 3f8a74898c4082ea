// Package runtimetest is the contract that every runtime.Runtime passes.
package runtimetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// Graphs are the names of the graphs that the contract loads:
//
//   - arithmetic: x float32 [N,3], add int64 [N], keep bool [N] to y = x + add where keep else 0,
//     doubled = 2 add, dropped = not keep
//   - concat: past float32 [P,2], new float32 [N,2] to all [P+N,2]
//   - slow: x float32 [1] to y float32 [256]; takes a second or more, and can be cancelled
const (
	Arithmetic = "arithmetic"
	Concat     = "concat"
	Slow       = "slow"
)

// Run holds a runtime against the contract. graph returns the bytes of a graph. The runtime stays open.
func Run(t *testing.T, r runtime.Runtime, graph func(name string) []byte) {
	load := func(t *testing.T, name string) runtime.Session {
		t.Helper()
		s, err := r.Load(name, graph(name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil && !errors.Is(err, runtime.ErrClosedTwice) {
				t.Error(err)
			}
		})
		return s
	}
	t.Run("describes tensors", func(t *testing.T) { testSpecs(t, load(t, Arithmetic)) })
	t.Run("allocates outputs", func(t *testing.T) { testAllocated(t, load(t, Arithmetic)) })
	t.Run("writes in place", func(t *testing.T) { testInPlace(t, load(t, Arithmetic)) })
	t.Run("takes empty tensors", func(t *testing.T) { testEmpty(t, load(t, Concat)) })
	t.Run("varies shapes", func(t *testing.T) { testShapes(t, load(t, Concat)) })
	t.Run("refuses what does not fit", func(t *testing.T) { testRefusals(t, load(t, Arithmetic)) })
	t.Run("runs concurrently", func(t *testing.T) { testConcurrent(t, load(t, Arithmetic)) })
	t.Run("cancels", func(t *testing.T) { testCancel(t, load(t, Slow)) })
	t.Run("closes", func(t *testing.T) { testClose(t, load(t, Arithmetic)) })
	t.Run("refuses bad graphs", func(t *testing.T) {
		if s, err := r.Load("broken", []byte("no graph")); err == nil {
			t.Error("a graph of nonsense was loaded", s)
		}
		if _, err := r.Load(Arithmetic, nil); err == nil {
			t.Error("a graph without bytes was loaded")
		}
	})
	if r.Provider() == "" || r.Version() == "" {
		t.Error("the runtime does not say its provider or version")
	}
}

func testSpecs(t *testing.T, s runtime.Session) {
	wantIn := []runtime.TensorSpec{
		{Name: "x", DType: runtime.Float32, Shape: []int64{-1, 3}},
		{Name: "add", DType: runtime.Int64, Shape: []int64{-1}},
		{Name: "keep", DType: runtime.Bool, Shape: []int64{-1}},
	}
	wantOut := []runtime.TensorSpec{
		{Name: "y", DType: runtime.Float32, Shape: []int64{-1, 3}},
		{Name: "doubled", DType: runtime.Int64, Shape: []int64{-1}},
		{Name: "dropped", DType: runtime.Bool, Shape: []int64{-1}},
	}
	if got, want := fmt.Sprint(s.Inputs()), fmt.Sprint(wantIn); got != want {
		t.Errorf("inputs %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(s.Outputs()), fmt.Sprint(wantOut); got != want {
		t.Errorf("outputs %s, want %s", got, want)
	}
}

// arithmeticInputs are n rows: x counts up from base, add is the row, every second row is kept.
func arithmeticInputs(base float32, n int) []runtime.Tensor {
	x, add, keep := make([]float32, 3*n), make([]int64, n), make([]bool, n)
	for i := range n {
		add[i], keep[i] = int64(i), i%2 == 0
		for j := range 3 {
			x[3*i+j] = base + float32(3*i+j)
		}
	}
	return []runtime.Tensor{runtime.Floats(x, int64(n), 3), runtime.Ints(add, int64(n)), runtime.Bools(keep, int64(n))}
}

// checkArithmetic holds outputs against the definition of the graph.
func checkArithmetic(in, out []runtime.Tensor) error {
	n := len(in[1].I64)
	if len(out[0].F32) != 3*n || len(out[1].I64) != n || len(out[2].Bool) != n ||
		!slices.Equal(out[0].Shape, []int64{int64(n), 3}) || !slices.Equal(out[1].Shape, []int64{int64(n)}) {
		return fmt.Errorf("the outputs have shapes %v %v %v for %d rows", out[0].Shape, out[1].Shape, out[2].Shape, n)
	}
	for i := range n {
		for j := range 3 {
			want := float32(0)
			if in[2].Bool[i] {
				want = in[0].F32[3*i+j] + float32(in[1].I64[i])
			}
			if got := out[0].F32[3*i+j]; got != want {
				return fmt.Errorf("y[%d,%d] = %v, want %v", i, j, got, want)
			}
		}
		if out[1].I64[i] != 2*in[1].I64[i] || out[2].Bool[i] == in[2].Bool[i] {
			return fmt.Errorf("row %d: doubled %d, dropped %v", i, out[1].I64[i], out[2].Bool[i])
		}
	}
	return nil
}

func testAllocated(t *testing.T, s runtime.Session) {
	in, out := arithmeticInputs(1, 4), make([]runtime.Tensor, 3)
	if err := s.Run(t.Context(), in, out); err != nil {
		t.Fatal(err)
	}
	if err := checkArithmetic(in, out); err != nil {
		t.Error(err)
	}
}

func testInPlace(t *testing.T, s runtime.Session) {
	in := arithmeticInputs(1, 4)
	y := make([]float32, 12)
	out := []runtime.Tensor{runtime.Floats(y, 4, 3), runtime.Ints(make([]int64, 4), 4), {}} // the last is allocated
	if err := s.Run(context.Background(), in, out); err != nil {
		t.Fatal(err)
	}
	if err := checkArithmetic(in, out); err != nil {
		t.Error(err)
	}
	if &y[0] != &out[0].F32[0] || y[2] != in[0].F32[2] {
		t.Error("the output was not written into the caller's buffer")
	}
	wrong := []runtime.Tensor{runtime.Floats(make([]float32, 15), 5, 3), {}, {}}
	if err := s.Run(context.Background(), in, wrong); err == nil {
		t.Error("an output buffer of 5 rows was taken for 4 rows")
	}
}

func testEmpty(t *testing.T, s runtime.Session) {
	for _, empty := range [][]float32{nil, {}} {
		in := []runtime.Tensor{runtime.Floats(empty, 0, 2), runtime.Floats([]float32{1, 2}, 1, 2)}
		for _, out := range [][]runtime.Tensor{{{}}, {runtime.Floats(make([]float32, 2), 1, 2)}} {
			if err := s.Run(t.Context(), in, out); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(out[0].F32, []float32{1, 2}) || !slices.Equal(out[0].Shape, []int64{1, 2}) {
				t.Errorf("all = %v %v, want [1 2] of shape [1 2]", out[0].F32, out[0].Shape)
			}
		}
	}
	// Empty in, empty out.
	in := []runtime.Tensor{runtime.Floats(nil, 0, 2), runtime.Floats(nil, 0, 2)}
	for _, out := range [][]runtime.Tensor{{{}}, {runtime.Floats([]float32{}, 0, 2)}} {
		if err := s.Run(t.Context(), in, out); err != nil {
			t.Fatal(err)
		}
		if len(out[0].F32) != 0 || !slices.Equal(out[0].Shape, []int64{0, 2}) {
			t.Errorf("all = %v of shape %v, want nothing of shape [0 2]", out[0].F32, out[0].Shape)
		}
	}
}

func testShapes(t *testing.T, s runtime.Session) {
	for p := range int64(5) {
		for n := int64(1); n < 5; n++ {
			in := []runtime.Tensor{runtime.Floats(make([]float32, 2*p), p, 2), runtime.Floats(make([]float32, 2*n), n, 2)}
			out := make([]runtime.Tensor, 1)
			if err := s.Run(t.Context(), in, out); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(out[0].Shape, []int64{p + n, 2}) {
				t.Errorf("shape %v, want [%d 2]", out[0].Shape, p+n)
			}
		}
	}
}

func testRefusals(t *testing.T, s runtime.Session) {
	out := func() []runtime.Tensor { return make([]runtime.Tensor, 3) }
	good := arithmeticInputs(0, 2)
	tests := map[string][]runtime.Tensor{
		"too few inputs":   good[:2],
		"wrong dtype":      {good[0], runtime.Floats([]float32{1, 2}, 2), good[2]},
		"wrong rank":       {runtime.Floats(good[0].F32, 6), good[1], good[2]},
		"wrong fixed size": {runtime.Floats(good[0].F32, 3, 2), good[1], good[2]},
		"short slice":      {runtime.Floats(good[0].F32[:5], 2, 3), good[1], good[2]},
		"negative size":    {runtime.Floats(nil, -1, 3), good[1], good[2]},
		"huge size":        {runtime.Floats(nil, 1<<62, 3), good[1], good[2]},
		"no dtype":         {{}, good[1], good[2]},
	}
	for name, in := range tests {
		if err := s.Run(t.Context(), in, out()); err == nil {
			t.Errorf("%s: was not refused", name)
		}
	}
	if err := s.Run(t.Context(), good, out()[:1]); !errors.Is(err, runtime.ErrArity) {
		t.Errorf("too few outputs: %v, want ErrArity", err)
	}
	// The session still works.
	o := out()
	if err := s.Run(t.Context(), good, o); err != nil {
		t.Error(err)
	} else if err := checkArithmetic(good, o); err != nil {
		t.Error(err)
	}
}

func testConcurrent(t *testing.T, s runtime.Session) {
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 50 {
				in, out := arithmeticInputs(float32(1000*g), 1+(g+i)%7), make([]runtime.Tensor, 3)
				if err := s.Run(t.Context(), in, out); err != nil {
					t.Error(err)
					return
				}
				if err := checkArithmetic(in, out); err != nil {
					t.Errorf("goroutine %d: %v", g, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func testCancel(t *testing.T, s runtime.Session) {
	in := []runtime.Tensor{runtime.Floats([]float32{1}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx, in, make([]runtime.Tensor, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v, want context.Canceled", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := s.Run(ctx, in, make([]runtime.Tensor, 1))
	cancelled := time.Since(start)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled while running: %v, want context.DeadlineExceeded", err)
	}
	// A cancelled run must not spoil the ones after it, nor those beside it.
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
			defer cancel()
			if err := s.Run(ctx, in, make([]runtime.Tensor, 1)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("err = %v, want context.DeadlineExceeded", err)
			}
		})
	}
	wg.Wait()
	out := make([]runtime.Tensor, 1)
	start = time.Now()
	if err := s.Run(t.Context(), in, out); err != nil || len(out[0].F32) != 256 || out[0].F32[0] != 1 {
		t.Errorf("after cancellations: %v", err)
	}
	if whole := time.Since(start); cancelled > whole {
		t.Errorf("a run cancelled after 30ms returned after %s, a whole one takes %s", cancelled, whole)
	}
}

func testClose(t *testing.T, s runtime.Session) {
	in := arithmeticInputs(0, 2)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context(), in, make([]runtime.Tensor, 3)); !errors.Is(err, runtime.ErrClosed) {
		t.Errorf("run after close: %v, want ErrClosed", err)
	}
	if err := s.Close(); !errors.Is(err, runtime.ErrClosedTwice) {
		t.Errorf("second close: %v, want ErrClosedTwice", err)
	}
}
