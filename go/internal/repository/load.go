package repository

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// itemChunk is how many items one run of item_encoder takes at load.
const itemChunk = 1024

// loadSnapshot opens a release, proves it on this machine, and returns it with one use, the caller's.
// On failure everything is closed again.
func (r *Repository) loadSnapshot(ctx context.Context, id string) (*Snapshot, error) {
	b, err := bundle.Load(filepath.Join(r.opts.Dir, id))
	if err != nil {
		return nil, err
	}
	s := &Snapshot{ID: id, Bundle: b}
	s.refs = newRefCount(func() { r.closed(s) })
	if err := r.prove(ctx, s); err != nil {
		return nil, errors.Join(err, s.closeSessions())
	}
	return s, nil
}

// prove loads the graphs, encodes the items, and runs what the levels above ask for.
func (r *Repository) prove(ctx context.Context, s *Snapshot) error {
	s.Extra = map[string]runtime.Session{}
	for _, graph := range slices.Concat(s.Bundle.Manifest.GetGraphs(), s.Bundle.Manifest.GetExtraGraphs()) {
		session, err := r.loadGraph(s.Bundle, graph)
		if err != nil {
			return err
		}
		if slot := s.sessions()[graph.GetName()]; slot != nil {
			*slot = session
		} else {
			s.Extra[graph.GetName()] = session
		}
	}
	s.Bundle.Graphs = nil // the sessions hold what they need of them
	var err error
	if s.Dims, err = dimsOf(s.Bundle); err != nil {
		return err
	}
	if err := s.encodeItems(ctx); err != nil {
		return err
	}
	if r.opts.Prepare != nil {
		if s.Prepared, err = r.opts.Prepare(ctx, s); err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
	}
	if r.opts.SelfTest != nil {
		if err := r.opts.SelfTest(ctx, s); err != nil {
			return fmt.Errorf("self-test: %w", err)
		}
	}
	return nil
}

// loadGraph makes a session that fits the manifest, wrapped as the options say.
func (r *Repository) loadGraph(b *bundle.Bundle, graph *bundlev1.Graph) (runtime.Session, error) {
	session, err := r.opts.Runtime.Load(graph.GetName(), b.Graphs[graph.GetName()])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", graph.GetPath(), err)
	}
	if err := errors.Join(checkSpecs(graph, "input", graph.GetInputs(), session.Inputs()),
		checkSpecs(graph, "output", graph.GetOutputs(), session.Outputs())); err != nil {
		return nil, errors.Join(err, session.Close())
	}
	if r.opts.Wrap == nil {
		return session, nil
	}
	if session, err = r.opts.Wrap(b, graph, session); err != nil {
		return nil, fmt.Errorf("%s: %w", graph.GetPath(), err)
	}
	return session, nil
}

func (s *Snapshot) closeSessions() error {
	var errs []error
	for _, session := range s.sessions() {
		if *session != nil {
			errs = append(errs, (*session).Close())
		}
	}
	for _, session := range s.Extra {
		errs = append(errs, session.Close())
	}
	return errors.Join(errs...)
}

var dtypes = map[bundlev1.DType]runtime.DType{
	bundlev1.DType_FLOAT32: runtime.Float32, bundlev1.DType_INT64: runtime.Int64, bundlev1.DType_BOOL: runtime.Bool,
}

// checkSpecs holds the manifest's description of a graph's tensors against what the session really has.
func checkSpecs(graph *bundlev1.Graph, kind string, want []*bundlev1.TensorSpec, got []runtime.TensorSpec) error {
	var errs []error
	bad := func(name, format string, args ...any) {
		errs = append(errs, &bundle.Error{
			File: graph.GetPath(), Check: "tensors", Fix: "export the release again",
			Problem: fmt.Sprintf("graph %q, %s %q: ", graph.GetName(), kind, name) + fmt.Sprintf(format, args...),
		})
	}
	for _, spec := range want {
		at := slices.IndexFunc(got, func(t runtime.TensorSpec) bool { return t.Name == spec.GetName() })
		switch {
		case at < 0:
			bad(spec.GetName(), "the manifest lists it, the graph does not have it")
		case got[at].DType != dtypes[spec.GetDtype()]:
			bad(spec.GetName(), "the manifest says %s, the graph has %s", dtypes[spec.GetDtype()], got[at].DType)
		case !sameShape(spec.GetShape(), got[at].Shape):
			bad(spec.GetName(), "the manifest says shape %v, the graph has %v", spec.GetShape(), got[at].Shape)
		}
	}
	for _, t := range got {
		if !slices.ContainsFunc(want, func(spec *bundlev1.TensorSpec) bool { return spec.GetName() == t.Name }) {
			bad(t.Name, "the graph has it, the manifest does not list it")
		}
	}
	return errors.Join(errs...)
}

// sameShape compares a manifest's shape with a session's: the rank must agree, and every number with what
// the graph has fixed.
func sameShape(want []string, got []int64) bool {
	if len(want) != len(got) {
		return false
	}
	for i, text := range want {
		n, err := strconv.ParseInt(text, 10, 64)
		if got[i] >= 0 && (err != nil || n != got[i]) {
			return false
		}
	}
	return true
}
