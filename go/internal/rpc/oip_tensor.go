package rpc

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/shortlist-serving/shortlist/go/gen/inference"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

func datatype(d runtime.DType) string {
	switch d {
	case runtime.Float32:
		return "FP32"
	case runtime.Int64:
		return "INT64"
	}
	return "BOOL"
}

func elementBytes(d runtime.DType) int64 {
	switch d {
	case runtime.Float32:
		return 4
	case runtime.Int64:
		return 8
	}
	return 1
}

// decodeInputs checks the inputs of a call against the graph and decodes them, in the order of specs. The
// tensors are only of use when no fault was added.
func decodeInputs(in *inference.ModelInferRequest, specs []runtime.TensorSpec, faults *rank.Faults) []runtime.Tensor {
	tensors := make([]runtime.Tensor, len(specs))
	given := make([]bool, len(specs))
	raw := in.GetRawInputContents()
	if len(raw) > 0 && len(raw) != len(in.GetInputs()) {
		faults.Add("raw_input_contents", rank.ReasonInvalidField,
			fmt.Sprintf("has %d entries for %d inputs", len(raw), len(in.GetInputs())), "send one an input, or none")
		return nil
	}
	for i, input := range in.GetInputs() {
		path := fmt.Sprintf("inputs[%d]", i)
		at := slices.IndexFunc(specs, func(spec runtime.TensorSpec) bool { return spec.Name == input.GetName() })
		if at < 0 {
			faults.Add(path+".name", rank.ReasonInvalidField, "is no input of the model", fmt.Sprintf("the inputs are %v", names(specs)))
			continue
		}
		if given[at] {
			faults.Add(path+".name", rank.ReasonInvalidField, "is given twice", "send each input once")
			continue
		}
		given[at] = true
		count, ok := checkShape(path, input, specs[at], faults)
		if !ok {
			continue
		}
		shape := slices.Clone(input.GetShape())
		if len(raw) > 0 {
			tensors[at] = decodeRaw(path, fmt.Sprintf("raw_input_contents[%d]", i), input, raw[i], specs[at].DType, shape, count, faults)
		} else {
			tensors[at] = decodeTyped(path, input.GetContents(), specs[at].DType, shape, count, faults)
		}
	}
	for at, spec := range specs {
		if !given[at] {
			faults.Add("inputs", rank.ReasonMissingField, fmt.Sprintf("input %q is missing", spec.Name), "send every input of the model's metadata")
		}
	}
	return tensors
}

// maxElements bounds a tensor, so that no product of dimensions overflows.
const maxElements = 1 << 31

func checkShape(path string, input *inference.ModelInferRequest_InferInputTensor, spec runtime.TensorSpec, faults *rank.Faults) (count int64, ok bool) {
	if want := datatype(spec.DType); input.GetDatatype() != want {
		problem := fmt.Sprintf("the model takes %s", want)
		if input.GetDatatype() == "FP16" {
			problem = "FP16 is not taken: the graphs are " + want + " at their borders"
		}
		faults.Add(path+".datatype", rank.ReasonWrongType, problem, "convert the tensor")
		return 0, false
	}
	shape := input.GetShape()
	fits := len(shape) == len(spec.Shape)
	count = 1
	for d := 0; fits && d < len(shape); d++ {
		fits = shape[d] >= 0 && (spec.Shape[d] < 0 || spec.Shape[d] == shape[d]) && shape[d] <= maxElements
		if count *= shape[d]; count > maxElements {
			fits = false
		}
	}
	if !fits {
		faults.Add(path+".shape", rank.ReasonInvalidField, fmt.Sprintf("does not fit %v", spec.Shape), "-1 stands for any size")
		return 0, false
	}
	return count, true
}

func decodeRaw(path, rawPath string, input *inference.ModelInferRequest_InferInputTensor, raw []byte, dtype runtime.DType, shape []int64, count int64, faults *rank.Faults) runtime.Tensor {
	if input.GetContents() != nil {
		faults.Add(path+".contents", rank.ReasonInvalidField, "is set beside raw_input_contents", "send one of them")
		return runtime.Tensor{}
	}
	if int64(len(raw)) != count*elementBytes(dtype) {
		faults.Add(rawPath, rank.ReasonInvalidField, fmt.Sprintf("has %d bytes where the shape needs %d", len(raw), count*elementBytes(dtype)),
			"send row-major little-endian numbers")
		return runtime.Tensor{}
	}
	switch dtype {
	case runtime.Float32:
		data := make([]float32, count)
		for i := range data {
			data[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		return runtime.Floats(data, shape...)
	case runtime.Int64:
		data := make([]int64, count)
		for i := range data {
			data[i] = int64(binary.LittleEndian.Uint64(raw[8*i:]))
		}
		return runtime.Ints(data, shape...)
	}
	data := make([]bool, count)
	for i := range data {
		data[i] = raw[i] != 0
	}
	return runtime.Bools(data, shape...)
}

func decodeTyped(path string, contents *inference.InferTensorContents, dtype runtime.DType, shape []int64, count int64, faults *rank.Faults) runtime.Tensor {
	var tensor runtime.Tensor
	var field string
	var have int
	switch dtype {
	case runtime.Float32:
		tensor, field, have = runtime.Floats(contents.GetFp32Contents(), shape...), "fp32_contents", len(contents.GetFp32Contents())
	case runtime.Int64:
		tensor, field, have = runtime.Ints(contents.GetInt64Contents(), shape...), "int64_contents", len(contents.GetInt64Contents())
	default:
		tensor, field, have = runtime.Bools(contents.GetBoolContents(), shape...), "bool_contents", len(contents.GetBoolContents())
	}
	if int64(have) != count {
		faults.Add(path+".contents."+field, rank.ReasonInvalidField, fmt.Sprintf("has %d elements where the shape needs %d", have, count),
			"send the tensor here or in raw_input_contents")
	}
	return tensor
}

// encodeOutputs writes the wanted outputs as raw contents, which every client reads.
func encodeOutputs(out *inference.ModelInferResponse, specs []runtime.TensorSpec, tensors []runtime.Tensor, wanted []bool) {
	for i, spec := range specs {
		if !wanted[i] {
			continue
		}
		out.Outputs = append(out.Outputs, &inference.ModelInferResponse_InferOutputTensor{
			Name: spec.Name, Datatype: datatype(tensors[i].DType), Shape: tensors[i].Shape})
		out.RawOutputContents = append(out.RawOutputContents, rawBytes(tensors[i]))
	}
}

func rawBytes(t runtime.Tensor) []byte {
	switch t.DType {
	case runtime.Float32:
		raw := make([]byte, 0, 4*len(t.F32))
		for _, v := range t.F32 {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
		return raw
	case runtime.Int64:
		raw := make([]byte, 0, 8*len(t.I64))
		for _, v := range t.I64 {
			raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
		}
		return raw
	}
	raw := make([]byte, len(t.Bool))
	for i, v := range t.Bool {
		if v {
			raw[i] = 1
		}
	}
	return raw
}
