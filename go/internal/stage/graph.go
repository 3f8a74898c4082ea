package stage

import (
	"fmt"
	"slices"
	"sync"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// Graph is a session whose inputs and outputs are given in an order of the caller's choice.
type Graph struct {
	Name    string
	session runtime.Session
	from    []int     // input i of the session is tensor from[i] of the caller; nil: the orders agree
	to      []int     // output i of the session is tensor to[i] of the caller; nil: the orders agree
	calls   sync.Pool // *Call
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
	g.calls.New = func() any { return newCall(g) }
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
