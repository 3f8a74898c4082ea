// Package ort runs graphs with ONNX Runtime. It is the only cgo of the project.
package ort

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// Provider names.
const (
	CPU  = "cpu"
	CUDA = "cuda"
)

// Options of the runtime.
type Options struct {
	// Library is the path of libonnxruntime.so.*; see FindLibrary.
	Library string
	// Provider asked for: CPU (default) or CUDA. CUDA that cannot be had is a *ProviderError, never a silent CPU.
	Provider string
	// CUDALibraries are folders searched for the CUDA libraries, which are loaded by absolute path before
	// the provider; nil means those of the Python environment that Library lies in, then the system's.
	CUDALibraries []string
	// DeviceID of the GPU.
	DeviceID int
	// Placed is told where the nodes of each graph loaded for a GPU run; nil for nobody.
	Placed func(graph string, placement Placement)
}

// ProviderError says that the execution provider asked for could not be had; the caller decides what to do.
type ProviderError struct {
	Asked string
	Cause error
}

func (e *ProviderError) Error() string {
	return fmt.Sprintf("execution provider %q is not available: %v; install its driver and libraries, or ask for %q", e.Asked, e.Cause, CPU)
}

func (e *ProviderError) Unwrap() error { return e.Cause }

// ErrStarted says that the process has a runtime already; ONNX Runtime has one environment per process.
var ErrStarted = errors.New("ONNX Runtime is already started in this process: close the first runtime")

// process guards the one environment of the process.
var process sync.Mutex

type ortRuntime struct {
	opts    Options
	options *optionList
	watch   *watch

	mu     sync.Mutex
	open   int // sessions
	closed bool
}

//go:embed probe.onnx
var probe []byte

// New starts ONNX Runtime, once per process, and proves on a tiny graph that the provider asked for computes.
func New(opts Options) (runtime.Runtime, error) {
	if opts.Provider == "" {
		opts.Provider = CPU
	}
	if opts.Provider != CPU && opts.Provider != CUDA {
		return nil, fmt.Errorf("provider %q is not known: use %q or %q", opts.Provider, CPU, CUDA)
	}
	library, err := filepath.Abs(opts.Library) // a bare name would be searched for, elsewhere than in this folder
	if err != nil {
		return nil, fmt.Errorf("start ONNX Runtime: %w", err)
	}
	opts.Library = library
	process.Lock()
	defer process.Unlock()
	if ort.IsInitialized() {
		return nil, ErrStarted
	}
	var preload error
	if opts.Provider == CUDA {
		preload = preloadCUDA(opts)
	}
	keepMemory()
	ort.SetSharedLibraryPath(opts.Library)
	// Errors are returned; the library would also print each one, cancelled runs included.
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		return nil, fmt.Errorf("start ONNX Runtime from %q: %w; check that the file is libonnxruntime.so of version 1.31 or later", opts.Library, err)
	}
	if err := openShim(opts.Library); err != nil {
		return nil, errors.Join(err, ort.DestroyEnvironment())
	}
	r := &ortRuntime{opts: opts, options: newOptionList(), watch: newWatch()}
	if err := r.probe(); err != nil {
		err = errors.Join(err, r.end())
		if opts.Provider != CPU {
			return nil, &ProviderError{Asked: opts.Provider, Cause: errors.Join(err, preload)}
		}
		return nil, fmt.Errorf("probe ONNX Runtime: %w", err)
	}
	return r, nil
}

// probe runs a product of matrices. A GPU may not pass it on to the CPU here, which real graphs may for
// single nodes: so the provider obtained is the one asked for.
func (r *ortRuntime) probe() error {
	session, err := r.load("probe", probe, r.opts.Provider, map[string]string{"session.disable_cpu_ep_fallback": strconv.Itoa(toInt(r.opts.Provider != CPU))})
	if err != nil {
		return err
	}
	out := []runtime.Tensor{{}}
	err = session.Run(context.Background(), []runtime.Tensor{runtime.Floats([]float32{1, 1}, 1, 2)}, out)
	if err := errors.Join(err, session.Close()); err != nil {
		return err
	}
	if y := out[0].F32; len(y) != 2 || y[0] != 4 || y[1] != 6 {
		return fmt.Errorf("the product of [1 1] and [[1 2] [3 4]] came out as %v", out[0].F32)
	}
	return nil
}

// Load makes a session from the bytes of a graph; name is for messages only.
func (r *ortRuntime) Load(name string, graph []byte) (runtime.Session, error) {
	return r.load(name, graph, r.opts.Provider, nil)
}

func (r *ortRuntime) load(name string, graph []byte, provider string, config map[string]string) (runtime.Session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, fmt.Errorf("load graph %q: the runtime is closed", name)
	}
	if provider == CUDA {
		placement, err := r.placement(graph, provider)
		if err == nil {
			err = placement.check()
		}
		if err != nil {
			return nil, fmt.Errorf("load graph %q: %w", name, err)
		}
		if r.opts.Placed != nil {
			r.opts.Placed(name, placement)
		}
	}
	s, err := r.newSession(name, graph, provider, config)
	if err != nil {
		return nil, fmt.Errorf("load graph %q: %w", name, err)
	}
	r.open++
	return s, nil
}

// sessionOptions are tuned for many concurrent runs of variable shapes on few cores: no threads of ONNX
// Runtime's own (the worker pool is the parallelism), no spinning, no memory plans, and no arena: it would
// keep the peak of the shapes seen, and was no faster (perceptron of 6 layers, 64 to 3,000 rows). keepMemory
// does what an arena would be for.
func (r *ortRuntime) sessionOptions(provider string, config map[string]string) (*ort.SessionOptions, error) {
	o, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		o.SetIntraOpNumThreads(1),
		o.SetInterOpNumThreads(1),
		o.SetExecutionMode(ort.ExecutionModeSequential),
		o.SetGraphOptimizationLevel(ort.GraphOptimizationLevelEnableAll),
		o.SetMemPattern(false),
		o.SetCpuMemArena(false),
		o.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
		o.AddSessionConfigEntry("session.inter_op.allow_spinning", "0"),
	)
	for key, value := range config {
		err = errors.Join(err, o.AddSessionConfigEntry(key, value))
	}
	if provider == CUDA {
		err = errors.Join(err, appendCUDA(o, r.opts.DeviceID))
	}
	if err != nil {
		return nil, errors.Join(err, o.Destroy())
	}
	return o, nil
}

// OnCPU is the CPU side of a runtime with a GPU, for sessions that take over when the device fails. It is
// closed with r; false where r has no GPU.
func OnCPU(r runtime.Runtime) (runtime.Runtime, bool) {
	whole, ok := r.(*ortRuntime)
	if !ok || whole.opts.Provider == CPU {
		return nil, false
	}
	return cpuSide{whole}, true
}

type cpuSide struct{ *ortRuntime }

func (c cpuSide) Load(name string, graph []byte) (runtime.Session, error) {
	return c.load(name, graph, CPU, nil)
}

func (cpuSide) Provider() string { return CPU }

func (cpuSide) Close() error { return nil }

// Provider is the execution provider that sessions really got: New proved it, and load proves each graph.
func (r *ortRuntime) Provider() string { return r.opts.Provider }

// Version is the version of the library.
func (r *ortRuntime) Version() string { return ort.GetVersion() }

// Close ends ONNX Runtime; every session must be closed before.
func (r *ortRuntime) Close() error {
	process.Lock()
	defer process.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errors.New("close runtime: it was closed before")
	}
	if r.open > 0 {
		return fmt.Errorf("close runtime: %d sessions are still open", r.open)
	}
	r.closed = true
	return r.end()
}

// end frees everything of ONNX Runtime's; no session is open, and the caller holds process.
func (r *ortRuntime) end() error {
	r.options.drain()
	closeShim()
	return ort.DestroyEnvironment()
}

func (r *ortRuntime) sessionClosed() {
	r.mu.Lock()
	r.open--
	r.mu.Unlock()
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
