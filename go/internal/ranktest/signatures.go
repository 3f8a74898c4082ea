package ranktest

import (
	"fmt"
	"slices"
	"strings"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
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

// graphTensors are the inputs and outputs of a graph, in the contract's order. The sequence encoder has so many layers.
func graphTensors(graph string, s *bundlev1.Schema, layers int) (inputs, outputs []tensor) {
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
	sequence := func(name, events string) tensor {
		return float(name, "B,%d,%d,%s,%d", layers, SequenceH, events, SequenceX)
	}
	state, recent := float("state", "B,%d", W), float("recent", "B,%d,%d", R, W)
	queryVectors := float("query_vectors", "B,%d,%d", Q, K)
	cross := float("cross", "B,M,%d", C)
	switch graph {
	case bundle.ItemEncoder:
		return columnTensors("item", "M", s.GetItem()),
			[]tensor{float("retrieval_vector", "M,%d", K), float("ranker_token", "M,%d", D)}
	case bundle.SequenceEncoder:
		past := float("past_recent", "B,%d,%d", R, W)
		return append(history, sequence("past_keys", "P"), sequence("past_values", "P"), past),
			[]tensor{state, recent, sequence("keys", "P+N"), sequence("values", "P+N")}
	case bundle.QueryEncoder:
		length := tensor{"history_length", runtime.Int64, "B"}
		return append([]tensor{state, recent, length}, request...), []tensor{queryVectors}
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

// specs are tensors of a manifest as a session has them. A letter in a shape is variable.
func specs(tensors []*bundlev1.TensorSpec) []runtime.TensorSpec {
	dtypes := map[bundlev1.DType]runtime.DType{
		bundlev1.DType_FLOAT32: runtime.Float32, bundlev1.DType_INT64: runtime.Int64, bundlev1.DType_BOOL: runtime.Bool,
	}
	var all []runtime.TensorSpec
	for _, t := range tensors {
		spec := runtime.TensorSpec{Name: t.GetName(), DType: dtypes[t.GetDtype()]}
		for _, d := range t.GetShape() {
			n := int64(-1)
			fmt.Sscan(d, &n)
			spec.Shape = append(spec.Shape, n)
		}
		all = append(all, spec)
	}
	return all
}
