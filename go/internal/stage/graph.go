package stage

import (
	"context"
	"fmt"
	"slices"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// Graph is a session whose inputs and outputs are given in an order of the caller's choice.
type Graph struct {
	Name    string
	session runtime.Session
	from    []int // input i of the session is tensor from[i] of the caller; nil: the orders agree
	to      []int // output i of the session is tensor to[i] of the caller; nil: the orders agree
}

// NewGraph ties a session to the caller's order of inputs and outputs. Every tensor of the graph must be
// among the names, and every output wanted must exist.
func NewGraph(name string, session runtime.Session, inputs, outputs []string) (*Graph, error) {
	if session == nil {
		return nil, fmt.Errorf("graph %s: the release has none; export the release again", name)
	}
	g := &Graph{Name: name, session: session}
	var err error
	if g.from, err = order(name, "input", session.Inputs(), inputs); err != nil {
		return nil, err
	}
	if g.to, err = order(name, "output", session.Outputs(), outputs); err != nil {
		return nil, err
	}
	return g, nil
}

func order(graph, what string, specs []runtime.TensorSpec, names []string) ([]int, error) {
	if len(specs) != len(names) {
		return nil, fmt.Errorf("graph %s has %d %ss where the contract has %d (%v); export the release again", graph, len(specs), what, len(names), names)
	}
	positions := make([]int, len(specs))
	inOrder := true
	for i, spec := range specs {
		positions[i] = slices.Index(names, spec.Name)
		if positions[i] < 0 {
			return nil, fmt.Errorf("graph %s: %s %q is not in the contract (%v); export the release again", graph, what, spec.Name, names)
		}
		inOrder = inOrder && positions[i] == i
	}
	if inOrder {
		return nil, nil
	}
	return positions, nil
}

// Run executes the graph. Outputs are as in runtime.Session.Run.
func (g *Graph) Run(ctx context.Context, inputs, outputs []runtime.Tensor) error {
	in, out := inputs, outputs
	if g.from != nil {
		in = make([]runtime.Tensor, len(g.from))
		for i, j := range g.from {
			in[i] = inputs[j]
		}
	}
	if g.to != nil {
		out = make([]runtime.Tensor, len(g.to))
		for i, j := range g.to {
			out[i] = outputs[j]
		}
	}
	if err := g.session.Run(ctx, in, out); err != nil {
		return fmt.Errorf("run %s: %w", g.Name, err)
	}
	for i, j := range g.to {
		outputs[j] = out[i]
	}
	return nil
}
