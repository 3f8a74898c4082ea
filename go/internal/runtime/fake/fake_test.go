package fake_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/fake"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/runtimetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newRuntime() *fake.Runtime {
	spec := func(name string, dtype runtime.DType, shape ...int64) runtime.TensorSpec {
		return runtime.TensorSpec{Name: name, DType: dtype, Shape: shape}
	}
	return fake.New(map[string]fake.Graph{
		runtimetest.Arithmetic: {
			Inputs:  []runtime.TensorSpec{spec("x", runtime.Float32, -1, 3), spec("add", runtime.Int64, -1), spec("keep", runtime.Bool, -1)},
			Outputs: []runtime.TensorSpec{spec("y", runtime.Float32, -1, 3), spec("doubled", runtime.Int64, -1), spec("dropped", runtime.Bool, -1)},
			Compute: arithmetic,
		},
		runtimetest.Concat: {
			Inputs:  []runtime.TensorSpec{spec("past", runtime.Float32, -1, 2), spec("new", runtime.Float32, -1, 2)},
			Outputs: []runtime.TensorSpec{spec("all", runtime.Float32, -1, 2)},
			Compute: func(in []runtime.Tensor) ([]runtime.Tensor, error) {
				all := append(append([]float32{}, in[0].F32...), in[1].F32...)
				return []runtime.Tensor{runtime.Floats(all, int64(len(all)/2), 2)}, nil
			},
		},
		runtimetest.Slow: {
			Inputs:  []runtime.TensorSpec{spec("x", runtime.Float32, 1)},
			Outputs: []runtime.TensorSpec{spec("y", runtime.Float32, 256)},
			Compute: func(in []runtime.Tensor) ([]runtime.Tensor, error) {
				y := make([]float32, 256)
				for i := range y {
					y[i] = in[0].F32[0]
				}
				return []runtime.Tensor{runtime.Floats(y, 256)}, nil
			},
		},
	})
}

func arithmetic(in []runtime.Tensor) ([]runtime.Tensor, error) {
	n := in[1].Shape[0]
	y, doubled, dropped := make([]float32, 3*n), make([]int64, n), make([]bool, n)
	for i := range n {
		doubled[i], dropped[i] = 2*in[1].I64[i], !in[2].Bool[i]
		for j := i * 3; j < i*3+3 && in[2].Bool[i]; j++ {
			y[j] = in[0].F32[j] + float32(in[1].I64[i])
		}
	}
	return []runtime.Tensor{runtime.Floats(y, n, 3), runtime.Ints(doubled, n), runtime.Bools(dropped, n)}, nil
}

func TestContract(t *testing.T) {
	r := newRuntime()
	r.Inject(runtimetest.Slow, fake.Fault{Delay: time.Second})
	runtimetest.Run(t, r, func(string) []byte { return []byte("fake") })
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	r := newRuntime()
	s, err := r.Load(runtimetest.Slow, []byte("fake"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	run := func() (float32, error) {
		out := make([]runtime.Tensor, 1)
		err := s.Run(context.Background(), []runtime.Tensor{runtime.Floats([]float32{7}, 1)}, out)
		if err != nil {
			return 0, err
		}
		return out[0].F32[0], nil
	}
	boom := errors.New("boom")
	r.Inject(runtimetest.Slow, fake.Fault{Err: boom, Times: 2})
	for i, want := range []error{boom, boom, nil} {
		if _, err := run(); !errors.Is(err, want) || (want == nil && err != nil) {
			t.Errorf("run %d: %v, want %v", i, err, want)
		}
	}
	r.Inject(runtimetest.Slow, fake.Fault{NaN: true})
	if y, err := run(); err != nil || !math.IsNaN(float64(y)) {
		t.Errorf("y = %v, %v; want NaN", y, err)
	}
	r.Inject(runtimetest.Slow, fake.Fault{})
	if y, err := run(); err != nil || y != 7 {
		t.Errorf("healed: y = %v, %v", y, err)
	}
	if got := fmt.Sprint(r.Runs(runtimetest.Slow), r.OpenSessions()); got != "5 1" {
		t.Errorf("runs and open sessions are %s, want 5 1", got)
	}
	if err := r.Close(); err == nil {
		t.Error("the runtime closed with an open session")
	}
}
