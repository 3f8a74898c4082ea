// Package runtime is the one small door to whatever executes graphs. Package ort runs them with ONNX
// Runtime (the only cgo of the project), package fake computes them with Go functions, and package
// runtimetest holds the contract that both pass.
package runtime

import (
	"context"
	"fmt"
)

// DType is the element type of a Tensor.
type DType uint8

// The element types that graphs of a bundle use.
const (
	Float32 DType = iota + 1
	Int64
	Bool
)

func (d DType) String() string {
	switch d {
	case Float32:
		return "float32"
	case Int64:
		return "int64"
	case Bool:
		return "bool"
	}
	return fmt.Sprintf("dtype(%d)", uint8(d))
}

// Tensor is a dense row-major array.
//
// Invariants: the slice of its DType has exactly the product of Shape elements; the other slices are nil. The
// slice lies in memory of its own, in no struct that holds pointers: C sees it while a graph runs.
type Tensor struct {
	DType DType
	Shape []int64
	F32   []float32
	I64   []int64
	Bool  []bool
}

// Floats makes a float32 tensor over data, without copying.
func Floats(data []float32, shape ...int64) Tensor {
	return Tensor{DType: Float32, Shape: shape, F32: data}
}

// Ints makes an int64 tensor over data, without copying.
func Ints(data []int64, shape ...int64) Tensor {
	return Tensor{DType: Int64, Shape: shape, I64: data}
}

// Bools makes a bool tensor over data, without copying.
func Bools(data []bool, shape ...int64) Tensor {
	return Tensor{DType: Bool, Shape: shape, Bool: data}
}

// TensorSpec describes an input or output of a graph. A negative dimension is variable.
type TensorSpec struct {
	Name  string
	DType DType
	Shape []int64
}

// Session is a loaded graph. Run may be called from many goroutines.
type Session interface {
	Inputs() []TensorSpec
	Outputs() []TensorSpec
	// Run executes the graph. inputs are in the order of Inputs. outputs has one element per output; an
	// element whose Shape is set is written in place (its buffer must fit exactly), one whose Shape is nil
	// is allocated. Cancelling ctx stops the run between nodes and returns ctx.Err().
	Run(ctx context.Context, inputs, outputs []Tensor) error
	// Close frees the session; running calls finish first. Closing twice is an error of the caller.
	Close() error
}

// Runtime loads graphs. There is one per process.
type Runtime interface {
	// Load makes a session from the bytes of a graph; name is for messages only.
	Load(name string, graph []byte) (Session, error)
	// Provider is the execution provider that sessions really got: "cpu" or "cuda".
	Provider() string
	// Version is the version of the library, as "1.31.1".
	Version() string
	Close() error
}
