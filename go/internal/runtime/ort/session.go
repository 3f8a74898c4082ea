package ort

/*
#include "shim.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"sync"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

type session struct {
	runtime *ortRuntime
	name    string
	onGPU   bool
	inputs  []runtime.TensorSpec
	outputs []runtime.TensorSpec
	calls   sync.Pool // *call

	running     sync.RWMutex // held shared by runs, exclusively by Close
	session     *ort.DynamicAdvancedSession
	pointer     *C.OrtSession // of session
	inputNames  cNames
	outputNames cNames
}

func (r *ortRuntime) newSession(name string, graph []byte, provider string, config map[string]string) (*session, error) {
	if len(graph) == 0 {
		return nil, errors.New("the graph has no bytes")
	}
	// The binding tells the tensors of a graph only by loading it once more; that is paid at load.
	inputs, outputs, err := ort.GetInputOutputInfoWithONNXData(graph)
	if err != nil {
		return nil, err
	}
	s := &session{runtime: r, name: name, onGPU: provider == CUDA}
	if s.inputs, err = specsOf(inputs); err != nil {
		return nil, err
	}
	if s.outputs, err = specsOf(outputs); err != nil {
		return nil, err
	}
	if len(inputs) == 0 || len(outputs) == 0 {
		return nil, errors.New("the graph has no inputs or no outputs")
	}
	options, err := r.sessionOptions(provider, config)
	if err != nil {
		return nil, err
	}
	s.session, err = ort.NewDynamicAdvancedSessionWithONNXData(graph, namesOf(s.inputs), namesOf(s.outputs), options)
	if err = errors.Join(err, options.Destroy()); err != nil {
		return nil, err
	}
	if s.pointer, err = sessionPointer(s.session); err != nil {
		return nil, errors.Join(err, s.session.Destroy())
	}
	s.inputNames, s.outputNames = newNames(namesOf(s.inputs)), newNames(namesOf(s.outputs))
	s.calls.New = func() any { return newCall(len(inputs) + len(outputs)) }
	return s, nil
}

var dtypes = map[ort.TensorElementDataType]runtime.DType{
	ort.TensorElementDataTypeFloat: runtime.Float32,
	ort.TensorElementDataTypeInt64: runtime.Int64,
	ort.TensorElementDataTypeBool:  runtime.Bool,
}

func specsOf(infos []ort.InputOutputInfo) ([]runtime.TensorSpec, error) {
	specs := make([]runtime.TensorSpec, len(infos))
	for i, info := range infos {
		dtype, ok := dtypes[info.DataType]
		if !ok || info.OrtValueType != ort.ONNXTypeTensor {
			return nil, fmt.Errorf("tensor %q has type %s; graphs use float32, int64 and bool tensors", info.Name, info.DataType)
		}
		specs[i] = runtime.TensorSpec{Name: info.Name, DType: dtype, Shape: info.Dimensions}
	}
	return specs, nil
}

func namesOf(specs []runtime.TensorSpec) []string {
	names := make([]string, len(specs))
	for i, spec := range specs {
		names[i] = spec.Name
	}
	return names
}

func (s *session) Inputs() []runtime.TensorSpec  { return s.inputs }
func (s *session) Outputs() []runtime.TensorSpec { return s.outputs }

// Run implements runtime.Session.
func (s *session) Run(ctx context.Context, inputs, outputs []runtime.Tensor) error {
	s.running.RLock()
	defer s.running.RUnlock()
	if s.session == nil {
		return fmt.Errorf("run graph %q: %w", s.name, runtime.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := runtime.CheckRun(s.inputs, s.outputs, inputs, outputs); err != nil {
		return fmt.Errorf("run graph %q: %w", s.name, err)
	}
	c := s.calls.Get().(*call)
	defer s.calls.Put(c)
	defer c.free()
	err := c.bind(inputs, outputs)
	if err == nil {
		err = c.run(ctx, s)
	}
	if err == nil {
		err = c.collect(outputs)
	}
	if err == nil {
		return nil
	}
	if s.onGPU {
		err = deviceError(err)
	}
	var device *runtime.DeviceError
	if ctx.Err() != nil && !errors.As(err, &device) { // a broken device must be known, also when nobody waits
		return ctx.Err()
	}
	return fmt.Errorf("run graph %q: %w", s.name, err)
}

// Close implements runtime.Session.
func (s *session) Close() error {
	s.running.Lock()
	defer s.running.Unlock()
	if s.session == nil {
		return fmt.Errorf("close graph %q: %w", s.name, runtime.ErrClosedTwice)
	}
	err := s.session.Destroy()
	s.session = nil
	s.inputNames.free()
	s.outputNames.free()
	s.runtime.sessionClosed()
	return err
}
