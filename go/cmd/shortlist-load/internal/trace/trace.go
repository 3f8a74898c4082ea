// Package trace makes the requests of a load run: recorded ones, and recorded ones reshaped to a wanted
// number of candidates or history events.
package trace

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

	pb "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
)

// maxLine bounds one recorded request.
const maxLine = 16 << 20

// Trace is recorded requests and the item ids that reshaped ones draw from, of the kind the release uses.
type Trace struct {
	Requests []*pb.RecommendRequest
	Items    *pb.ItemIds
	Source   string // file that the requests came from
	actions  []string
	newest   int64 // time of the newest recorded event; 0: no event has one
}

// Open reads one RecommendRequest a line, in protobuf's JSON. Items are the ids that the requests name.
func Open(path string) (*Trace, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read trace: %w; name a file of RecommendRequest lines, as a bundle's warmup/requests.jsonl", err)
	}
	defer func() { _ = file.Close() }()
	t := &Trace{Source: path}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		request := &pb.RecommendRequest{}
		if err := protojson.Unmarshal(lines.Bytes(), request); err != nil {
			return nil, fmt.Errorf("read trace %s line %d: not a RecommendRequest in protobuf's JSON: %w", path, n, err)
		}
		t.Requests = append(t.Requests, request)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read trace %s: %w", path, err)
	}
	if len(t.Requests) == 0 {
		return nil, fmt.Errorf("read trace %s: it holds no requests; export the release with warm-up requests", path)
	}
	t.collect()
	return t, nil
}

// OpenBundle reads the warm-up requests of a release, and its catalog's ids. dir is a release, or a model
// whose `current` file names one.
func OpenBundle(dir string) (*Trace, error) {
	if current, err := os.ReadFile(filepath.Join(dir, "current")); err == nil {
		dir = filepath.Join(dir, strings.TrimSpace(string(current)))
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	t, err := Open(filepath.Join(dir, "warmup", "requests.jsonl"))
	if err != nil {
		return nil, err
	}
	t.Items, err = catalogIDs(filepath.Join(dir, "catalog", "items.safetensors"))
	return t, err
}

// collect gathers the distinct item ids and actions of the requests, in order of appearance.
func (t *Trace) collect() {
	t.Items = &pb.ItemIds{}
	ints, strs, actions := map[int64]bool{}, map[string]bool{}, map[string]bool{}
	add := func(ids *pb.ItemIds) {
		for _, id := range ids.GetInts() {
			if !ints[id] {
				ints[id] = true
				t.Items.Ints = append(t.Items.Ints, id)
			}
		}
		for _, id := range ids.GetStrings() {
			if !strs[id] {
				strs[id] = true
				t.Items.Strings = append(t.Items.Strings, id)
			}
		}
	}
	for _, r := range t.Requests {
		add(r.GetUser().GetHistory().GetItems())
		add(r.GetCandidates())
		for _, a := range r.GetUser().GetHistory().GetActions() {
			if !actions[a] {
				actions[a] = true
				t.actions = append(t.actions, a)
			}
		}
		for _, at := range r.GetUser().GetHistory().GetTimes() {
			t.newest = max(t.newest, at)
		}
	}
}

// count is the number of ids; a release has one kind of them.
func count(ids *pb.ItemIds) int { return max(len(ids.GetInts()), len(ids.GetStrings())) }
