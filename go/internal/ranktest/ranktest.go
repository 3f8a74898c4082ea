// Package ranktest makes releases and runtimes for tests of the packages above the bundle: a small valid
// release, in memory or on disk, and fake graphs that compute simple exact answers for it.
package ranktest

import (
	"testing"

	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/fake"
)

// Options of the test release; zero fields take the defaults.
type Options struct {
	Items int // default 32; ids are 10, 20, 30 ...
}

// Files are the files of a valid release by relative path, and its id.
func Files(t testing.TB, opts Options) (releaseID string, files map[string][]byte) { return "", nil }

// Bundle is the test release, parsed.
func Bundle(t testing.TB, opts Options) *bundle.Bundle { return nil }

// Write writes the test release under dir and returns its id.
func Write(t testing.TB, dir string, opts Options) (releaseID string) { return "" }

// Runtime is a fake runtime that computes the graphs of the test release.
func Runtime(t testing.TB, b *bundle.Bundle) *fake.Runtime { return nil }
