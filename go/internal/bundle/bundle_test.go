package bundle_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
)

type (
	manifest = *bundlev1.Manifest
	files    = map[string][]byte
)

// mustRefuse checks that err is an *bundle.Error whose text has all the parts, and says how to fix it.
func mustRefuse(t *testing.T, err error, parts ...string) {
	t.Helper()
	var check *bundle.Error
	if !errors.As(err, &check) {
		t.Fatalf("err = %v, want a bundle.Error", err)
	}
	if check.Fix == "" || check.Check == "" {
		t.Errorf("%v does not name the check or the fix", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v\ndoes not contain %q", err, part)
		}
	}
}

// Faults of the files, whose digests the manifest has right: what an exporter may do wrong.
func TestRefusesFaultyReleases(t *testing.T) {
	t.Parallel()
	tensors := func(path string, make func() *ranktest.TensorFile) func(manifest, files) {
		return func(_ manifest, f files) { f[path] = make().Bytes(t) }
	}
	newFile := ranktest.NewTensorFile
	counter := "counters/by_gender.safetensors"
	popular := "sources/popular.safetensors"
	tests := map[string]struct {
		edit func(manifest, files)
		want []string
	}{
		"missing graph":        {func(_ manifest, f files) { delete(f, "graphs/ranker.onnx") }, []string{"manifest.json: files", "graphs/ranker.onnx"}},
		"graph not described":  {func(m manifest, _ files) { m.Graphs = m.Graphs[:6] }, []string{`graph "ranker" is missing`}},
		"graph named twice":    {func(m manifest, _ files) { m.Graphs[0].Name = "ranker" }, []string{`"ranker"`, "twice", `"item_encoder" is missing`}},
		"graph input missing":  {func(m manifest, _ files) { m.Graphs[0].Inputs = m.Graphs[0].Inputs[1:] }, []string{`graph "item_encoder" has inputs`, "item_id"}},
		"graph output renamed": {func(m manifest, _ files) { m.Graphs[6].Outputs[0].Name = "x" }, []string{`graph "ranker" has outputs [x]`, "logits"}},
		"extra graph of a taken name": {func(m manifest, _ files) {
			m.ExtraGraphs = []*bundlev1.Graph{{Name: "ranker", Path: "graphs/ranker.onnx"}}
		}, []string{`extra_graphs`, `"ranker"`, "taken"}},
		"extra graph without a file": {func(m manifest, _ files) {
			m.ExtraGraphs = []*bundlev1.Graph{{Name: "other", Path: "graphs/other.onnx"}}
		}, []string{`graph "other" names "graphs/other.onnx"`}},
		"times not taken":       {func(m manifest, _ files) { m.Schema.EventTimes = true }, []string{`graph "sequence_encoder" has inputs`, "history_time"}},
		"string tensor":         {func(m manifest, _ files) { m.Graphs[0].Inputs[0].Dtype = bundlev1.DType_STRING }, []string{"STRING"}},
		"duplicate column":      {func(m manifest, _ files) { m.Schema.User[1].Name = "gender" }, []string{"schema", "two user columns"}},
		"unknown op":            {func(m manifest, _ files) { m.Schema.User[0].Op = 99 }, []string{`user column "gender"`, "op 99"}},
		"width of a scalar":     {func(m manifest, _ files) { m.Schema.User[0].Width = 3 }, []string{`user column "gender"`, "width is 3"}},
		"hash without buckets":  {func(m manifest, _ files) { m.Schema.Context[0].Buckets = 0 }, []string{`context column "query"`, "buckets is 0"}},
		"vocabulary repeats":    {func(m manifest, _ files) { m.Schema.User[0].Vocabulary = []string{"f", "f"} }, []string{"vocabulary has a value twice"}},
		"min above max":         {func(m manifest, _ files) { m.Schema.User[1].Min = proto.Float64(200) }, []string{"min 200 is above max 120"}},
		"window":                {func(m manifest, _ files) { m.Schema.History.Step = 99 }, []string{"schema.history", "step 99"}},
		"no actions":            {func(m manifest, _ files) { m.Schema.Actions = nil }, []string{"schema.actions"}},
		"item id kind":          {func(m manifest, _ files) { m.Schema.ItemId = bundlev1.DType_BOOL }, []string{"schema.item_id"}},
		"unknown source":        {func(m manifest, _ files) { m.Funnel.Sources[0].Kind = 9 }, []string{`source "two_tower"`, "kind 9"}},
		"decay":                 {func(m manifest, _ files) { m.Funnel.Sources[1].Decay = 2 }, []string{`source "cooccurrence"`, "decay 2"}},
		"source segment":        {func(m manifest, _ files) { m.Funnel.Sources[2].Segment = "user.age" }, []string{`source "popular"`, "user.age"}},
		"limits":                {func(m manifest, _ files) { m.Funnel.DefaultLimit = 99 }, []string{"funnel", "default_limit"}},
		"formula task":          {func(m manifest, _ files) { m.ValueFormula.Terms[0].Task = "x" }, []string{"value_formula", `"x"`}},
		"formula column":        {func(m manifest, _ files) { m.ValueFormula.Terms[0].ItemColumn = "category" }, []string{"value_formula", `"category"`}},
		"cross segment":         {func(m manifest, _ files) { m.Cross[0].Segment = "user.nothing" }, []string{`"by_gender"`, "user.nothing"}},
		"no golden cases":       {func(m manifest, _ files) { m.Golden.Cases = 0 }, []string{"golden"}},
		"other number of cases": {func(m manifest, _ files) { m.Golden.Cases = 7 }, []string{"golden/requests.jsonl: cases", "1 requests", "7"}},
		"golden without tensors": {tensors("golden/tensors.safetensors", newFile),
			[]string{"golden/tensors.safetensors: tensor", "0/final_rows"}},
		"golden not JSON": {func(_ manifest, f files) { f["golden/requests.jsonl"] = []byte("{\n") }, []string{"golden/requests.jsonl: json", "line 1"}},
		"failed gate":     {func(m manifest, _ files) { m.Gates = []*bundlev1.Gate{{Name: "ndcg", Detail: "0.1 < 0.2"}} }, []string{`gate "ndcg" failed: 0.1 < 0.2`}},
		"tolerance":       {func(m manifest, _ files) { m.Tolerance.Absolute = 5 }, []string{"tolerance"}},
		"path escapes":    {func(m manifest, f files) { f["../x"] = nil }, []string{`"../x" is not a clean relative path`}},
		"ids descend": {tensors("catalog/items.safetensors", func() *ranktest.TensorFile { return newFile().Ints("id", []int64{2, 1}, 2) }),
			[]string{"catalog/items.safetensors: order", "row 1"}},
		"no items":       {tensors("catalog/items.safetensors", func() *ranktest.TensorFile { return newFile().Ints("id", nil, 0) }), []string{"0 items"}},
		"catalog column": {tensors("catalog/items.safetensors", func() *ranktest.TensorFile { return newFile().Ints("id", []int64{1, 2}, 2) }), []string{`"input.id" is missing`}},
		"id out of range": {tensors("catalog/items.safetensors", func() *ranktest.TensorFile {
			return newFile().Ints("id", []int64{1}, 1).Ints("input.id", []int64{99}, 1).Texts("raw.id", "1")
		}), []string{"range", `"input.id"`, "is 99", "0 to 32"}},
		"index rows":    {tensors("index/items.safetensors", func() *ranktest.TensorFile { return newFile().Floats("retrieval_vector", []float32{1}, 1, 1) }), []string{"index/items.safetensors: shape", "32 items"}},
		"counter row":   {tensors(counter, func() *ranktest.TensorFile { return oneSegment("f", []int64{32}, 0.5) }), []string{counter + ": range", "row 32"}},
		"counter order": {tensors(counter, func() *ranktest.TensorFile { return oneSegment("f", []int64{4, 3}, 0.5, 0.5) }), []string{counter + ": order"}},
		"counter rate":  {tensors(counter, func() *ranktest.TensorFile { return oneSegment("f", []int64{4}, -0.5) }), []string{counter + ": range", "negative"}},
		"counter keys": {tensors(counter, func() *ranktest.TensorFile {
			return newFile().Texts("keys", "m", "f").Ints("indptr", []int64{0, 0, 0}, 3).Ints("rows", nil, 0).Floats("rates", nil, 0)
		}), []string{counter + ": order", "keys"}},
		"NaN": {tensors(counter, func() *ranktest.TensorFile { return oneSegment("f", []int64{4}, nan()) }), []string{counter + ": finite", "NaN"}},
		"popular order": {tensors(popular, func() *ranktest.TensorFile {
			return newFile().Ints("default.rows", []int64{1, 2}, 2).Floats("default.scores", []float32{1, 2}, 2)
		}), []string{popular + ": order"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, f := ranktest.Files(t, ranktest.Options{Edit: test.edit})
			_, err := bundle.Parse(id, f)
			mustRefuse(t, err, test.want...)
		})
	}
}

func oneSegment(key string, rows []int64, rates ...float32) *ranktest.TensorFile {
	return ranktest.NewTensorFile().Texts("keys", key).Ints("indptr", []int64{0, int64(len(rows))}, 2).
		Ints("rows", rows, len(rows)).Floats("rates", rates, len(rates))
}

// Faults of a copy: the manifest and the files do not agree.
func TestRefusesDamagedCopies(t *testing.T) {
	t.Parallel()
	text := func(f files, old, new string) {
		f["manifest.json"] = []byte(strings.Replace(string(f["manifest.json"]), old, new, 1))
	}
	tests := map[string]struct {
		edit func(f files)
		want []string
	}{
		"flipped byte": {func(f files) { f["graphs/ranker.onnx"] = append([]byte("X"), f["graphs/ranker.onnx"][1:]...) }, []string{"graphs/ranker.onnx: sha256"}},
		"truncated":    {func(f files) { f["graphs/ranker.onnx"] = f["graphs/ranker.onnx"][1:] }, []string{"graphs/ranker.onnx: size"}},
		"missing":      {func(f files) { delete(f, "graphs/ranker.onnx") }, []string{"graphs/ranker.onnx: present"}},
		"extra":        {func(f files) { f["graphs/other.onnx"] = nil }, []string{"graphs/other.onnx: listed"}},
		"no manifest":  {func(f files) { delete(f, "manifest.json") }, []string{"manifest.json: present"}},
		"not JSON":     {func(f files) { f["manifest.json"] = []byte("{") }, []string{"manifest.json: json"}},
		"from the future": {func(f files) { f["manifest.json"] = []byte(`{"format_version": 3, "novelty": true}`) },
			[]string{"format_version", "from the future", "version is 3", "reads 2", "upgrade the server"}},
		"from the future, camel": {func(f files) { f["manifest.json"] = []byte(`{"formatVersion": 3}`) }, []string{"from the future"}},
		"from the past": {func(f files) {
			text(f, `"format_version":2`, `"format_version":1`)
			text(f, `"format_version": 2`, `"format_version": 1`)
		}, []string{"version is 1", "reads 2", "export the release again"}},
		"no version":    {func(f files) { f["manifest.json"] = []byte(`{}`) }, []string{"format_version", "version is 0"}},
		"unknown field": {func(f files) { text(f, `"name"`, `"nom"`) }, []string{"manifest.json: fields", `"nom"`}},
		"other digest":  {func(f files) { text(f, `"digest":"`, `"digest":"0`); text(f, `"digest": "`, `"digest": "0`) }, []string{"manifest.json: digest"}},
		"other id":      {func(f files) { text(f, `20260102T030405Z`, `20260102T030406Z`) }, []string{"release_id", "20260102T030406Z"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, f := ranktest.Files(t, ranktest.Options{})
			test.edit(f)
			_, err := bundle.Parse(id, f)
			mustRefuse(t, err, test.want...)
		})
	}
}

func TestListsEveryFault(t *testing.T) {
	t.Parallel()
	id, f := ranktest.Files(t, ranktest.Options{Edit: func(m manifest, _ files) {
		m.Schema.History.Step = 0
		m.Funnel.Chunk = 0
		m.Golden.Cases = 0
	}})
	_, err := bundle.Parse(id, f)
	mustRefuse(t, err, "schema.history", "chunk", "golden")
}

// Only plain files in plain folders: a link could be changed by whoever holds its other end.
func TestLoadRefusesWhatIsNoPlainFile(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		edit func(t *testing.T, dir string) error
		want []string
	}{
		"symbolic link": {func(t *testing.T, dir string) error {
			target := filepath.Join(t.TempDir(), "ranker.onnx")
			return errors.Join(os.Rename(dir+"/graphs/ranker.onnx", target), os.Symlink(target, dir+"/graphs/ranker.onnx"))
		}, []string{"graphs/ranker.onnx: plain file", "symbolic link"}},
		"linked folder": {func(t *testing.T, dir string) error {
			target := filepath.Join(t.TempDir(), "graphs")
			return errors.Join(os.Rename(dir+"/graphs", target), os.Symlink(target, dir+"/graphs"))
		}, []string{"graphs: plain file", "symbolic link"}},
		"hard link": {func(_ *testing.T, dir string) error {
			return os.Link(dir+"/graphs/ranker.onnx", filepath.Join(filepath.Dir(dir), "other"))
		}, []string{"graphs/ranker.onnx: plain file", "hard link"}},
		"pipe": {func(_ *testing.T, dir string) error {
			return syscall.Mkfifo(dir+"/graphs/pipe", 0o600)
		}, []string{"graphs/pipe: plain file", "special file"}},
		"extra file": {func(_ *testing.T, dir string) error {
			return os.WriteFile(dir+"/notes.txt", nil, 0o600)
		}, []string{"notes.txt: listed"}},
		"renamed": {func(_ *testing.T, dir string) error {
			return os.Rename(dir, filepath.Join(filepath.Dir(dir), "renamed"))
		}, []string{"release directory: open"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			dir := filepath.Join(parent, ranktest.Write(t, parent, ranktest.Options{}))
			if err := test.edit(t, dir); err != nil {
				t.Fatal(err)
			}
			_, err := bundle.Load(dir)
			mustRefuse(t, err, test.want...)
			if strings.Contains(err.Error(), parent) {
				t.Errorf("%v\nholds the absolute path", err)
			}
		})
	}
}

func TestLoadChecksTheDirectoryName(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	id := ranktest.Write(t, parent, ranktest.Options{})
	other := filepath.Join(parent, "20250101T000000Z-000000000000")
	if err := os.Rename(filepath.Join(parent, id), other); err != nil {
		t.Fatal(err)
	}
	_, err := bundle.Load(other)
	mustRefuse(t, err, "release_id", id, "20250101T000000Z-000000000000")
}

// Arbitrary manifests never panic.
func FuzzParseManifest(f *testing.F) {
	id, good := ranktest.Files(f, ranktest.Options{})
	f.Add(good["manifest.json"])
	f.Add([]byte(`{"format_version": 1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzed := files{}
		for path, content := range good {
			fuzzed[path] = content
		}
		fuzzed["manifest.json"] = data
		if b, err := bundle.Parse(id, fuzzed); (b == nil) == (err == nil) {
			t.Fatalf("bundle %v and error %v", b, err)
		}
	})
}
