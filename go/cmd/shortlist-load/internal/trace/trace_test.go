package trace

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
)

const lines = `{"user": {"history": {"items": {"ints": ["1", "2"]}, "actions": ["click", "buy"], "times": ["100", "200"]}}, "limit": 5}

{"user": {"id": "u"}, "candidates": {"ints": ["2", "3", "4"]}}
`

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, text string) *Trace {
	t.Helper()
	tr, err := Open(write(t, filepath.Join(t.TempDir(), "requests.jsonl"), text))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func generator(t *testing.T, tr *Trace, mix Mix) *Generator {
	t.Helper()
	g, err := NewGenerator(tr, mix)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestRecordedRequestsAreReplayedAsTheyAre(t *testing.T) {
	tr := open(t, lines)
	if want := []int64{1, 2, 3, 4}; len(tr.Requests) != 2 || !slices.Equal(tr.Items.Ints, want) {
		t.Fatalf("%d requests, items %v", len(tr.Requests), tr.Items.Ints)
	}
	g := generator(t, tr, Mix{})
	kinds := map[Kind]bool{}
	for i := range uint64(2) {
		call := g.Call(i)
		kinds[call.Kind] = true
		if !slices.ContainsFunc(tr.Requests, func(r *pb.RecommendRequest) bool { return proto.Equal(r, call.Request) }) {
			t.Errorf("call %d is not a recorded request: %v", i, call.Request)
		}
	}
	if !kinds[Rank] || !kinds[Recommend] {
		t.Errorf("one round made %v, want each recorded request once", kinds)
	}
}

func TestOrderedCallsFollowTheTrace(t *testing.T) {
	tr := open(t, strings.Repeat(lines, 8))
	g := generator(t, tr, Mix{Seed: 3, Ordered: true})
	for i, want := range tr.Requests {
		if got := g.Call(uint64(i)).Request; !proto.Equal(got, want) {
			t.Errorf("call %d is %v, want %v", i, got, want)
		}
	}
}

func TestCallsFollowFromSeedAndNumber(t *testing.T) {
	mix := Mix{Seed: 3, Candidates: Range{1, 4, true}, History: Range{0, 9, true}, Weights: map[Kind]float64{Rank: 1, Retrieve: 1}}
	a, b := generator(t, open(t, lines), mix), generator(t, open(t, lines), mix)
	for _, i := range []uint64{0, 5, 5, 99} {
		x, y := a.Call(i), b.Call(i)
		if x.Kind != y.Kind || !proto.Equal(x.Request, y.Request) {
			t.Errorf("call %d differs between two generators of one seed", i)
		}
	}
	mix.Seed = 4
	other := generator(t, open(t, lines), mix)
	differs := false
	for i := range uint64(20) {
		differs = differs || !proto.Equal(a.Call(i).Request, other.Call(i).Request)
	}
	if !differs {
		t.Error("two seeds made the same calls")
	}
}

func TestShapesCoverTheirRanges(t *testing.T) {
	g := generator(t, open(t, lines), Mix{Candidates: Range{1, 4, true}, History: Range{0, 3, true}, Weights: map[Kind]float64{Rank: 1}, Limit: 2})
	sizes, events := map[int]int{}, map[int]int{}
	for i := range uint64(2000) {
		r := g.Call(i).Request
		ids := slices.Sorted(slices.Values(r.Candidates.Ints))
		if len(slices.Compact(ids)) != len(r.Candidates.Ints) {
			t.Fatalf("call %d repeats a candidate: %v", i, r.Candidates.Ints)
		}
		h := r.User.History
		if !slices.IsSorted(h.Times) || len(h.Times) != len(h.Items.Ints) || len(h.Actions) != len(h.Items.Ints) {
			t.Fatalf("call %d has a malformed history: %v", i, h)
		}
		if r.Limit != 2 {
			t.Fatalf("limit %d", r.Limit)
		}
		sizes[len(ids)]++
		events[len(h.Items.Ints)]++
	}
	for n := range 4 { // 500 expected of each, five standard errors are 100
		if sizes[n+1] < 400 || sizes[n+1] > 600 || events[n] < 400 || events[n] > 600 {
			t.Errorf("%d calls of %d candidates, %d of %d events; want 500", sizes[n+1], n+1, events[n], n)
		}
	}
}

func TestWeightsAreKept(t *testing.T) {
	g := generator(t, open(t, lines), Mix{Weights: map[Kind]float64{Rank: 3, Recommend: 1}})
	counts := map[Kind]int{}
	for i := range uint64(4000) {
		call := g.Call(i)
		counts[call.Kind]++
		if has := count(call.Request.GetCandidates()) > 0; has != (call.Kind == Rank) {
			t.Fatalf("a %s call with candidates: %v", call.Kind, has)
		}
	}
	if n := counts[Rank]; n < 2860 || n > 3140 || counts[Retrieve] > 0 {
		t.Errorf("kinds %v, want 3000 rank and 1000 recommend", counts)
	}
}

func TestFaultsOfTheMixAreListedTogether(t *testing.T) {
	tr := open(t, `{"user": {"id": "u"}}`)
	_, err := NewGenerator(tr, Mix{Weights: map[Kind]float64{Rank: 1}, History: Range{1, 2, true}})
	if err == nil || !strings.Contains(err.Error(), "add -candidates") || !strings.Contains(err.Error(), "-history needs items") {
		t.Errorf("got %v", err)
	}
	_, err = NewGenerator(open(t, lines), Mix{Candidates: Range{5, 5, true}})
	if err == nil || !strings.Contains(err.Error(), "wants 5 different items, but only 4") {
		t.Errorf("got %v", err)
	}
}

func TestBadTracesNameTheLine(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{"": "no requests", "{}\n{\"limt\": 1}": "line 2", "{}\nnull x": "line 2"} {
		if _, err := Open(write(t, filepath.Join(dir, "r.jsonl"), text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	if _, err := Open(filepath.Join(dir, "none")); err == nil {
		t.Error("a missing file was read")
	}
}

// safetensors writes tensors in the order given.
func safetensors(t *testing.T, tensors ...any) string {
	t.Helper()
	header, body := map[string]any{}, &bytes.Buffer{}
	for i := 0; i < len(tensors); i += 2 {
		from := body.Len()
		dtype := "U8"
		if _, ok := tensors[i+1].([]int64); ok {
			dtype = "I64"
		}
		if err := binary.Write(body, binary.LittleEndian, tensors[i+1]); err != nil {
			t.Fatal(err)
		}
		header[tensors[i].(string)] = map[string]any{"dtype": dtype, "shape": []int{}, "data_offsets": []int{from, body.Len()}}
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(text)))) + string(text) + body.String()
}

func TestBundlesGiveTheCatalogsIDs(t *testing.T) {
	model := t.TempDir()
	write(t, filepath.Join(model, "current"), "r1\n")
	write(t, filepath.Join(model, "r1", "warmup", "requests.jsonl"), lines)
	items := filepath.Join(model, "r1", "catalog", "items.safetensors")
	write(t, items, safetensors(t, "other", []byte("xyz"), "id", []int64{1, 5, 9}))
	for _, dir := range []string{model, filepath.Join(model, "r1")} {
		tr, err := OpenBundle(dir)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(tr.Items.Ints, []int64{1, 5, 9}) {
			t.Errorf("%s: items %v", dir, tr.Items.Ints)
		}
	}
	write(t, items, safetensors(t, "id.bytes", []byte("aébc"), "id.offsets", []int64{0, 3, 3, 5}))
	tr, err := OpenBundle(model)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(tr.Items.Strings, []string{"aé", "", "bc"}) {
		t.Errorf("items %q", tr.Items.Strings)
	}
	for _, bad := range []string{"", "x", safetensors(t, "id", []byte("x")), safetensors(t, "id.bytes", []byte("ab"), "id.offsets", []int64{0, 9}), safetensors(t, "id", []int64{1, 2})[:60]} {
		write(t, items, bad)
		if _, err := OpenBundle(model); err == nil || !strings.Contains(err.Error(), "items.safetensors") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

// Users of sessions come back in turn, each with the history of before and an event or two more.
func TestSessionsGrow(t *testing.T) {
	const users = 7
	g := generator(t, open(t, lines), Mix{Seed: 3, Sessions: users, History: Range{2, 5, true}, Weights: map[Kind]float64{Recommend: 1}})
	last, visits := map[string]*pb.RecommendRequest{}, map[string]int{}
	for i := range uint64(3 * users * visitsPerSession) {
		r := g.Call(i).Request
		h, id := r.User.History, r.User.Id
		visits[id]++
		if before := last[id]; before != nil {
			old := before.User.History
			n, more := len(old.Items.Ints), len(h.Items.Ints)-len(old.Items.Ints)
			if more < 1 || more > 2 || !slices.Equal(h.Items.Ints[:n], old.Items.Ints) || !slices.Equal(h.Actions[:n], old.Actions) ||
				!slices.Equal(h.Times[:min(n, len(h.Times))], old.Times) {
				t.Fatalf("call %d of %s: %v became %v", i, id, old, h)
			}
			if before.GetTime() > r.GetTime() || len(before.User.Features) != len(r.User.Features) {
				t.Fatalf("call %d of %s goes back in time, or is of somebody else", i, id)
			}
		}
		last[id] = r
	}
	whole := 0
	for id, n := range visits {
		if n > visitsPerSession {
			t.Errorf("%s came %d times", id, n)
		}
		if n == visitsPerSession {
			whole++
		}
	}
	if whole < 2*users {
		t.Errorf("%d whole sessions among %d users", whole, len(visits))
	}
	if _, err := NewGenerator(open(t, lines), Mix{Sessions: 5, Ordered: true}); err == nil || !strings.Contains(err.Error(), "needs -history") {
		t.Errorf("sessions without a history: %v", err)
	}
}

func TestParseRange(t *testing.T) {
	for text, want := range map[string]Range{"7": {7, 7, true}, "0..200": {0, 200, true}} {
		if got, err := ParseRange(text); err != nil || got != want || got.String() != text {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "5..2", "a..b", "1..", "1.5"} {
		if _, err := ParseRange(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
