package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shortlist-serving/shortlist/go/internal/vectordb"
	"github.com/shortlist-serving/shortlist/go/internal/vectordb/vectordbtest"
)

func TestUploadWritesTheReleaseIntoTheEngine(t *testing.T) {
	fake, release := vectordbtest.New(t), toy(t)
	var out, log bytes.Buffer
	if err := run(t.Context(), []string{"-retrieval.qdrant.address=" + fake.Address, "upload", release}, nil, nil, &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	name := vectordb.Collection(filepath.Base(release))
	if points, indexed := fake.Points(name); points < 50 || indexed < 3 || !strings.Contains(out.String(), name) {
		t.Errorf("%d points, %d indexed keys: %s", points, indexed, &out)
	}
	if err := run(t.Context(), []string{"upload", release}, nil, nil, &out, &log); err == nil || !strings.Contains(err.Error(), "retrieval.qdrant.address") {
		t.Errorf("without an address: %v", err)
	}
}

// A server that searches by the engine proves its release by itself.
func TestVerifyWithTheEngine(t *testing.T) {
	fake := vectordbtest.New(t)
	var out, log bytes.Buffer
	flags := []string{"-runtime.library=" + library(t), "-retrieval.index=qdrant", "-retrieval.qdrant.address=" + fake.Address, "verify", toy(t)}
	if err := run(t.Context(), flags, nil, nil, &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	if !strings.Contains(out.String(), "passed: 40 golden cases") {
		t.Errorf("verdict: %s", &out)
	}
}
