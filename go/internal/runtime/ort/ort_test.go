package ort

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/runtimetest"
)

// libraryVariable names the library or the Python environment that has it; by default it is the
// repository's own environment, which `make setup` makes.
const libraryVariable = "SHORTLIST_ONNXRUNTIME"

func library(t testing.TB) string {
	t.Helper()
	path, err := FindLibrary(os.Getenv(libraryVariable), filepath.Join("..", "..", "..", "..", ".venv"))
	if err != nil {
		t.Skipf("ONNX Runtime is not installed (run `make setup`, or set %s): %v", libraryVariable, err)
	}
	return path
}

// newRuntime starts ONNX Runtime for one test; tests that use it do not run in parallel.
func newRuntime(t testing.TB) runtime.Runtime {
	t.Helper()
	r, err := New(Options{Library: library(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func graph(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".onnx"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestContract(t *testing.T) {
	r := newRuntime(t)
	runtimetest.Run(t, r, func(name string) []byte { return graph(t, name) })
	if r.Provider() != CPU || !strings.HasPrefix(r.Version(), "1.") {
		t.Errorf("provider %q, version %q", r.Provider(), r.Version())
	}
}

func TestOneRuntimePerProcess(t *testing.T) {
	r := newRuntime(t)
	if _, err := New(Options{Library: library(t)}); !errors.Is(err, ErrStarted) {
		t.Errorf("err = %v, want ErrStarted", err)
	}
	s, err := r.Load("concat", graph(t, "concat"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err == nil || !strings.Contains(err.Error(), "1 sessions are still open") {
		t.Errorf("err = %v, want a complaint about the open session", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestBadOptions(t *testing.T) {
	if _, err := New(Options{Library: library(t), Provider: "tpu"}); err == nil || !strings.Contains(err.Error(), `"tpu"`) {
		t.Errorf("err = %v, want the unknown provider named", err)
	}
	missing := filepath.Join(t.TempDir(), "libonnxruntime.so")
	if _, err := New(Options{Library: missing}); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("err = %v, want the missing library named", err)
	}
	newRuntime(t) // and the failure left nothing behind
}

// Either the machine has a GPU and the probe ran on it, or the error says that CUDA was asked for: never a
// CPU in disguise.
func TestCUDAIsNeverSilentlyCPU(t *testing.T) {
	r, err := New(Options{Library: library(t), Provider: CUDA})
	if err == nil {
		defer r.Close()
		if r.Provider() != CUDA {
			t.Errorf("asked for CUDA, got %q without an error", r.Provider())
		}
		runtimetest.Run(t, r, func(name string) []byte { return graph(t, name) })
		return
	}
	var provider *ProviderError
	if !errors.As(err, &provider) || provider.Asked != CUDA {
		t.Fatalf("err = %v, want a ProviderError for CUDA", err)
	}
	t.Logf("no CUDA here: %v", err)
	newRuntime(t) // the caller can decide for the CPU
}

func TestFindLibrary(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	capi := filepath.Join(dir, "lib", "python3.11", "site-packages", "onnxruntime", "capi")
	if err := os.MkdirAll(capi, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"libonnxruntime.so.1.9.0", "libonnxruntime.so.1.31.1", "libonnxruntime_providers_cuda.so"} {
		if err := os.WriteFile(filepath.Join(capi, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := filepath.Join(capi, "libonnxruntime.so.1.31.1")
	for _, candidates := range [][]string{{dir}, {"", "/nowhere", dir}, {capi}, {want, dir}} {
		if got, err := FindLibrary(candidates...); err != nil || got != want {
			t.Errorf("FindLibrary(%q) = %q, %v; want %q", candidates, got, err, want)
		}
	}
	if _, err := FindLibrary("/nowhere"); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("err = %v, want the folder named", err)
	}
}

func TestFindCUDALibraries(t *testing.T) {
	t.Parallel()
	dir, system := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(system, "libcudart.so.99"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"libcudart.so.12", "libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	paths, missing := findCUDALibraries([]string{dir, system})
	var names []string
	for _, path := range paths {
		names = append(names, filepath.Base(path))
	}
	if got := strings.Join(names, " "); got != "libcudart.so.13 libcublasLt.so.13 libcublas.so.13" {
		t.Errorf("found %s", got)
	}
	if len(paths) > 0 && filepath.Dir(paths[0]) != dir {
		t.Errorf("%s was taken before the environment's", paths[0])
	}
	if len(missing) != 1 || missing[0] != "libcurand.so" {
		t.Errorf("missing %v, want libcurand.so", missing)
	}
}

// Resident memory must stay flat while shapes vary, or a server grows until it is killed.
func TestMemoryIsFlatWithVariableShapes(t *testing.T) {
	if testing.Short() {
		t.Skip("measures memory over many runs")
	}
	r := newRuntime(t)
	s, err := r.Load("concat", graph(t, "concat"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	buffer := make([]float32, 1<<18)
	run := func(times int) {
		for i := range times {
			p, n := int64(i*7919%60000), int64(1+i*104729%60000)
			in := []runtime.Tensor{runtime.Floats(buffer[:2*p], p, 2), runtime.Floats(buffer[:2*n], n, 2)}
			if err := s.Run(ctx, in, make([]runtime.Tensor, 1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	run(300)
	before := residentBytes(t)
	run(1500)
	if grown := residentBytes(t) - before; grown > 32<<20 {
		t.Errorf("resident memory grew by %d MiB over 1500 runs", grown>>20)
	}
}

func residentBytes(t testing.TB) int64 {
	t.Helper()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("no /proc here")
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(data), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}

func BenchmarkRun(b *testing.B) {
	r := newRuntime(b)
	s, err := r.Load("concat", graph(b, "concat"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	cancellable, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	in := []runtime.Tensor{runtime.Floats(make([]float32, 64), 32, 2), runtime.Floats(make([]float32, 64), 32, 2)}
	for _, c := range []struct {
		name string
		ctx  context.Context
		out  []float32
	}{
		{"in place", context.Background(), make([]float32, 128)},
		{"in place, cancellable", cancellable, make([]float32, 128)},
		{"allocated", context.Background(), nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				out := []runtime.Tensor{{}}
				if c.out != nil {
					out[0] = runtime.Floats(c.out, 64, 2)
				}
				if err := s.Run(c.ctx, in, out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
