package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// PyTorch's answers of the toy release, reproduced with ONNX Runtime for the graphs and each kind of index.
func TestVerifyProvesEveryIndex(t *testing.T) {
	release := toy(t)
	for _, kind := range []string{"INDEX_GRAPH", "INDEX_FLOAT32", "INDEX_INT8", "INDEX_INT4"} {
		altered := filepath.Join(t.TempDir(), "toy", filepath.Base(release))
		if err := os.CopyFS(altered, os.DirFS(release)); err != nil {
			t.Fatal(err)
		}
		// The digest is over the other files, so that a test may edit the manifest.
		file := filepath.Join(altered, "manifest.json")
		manifest, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		edited := strings.Replace(string(manifest), `"TWO_TOWER"`, `"TWO_TOWER", "index": "`+kind+`"`, 1)
		if edited == string(manifest) {
			t.Fatal("the manifest has no two-tower source")
		}
		if err := os.Remove(file); err != nil { // it is read-only
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(edited), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, log bytes.Buffer
		if err := run(t.Context(), []string{"-runtime.library=" + library(t), "verify", altered}, nil, nil, &out, &log); err != nil {
			t.Fatalf("%s: %v\n%s", kind, err, &log)
		}
		if !strings.Contains(out.String(), "passed: 40 golden cases") {
			t.Errorf("%s: %s", kind, &out)
		}
		t.Logf("%s: %s", kind, &out)
	}
}
