package ranktest

import (
	"cmp"
	"slices"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/fake"
)

// Graphs are fake graphs for the test release of a manifest. They keep the four laws: a candidate's score
// depends on no other candidate, on no chunking, on no padding and on no batch mate. What is encoded from a past is
// what is encoded whole.
func Graphs(m *bundlev1.Manifest) map[string]fake.Graph {
	compute := map[string]func(in inputs) []runtime.Tensor{
		bundle.ItemEncoder: itemEncoder, bundle.SequenceEncoder: sequenceEncoder, bundle.QueryEncoder: queryEncoder, bundle.Index: index,
		bundle.Preranker: preranker, bundle.HistoryEncoder: historyEncoder, bundle.Ranker: ranker,
	}
	graphs := map[string]fake.Graph{}
	for _, spec := range m.GetGraphs() {
		g, run := fake.Graph{Inputs: specs(spec.GetInputs()), Outputs: specs(spec.GetOutputs())}, compute[spec.GetName()]
		g.Compute = func(tensors []runtime.Tensor) ([]runtime.Tensor, error) {
			named := inputs{}
			for i, t := range tensors {
				named[g.Inputs[i].Name] = t
			}
			return run(named), nil
		}
		graphs[spec.GetName()] = g
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

// Double is a graph beside the seven: `values` [M] in and out, doubled. Releases have it with AddDouble.
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

// sequenceEncoder has a state that depends on the order of all events. Keys hold what each event adds to it and
// its time, values its place; the vector of an event is its id, its action and its place.
func sequenceEncoder(in inputs) []runtime.Tensor {
	b, n, layers, p := in.dim("history_id", 0), in.dim("history_id", 1), in.dim("past_keys", 1), in.dim("past_keys", 3)
	pastKeys, pastValues := in["past_keys"], in["past_values"]
	if layers == 0 { // what it works with stays inside
		pastKeys = runtime.Floats(nil, int64(b), 1, SequenceH, 0, SequenceX)
		pastValues = pastKeys
	}
	id := func(r, e int) int64 { return in["history_id"].I64[r*n+e] }
	action := func(r, e int) int64 { return in["history_action"].I64[r*n+e] }
	keys := grow(pastKeys, n, func(r, head, e, x int) float32 {
		times := in["history_time"].I64
		switch {
		case x == 0:
			return float32((id(r, e)*int64(p+e+1) + action(r, e)) % 1009)
		case times != nil:
			return float32(times[r*n+e] % (1 << 20))
		}
		return 0
	})
	values := grow(pastValues, n, func(r, head, e, x int) float32 { return float32(p + e + x + head) })
	states, recent := make([]float32, 0, b*W), make([]float32, 0, b*R*W)
	for r := range b {
		length := int(in["history_length"].I64[r])
		cache := r * len(keys.F32) / b // head 0 of the row
		state := make([]float32, W)
		for e := range p + length {
			at := cache + e*SequenceX
			state[0] = float32(int64(state[0]+keys.F32[at]) % 1009)
			state[1] = keys.F32[at+1] - keys.F32[cache+1]
			state[2] += values.F32[at]
		}
		states = append(states, state...)
		vectors := slices.Clone(in["past_recent"].F32[r*R*W:][:R*W])
		for e := range length {
			vectors = append(vectors[W:], float32(id(r, e)), float32(action(r, e)), float32(p+e))
		}
		recent = append(recent, vectors...)
	}
	if layers == 0 {
		keys = runtime.Floats(nil, int64(b), 0, SequenceH, int64(p+n), SequenceX)
		values = keys
	}
	return []runtime.Tensor{runtime.Floats(states, int64(b), W), runtime.Floats(recent, int64(b), R, W), keys, values}
}

// grow appends n events to a cache [B,L,H,P,X]; heads are counted over layers.
func grow(past runtime.Tensor, n int, number func(row, head, event, x int) float32) runtime.Tensor {
	b, heads, p, width := int(past.Shape[0]), int(past.Shape[1]*past.Shape[2]), int(past.Shape[3]), int(past.Shape[4])
	var out []float32
	for at := range b * heads {
		out = append(out, past.F32[at*p*width:][:p*width]...)
		for e := range n {
			for x := range width {
				out = append(out, number(at/heads, at%heads, e, x))
			}
		}
	}
	return runtime.Floats(out, int64(b), past.Shape[1], past.Shape[2], int64(p+n), int64(width))
}

func queryEncoder(in inputs) []runtime.Tensor {
	b := in.dim("history_length", 0)
	out := make([]float32, 0, b*Q*K)
	for r := range b {
		state := in["user_gender"].I64[r] + in["context_query"].I64[r*Width] + in["history_length"].I64[r]
		for _, x := range in["state"].F32[r*W:][:W] {
			state += int64(x)
		}
		for _, x := range in["recent"].F32[r*R*W:][:R*W] {
			state += int64(x)
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
	n := in.dim("history_id", 1)
	encode := func(past string, salt int64) runtime.Tensor {
		return grow(in[past], n, func(r, head, e, x int) float32 {
			event := in["history_id"].I64[r*n+e]*5 + in["history_action"].I64[r*n+e]
			return wave(event*int64(x+2) + int64(head) + salt)
		})
	}
	return []runtime.Tensor{encode("past_keys", 0), encode("past_values", 7)}
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
