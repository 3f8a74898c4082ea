package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// maxWork bounds B x events x max(events, M) of one call: attention makes a matrix of that size for each
// head, so that a message of a few megabytes could otherwise ask for more memory than there is.
const maxWork = 1 << 25

func graphOf(s *repository.Snapshot, name string) *bundlev1.Graph {
	manifest := s.Bundle.Manifest
	for _, graph := range slices.Concat(manifest.GetGraphs(), manifest.GetExtraGraphs()) {
		if graph.GetName() == name {
			return graph
		}
	}
	return nil
}

// checkSizes holds the sizes of the inputs against each other: an axis that the manifest names by the same
// letter has the same size everywhere. tensors are parallel to specs and fit them one by one.
func checkSizes(graph *bundlev1.Graph, specs []runtime.TensorSpec, tensors []runtime.Tensor, faults *rank.Faults) {
	letters := make(map[string][]string)
	for _, input := range graph.GetInputs() {
		letters[input.GetName()] = input.GetShape()
	}
	size, first := make(map[string]int64), make(map[string]string)
	for i, spec := range specs {
		for axis, letter := range letters[spec.Name] {
			if axis >= len(tensors[i].Shape) || spec.Shape[axis] >= 0 {
				continue
			}
			n := tensors[i].Shape[axis]
			if known, ok := size[letter]; ok && known != n {
				faults.Add(fmt.Sprintf("inputs[%q].shape", spec.Name), rank.ReasonInvalidField,
					fmt.Sprintf("axis %d (%s) is %d, but %d in input %q", axis, letter, n, known, first[letter]), "give both the same size")
			} else if !ok {
				size[letter], first[letter] = n, spec.Name
			}
		}
	}
	events := size["N"] + size["P"]
	work := float64(max(size["B"], 1)) * float64(max(events, 1)) * float64(max(events, size["M"], 1))
	if work > maxWork {
		faults.Add("inputs", rank.ReasonTooLarge, fmt.Sprintf("B x events x max(events, M) is %.0f where %d is allowed", work, maxWork), "split the call")
	}
}

// asInferError makes what a graph refuses the caller's fault: names, types and sizes were checked, so that
// what is left are values such as ids outside a table. The runtime's text may name parts of the server
// and goes to the log only.
func (s *inferenceServer) asInferError(model string, err error) error {
	var full *rank.OverloadedError
	var late *rank.DeadlineError
	if errors.As(err, &full) || errors.As(err, &late) || errors.Is(err, rank.ErrDraining) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var device *runtime.DeviceError
	if errors.As(err, &device) {
		return rank.ErrNoDevice
	}
	s.deps.Logger.Warn("a graph refused the inputs of a call", "model", model, "error", err)
	var faults rank.Faults
	faults.Add("inputs", rank.ReasonInvalidField, "the graph refused the values", "check that ids and lengths are within their tables")
	return faults.Err()
}
