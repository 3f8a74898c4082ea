package feature

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// The vectors that both languages run. An unknown section or field fails, so that nothing is skipped.
type vectors struct {
	Normalise []struct {
		In, Out string
	}
	Tokens []struct {
		In  string
		Out []string
	}
	Hash []struct {
		In      string
		Buckets uint32
		ID      int64
	}
	Encode []struct {
		Column json.RawMessage
		Raw    any
		Out    []json.Number
	}
	Segment []struct {
		Column json.RawMessage
		Raw    any
		Out    *string
	}
	Window []struct {
		N         int64
		MaxEvents uint32 `json:"max_events"`
		Step      uint32
		Start     int64
	}
}

func readVectors(t *testing.T) *vectors {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "tests", "cases", "features.json"))
	if err != nil {
		t.Fatal(err)
	}
	v := &vectors{}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	dec.UseNumber()
	if err := dec.Decode(v); err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int{
		"normalise": len(v.Normalise), "tokens": len(v.Tokens), "hash": len(v.Hash),
		"encode": len(v.Encode), "segment": len(v.Segment), "window": len(v.Window),
	} {
		if n == 0 {
			t.Errorf("section %s is empty", name)
		}
	}
	return v
}

func TestSharedVectors(t *testing.T) {
	t.Parallel()
	v := readVectors(t)
	for _, c := range v.Normalise {
		if got := Normalise(c.In); got != c.Out {
			t.Errorf("Normalise(%q) = %q, want %q", c.In, got, c.Out)
		}
	}
	for _, c := range v.Tokens {
		if got := strings.Fields(Normalise(c.In)); !slices.Equal(got, c.Out) {
			t.Errorf("tokens of %q = %q, want %q", c.In, got, c.Out)
		}
		ids := make([]int64, len(c.Out)+2)
		HashTokens(ids, c.In, 1000)
		for i, id := range ids {
			want := int64(0)
			if i < len(c.Out) {
				want = HashID(c.Out[i], 1000)
			}
			if id != want {
				t.Errorf("token %d of %q has id %d, want %d", i, c.In, id, want)
			}
		}
	}
	for _, c := range v.Hash {
		if got := HashID(c.In, c.Buckets); got != c.ID {
			t.Errorf("HashID(%q, %d) = %d, want %d", c.In, c.Buckets, got, c.ID)
		}
	}
	for _, c := range v.Window {
		if got := WindowStart(c.N, &bundlev1.HistoryWindow{MaxEvents: c.MaxEvents, Step: c.Step}); got != c.Start {
			t.Errorf("WindowStart(%d, max %d, step %d) = %d, want %d", c.N, c.MaxEvents, c.Step, got, c.Start)
		}
	}
}

func TestSharedColumnVectors(t *testing.T) {
	t.Parallel()
	v := readVectors(t)
	for _, c := range v.Encode {
		column := readColumn(t, c.Column)
		if column.GetOp() == bundlev1.Op_NUMBER {
			got, fault := NewColumn(column).EncodeNumber(readValue(t, c.Raw))
			want, _ := c.Out[0].Float64()
			if fault != nil || got != float32(want) || len(c.Out) != 1 {
				t.Errorf("%s of %v = %v, %v; want %v", column.GetName(), c.Raw, got, fault, c.Out)
			}
			continue
		}
		got := make([]int64, max(column.GetWidth(), 1))
		fault := NewColumn(column).EncodeIDs(got, readValue(t, c.Raw))
		want := make([]int64, len(c.Out))
		for i, n := range c.Out {
			want[i], _ = n.Int64()
		}
		if fault != nil || !slices.Equal(got, want) {
			t.Errorf("%s %s of %v = %v, %v; want %v", column.GetOp(), column.GetName(), c.Raw, got, fault, want)
		}
	}
	for _, c := range v.Segment {
		column := readColumn(t, c.Column)
		got, ok := NewColumn(column).Segment(readValue(t, c.Raw))
		if ok != (c.Out != nil) || (ok && got != *c.Out) {
			t.Errorf("segment of %s %v = %q, %v; want %v", column.GetName(), c.Raw, got, ok, c.Out)
		}
	}
}

func readColumn(t *testing.T, data json.RawMessage) *bundlev1.Column {
	t.Helper()
	column := &bundlev1.Column{}
	if err := protojson.Unmarshal(data, column); err != nil {
		t.Fatal(err)
	}
	return column
}

// readValue makes a wire value of a JSON one: a number with a point or exponent is a number, else an integer.
func readValue(t *testing.T, raw any) rank.Value {
	t.Helper()
	switch raw := raw.(type) {
	case nil:
		return rank.Value{}
	case string:
		return rank.Value{Kind: rank.KindText, Text: raw}
	case json.Number:
		if n, err := raw.Int64(); err == nil {
			return rank.Value{Kind: rank.KindInteger, Integer: n}
		}
		x, err := raw.Float64()
		if err != nil {
			t.Fatal(err)
		}
		return rank.Value{Kind: rank.KindNumber, Number: x}
	case []any:
		v := rank.Value{Kind: rank.KindTexts}
		for _, text := range raw {
			v.Texts = append(v.Texts, text.(string))
		}
		return v
	}
	t.Fatalf("raw value %v has no wire form", raw)
	return rank.Value{}
}
