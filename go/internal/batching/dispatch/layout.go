package dispatch

import (
	"slices"
	"strconv"
	"strings"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// maxLetters bounds the variable axes of a graph beside B.
const maxLetters = 4

// sizes are the sizes of a graph's letters, in the order of layout.letters.
type sizes [maxLetters]int64

// layout is how the tensors of a graph are cut along B and padded along N and M. Letters are those of the
// manifest's shapes.
type layout struct {
	letters []letter
	inputs  []tensor
	outputs []tensor
}

// letter is a variable axis. Calls share a run when each letter falls into the same bucket, or is equal
// where the contract allows no padding (the past P).
type letter struct {
	name    string
	buckets []int64 // nil: never padded
}

// tensor is an input or output [B, axes...].
type tensor struct {
	name  string
	dtype runtime.DType
	axes  []axis
}

// axis is fixed, or the sum of some letters ("P+N").
type axis struct {
	fixed   int64
	letters []int
}

// newLayout is false for a graph whose calls cannot share runs: some tensor has no batch axis, or an
// output's size does not follow from the inputs.
func newLayout(graph *bundlev1.Graph, session runtime.Session, limits Limits, opts Options) (*layout, bool) {
	l := &layout{}
	bucketed := map[string]int64{"N": limits.Events, "M": limits.Candidates}
	add := func(name string) (int, bool) {
		at := slices.IndexFunc(l.letters, func(known letter) bool { return known.name == name })
		if at >= 0 {
			return at, true
		}
		if len(l.letters) == maxLetters {
			return 0, false
		}
		next := letter{name: name}
		if limit := bucketed[name]; limit > 0 {
			next.buckets = buckets(limit, int64(opts.MinBucket), opts.MaxPadding)
		}
		l.letters = append(l.letters, next)
		return len(l.letters) - 1, true
	}
	known := func(name string) (int, bool) {
		at := slices.IndexFunc(l.letters, func(known letter) bool { return known.name == name })
		return at, at >= 0
	}
	var ok bool
	if l.inputs, ok = tensors(graph.GetInputs(), session.Inputs(), add); !ok {
		return nil, false
	}
	if l.outputs, ok = tensors(graph.GetOutputs(), session.Outputs(), known); !ok {
		return nil, false
	}
	return l, true
}

// tensors reads the manifest's shapes in the session's order.
func tensors(manifest []*bundlev1.TensorSpec, session []runtime.TensorSpec, letterOf func(string) (int, bool)) ([]tensor, bool) {
	var all []tensor
	for _, spec := range session {
		at := slices.IndexFunc(manifest, func(t *bundlev1.TensorSpec) bool { return t.GetName() == spec.Name })
		if at < 0 || len(manifest[at].GetShape()) == 0 || manifest[at].GetShape()[0] != "B" {
			return nil, false
		}
		t := tensor{name: spec.Name, dtype: spec.DType}
		for _, text := range manifest[at].GetShape()[1:] {
			if fixed, err := strconv.ParseInt(text, 10, 64); err == nil {
				t.axes = append(t.axes, axis{fixed: fixed})
				continue
			}
			var sum axis
			for name := range strings.SplitSeq(text, "+") {
				i, ok := letterOf(name)
				if !ok {
					return nil, false
				}
				sum.letters = append(sum.letters, i)
			}
			t.axes = append(t.axes, sum)
		}
		all = append(all, t)
	}
	return all, len(all) > 0
}

// measure reads rows and letters from the inputs of a call; false when they contradict each other, so that
// only the graph itself can say what is wrong.
func (l *layout) measure(inputs []runtime.Tensor) (rows int64, s sizes, ok bool) {
	for i := range s {
		s[i] = -1
	}
	rows = inputs[0].Shape[0]
	for i := range l.inputs {
		if inputs[i].Shape[0] != rows {
			return 0, s, false
		}
		for j, a := range l.inputs[i].axes {
			if len(a.letters) != 1 { // fixed, which was checked, or a sum, which no input of the contract is
				continue
			}
			size, at := inputs[i].Shape[j+1], a.letters[0]
			if s[at] >= 0 && s[at] != size {
				return 0, s, false
			}
			s[at] = size
		}
	}
	return rows, s, rows > 0
}

// pad is the bucket of a call; false when it is larger than all.
func (l *layout) pad(s sizes) (sizes, bool) {
	for i, letter := range l.letters {
		if letter.buckets == nil {
			continue
		}
		size, ok := fit(letter.buckets, s[i])
		if !ok {
			return s, false
		}
		s[i] = size
	}
	return s, true
}

// cells is what one row costs: the product of the padded letters.
func (l *layout) cells(s sizes) int64 {
	product := int64(1)
	for i, letter := range l.letters {
		if letter.buckets != nil {
			product *= s[i]
		}
	}
	return product
}

// shape of a tensor of so many rows.
func (t *tensor) shape(rows int64, s sizes) []int64 {
	shape := make([]int64, 0, 1+len(t.axes))
	shape = append(shape, rows)
	for _, a := range t.axes {
		size := a.fixed
		for _, at := range a.letters {
			size += s[at]
		}
		shape = append(shape, size)
	}
	return shape
}
