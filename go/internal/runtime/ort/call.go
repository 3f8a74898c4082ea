package ort

/*
#include "shim.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"unsafe"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// call is the tensors of one run; calls are reused, so that a run allocates nothing of its own. ONNX Runtime
// sees the caller's Go memory directly: it is pinned until the run is over.
type call struct {
	tensors []C.shim_tensor // inputs, then outputs
	pins    []goruntime.Pinner

	options *C.OrtRunOptions

	// Of the watch: what ends the run, whether it did, and where the run stands in its list.
	ctx   context.Context
	ended bool
	place int
}

// perPinner is how many objects a Pinner of the Go runtime holds without allocating.
const perPinner = 5

func newCall(tensors int) *call {
	return &call{tensors: make([]C.shim_tensor, tensors), pins: make([]goruntime.Pinner, tensors/perPinner+1)}
}

// elementTypes are ONNXTensorElementDataType.
var elementTypes = [...]C.int32_t{runtime.Float32: 1, runtime.Int64: 7, runtime.Bool: 9}

// bind describes the tensors to ONNX Runtime; an output without a shape is left for it to allocate.
func (c *call) bind(inputs, outputs []runtime.Tensor) error {
	for i := range inputs {
		if err := c.set(i, &inputs[i]); err != nil {
			return err
		}
	}
	for i := range outputs {
		if outputs[i].Shape == nil {
			c.tensors[len(inputs)+i] = C.shim_tensor{}
		} else if err := c.set(len(inputs)+i, &outputs[i]); err != nil {
			return err
		}
	}
	return nil
}

func (c *call) set(i int, from *runtime.Tensor) error {
	to := &c.tensors[i]
	if len(from.Shape) > C.SHIM_MAX_RANK {
		return fmt.Errorf("a tensor has %d dimensions where %d are possible", len(from.Shape), C.SHIM_MAX_RANK)
	}
	for d, n := range from.Shape {
		to.shape[d] = C.int64_t(n)
	}
	to.rank, to._type = C.int32_t(len(from.Shape)), elementTypes[from.DType]
	size := 0
	switch from.DType {
	case runtime.Float32:
		to.data, size = unsafe.Pointer(unsafe.SliceData(from.F32)), 4
	case runtime.Int64:
		to.data, size = unsafe.Pointer(unsafe.SliceData(from.I64)), 8
	default:
		to.data, size = unsafe.Pointer(unsafe.SliceData(from.Bool)), 1
	}
	to.bytes = C.size_t(from.Len() * size)
	if to.bytes == 0 {
		to.data = unsafe.Pointer(&C.shim_empty)
	} else {
		c.pins[i/perPinner].Pin(to.data)
	}
	return nil
}

// run executes the graph. A context that can end has run options, whose terminate flag ONNX Runtime looks at
// between nodes.
func (c *call) run(ctx context.Context, s *session) (err error) {
	if ctx.Done() == nil {
		return c.cross(s, nil)
	}
	if c.options, err = s.runtime.options.take(); err != nil {
		return err
	}
	s.runtime.watch.add(ctx, c)
	defer func() { // after a panic too: the watch must not find the options of another run
		err = errors.Join(err, s.runtime.watch.remove(c))
		s.runtime.options.put(c.options)
	}()
	return c.cross(s, c.options)
}

func (c *call) cross(s *session, options *C.OrtRunOptions) error {
	return statusError(C.shim_run(s.pointer, options, s.inputNames.first(), C.size_t(len(s.inputs)),
		s.outputNames.first(), C.size_t(len(s.outputs)), &c.tensors[0]))
}

// collect copies the outputs that ONNX Runtime allocated to the caller.
func (c *call) collect(outputs []runtime.Tensor) error {
	for i := range outputs {
		t := &c.tensors[len(c.tensors)-len(outputs)+i]
		if t.value == nil {
			continue
		}
		if t.rank > C.SHIM_MAX_RANK {
			return fmt.Errorf("output %d has %d dimensions where %d are possible", i, t.rank, C.SHIM_MAX_RANK)
		}
		shape := make([]int64, t.rank)
		for j := range shape {
			shape[j] = int64(t.shape[j])
		}
		n := runtime.Elements(shape)
		switch t._type {
		case elementTypes[runtime.Float32]:
			outputs[i] = runtime.Floats(copied[float32](t.data, n), shape...)
		case elementTypes[runtime.Int64]:
			outputs[i] = runtime.Ints(copied[int64](t.data, n), shape...)
		case elementTypes[runtime.Bool]:
			outputs[i] = runtime.Bools(copied[bool](t.data, n), shape...)
		default:
			return fmt.Errorf("output %d is not a float32, int64 or bool tensor", i)
		}
	}
	return nil
}

func copied[T any](from unsafe.Pointer, n int64) []T {
	to := make([]T, n)
	copy(to, unsafe.Slice((*T)(from), n))
	return to
}

// free lets go of the caller's memory and of what ONNX Runtime allocated.
func (c *call) free() {
	for i := range c.tensors {
		if value := c.tensors[i].value; value != nil {
			C.shim_release_value(value)
		}
		c.tensors[i].data, c.tensors[i].value = nil, nil
	}
	c.options = nil
	for i := range c.pins {
		c.pins[i].Unpin()
	}
}
