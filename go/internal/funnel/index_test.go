package funnel

import (
	"testing"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
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
