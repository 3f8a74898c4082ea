package ort

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/shortlist-serving/shortlist/go/internal/runtime/runtimetest"
)

// The profiler of ONNX Runtime names the provider of every node, here the CPU's: what a session that was to
// be on a GPU and is not would show.
func TestPlacementSaysWhereNodesRan(t *testing.T) {
	r := newRuntime(t).(*ortRuntime)
	graphs := map[string][]byte{runtimetest.Arithmetic: graph(t, runtimetest.Arithmetic), runtimetest.Concat: graph(t, runtimetest.Concat)}
	toy, err := filepath.Glob(filepath.Join("..", "..", "..", "..", "models", "toy", "*", "graphs", "*.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range toy {
		if graphs[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	for name, bytes := range graphs {
		placement, err := r.placement(bytes, CPU)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(placement) != 1 || placement["CPUExecutionProvider"] == 0 {
			t.Errorf("%s: %v", name, placement)
		}
		var absent *ProviderError
		if err := placement.check(); !errors.As(err, &absent) || absent.Asked != CUDA {
			t.Errorf("%s: a graph that is all on the CPU passes for one on the GPU: %v", name, err)
		}
	}
}

func TestSomeNodesOnTheCPUAreNormal(t *testing.T) {
	t.Parallel()
	placement, err := parseProfile([]byte(`[{"cat":"Session","args":{}},
		{"cat":"Node","name":"a_kernel_time","args":{"provider":"CUDAExecutionProvider","op_name":"MatMul"}},
		{"cat":"Node","name":"b_kernel_time","args":{"provider":"CPUExecutionProvider","op_name":"Shape"}}]`))
	if err != nil || placement[cudaProvider] != 1 || placement.check() != nil {
		t.Errorf("%v, %v, %v", placement, err, placement.check())
	}
	for _, text := range []string{"", "{}", `[{"cat":"Session"}]`} {
		if _, err := parseProfile([]byte(text)); err == nil {
			t.Errorf("%q was taken for a profile", text)
		}
	}
}

// A runtime with a GPU has a CPU side whose sessions need no GPU. The runtime here only believes that it has one.
func TestOnCPU(t *testing.T) {
	r := newRuntime(t).(*ortRuntime)
	if _, ok := OnCPU(r); ok {
		t.Error("a runtime on the CPU has another CPU side")
	}
	r.opts.Provider = CUDA
	defer func() { r.opts.Provider = CPU }()
	cpu, ok := OnCPU(r)
	if !ok || cpu.Provider() != CPU || r.Provider() != CUDA {
		t.Fatalf("the CPU side is %v, of %s", cpu, r.Provider())
	}
	runtimetest.Run(t, cpu, func(name string) []byte { return graph(t, name) })
	if err := cpu.Close(); err != nil {
		t.Error(err)
	}
	if s, err := r.Load(runtimetest.Concat, graph(t, runtimetest.Concat)); err == nil { // a machine with a GPU
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
