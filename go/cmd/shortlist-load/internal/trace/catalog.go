package trace

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"

	pb "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
)

// maxHeader is the limit that the safetensors format sets itself.
const maxHeader = 100 << 20

type tensor struct {
	DType   string   `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// catalogIDs reads only the ids of catalog/items.safetensors (docs/bundle.md): I64 `id`, or the text list `id`.
func catalogIDs(path string) (*pb.ItemIds, error) {
	fault := func(format string, args ...any) (*pb.ItemIds, error) {
		return nil, fmt.Errorf("read catalog %s: %w; export the release again, or use -trace", path, fmt.Errorf(format, args...))
	}
	file, err := os.Open(path)
	if err != nil {
		return fault("%w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return fault("%w", err)
	}
	var size uint64
	if err := binary.Read(file, binary.LittleEndian, &size); err != nil || size > maxHeader || int64(size)+8 > info.Size() {
		return fault("not a safetensors file")
	}
	header := make([]byte, size)
	if _, err := io.ReadFull(file, header); err != nil {
		return fault("%w", err)
	}
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(header, &entries); err != nil {
		return fault("its header is not JSON: %w", err)
	}
	body := 8 + int64(size)
	read := func(name, dtype string) ([]byte, error) {
		var t tensor
		if entries[name] == nil {
			return nil, fmt.Errorf("it holds neither tensor \"id\" nor %q", name)
		}
		if err := json.Unmarshal(entries[name], &t); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		if t.DType != dtype || t.Offsets[0] < 0 || t.Offsets[1] < t.Offsets[0] || t.Offsets[1] > info.Size()-body {
			return nil, fmt.Errorf("tensor %q: want %s inside the file, got %s at %v", name, dtype, t.DType, t.Offsets)
		}
		data := make([]byte, t.Offsets[1]-t.Offsets[0])
		_, err := file.ReadAt(data, body+t.Offsets[0])
		return data, err
	}
	if _, ok := entries["id"]; ok {
		data, err := read("id", "I64")
		if err != nil {
			return fault("%w", err)
		}
		return &pb.ItemIds{Ints: int64s(data)}, nil
	}
	text, err := read("id.bytes", "U8")
	if err != nil {
		return fault("%w", err)
	}
	data, err := read("id.offsets", "I64")
	if err != nil {
		return fault("%w", err)
	}
	ids, offsets := &pb.ItemIds{}, int64s(data)
	for i := 1; i < len(offsets); i++ {
		from, to := offsets[i-1], offsets[i]
		if from < 0 || to < from || to > int64(len(text)) {
			return fault("tensor \"id.offsets\" is not ascending at %d", i)
		}
		ids.Strings = append(ids.Strings, string(text[from:to]))
	}
	return ids, nil
}

func int64s(data []byte) []int64 {
	values := make([]int64, len(data)/8)
	for i := range values {
		values[i] = int64(binary.LittleEndian.Uint64(data[i*8:]))
	}
	return values
}
