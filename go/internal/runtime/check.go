package runtime

import "fmt"

// Elements is the product of a shape; -1 when a dimension is negative or the product overflows.
func Elements(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		if d < 0 || (d > 0 && n > (1<<62)/d) {
			return -1
		}
		n *= d
	}
	return n
}

// Len is the number of elements of the slice that t's DType uses.
func (t *Tensor) Len() int {
	switch t.DType {
	case Float32:
		return len(t.F32)
	case Int64:
		return len(t.I64)
	case Bool:
		return len(t.Bool)
	}
	return 0
}

// Check says why t does not fit spec: dtype, rank, a fixed dimension, or a slice that is not as long as
// the shape.
func (t *Tensor) Check(spec *TensorSpec) error {
	if t.DType != spec.DType {
		return fmt.Errorf("tensor %q is %s, the graph takes %s", spec.Name, t.DType, spec.DType)
	}
	fits := len(t.Shape) == len(spec.Shape)
	for i := 0; fits && i < len(t.Shape); i++ {
		fits = spec.Shape[i] < 0 || spec.Shape[i] == t.Shape[i]
	}
	if !fits {
		return fmt.Errorf("tensor %q has shape %v, the graph takes %v", spec.Name, t.Shape, spec.Shape)
	}
	if n := Elements(t.Shape); n != int64(t.Len()) {
		return fmt.Errorf("tensor %q has %d elements, shape %v needs %d", spec.Name, t.Len(), t.Shape, n)
	}
	return nil
}

// CheckRun holds the tensors of a Run against the graph's specs: every runtime refuses what does not fit
// before it computes anything.
func CheckRun(inputSpecs, outputSpecs []TensorSpec, inputs, outputs []Tensor) error {
	if len(inputs) != len(inputSpecs) || len(outputs) != len(outputSpecs) {
		return fmt.Errorf("%w: got %d and %d, the graph has %d and %d", ErrArity, len(inputs), len(outputs), len(inputSpecs), len(outputSpecs))
	}
	for i := range inputs {
		if err := inputs[i].Check(&inputSpecs[i]); err != nil {
			return fmt.Errorf("input: %w", err)
		}
	}
	for i := range outputs {
		if outputs[i].Shape == nil {
			continue
		}
		if err := outputs[i].Check(&outputSpecs[i]); err != nil {
			return fmt.Errorf("output: %w", err)
		}
	}
	return nil
}
