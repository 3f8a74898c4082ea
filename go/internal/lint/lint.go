// Package lint holds the laws of the architecture as checks of the source: who may import whom, where cgo
// lives, how long files are, and what code must not do. Its tests run them over the whole module.
package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

const module = "github.com/shortlist-serving/shortlist/go/"

// layers from the bottom up: a package imports lower layers only, and never a sibling of its own layer.
// Packages under a name belong to it.
var layers = [][]string{
	{"internal/rank"},
	{"internal/bundle"},
	{"internal/runtime"},
	{"internal/batching", "internal/repository", "internal/feature", "internal/vector", "internal/vectordb", "internal/kvcache"},
	{"internal/stage"},
	{"internal/funnel"},
	{"internal/rpc"},
	{"internal/config"},
	{"cmd"},
}

// apart are packages beside the layers: what they may import, and who may import them.
var apart = map[string]struct{ imports, importedBy []string }{
	"internal/telemetry": {
		imports:    []string{"internal/rank", "internal/funnel", "internal/repository", "internal/batching", "internal/kvcache"},
		importedBy: []string{"internal/rpc", "internal/config", "cmd"},
	},
}

// testSupport are packages for tests only.
var testSupport = []string{"internal/ranktest", "internal/runtime/runtimetest", "internal/runtime/fake", "internal/vectordb/vectordbtest"}

// maxLines of a file that is not generated.
const maxLines = 500

// Fault is a breach of a law.
type Fault struct {
	File string // relative to the module
	Line int
	Law  string
	What string
}

func (f Fault) String() string { return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Law, f.What) }

// Check holds every Go file under root, a module's folder, against the laws. Folders named testdata or
// gen, and those that begin with a dot, are skipped.
func Check(root string) ([]Fault, error) {
	var faults []Fault
	err := filepath.WalkDir(root, func(full string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if full != root && (name == "testdata" || name == "gen" || strings.HasPrefix(name, ".")) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		rel, err := filepath.Rel(root, full)
		if err != nil {
			return err
		}
		found, err := checkFile(full, filepath.ToSlash(rel))
		faults = append(faults, found...)
		return err
	})
	return faults, err
}

// file is one parsed file with its faults.
type file struct {
	path   string // relative to the module
	folder string
	test   bool
	set    *token.FileSet
	faults []Fault
}

func (f *file) add(pos token.Pos, law, format string, args ...any) {
	f.faults = append(f.faults, Fault{File: f.path, Line: f.set.Position(pos).Line, Law: law, What: fmt.Sprintf(format, args...)})
}

func checkFile(full, rel string) ([]Fault, error) {
	source, err := os.ReadFile(full)
	if err != nil {
		return nil, err
	}
	f := &file{path: rel, folder: path.Dir(rel), test: strings.HasSuffix(rel, "_test.go"), set: token.NewFileSet()}
	tree, err := parser.ParseFile(f.set, full, source, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	if ast.IsGenerated(tree) {
		return nil, nil
	}
	if lines := bytes.Count(source, []byte("\n")); lines > maxLines {
		f.add(tree.Pos(), "file length", "the file has %d lines, more than %d: cut it by concept", lines, maxLines)
	}
	for _, spec := range tree.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		f.checkImport(spec.Pos(), imported)
	}
	if !f.test {
		f.checkCalls(tree)
	}
	return f.faults, nil
}

func (f *file) checkImport(pos token.Pos, imported string) {
	if imported == "C" && f.folder != "internal/runtime/ort" {
		f.add(pos, "cgo", "only internal/runtime/ort may use cgo")
	}
	if strings.Contains(imported, "onnxruntime_go") && f.folder != "internal/runtime/ort" {
		f.add(pos, "cgo", "only internal/runtime/ort may import the binding")
	}
	calls := under(f.folder, "internal/vectordb") // the one client below the doors
	if imported == "google.golang.org/grpc" && !calls && layerOf(f.folder) >= 0 && layerOf(f.folder) < layerOf("internal/rpc") {
		f.add(pos, "wire", "gRPC stops at internal/rpc")
	}
	if strings.HasPrefix(imported, "github.com/qdrant/") && !calls {
		f.add(pos, "wire", "only internal/vectordb may import the client of the vector engine")
	}
	target, ours := strings.CutPrefix(imported, module)
	if !ours || under(target, "gen") {
		return
	}
	if f.test || f.isTestSupport() {
		return // tests may build a whole server; the compiler still forbids cycles
	}
	for _, support := range testSupport {
		if under(target, support) {
			f.add(pos, "test support", "%s is for tests only", target)
			return
		}
	}
	if law, ok := apart[root(target)]; ok {
		if !contains(law.importedBy, f.folder) {
			f.add(pos, "import", "%s may be imported by %v only", target, law.importedBy)
		}
		return
	}
	if law, ok := apart[root(f.folder)]; ok {
		if !contains(law.imports, target) && root(target) != root(f.folder) {
			f.add(pos, "import", "%s may import %v only, not %s", root(f.folder), law.imports, target)
		}
		return
	}
	from, to := layerOf(f.folder), layerOf(target)
	switch {
	case from < 0:
		f.add(pos, "layer", "%s has no place in the layers: add it to internal/lint", f.folder)
	case to < 0:
		f.add(pos, "layer", "%s has no place in the layers: add it to internal/lint", target)
	case to > from:
		f.add(pos, "import", "%s must not import upward, %s", f.folder, target)
	case to == from && !related(f.folder, target):
		f.add(pos, "import", "%s must not import its sibling %s", f.folder, target)
	}
}

// checkCalls forbids panics, which would let one bad input stop a server, and printing, which no operator
// finds, outside of main packages.
func (f *file) checkCalls(tree *ast.File) {
	if tree.Name.Name == "main" || f.isTestSupport() {
		return
	}
	ast.Inspect(tree, func(node ast.Node) bool {
		call, ok := node.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch fun := call.Fun.(type) {
		case *ast.Ident:
			switch fun.Name {
			case "panic":
				f.add(call.Pos(), "panic", "return an error")
			case "print", "println":
				f.add(call.Pos(), "print", "log it, or return it")
			}
		case *ast.SelectorExpr:
			pkg, ok := fun.X.(*ast.Ident)
			if !ok {
				return true
			}
			switch {
			case pkg.Name == "fmt" && strings.HasPrefix(fun.Sel.Name, "Print"):
				f.add(call.Pos(), "print", "log it, or return it")
			case pkg.Name == "log" && (strings.HasPrefix(fun.Sel.Name, "Fatal") || strings.HasPrefix(fun.Sel.Name, "Panic")),
				pkg.Name == "os" && fun.Sel.Name == "Exit":
				f.add(call.Pos(), "panic", "only main may end the process: return an error")
			}
		}
		return true
	})
}

func (f *file) isTestSupport() bool {
	return contains(testSupport, f.folder) || under(f.folder, "internal/lint")
}

// layerOf is the layer of a package's folder, -1 when it has none.
func layerOf(folder string) int {
	for i, names := range layers {
		if contains(names, folder) {
			return i
		}
	}
	return -1
}

// related says whether two packages of a layer are parts of one thing: of one command, or one in the other.
func related(a, b string) bool {
	return under(a, b) || under(b, a) || (under(a, "cmd") && root(a) == root(b))
}

func under(folder, name string) bool { return folder == name || strings.HasPrefix(folder, name+"/") }

func contains(names []string, folder string) bool {
	for _, name := range names {
		if under(folder, name) {
			return true
		}
	}
	return false
}

// root is the package's folder cut to two steps, as "internal/config".
func root(folder string) string {
	parts := strings.SplitN(folder, "/", 3)
	return strings.Join(parts[:min(len(parts), 2)], "/")
}
