package repository_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/ort"
)

// The factory's toy release, on the real runtime: its graphs must fit its manifest, and the item vectors
// that this machine computes must be the factory's.
func TestToyReleaseOnONNXRuntime(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	library, err := ort.FindLibrary(os.Getenv("SHORTLIST_ONNXRUNTIME"), filepath.Join(root, ".venv"))
	if err != nil {
		t.Skipf("ONNX Runtime is not installed (run `make setup`, or set SHORTLIST_ONNXRUNTIME): %v", err)
	}
	dir := filepath.Join(root, "models", "toy")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the toy release is not there (run `make toy`): %v", err)
	}
	rt, err := ort.New(ort.Options{Library: library})
	if err != nil {
		t.Fatal(err)
	}
	r, err := repository.New(repository.Options{Dir: dir, Runtime: rt})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Open(t.Context()); err != nil {
		t.Error(err)
	}
	if s, release, err := r.Acquire(); err == nil {
		t.Logf("%s: %+v", s.ID, s.Dims)
		if int64(len(s.RetrievalVectors)) != s.Dims.I*s.Dims.K {
			t.Errorf("%d retrieval vector elements for %+v", len(s.RetrievalVectors), s.Dims)
		}
		release()
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := rt.Close(); err != nil {
		t.Error(err)
	}
}
