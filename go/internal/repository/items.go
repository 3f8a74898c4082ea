package repository

import (
	"context"
	"fmt"
	"math"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// encodeItems runs item_encoder over the catalog in chunks, in place, and holds the results against what
// the factory computed.
func (s *Snapshot) encodeItems(ctx context.Context) error {
	d := s.Dims
	s.RetrievalVectors = make([]float32, d.I*d.K)
	s.RankerTokens = make([]float32, d.I*d.D)
	inputs := make([]runtime.Tensor, len(s.ItemEncoder.Inputs()))
	outputs := make([]runtime.Tensor, len(s.ItemEncoder.Outputs()))
	for from := int64(0); from < d.I; from += itemChunk {
		to := min(from+itemChunk, d.I)
		for i, spec := range s.ItemEncoder.Inputs() {
			inputs[i] = itemInput(s.Bundle.Catalog, spec.Name, from, to)
		}
		for i, spec := range s.ItemEncoder.Outputs() {
			if spec.Name == "retrieval_vector" {
				outputs[i] = runtime.Floats(s.RetrievalVectors[from*d.K:to*d.K], to-from, d.K)
			} else {
				outputs[i] = runtime.Floats(s.RankerTokens[from*d.D:to*d.D], to-from, d.D)
			}
		}
		if err := s.ItemEncoder.Run(ctx, inputs, outputs); err != nil {
			return fmt.Errorf("encode items %d to %d: %w", from, to, err)
		}
	}
	tolerance := s.Bundle.Manifest.GetTolerance()
	if err := compare("retrieval_vector", s.RetrievalVectors, s.Bundle.Vectors.RetrievalVector, d.K, tolerance); err != nil {
		return err
	}
	if err := compare("ranker_token", s.RankerTokens, s.Bundle.Vectors.RankerToken, d.D, tolerance); err != nil {
		return err
	}
	s.Bundle.Vectors = nil // proved; keeping them would double the memory
	return nil
}

// itemInput is rows [from,to) of the catalog column behind the graph input item_<column>, without a copy.
func itemInput(c *bundle.Catalog, name string, from, to int64) runtime.Tensor {
	for _, column := range c.Inputs() {
		if "item_"+column.Column.GetName() != name {
			continue
		}
		width := int64(column.Width)
		shape := []int64{to - from}
		if column.Column.GetWidth() > 0 {
			shape = append(shape, width)
		}
		if column.F32 != nil {
			return runtime.Floats(column.F32[from*width:to*width], shape...)
		}
		return runtime.Ints(column.I64[from*width:to*width], shape...)
	}
	return runtime.Tensor{} // checkSpecs and bundle.GraphInputs leave no other name; the run would refuse it
}

// compare refuses vectors that this machine computes otherwise than the factory did.
func compare(name string, got, want []float32, width int64, t *bundlev1.Tolerance) error {
	for i, w := range want {
		limit := t.GetAbsolute() + t.GetRelative()*math.Abs(float64(w))
		if diff := math.Abs(float64(got[i]) - float64(w)); !(diff <= limit) { // so that NaN is refused
			return &bundle.Error{
				File: "index/items.safetensors", Check: "tolerance",
				Problem: fmt.Sprintf("%s of row %d, element %d: this server computes %v, the factory %v; the tolerance is %g",
					name, int64(i)/width, int64(i)%width, got[i], w, limit),
				Fix: "serve with the runtime version and device that the manifest names, or export again with them",
			}
		}
	}
	return nil
}
