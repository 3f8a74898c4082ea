// Package ranktest makes releases and runtimes for tests of the packages above the bundle: a small valid
// release, in memory or on disk, and fake graphs that compute simple exact answers for it.
package ranktest

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
)

// Sizes of the test release.
const (
	K, D, Q, L, H, X, C, T = 4, 6, 2, 1, 2, 3, 3, 2
	SequenceL              = 2 // of the sequence encoder, with H, X, W and R
	SequenceH, SequenceX   = 1, 2
	W, R                   = 3, 2
	Width                  = 4 // of context_query
	TagWidth               = 3 // of item_tags
	Buckets                = 97
	MaxEvents, Step        = 8, 4
	defaultItems           = 32
	maxItems               = 4096
)

// Options of the test release; zero fields take the defaults.
type Options struct {
	Items   int       // default 32, at most 4096; ids are 10, 20, 30 ...
	Created time.Time // default 2026-01-02; later releases sort after earlier ones
	Times   bool      // the models read the times of events
	Whole   bool      // the sequence encoder cannot go on from a past
	// Edit changes the manifest or the files before digests and id are computed; nil changes nothing.
	Edit func(manifest *bundlev1.Manifest, files map[string][]byte)
}

// ItemID is the id of a row.
func ItemID(row int64) int64 { return 10 * (row + 1) }

// Files are the files of a valid release by relative path, and its id.
func Files(t testing.TB, opts Options) (releaseID string, files map[string][]byte) {
	t.Helper()
	if opts.Items == 0 {
		opts.Items = defaultItems
	}
	if opts.Items > maxItems {
		t.Fatalf("%d items: a counter by the last item grows with their square, so at most %d", opts.Items, maxItems)
	}
	if opts.Created.IsZero() {
		opts.Created = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	}
	manifest := newManifest(opts)
	files = newFiles(t, manifest, opts.Items)
	if opts.Edit != nil {
		opts.Edit(manifest, files)
	}
	return Seal(t, manifest, files, opts.Created), files
}

// Seal writes the manifest into files with right digests, and returns the release id.
func Seal(t testing.TB, manifest *bundlev1.Manifest, files map[string][]byte, created time.Time) (releaseID string) {
	t.Helper()
	delete(files, "manifest.json")
	manifest.Files = nil
	digest := sha256.New()
	for _, path := range slices.Sorted(maps.Keys(files)) {
		sum := sha256.Sum256(files[path])
		file := &bundlev1.File{Path: path, Size: int64(len(files[path])), Sha256: hex.EncodeToString(sum[:])}
		manifest.Files = append(manifest.Files, file)
		digest.Write([]byte(file.Sha256 + "  " + path + "\n"))
	}
	manifest.Digest = hex.EncodeToString(digest.Sum(nil))
	manifest.CreatedAt = created.UTC().Format(time.RFC3339)
	manifest.ReleaseId = created.UTC().Format("20060102T150405Z") + "-" + manifest.Digest[:12]
	data, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	files["manifest.json"] = data
	return manifest.ReleaseId
}

// Bundle is the test release, parsed.
func Bundle(t testing.TB, opts Options) *bundle.Bundle {
	t.Helper()
	id, files := Files(t, opts)
	b, err := bundle.Parse(id, files)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Write writes the test release as a directory in dir and returns its id.
func Write(t testing.TB, dir string, opts Options) (releaseID string) {
	t.Helper()
	id, files := Files(t, opts)
	WriteFiles(t, filepath.Join(dir, id), files)
	return id
}

// WriteFiles writes files by relative path under dir.
func WriteFiles(t testing.TB, dir string, files map[string][]byte) {
	t.Helper()
	for path, data := range files {
		full := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
