package funnel

import (
	"slices"
	"strings"
	"testing"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
)

// Golden tensors that the index graph made hold for every other kind of index.
func TestEveryIndexPassesTheSelfTest(t *testing.T) {
	t.Parallel()
	for _, kind := range []bundlev1.IndexKind{bundlev1.IndexKind_INDEX_FLOAT32, bundlev1.IndexKind_INDEX_INT8, bundlev1.IndexKind_INDEX_INT4} {
		release := golden(t, nil)
		edit := release.Edit
		release.Edit = func(manifest *bundlev1.Manifest, files map[string][]byte) {
			edit(manifest, files)
			manifest.Funnel.Sources[0].Index = kind
		}
		p, repo, _, id := replayWorld(t, release)
		s, unpin, err := repo.AcquireRelease(id)
		if err != nil {
			t.Fatal(err)
		}
		defer unpin()
		report, err := p.Replay(t.Context(), s)
		if err != nil || report.Err() != nil {
			t.Errorf("%s: %v, %v", kind, err, report.Err())
		}
	}
}

// A graph of neighbours misses items, so golden tensors are held against the exact search, and the graph against its recall.
func TestAGraphOfNeighboursIsJudgedByItsRecall(t *testing.T) {
	t.Parallel()
	var best []int64
	release := golden(t, func(seen *recording) { best = slices.Clone(seen.ints["source.two_tower.rows"][:8]) })
	edit := release.Edit
	for name, test := range map[string]struct {
		hidden []int64 // rows that no neighbour leads to
		recall float64
	}{"whole": {nil, 1}, "the best half is out of reach": {best, 0.5}} {
		release.Edit = func(manifest *bundlev1.Manifest, files map[string][]byte) {
			edit(manifest, files)
			var rows []int32
			for row := range int32(32) {
				if !slices.Contains(test.hidden, int64(row)) {
					rows = append(rows, row)
				}
			}
			ranktest.AddHNSW(t, manifest, files, 32, rows)
		}
		p, repo, _, id := replayWorld(t, release)
		s, unpin, err := repo.AcquireRelease(id)
		if err != nil {
			t.Fatal(err)
		}
		defer unpin()
		report, err := p.Replay(t.Context(), s)
		if err != nil || report.Recall != test.recall {
			t.Fatalf("%s: recall %v, %v", name, report.Recall, err)
		}
		if refused := report.Err() != nil && strings.Contains(report.Err().Error(), "recall"); refused != (test.recall < 1) {
			t.Errorf("%s: %v", name, report.Err())
		}
	}
}
