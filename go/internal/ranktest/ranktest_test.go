package ranktest

import (
	"testing"

	"github.com/shortlist-serving/shortlist/go/internal/bundle"
)

func TestReleaseOnDiskLoads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	id := Write(t, dir, Options{})
	b, err := bundle.Load(dir + "/" + id)
	if err != nil {
		t.Fatal(err)
	}
	if b.Catalog.Len() != defaultItems || len(b.Counters) != C || len(b.Sources) != 2 {
		t.Fatalf("got %d items, %d counters, %d sources", b.Catalog.Len(), len(b.Counters), len(b.Sources))
	}
}
