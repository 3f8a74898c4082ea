package ranktest

import (
	"testing"

	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/fake"
)

// Runtime is a fake runtime that computes the graphs of the test release.
func Runtime(t testing.TB, b *bundle.Bundle) *fake.Runtime {
	t.Helper()
	return fake.New(Graphs(b.Manifest))
}
