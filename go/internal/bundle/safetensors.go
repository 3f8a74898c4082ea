package bundle

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"unicode/utf8"
	"unsafe"
)

// maxTensorHeader bounds the JSON header of a tensor file; a golden file of 1,000 cases needs about 4 MiB.
const maxTensorHeader = 64 << 20

// element sizes of the safetensors dtypes that bundles use.
var elementSizes = map[string]int64{"F32": 4, "I64": 8, "I32": 4, "BOOL": 1, "U8": 1}

// Tensors is a parsed safetensors file: named arrays over the bytes of the file.
type Tensors struct {
	file    string
	tensors map[string]tensorView
}

type tensorView struct {
	dtype string
	shape []int64
	data  []byte
}

type tensorHeader struct {
	DType   string   `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// ParseTensors checks the whole header against data and returns views into it, without copies where
// alignment allows. data must not change afterwards. file is for messages.
func ParseTensors(file string, data []byte) (*Tensors, error) {
	bad := func(format string, args ...any) (*Tensors, error) {
		return nil, refuse(file, "safetensors", fixExport, format, args...)
	}
	if len(data) < 8 {
		return bad("the file has %d bytes, too few for a header length", len(data))
	}
	n := binary.LittleEndian.Uint64(data)
	if n > maxTensorHeader || n > uint64(len(data)-8) {
		return bad("the header length is %d, but the file has %d bytes and %d is the limit", n, len(data), maxTensorHeader)
	}
	headers, err := decodeHeader(data[8 : 8+n])
	if err != nil {
		return bad("the header is not valid: %v", err)
	}
	body := data[8+n:]
	t := &Tensors{file: file, tensors: make(map[string]tensorView, len(headers))}
	for name, h := range headers {
		size, err := h.byteSize()
		if err != nil {
			return bad("tensor %q: %v", name, err)
		}
		from, to := h.Offsets[0], h.Offsets[1]
		if from < 0 || from > to || to > int64(len(body)) {
			return bad("tensor %q: data_offsets [%d,%d] are outside the %d bytes of data", name, from, to, len(body))
		}
		if to-from != size {
			return bad("tensor %q: dtype and shape need %d bytes, data_offsets give %d", name, size, to-from)
		}
		t.tensors[name] = tensorView{h.DType, h.Shape, body[from:to:to]}
	}
	// The tensors must tile the data: no byte is unnamed or named twice.
	order := slices.SortedFunc(maps.Values(headers), func(a, b tensorHeader) int {
		if a.Offsets[0] != b.Offsets[0] {
			return int(min(max(a.Offsets[0]-b.Offsets[0], -1), 1))
		}
		return int(min(max(a.Offsets[1]-b.Offsets[1], -1), 1))
	})
	end := int64(0)
	for _, h := range order {
		if h.Offsets[0] != end {
			return bad("data_offsets leave a gap or overlap at byte %d", end)
		}
		end = h.Offsets[1]
	}
	if end != int64(len(body)) {
		return bad("%d bytes follow the last tensor", int64(len(body))-end)
	}
	return t, nil
}

// decodeHeader reads the JSON object by hand: the standard decoder would let a repeated name win silently.
func decodeHeader(header []byte) (map[string]tensorHeader, error) {
	dec := json.NewDecoder(bytes.NewReader(header))
	dec.DisallowUnknownFields()
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, fmt.Errorf("it is not a JSON object")
	}
	headers := map[string]tensorHeader{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := tok.(string)
		if name == "__metadata__" {
			var metadata map[string]string
			if err := dec.Decode(&metadata); err != nil {
				return nil, fmt.Errorf("__metadata__: %w", err)
			}
			continue
		}
		var h tensorHeader
		if err := dec.Decode(&h); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		if _, ok := headers[name]; ok {
			return nil, fmt.Errorf("tensor %q is named twice", name)
		}
		headers[name] = h
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("text follows the JSON object")
	}
	return headers, nil
}

func (h tensorHeader) byteSize() (int64, error) {
	size, ok := elementSizes[h.DType]
	if !ok {
		return 0, fmt.Errorf("dtype %q is not one of F32, I64, I32, BOOL, U8", h.DType)
	}
	if h.Shape == nil || len(h.Shape) > 8 {
		return 0, fmt.Errorf("the shape is missing or has more than 8 dimensions")
	}
	for _, d := range h.Shape {
		if d < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", h.Shape)
		}
		if d > 0 && size > math.MaxInt64/d {
			return 0, fmt.Errorf("shape %v overflows", h.Shape)
		}
		size *= d
	}
	return size, nil
}

// Names in ascending order.
func (t *Tensors) Names() []string { return slices.Sorted(maps.Keys(t.tensors)) }

// Has says whether there is a tensor of this name.
func (t *Tensors) Has(name string) bool {
	_, ok := t.tensors[name]
	return ok
}

// Floats is an F32 tensor and its shape.
func (t *Tensors) Floats(name string) ([]float32, []int64, error) {
	v, err := t.view(name, "F32")
	if err != nil {
		return nil, nil, err
	}
	if aligned(v.data, 4) {
		return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(v.data))), len(v.data)/4), v.shape, nil
	}
	out := make([]float32, len(v.data)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(v.data[4*i:]))
	}
	return out, v.shape, nil
}

// Ints is an I64 tensor and its shape.
func (t *Tensors) Ints(name string) ([]int64, []int64, error) {
	v, err := t.view(name, "I64")
	if err != nil {
		return nil, nil, err
	}
	if aligned(v.data, 8) {
		return unsafe.Slice((*int64)(unsafe.Pointer(unsafe.SliceData(v.data))), len(v.data)/8), v.shape, nil
	}
	out := make([]int64, len(v.data)/8)
	for i := range out {
		out[i] = int64(binary.LittleEndian.Uint64(v.data[8*i:]))
	}
	return out, v.shape, nil
}

// Int32s is an I32 tensor and its shape.
func (t *Tensors) Int32s(name string) ([]int32, []int64, error) {
	v, err := t.view(name, "I32")
	if err != nil {
		return nil, nil, err
	}
	if aligned(v.data, 4) {
		return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(v.data))), len(v.data)/4), v.shape, nil
	}
	out := make([]int32, len(v.data)/4)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint32(v.data[4*i:]))
	}
	return out, v.shape, nil
}

// Bools is a BOOL tensor and its shape.
func (t *Tensors) Bools(name string) ([]bool, []int64, error) {
	v, err := t.view(name, "BOOL")
	if err != nil {
		return nil, nil, err
	}
	out := make([]bool, len(v.data)) // copied: a byte other than 0 and 1 is not a valid bool
	for i, b := range v.data {
		out[i] = b != 0
	}
	return out, v.shape, nil
}

// Texts is the text list of this name, the tensors name.bytes and name.offsets.
func (t *Tensors) Texts(name string) (Texts, error) {
	raw, err := t.view(name+".bytes", "U8")
	if err != nil {
		return Texts{}, err
	}
	offsets, shape, err := t.Ints(name + ".offsets")
	if err != nil {
		return Texts{}, err
	}
	bad := func(format string, args ...any) (Texts, error) {
		return Texts{}, refuse(t.file, "text list", fixFactory, "%q: "+format, append([]any{name}, args...)...)
	}
	if len(shape) != 1 || len(raw.shape) != 1 || len(offsets) == 0 {
		return bad("bytes and offsets must be one-dimensional, with at least one offset")
	}
	if offsets[0] != 0 || offsets[len(offsets)-1] != int64(len(raw.data)) {
		return bad("offsets must go from 0 to %d, the number of bytes", len(raw.data))
	}
	for i := range len(offsets) - 1 {
		if offsets[i] > offsets[i+1] || offsets[i+1] > int64(len(raw.data)) {
			return bad("offset %d is not between its neighbours", i+1)
		}
		if !utf8.Valid(raw.data[offsets[i]:offsets[i+1]]) {
			return bad("text %d is not UTF-8", i)
		}
	}
	return Texts{bytes: raw.data, offsets: offsets}, nil
}

// finite refuses any F32 tensor that holds NaN or infinity.
func (t *Tensors) finite() error {
	for _, name := range t.Names() {
		if t.tensors[name].dtype != "F32" {
			continue
		}
		values, _, err := t.Floats(name)
		if err != nil {
			return err
		}
		for i, x := range values {
			if x != x || math.Abs(float64(x)) > math.MaxFloat32 {
				return refuse(t.file, "finite", fixExport, "tensor %q: element %d is %v", name, i, x)
			}
		}
	}
	return nil
}

func (t *Tensors) view(name, dtype string) (tensorView, error) {
	v, ok := t.tensors[name]
	if !ok {
		return v, refuse(t.file, "tensor", fixFactory, "tensor %q is missing", name)
	}
	if v.dtype != dtype {
		return v, refuse(t.file, "tensor", fixFactory, "tensor %q is %s, not %s", name, v.dtype, dtype)
	}
	return v, nil
}

// floatsOf, intsOf and int32sOf are Floats, Ints and Int32s with the shape checked.
func (t *Tensors) floatsOf(name string, shape ...int64) ([]float32, error) {
	values, got, err := t.Floats(name)
	if err != nil {
		return nil, err
	}
	return values, t.checkShape(name, got, shape)
}

func (t *Tensors) intsOf(name string, shape ...int64) ([]int64, error) {
	values, got, err := t.Ints(name)
	if err != nil {
		return nil, err
	}
	return values, t.checkShape(name, got, shape)
}

func (t *Tensors) int32sOf(name string, shape ...int64) ([]int32, error) {
	values, got, err := t.Int32s(name)
	if err != nil {
		return nil, err
	}
	return values, t.checkShape(name, got, shape)
}

func (t *Tensors) checkShape(name string, got, want []int64) error {
	if !slices.Equal(got, want) {
		return refuse(t.file, "shape", fixFactory, "tensor %q has shape %v, not %v", name, got, want)
	}
	return nil
}

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// aligned says whether data can be viewed as elements of size bytes on this machine.
func aligned(data []byte, size uintptr) bool {
	return littleEndian && uintptr(unsafe.Pointer(unsafe.SliceData(data)))%size == 0
}
