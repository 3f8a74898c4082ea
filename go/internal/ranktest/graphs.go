package ranktest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/fake"
)

// tensor describes an input or output of a graph of the test release. A letter in the shape is variable.
type tensor struct {
	name  string
	dtype runtime.DType
	shape string // as "B,N,3"
}

func (t tensor) manifest() *bundlev1.TensorSpec {
	dtypes := map[runtime.DType]bundlev1.DType{
		runtime.Float32: bundlev1.DType_FLOAT32, runtime.Int64: bundlev1.DType_INT64, runtime.Bool: bundlev1.DType_BOOL,
	}
	return &bundlev1.TensorSpec{Name: t.name, Dtype: dtypes[t.dtype], Shape: strings.Split(t.shape, ",")}
}

func (t tensor) runtime() runtime.TensorSpec {
	spec := runtime.TensorSpec{Name: t.name, DType: t.dtype}
	for _, d := range strings.Split(t.shape, ",") {
		n := int64(-1)
		fmt.Sscan(d, &n)
		spec.Shape = append(spec.Shape, n)
	}
	return spec
}

func columnTensors(role, axes string, columns []*bundlev1.Column) []tensor {
	var tensors []tensor
	for _, c := range columns {
		if role == "history" && !c.GetInHistory() {
			continue
		}
		t := tensor{role + "_" + c.GetName(), runtime.Int64, axes}
		if c.GetOp() == bundlev1.Op_NUMBER {
			t.dtype = runtime.Float32
		}
		if c.GetWidth() > 0 {
			t.shape += fmt.Sprintf(",%d", c.GetWidth())
		}
		tensors = append(tensors, t)
	}
	return tensors
}

// graphTensors are the inputs and outputs of a graph, in the contract's order.
func graphTensors(graph string, s *bundlev1.Schema) (inputs, outputs []tensor) {
	float := func(name, shape string, args ...any) tensor {
		return tensor{name, runtime.Float32, fmt.Sprintf(shape, args...)}
	}
	history := append(columnTensors("history", "B,N", s.GetItem()),
		tensor{"history_action", runtime.Int64, "B,N"}, tensor{"history_length", runtime.Int64, "B"})
	if s.GetEventTimes() {
		history = append(history, tensor{"history_time", runtime.Int64, "B,N"})
	}
	request := append(columnTensors("user", "B", s.GetUser()), columnTensors("context", "B", s.GetContext())...)
	kv := func(name, events string) tensor { return float(name, "B,%d,%d,%s,%d", L, H, events, X) }
	queryVectors := float("query_vectors", "B,%d,%d", Q, K)
	cross := float("cross", "B,M,%d", C)
	switch graph {
	case bundle.ItemEncoder:
		return columnTensors("item", "M", s.GetItem()),
			[]tensor{float("retrieval_vector", "M,%d", K), float("ranker_token", "M,%d", D)}
	case bundle.QueryEncoder:
		return slices.Concat(history, request), []tensor{queryVectors}
	case bundle.Index:
		return []tensor{queryVectors, float("item_vectors", "I,%d", K), {"allowed", runtime.Bool, "B,I"}, {"k", runtime.Int64, "1"}},
			[]tensor{{"rows", runtime.Int64, "B,k"}, float("scores", "B,k")}
	case bundle.Preranker:
		return []tensor{queryVectors, float("retrieval_vector", "B,M,%d", K), cross}, []tensor{float("score", "B,M")}
	case bundle.HistoryEncoder:
		return append(history, kv("past_keys", "P"), kv("past_values", "P")), []tensor{kv("keys", "P+N"), kv("values", "P+N")}
	default: // the ranker
		return slices.Concat([]tensor{kv("keys", "N"), kv("values", "N"), {"history_length", runtime.Int64, "B"}}, request,
			[]tensor{float("ranker_token", "B,M,%d", D), cross, float("prerank_score", "B,M")}), []tensor{float("logits", "B,M,%d", T)}
	}
}

// Graphs are fake graphs for a release with the schema of the test release. They keep the four laws: a
// candidate's score depends on no other candidate, on no chunking, on no padding and on no batch mate.
func Graphs(s *bundlev1.Schema) map[string]fake.Graph {
	compute := map[string]func(in inputs) []runtime.Tensor{
		bundle.ItemEncoder: itemEncoder, bundle.QueryEncoder: queryEncoder, bundle.Index: index,
		bundle.Preranker: preranker, bundle.HistoryEncoder: historyEncoder, bundle.Ranker: ranker,
	}
	graphs := map[string]fake.Graph{}
	for _, name := range bundle.GraphNames {
		in, out := graphTensors(name, s)
		g := fake.Graph{}
		for _, t := range in {
			g.Inputs = append(g.Inputs, t.runtime())
		}
		for _, t := range out {
			g.Outputs = append(g.Outputs, t.runtime())
		}
		run := compute[name]
		g.Compute = func(tensors []runtime.Tensor) ([]runtime.Tensor, error) {
			named := inputs{}
			for i, t := range tensors {
				named[g.Inputs[i].Name] = t
			}
			return run(named), nil
		}
		graphs[name] = g
	}
	values := runtime.TensorSpec{Name: "values", DType: runtime.Float32, Shape: []int64{-1}}
	graphs[Double] = fake.Graph{Inputs: []runtime.TensorSpec{values}, Outputs: []runtime.TensorSpec{values},
		Compute: func(in []runtime.Tensor) ([]runtime.Tensor, error) {
			doubled := make([]float32, len(in[0].F32))
			for i, v := range in[0].F32 {
				doubled[i] = 2 * v
			}
			return []runtime.Tensor{runtime.Floats(doubled, in[0].Shape...)}, nil
		}}
	return graphs
}

// Double is a graph beside the six: `values` [M] in and out, doubled. Releases have it with AddDouble.
const Double = "double"

// AddDouble edits a release: Options.Edit.
func AddDouble(m *bundlev1.Manifest, files map[string][]byte) {
	spec := []*bundlev1.TensorSpec{{Name: "values", Dtype: bundlev1.DType_FLOAT32, Shape: []string{"M"}}}
	m.ExtraGraphs = append(m.ExtraGraphs, &bundlev1.Graph{Name: Double, Path: "graphs/double.onnx", Inputs: spec, Outputs: spec})
	files["graphs/double.onnx"] = []byte("fake graph double")
}

// inputs are the tensors of a run by name.
type inputs map[string]runtime.Tensor

func (in inputs) dim(name string, axis int) int { return int(in[name].Shape[axis]) }

// itemColumns are the encoded columns of some items.
type itemColumns struct {
	id, category, tags []int64
	price              []float32
}

// encodeItems is the fake item encoder.
func encodeItems(c itemColumns) (retrieval, token []float32) {
	for i := range c.id {
		for j := range K {
			retrieval = append(retrieval, wave(c.id[i]*int64(j+2)+c.category[i]))
		}
		for j := range D {
			token = append(token, wave(c.id[i]*int64(j+3)+c.tags[i*TagWidth])+c.price[i]/64)
		}
	}
	return retrieval, token
}

// wave is a small exact number in (-1, 1) that varies with n.
func wave(n int64) float32 { return float32((n*37)%61-30) / 32 }

func itemEncoder(in inputs) []runtime.Tensor {
	m := int64(in.dim("item_id", 0))
	retrieval, token := encodeItems(itemColumns{in["item_id"].I64, in["item_category"].I64, in["item_tags"].I64, in["item_price"].F32})
	return []runtime.Tensor{runtime.Floats(retrieval, m, K), runtime.Floats(token, m, D)}
}

func queryEncoder(in inputs) []runtime.Tensor {
	b, n := in.dim("history_id", 0), in.dim("history_id", 1)
	out := make([]float32, 0, b*Q*K)
	for r := range b {
		state := in["user_gender"].I64[r] + in["context_query"].I64[r*Width]
		for e := range int(in["history_length"].I64[r]) {
			state = (state + in["history_id"].I64[r*n+e]*(int64(e)+1) + in["history_action"].I64[r*n+e]) % 1009
			if times := in["history_time"].I64; e > 0 && times != nil {
				state += times[r*n+e] - times[r*n+e-1]
			}
		}
		for q := range Q {
			for k := range K {
				out = append(out, wave(state+int64(q*K+k))+in["user_age"].F32[r]/256)
			}
		}
	}
	return []runtime.Tensor{runtime.Floats(out, int64(b), Q, K)}
}

func index(in inputs) []runtime.Tensor {
	b, items, k := in.dim("allowed", 0), in.dim("allowed", 1), int(in["k"].I64[0])
	var rows []int64
	var scores []float32
	for r := range b {
		score := make([]float32, items)
		order := make([]int64, items)
		for i := range items {
			order[i] = int64(i)
			score[i] = -3.0e38
			if in["allowed"].Bool[r*items+i] {
				score[i] = dot(in["query_vectors"].F32[r*Q*K:][:K], in["item_vectors"].F32[i*K:][:K])
			}
		}
		slices.SortFunc(order, func(x, y int64) int { return cmp.Or(cmp.Compare(score[y], score[x]), cmp.Compare(x, y)) })
		for _, i := range order[:k] {
			rows, scores = append(rows, i), append(scores, score[i])
		}
	}
	return []runtime.Tensor{runtime.Ints(rows, int64(b), int64(k)), runtime.Floats(scores, int64(b), int64(k))}
}

func preranker(in inputs) []runtime.Tensor {
	b, m := in.dim("cross", 0), in.dim("cross", 1)
	out := make([]float32, 0, b*m)
	for r := range b {
		for i := range m {
			at := r*m + i
			score := dot(in["query_vectors"].F32[(r*Q+1)*K:][:K], in["retrieval_vector"].F32[at*K:][:K])
			out = append(out, score+sum(in["cross"].F32[at*C:][:C]))
		}
	}
	return []runtime.Tensor{runtime.Floats(out, int64(b), int64(m))}
}

func historyEncoder(in inputs) []runtime.Tensor {
	b, n, p := in.dim("history_id", 0), in.dim("history_id", 1), in.dim("past_keys", 3)
	encode := func(past []float32, salt int64) runtime.Tensor {
		var out []float32
		for head := range b * L * H {
			out = append(out, past[head*p*X:][:p*X]...)
			r := head / (L * H)
			for e := range n {
				for x := range X {
					event := in["history_id"].I64[r*n+e]*5 + in["history_action"].I64[r*n+e]
					out = append(out, wave(event*int64(x+2)+int64(head%(L*H))+salt))
				}
			}
		}
		return runtime.Floats(out, int64(b), L, H, int64(p+n), X)
	}
	return []runtime.Tensor{encode(in["past_keys"].F32, 0), encode(in["past_values"].F32, 7)}
}

func ranker(in inputs) []runtime.Tensor {
	b, m, n := in.dim("ranker_token", 0), in.dim("ranker_token", 1), in.dim("keys", 3)
	out := make([]float32, 0, b*m*T)
	for r := range b {
		length := int(in["history_length"].I64[r])
		var state [X]float32
		for head := range L * H {
			at := (r*L*H + head) * n * X
			for e := range length {
				for x := range X {
					state[x] += (in["keys"].F32[at+e*X+x] + in["values"].F32[at+e*X+x]) / float32(length)
				}
			}
		}
		for i := range m {
			at := r*m + i
			token := in["ranker_token"].F32[at*D:][:D]
			base := dot(state[:], token[:X]) + sum(in["cross"].F32[at*C:][:C]) + in["prerank_score"].F32[at]
			for t := range T {
				out = append(out, base+token[X+t]-float32(t)+in["user_age"].F32[r]/256)
			}
		}
	}
	return []runtime.Tensor{runtime.Floats(out, int64(b), int64(m), T)}
}

func dot(a, b []float32) (s float32) {
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

func sum(a []float32) (s float32) {
	for _, x := range a {
		s += x
	}
	return s
}
