package ort

import (
	"context"
	"errors"
	"fmt"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// call is the values of one run. ONNX Runtime sees the caller's Go memory directly: heap objects do not
// move, and the caller's slices keep them alive until the run is over.
type call struct {
	inputs, outputs []ort.Value
}

// bind makes a value of each input, and of each output that is to be written in place.
func (c *call) bind(inputs, outputs []runtime.Tensor) (err error) {
	for i := range inputs {
		if c.inputs[i], err = valueOf(&inputs[i]); err != nil {
			return err
		}
	}
	for i := range outputs {
		if outputs[i].Shape == nil {
			continue // stays nil: ONNX Runtime allocates it
		}
		if c.outputs[i], err = valueOf(&outputs[i]); err != nil {
			return err
		}
	}
	return nil
}

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

// tensorOf returns an untyped nil on failure, which free can tell from a value.
func tensorOf[T ort.TensorData](shape []int64, data []T) (ort.Value, error) {
	value, err := ort.NewTensor(shape, data)
	if err != nil {
		return nil, err
	}
	return value, nil
}

// run executes the graph. A context that can end has its own run options, whose terminate flag ONNX Runtime
// looks at between nodes.
func (c *call) run(ctx context.Context, session *ort.DynamicAdvancedSession, free *optionList) error {
	if ctx.Done() == nil {
		return session.RunWithOptions(c.inputs, c.outputs, nil)
	}
	options, err := free.take()
	if err != nil {
		return err
	}
	terminated := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { terminated <- options.Terminate() })
	err = session.RunWithOptions(c.inputs, c.outputs, options)
	if !stop() {
		// The function runs or ran: the options may be touched, and freed, only after it is done.
		err = errors.Join(err, <-terminated, options.UnsetTerminate())
	}
	free.put(options)
	return err
}

// optionList keeps run options for reuse, each as good as new. They are C memory, so a sync.Pool, which
// drops what it holds, would leak them.
type optionList struct {
	free chan *ort.RunOptions
}

func newOptionList() *optionList { return &optionList{free: make(chan *ort.RunOptions, 64)} }

func (l *optionList) take() (*ort.RunOptions, error) {
	select {
	case options := <-l.free:
		return options, nil
	default:
		return ort.NewRunOptions()
	}
}

func (l *optionList) put(options *ort.RunOptions) {
	select {
	case l.free <- options:
	default:
		_ = options.Destroy() // cannot fail
	}
}

// drain frees what is kept; nothing may be running.
func (l *optionList) drain() {
	for len(l.free) > 0 {
		_ = (<-l.free).Destroy()
	}
}

// collect hands the outputs that ONNX Runtime allocated to the caller.
func (c *call) collect(outputs []runtime.Tensor) error {
	for i := range outputs {
		if outputs[i].Shape != nil {
			continue
		}
		switch value := c.outputs[i].(type) {
		case *ort.Tensor[float32]:
			outputs[i] = runtime.Floats(value.GetData(), value.GetShape()...)
		case *ort.Tensor[int64]:
			outputs[i] = runtime.Ints(value.GetData(), value.GetShape()...)
		case *ort.Tensor[bool]:
			outputs[i] = runtime.Bools(value.GetData(), value.GetShape()...)
		default:
			return fmt.Errorf("output %d is not a float32, int64 or bool tensor", i)
		}
	}
	return nil
}

// free releases the values; the memory behind them is Go's.
func (c *call) free() {
	for _, values := range [...][]ort.Value{c.inputs, c.outputs} {
		for i, value := range values {
			if value != nil {
				_ = value.Destroy() // cannot fail on a value that was made
				values[i] = nil
			}
		}
	}
}
