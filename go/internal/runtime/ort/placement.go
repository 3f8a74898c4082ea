package ort

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// Placement is how many nodes of a graph ran on each execution provider, by ONNX Runtime's names.
type Placement map[string]int

// cudaProvider is ONNX Runtime's name of the provider.
const cudaProvider = "CUDAExecutionProvider"

// check refuses a graph that was to run on a GPU and has no node there. Some nodes on the CPU are normal: ONNX
// Runtime computes shapes there.
func (p Placement) check() error {
	if p[cudaProvider] > 0 {
		return nil
	}
	return &ProviderError{Asked: CUDA, Cause: fmt.Errorf("ONNX Runtime placed no node of the graph on it: %v", map[string]int(p))}
}

// placement runs a graph once under ONNX Runtime's profiler, which is the one to tell where nodes ran: a session
// itself does not. It is paid at load, and only where a GPU was asked for.
func (r *ortRuntime) placement(graph []byte, provider string) (placement Placement, err error) {
	dir, err := os.MkdirTemp("", "shortlist-placement-")
	if err != nil {
		return nil, fmt.Errorf("profile a run: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := r.profile(graph, provider, filepath.Join(dir, "run")); err != nil {
		return nil, fmt.Errorf("profile a run: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "run*"))
	if err != nil || len(files) != 1 {
		return nil, fmt.Errorf("profile a run: %d files were written, %w", len(files), err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return nil, fmt.Errorf("profile a run: %w", err)
	}
	return parseProfile(text)
}

// profile runs the graph on zeros, every variable size 1; the profile is written when the session ends.
func (r *ortRuntime) profile(graph []byte, provider, prefix string) (err error) {
	infos, outputs, err := ort.GetInputOutputInfoWithONNXData(graph)
	if err != nil {
		return err
	}
	specs, err := specsOf(infos)
	if err != nil {
		return err
	}
	options, err := r.sessionOptions(provider, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, options.Destroy()) }()
	if err := options.EnableProfiling(prefix); err != nil {
		return err
	}
	names := make([]string, len(outputs))
	for i, output := range outputs {
		names[i] = output.Name
	}
	session, err := ort.NewDynamicAdvancedSessionWithONNXData(graph, namesOf(specs), names, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Destroy()) }()
	values := make([]ort.Value, len(specs)+len(names))
	defer func() {
		for _, value := range values {
			if value != nil {
				err = errors.Join(err, value.Destroy())
			}
		}
	}()
	for i := range specs {
		tensor := smallest(&specs[i])
		if values[i], err = valueOf(&tensor); err != nil {
			return err
		}
	}
	return session.Run(values[:len(specs)], values[len(specs):])
}

// valueOf is a tensor of the binding, which does this one run; others go through the shim.
func valueOf(t *runtime.Tensor) (ort.Value, error) {
	switch t.DType {
	case runtime.Float32:
		return tensorOf(t.Shape, t.F32)
	case runtime.Int64:
		return tensorOf(t.Shape, t.I64)
	default:
		return tensorOf(t.Shape, t.Bool)
	}
}

// tensorOf returns an untyped nil on failure, which the caller can tell from a value.
func tensorOf[T ort.TensorData](shape []int64, data []T) (ort.Value, error) {
	value, err := ort.NewTensor(shape, data)
	if err != nil {
		return nil, err
	}
	return value, nil
}

// smallest is a tensor of zeros of a spec, every variable size 1. Whole numbers of a fixed shape are sizes
// (k of the index), and 1.
func smallest(spec *runtime.TensorSpec) runtime.Tensor {
	shape, fixed := make([]int64, len(spec.Shape)), true
	for i, size := range spec.Shape {
		shape[i], fixed = max(size, 1), fixed && size >= 0
	}
	n := runtime.Elements(shape)
	switch spec.DType {
	case runtime.Float32:
		return runtime.Floats(make([]float32, n), shape...)
	case runtime.Bool:
		return runtime.Bools(make([]bool, n), shape...)
	}
	numbers := make([]int64, n)
	for i := range numbers {
		if fixed {
			numbers[i] = 1
		}
	}
	return runtime.Ints(numbers, shape...)
}

// parseProfile counts the nodes of a profile by provider.
func parseProfile(text []byte) (Placement, error) {
	var events []struct {
		Category string `json:"cat"`
		Args     struct {
			Provider string `json:"provider"`
		} `json:"args"`
	}
	if err := json.Unmarshal(text, &events); err != nil {
		return nil, fmt.Errorf("read a profile: %w", err)
	}
	placement := Placement{}
	for _, event := range events {
		if event.Category == "Node" && event.Args.Provider != "" {
			placement[event.Args.Provider]++
		}
	}
	if len(placement) == 0 {
		return nil, errors.New("read a profile: it names no node's provider")
	}
	return placement, nil
}
