package bundle_test

import (
	"strings"
	"testing"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
)

// A graph of two layers over four of the 32 items: row 1 is in both.
func TestHNSW(t *testing.T) {
	t.Parallel()
	type graph struct {
		levels       []byte
		links, upper []int32
		entry        int32
	}
	for name, test := range map[string]struct {
		edit  func(g *graph)
		fault string // part of the error; "" is read
	}{
		"sound":                          {},
		"empty":                          {edit: func(g *graph) { *g = graph{entry: -1} }},
		"empty, with an entry":           {edit: func(g *graph) { *g = graph{} }, fault: "entry"},
		"a neighbour past the graph":     {edit: func(g *graph) { g.links[0] = 4 }, fault: "row 0 has the neighbour 4 in layer 0"},
		"a neighbour below 0":            {edit: func(g *graph) { g.links[0] = -2 }, fault: "neighbour -2"},
		"a neighbour of a lower layer":   {edit: func(g *graph) { g.upper[0] = 3 }, fault: "row 1 has the neighbour 3 in layer 1"},
		"an entry that is not the top's": {edit: func(g *graph) { g.entry = 0 }, fault: "entry"},
		"an entry outside":               {edit: func(g *graph) { g.entry = 4 }, fault: "entry"},
		"too few lists":                  {edit: func(g *graph) { g.levels[0] = 1 }, fault: "upper_links"},
		"more rows than items":           {edit: func(g *graph) { g.levels = make([]byte, 33) }, fault: "33 rows"},
	} {
		g := graph{levels: []byte{0, 1, 0, 0}, links: []int32{1, -1, -1, -1, 0, 2, 3, -1, 1, 3, -1, -1, 1, 2, 0, -1}, upper: []int32{-1, -1}, entry: 1}
		if test.edit != nil {
			test.edit(&g)
		}
		id, files := ranktest.Files(t, ranktest.Options{Edit: func(manifest *bundlev1.Manifest, files map[string][]byte) {
			ranktest.AddHNSW(t, manifest, files, 32, []int32{0})
			manifest.Funnel.Sources[0].Hnsw.M = 2
			files[ranktest.HNSWPath] = ranktest.NewTensorFile().Int32s("links", g.links, len(g.links)/4, 4).
				Int32s("upper_links", g.upper, len(g.upper)/2, 2).Int32s("entry", []int32{g.entry}, 1).Raw("levels", "U8", g.levels, len(g.levels)).Bytes(t)
		}})
		b, err := bundle.Parse(id, files)
		if test.fault == "" {
			if err != nil || len(b.HNSW["two_tower"].Levels) != len(g.levels) || b.HNSW["two_tower"].Entry != g.entry {
				t.Errorf("%s: %v", name, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), test.fault) || !strings.Contains(err.Error(), ranktest.HNSWPath) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHNSWInTheManifest(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(s *bundlev1.Source){
		"index without a graph":        func(s *bundlev1.Source) { s.Hnsw = nil },
		"graph without its index":      func(s *bundlev1.Source) { s.Index = bundlev1.IndexKind_INDEX_INT8 },
		"a file that is not listed":    func(s *bundlev1.Source) { s.Hnsw.Path = "index/other.safetensors" },
		"a beam of none":               func(s *bundlev1.Source) { s.Hnsw.EfSearch = 0 },
		"no neighbours":                func(s *bundlev1.Source) { s.Hnsw.M = 0 },
		"a recall that is not a share": func(s *bundlev1.Source) { s.Hnsw.Recall = 2 },
		"a demand that is not a share": func(s *bundlev1.Source) { s.Hnsw.MinRecall = -1 },
		"a graph of another kind of source": func(s *bundlev1.Source) {
			s.Kind, s.Path, s.Segment = bundlev1.SourceKind_POPULAR, "sources/popular.safetensors", "user.gender"
		},
	} {
		id, files := ranktest.Files(t, ranktest.Options{Edit: func(manifest *bundlev1.Manifest, files map[string][]byte) {
			ranktest.AddHNSW(t, manifest, files, 32, []int32{0, 1})
			edit(manifest.Funnel.Sources[0])
		}})
		if _, err := bundle.Parse(id, files); err == nil || !strings.Contains(err.Error(), "manifest.json") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
