package ranktest

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"testing"
)

// TensorFile collects tensors and encodes them as a safetensors file.
type TensorFile struct {
	names  []string
	header map[string]any
	data   []byte
}

// NewTensorFile makes an empty file.
func NewTensorFile() *TensorFile { return &TensorFile{header: map[string]any{}} }

// Floats adds an F32 tensor.
func (f *TensorFile) Floats(name string, values []float32, shape ...int) *TensorFile {
	data := make([]byte, 0, 4*len(values))
	for _, x := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
	}
	return f.Raw(name, "F32", data, shape...)
}

// Ints adds an I64 tensor.
func (f *TensorFile) Ints(name string, values []int64, shape ...int) *TensorFile {
	data := make([]byte, 0, 8*len(values))
	for _, x := range values {
		data = binary.LittleEndian.AppendUint64(data, uint64(x))
	}
	return f.Raw(name, "I64", data, shape...)
}

// Int32s adds an I32 tensor.
func (f *TensorFile) Int32s(name string, values []int32, shape ...int) *TensorFile {
	data := make([]byte, 0, 4*len(values))
	for _, x := range values {
		data = binary.LittleEndian.AppendUint32(data, uint32(x))
	}
	return f.Raw(name, "I32", data, shape...)
}

// Texts adds a text list.
func (f *TensorFile) Texts(name string, texts ...string) *TensorFile {
	offsets := []int64{0}
	var data []byte
	for _, text := range texts {
		data = append(data, text...)
		offsets = append(offsets, int64(len(data)))
	}
	f.Raw(name+".bytes", "U8", data, len(data))
	return f.Ints(name+".offsets", offsets, len(offsets))
}

// Raw adds a tensor of any dtype.
func (f *TensorFile) Raw(name, dtype string, data []byte, shape ...int) *TensorFile {
	if shape == nil {
		shape = []int{}
	}
	f.header[name] = map[string]any{"dtype": dtype, "shape": shape, "data_offsets": []int{len(f.data), len(f.data) + len(data)}}
	f.names = append(f.names, name)
	f.data = append(f.data, data...)
	return f
}

// Bytes is the encoded file. The header is padded so that data begins at a multiple of 8.
func (f *TensorFile) Bytes(t testing.TB) []byte {
	t.Helper()
	header, err := json.Marshal(f.header)
	if err != nil {
		t.Fatal(err)
	}
	for len(header)%8 != 0 {
		header = append(header, ' ')
	}
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header, f.data)
}
