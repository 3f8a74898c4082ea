package ranktest

import (
	"testing"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
)

// HNSWPath is the file that AddHNSW adds.
const HNSWPath = "index/hnsw.safetensors"

// AddHNSW gives the two-tower source of a release with so many items a graph of one layer, in which each of the rows has the
// next ones, in a ring, for neighbours. The first is where searches begin; items that are not among them are never found.
func AddHNSW(t testing.TB, manifest *bundlev1.Manifest, files map[string][]byte, items int, rows []int32) {
	t.Helper()
	const m = 8
	links := make([]int32, 2*m*items)
	for i := range links {
		links[i] = -1
	}
	for i, row := range rows {
		for near := range min(2*m, len(rows)-1) {
			links[2*m*int(row)+near] = rows[(i+near+1)%len(rows)]
		}
	}
	files[HNSWPath] = NewTensorFile().Int32s("links", links, items, 2*m).Int32s("upper_links", nil, 0, m).
		Int32s("entry", rows[:1], 1).Raw("levels", "U8", make([]byte, items), items).Bytes(t)
	source := manifest.GetFunnel().GetSources()[0]
	source.Index = bundlev1.IndexKind_INDEX_HNSW
	source.Hnsw = &bundlev1.Hnsw{Path: HNSWPath, M: m, EfConstruction: 100, EfSearch: 16, Recall: 1, RecallAt: 16, Queries: 1, MinRecall: 0.98}
}
