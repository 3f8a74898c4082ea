package repository

import (
	"fmt"
	"slices"
	"strconv"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
)

// Dims are the sizes of a release, by the letters of the shape legend.
type Dims struct {
	I, K, D, Q, C, T  int64
	Sequence, History EncodingDims // of what sequence_encoder and history_encoder make of a history
}

// EncodingDims are the sizes of an encoded history: keys and values [L,H,N,X], the state after the newest
// event [W], and the vectors of the newest events [R,W]. history_encoder gives keys and values alone: its W
// and R are 0. A sequence_encoder without keys (L = 0) cannot go on from a past.
type EncodingDims struct {
	L, H, X, W, R int64
}

// Size is the numbers of an encoding of n events.
func (d EncodingDims) Size(n int) int64 { return 2*d.KeySize(n) + d.W + d.R*d.W }

// KeySize is the numbers of its keys, and of its values.
func (d EncodingDims) KeySize(n int) int64 { return d.L * d.H * int64(max(n, 1)) * d.X }

// fixedAxis is an axis of a tensor that is one of the sizes; a negative one counts from the last.
type fixedAxis struct {
	axis int
	size *int64
}

// dimsOf reads the sizes of a release from the shapes in its manifest, and refuses shapes that contradict
// each other.
func dimsOf(b *bundle.Bundle) (Dims, error) {
	d := Dims{
		I: int64(b.Catalog.Len()), K: b.Vectors.K, D: b.Vectors.D,
		C: int64(len(b.Manifest.GetCross())), T: int64(len(b.Manifest.GetTasks())),
	}
	known := map[*int64]bool{&d.I: true, &d.K: true, &d.D: true, &d.C: true, &d.T: true}
	everywhere := map[string][]fixedAxis{
		"query_vectors": {{1, &d.Q}, {2, &d.K}},
		"cross":         {{2, &d.C}},
		"ranker_token":  {{-1, &d.D}},
		"item_vectors":  {{1, &d.K}},
		"logits":        {{2, &d.T}},
	}
	encodings := map[string]map[string][]fixedAxis{ // by graph
		bundle.SequenceEncoder: d.Sequence.axes(), bundle.QueryEncoder: d.Sequence.axes(),
		bundle.HistoryEncoder: d.History.axes(), bundle.Ranker: d.History.axes(),
	}
	for _, graph := range b.Manifest.GetGraphs() {
		for _, spec := range slices.Concat(graph.GetInputs(), graph.GetOutputs()) {
			for _, f := range slices.Concat(everywhere[spec.GetName()], encodings[graph.GetName()][spec.GetName()]) {
				axis := (f.axis + len(spec.GetShape())) % max(len(spec.GetShape()), 1)
				if f.axis >= len(spec.GetShape()) {
					return d, dimError(graph, spec, "it has too few dimensions")
				}
				n, err := strconv.ParseInt(spec.GetShape()[axis], 10, 64)
				if err != nil || n < 0 || (known[f.size] && *f.size != n) {
					return d, dimError(graph, spec, fmt.Sprintf("dimension %d is %q, the rest of the release says %d", axis, spec.GetShape()[axis], *f.size))
				}
				*f.size, known[f.size] = n, true
			}
		}
	}
	return d, nil
}

// axes are where the sizes of an encoding show in the tensors of its graphs.
func (d *EncodingDims) axes() map[string][]fixedAxis {
	cache, recent := []fixedAxis{{1, &d.L}, {2, &d.H}, {4, &d.X}}, []fixedAxis{{1, &d.R}, {2, &d.W}}
	return map[string][]fixedAxis{
		"past_keys": cache, "past_values": cache, "keys": cache, "values": cache,
		"past_recent": recent, "recent": recent, "state": {{1, &d.W}},
	}
}

func dimError(graph *bundlev1.Graph, spec *bundlev1.TensorSpec, problem string) error {
	return &bundle.Error{
		File: "manifest.json", Check: "shape", Fix: "export the release again",
		Problem: fmt.Sprintf("graph %q, tensor %q: %s", graph.GetName(), spec.GetName(), problem),
	}
}
