package ranktest

import (
	"fmt"
	"strconv"
	"testing"

	"google.golang.org/protobuf/proto"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
)

var (
	genders    = []string{"f", "m"}
	categories = []string{"books", "games", "music"}
	tags       = []string{"new", "rare", "sale"}
)

func newManifest(opts Options) *bundlev1.Manifest {
	vocabulary := make([]string, opts.Items)
	for row := range vocabulary {
		vocabulary[row] = strconv.FormatInt(ItemID(int64(row)), 10)
	}
	schema := &bundlev1.Schema{
		ItemId: bundlev1.DType_INT64,
		User: []*bundlev1.Column{
			{Name: "gender", Op: bundlev1.Op_VOCABULARY, Raw: bundlev1.DType_STRING, Vocabulary: genders},
			{Name: "age", Op: bundlev1.Op_NUMBER, Raw: bundlev1.DType_FLOAT32, DefaultNumber: 30, Min: proto.Float64(0), Max: proto.Float64(120)},
		},
		Context: []*bundlev1.Column{
			{Name: "query", Op: bundlev1.Op_TOKENS, Raw: bundlev1.DType_STRING, Buckets: Buckets, Width: Width},
		},
		Item: []*bundlev1.Column{
			{Name: "id", Op: bundlev1.Op_ITEM_ROW, Raw: bundlev1.DType_INT64, Vocabulary: vocabulary, InHistory: true},
			{Name: "category", Op: bundlev1.Op_VOCABULARY, Raw: bundlev1.DType_STRING, Vocabulary: categories, InHistory: true},
			{Name: "price", Op: bundlev1.Op_NUMBER, Raw: bundlev1.DType_FLOAT32, InHistory: true},
			{Name: "tags", Op: bundlev1.Op_VOCABULARY_LIST, Raw: bundlev1.DType_STRING, Vocabulary: tags, Width: TagWidth, InHistory: true},
		},
		Actions:    []string{"view", "buy"},
		History:    &bundlev1.HistoryWindow{MaxEvents: MaxEvents, Step: Step},
		EventTimes: opts.Times,
	}
	m := &bundlev1.Manifest{
		FormatVersion: bundle.FormatVersion,
		Name:          "test",
		Schema:        schema,
		Runtime:       &bundlev1.Runtime{Onnxruntime: "fake"},
		Tolerance:     &bundlev1.Tolerance{Absolute: 1e-5, Relative: 1e-4, Reason: "fp32"},
		Funnel: &bundlev1.Funnel{
			Sources: []*bundlev1.Source{
				{Name: "two_tower", Kind: bundlev1.SourceKind_TWO_TOWER, Limit: 16},
				{Name: "cooccurrence", Kind: bundlev1.SourceKind_COOCCURRENCE, Limit: 8, Path: "sources/cooccurrence.safetensors", HistoryEvents: 4, Decay: 0.5},
				{Name: "popular", Kind: bundlev1.SourceKind_POPULAR, Limit: 8, Path: "sources/popular.safetensors", Segment: "user.gender"},
			},
			PrerankKeep: 12, DefaultLimit: 5, MaxLimit: 20, MaxCandidates: 1000, Chunk: 4,
		},
		ValueFormula: &bundlev1.ValueFormula{Terms: []*bundlev1.ValueTerm{
			{Task: "click", Weight: 1, Exponent: 1},
			{Task: "buy", Weight: 0.1, Exponent: 1, ItemColumn: "price"},
		}},
		Tasks: []*bundlev1.Task{{Name: "click"}, {Name: "buy"}},
		Cross: []*bundlev1.CrossColumn{
			{Name: "by_gender", Segment: "user.gender", Path: "counters/by_gender.safetensors", Prior: 10},
			{Name: "by_query", Segment: "context.query", Path: "counters/by_query.safetensors", Prior: 10},
			{Name: "by_last_item", Segment: bundle.SegmentLastItem, Path: "counters/by_last_item.safetensors", Prior: 10},
		},
		Golden: &bundlev1.Golden{Requests: "golden/requests.jsonl", Tensors: "golden/tensors.safetensors", Cases: 1, Warmup: "warmup/requests.jsonl"},
	}
	layers := SequenceL
	if opts.Whole {
		layers = 0
	}
	for _, name := range bundle.GraphNames {
		m.Graphs = append(m.Graphs, graphSpec(name, schema, layers))
	}
	return m
}

// graphSpec is the manifest's description of a graph; its tensors are those of the fake graph.
func graphSpec(name string, schema *bundlev1.Schema, layers int) *bundlev1.Graph {
	g := &bundlev1.Graph{Name: name, Path: "graphs/" + name + ".onnx", Opset: 23}
	inputs, outputs := graphTensors(name, schema, layers)
	for _, t := range inputs {
		g.Inputs = append(g.Inputs, t.manifest())
	}
	for _, t := range outputs {
		g.Outputs = append(g.Outputs, t.manifest())
	}
	return g
}

func newFiles(t testing.TB, m *bundlev1.Manifest, items int) map[string][]byte {
	t.Helper()
	catalog, encoded := newCatalog(items)
	retrieval, token := encodeItems(encoded)
	files := map[string][]byte{
		"catalog/items.safetensors": catalog.Bytes(t),
		"index/items.safetensors": NewTensorFile().Floats("retrieval_vector", retrieval, items, K).
			Floats("ranker_token", token, items, D).Bytes(t),
		"counters/by_gender.safetensors":    counter(items, "f", "m").Bytes(t),
		"counters/by_query.safetensors":     counter(items, "blue lamp", "red lamp").Bytes(t),
		"counters/by_last_item.safetensors": counter(items).Bytes(t),
		"sources/cooccurrence.safetensors":  cooccurrence(items).Bytes(t),
		"sources/popular.safetensors":       popular(items).Bytes(t),
		"golden/requests.jsonl":             []byte(`{"user": {"history": {"items": {"ints": ["10", "20"]}, "times": ["1", "2"]}}}` + "\n"),
		"golden/tensors.safetensors":        NewTensorFile().Ints("0/final_rows", []int64{1, 2}, 2).Bytes(t),
		"warmup/requests.jsonl":             []byte(`{"user": {"history": {"items": {"ints": ["30"]}, "times": ["3"]}}}` + "\n"),
		"reference/histograms.json":         []byte(`{}`),
	}
	for _, name := range bundle.GraphNames {
		files["graphs/"+name+".onnx"] = fmt.Appendf(nil, "fake graph %s of %d items", name, items)
	}
	return files
}

// newCatalog makes items whose columns are simple functions of the row.
func newCatalog(items int) (*TensorFile, itemColumns) {
	var (
		c                     = itemColumns{}
		ids, from, until      []int64
		titles, rawID, rawCat []string
		tagTexts              []string
		tagRows               = []int64{0}
	)
	for row := range items {
		ids = append(ids, ItemID(int64(row)))
		rawID = append(rawID, strconv.FormatInt(ItemID(int64(row)), 10))
		titles = append(titles, "item "+strconv.Itoa(row))
		rawCat = append(rawCat, categories[row%len(categories)])
		c.id = append(c.id, int64(row)+1)
		c.category = append(c.category, int64(row%len(categories))+1)
		c.price = append(c.price, float32(row)+0.5)
		encodedTags := make([]int64, TagWidth)
		for i := range row % (TagWidth + 1) {
			tagTexts = append(tagTexts, tags[i])
			encodedTags[i] = int64(i) + 1
		}
		c.tags = append(c.tags, encodedTags...)
		tagRows = append(tagRows, int64(len(tagTexts)))
		from = append(from, 0)
		until = append(until, 0)
	}
	from[items-1] = 4_000_000_000 // the last item is not out yet
	until[items-2] = 1_000_000_000
	return NewTensorFile().
		Ints("id", ids, items).Texts("title", titles...).
		Ints("available_from", from, items).Ints("available_until", until, items).
		Ints("input.id", c.id, items).Texts("raw.id", rawID...).
		Ints("input.category", c.category, items).Texts("raw.category", rawCat...).
		Floats("input.price", c.price, items).Floats("raw.price", c.price, items).
		Ints("input.tags", c.tags, items, TagWidth).Texts("raw.tags", tagTexts...).Ints("raw.tags.rows", tagRows, items+1), c
}

// Rate is what the test counters hold for an item in a segment: keys by their position, last_item by row.
func Rate(segment int, row int64) float32 {
	if (int64(segment)+row)%3 != 0 {
		return 0
	}
	return float32(segment+1) / float32(row+8)
}

func counter(items int, keys ...string) *TensorFile {
	f := NewTensorFile()
	segments := len(keys)
	if segments == 0 {
		segments = items
	} else {
		f.Texts("keys", keys...)
	}
	indptr, rows, rates := []int64{0}, []int64{}, []float32{}
	for s := range segments {
		for row := range int64(items) {
			if rate := Rate(s, row); rate > 0 {
				rows, rates = append(rows, row), append(rates, rate)
			}
		}
		indptr = append(indptr, int64(len(rows)))
	}
	return f.Ints("indptr", indptr, len(indptr)).Ints("rows", rows, len(rows)).Floats("rates", rates, len(rates))
}

// cooccurrence gives each item its three successors.
func cooccurrence(items int) *TensorFile {
	indptr, rows, weights := []int64{0}, []int64{}, []float32{}
	for row := range items {
		for step := range 3 {
			rows = append(rows, int64((row+step+1)%items))
			weights = append(weights, 1/float32(step+1))
		}
		indptr = append(indptr, int64(len(rows)))
	}
	return NewTensorFile().Ints("indptr", indptr, len(indptr)).Ints("rows", rows, len(rows)).Floats("weights", weights, len(weights))
}

// popular lists even rows for "f", odd rows for "m", and all rows by default, lowest first.
func popular(items int) *TensorFile {
	indptr, rows, scores := []int64{0}, []int64{}, []float32{}
	for parity := range 2 {
		for row := parity; row < items; row += 2 {
			rows, scores = append(rows, int64(row)), append(scores, float32(items-row))
		}
		indptr = append(indptr, int64(len(rows)))
	}
	all, allScores := []int64{}, []float32{}
	for row := range items {
		all, allScores = append(all, int64(row)), append(allScores, float32(items-row))
	}
	return NewTensorFile().Texts("keys", genders...).Ints("indptr", indptr, len(indptr)).Ints("rows", rows, len(rows)).
		Floats("scores", scores, len(scores)).Ints("default.rows", all, items).Floats("default.scores", allScores, items)
}
