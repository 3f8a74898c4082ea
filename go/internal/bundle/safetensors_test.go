package bundle_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
)

func withHeader(header string, data ...byte) []byte {
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), []byte(header), data)
}

func TestParseTensors(t *testing.T) {
	t.Parallel()
	data := ranktest.NewTensorFile().Floats("f", []float32{1, -2, 0.5}, 3, 1).Ints("i", []int64{7, -8}, 2).
		Raw("b", "BOOL", []byte{1, 0}, 2).Texts("t", "ab", "", "ж").Bytes(t)
	// At an odd address every view must be a right copy.
	shifted := append(make([]byte, 1), data...)[1:]
	for name, data := range map[string][]byte{"aligned": data, "shifted": shifted} {
		tensors, err := bundle.ParseTensors("x", data)
		if err != nil {
			t.Fatal(err)
		}
		f, fShape, err1 := tensors.Floats("f")
		i, iShape, err2 := tensors.Ints("i")
		b, bShape, err3 := tensors.Bools("b")
		texts, err4 := tensors.Texts("t")
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintln(f, fShape, i, iShape, b, bShape, texts.Len(), texts.At(0), texts.At(1), texts.At(2))
		if want := "[1 -2 0.5] [3 1] [7 -8] [2] [true false] [2] 3 ab  ж\n"; got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
		if got := fmt.Sprint(tensors.Names()); got != "[b f i t.bytes t.offsets]" {
			t.Errorf("names %s", got)
		}
		for _, err := range []error{second(tensors.Floats("i")), second(tensors.Ints("f")), second(tensors.Bools("none"))} {
			mustRefuse(t, err, "x: tensor")
		}
	}
}

func second[T any](_ []T, _ []int64, err error) error { return err }

func TestParseTensorsRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		data []byte
		want string
	}{
		"empty":            {nil, "0 bytes"},
		"header too long":  {binary.LittleEndian.AppendUint64(nil, 1<<62), "header length"},
		"not JSON":         {withHeader(`[]`), "not a JSON object"},
		"cut JSON":         {withHeader(`{"a":`), "header is not valid"},
		"text after":       {withHeader(`{} {}`), "text follows"},
		"named twice":      {withHeader(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`), "named twice"},
		"unknown key":      {withHeader(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":1}}`), "unknown field"},
		"unknown dtype":    {withHeader(`{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}`, 0, 0), `"F16"`},
		"no shape":         {withHeader(`{"a":{"dtype":"U8","data_offsets":[0,1]}}`, 0), "shape"},
		"negative":         {withHeader(`{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}`, 0), "negative"},
		"overflow":         {withHeader(`{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}`), "overflows"},
		"outside":          {withHeader(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 0), "outside"},
		"reversed":         {withHeader(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}`, 0), "outside"},
		"size":             {withHeader(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,3]}}`, 0, 0, 0), "need 4 bytes"},
		"gap":              {withHeader(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 0, 0), "gap or overlap"},
		"overlap":          {withHeader(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 0, 0, 0), "gap or overlap"},
		"bytes after":      {withHeader(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 0, 0), "follow the last tensor"},
		"metadata no text": {withHeader(`{"__metadata__":{"a":1}}`), "__metadata__"},
	}
	for name, test := range tests {
		_, err := bundle.ParseTensors("x.safetensors", test.data)
		t.Run(name, func(t *testing.T) { mustRefuse(t, err, "x.safetensors: safetensors", test.want) })
	}
	if _, err := bundle.ParseTensors("x", withHeader(`{"__metadata__":{"a":"b"}}`)); err != nil {
		t.Errorf("metadata was refused: %v", err)
	}
}

func TestTextsRefuse(t *testing.T) {
	t.Parallel()
	list := func(bytes string, offsets ...int64) []byte {
		return ranktest.NewTensorFile().Raw("t.bytes", "U8", []byte(bytes), len(bytes)).Ints("t.offsets", offsets, len(offsets)).Bytes(t)
	}
	for name, data := range map[string][]byte{
		"no offsets":    list("ab"),
		"begin":         list("ab", 1, 2),
		"end":           list("ab", 0, 1),
		"descend":       list("ab", 0, 2, 1, 2),
		"beyond":        list("ab", 0, 9, 2),
		"negative":      list("ab", 0, -1, 2),
		"not UTF-8":     list("a\xff", 0, 1, 2),
		"cut code unit": list("ж", 0, 1, 2),
	} {
		tensors, err := bundle.ParseTensors("x", data)
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := tensors.Texts("t"); err == nil {
			t.Errorf("%s: was not refused", name)
		}
	}
}

// Any bytes parse to an error or to tensors that can all be read.
func FuzzParseTensors(f *testing.F) {
	f.Add(ranktest.NewTensorFile().Floats("f", []float32{1}, 1).Ints("i", []int64{1}, 1).Texts("t", "a", "b").Bytes(f))
	f.Add(withHeader(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 7))
	f.Add(withHeader(`{"a":{"dtype":"BOOL","shape":[2,0],"data_offsets":[0,0]},"__metadata__":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tensors, err := bundle.ParseTensors("x", data)
		if err != nil {
			return
		}
		total := 0
		for _, name := range tensors.Names() {
			floats, _, _ := tensors.Floats(name)
			ints, _, _ := tensors.Ints(name)
			bools, _, _ := tensors.Bools(name)
			total += 4*len(floats) + 8*len(ints) + len(bools)
			if texts, err := tensors.Texts(name); err == nil {
				for i := range texts.Len() {
					_ = texts.At(i)
				}
			}
		}
		if total > len(data) {
			t.Fatalf("%d bytes of tensors in %d bytes of file", total, len(data))
		}
	})
}
