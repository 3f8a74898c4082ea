// Package bundle opens a release directory, verifies every byte of it and parses it into typed tables.
// docs/bundle.md is the contract. Whatever is used was verified: files are read once, and the same bytes
// are hashed and parsed.
package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
)

// The graphs of a bundle.
const (
	ItemEncoder     = "item_encoder"
	SequenceEncoder = "sequence_encoder" // of histories, for retrieval
	QueryEncoder    = "query_encoder"
	Index           = "index"
	Preranker       = "preranker"
	HistoryEncoder  = "history_encoder" // of histories, for the ranker
	Ranker          = "ranker"
)

// GraphNames lists the seven graphs that every bundle holds.
var GraphNames = []string{ItemEncoder, SequenceEncoder, QueryEncoder, Index, Preranker, HistoryEncoder, Ranker}

// SegmentLastItem is the segment of a counter that is keyed by the catalog row of the newest event.
const SegmentLastItem = "history.last_item"

// FormatVersion is the only manifest version that this reader knows.
const FormatVersion = 2

// The files whose paths are fixed by the contract and not named in the manifest's messages.
const (
	manifestFile  = "manifest.json"
	catalogFile   = "catalog/items.safetensors"
	vectorsFile   = "index/items.safetensors"
	referenceFile = "reference/histograms.json"
)

// Bundle is a verified release. It is immutable.
type Bundle struct {
	Manifest *bundlev1.Manifest
	// Graphs are the bytes of each graph by name, extra ones included; nil once a repository made sessions of them.
	Graphs   map[string][]byte
	Catalog  *Catalog
	Counters []*Counter              // in the order of Manifest.Cross
	Sources  map[string]*SourceTable // by source name; none for TWO_TOWER
	HNSW     map[string]*HNSW        // by source name, of those that have one
	Vectors  *ItemVectors            // what the factory's item_encoder computed; nil once a repository proved it
	Golden   *Golden
	// Reference is reference/histograms.json; nil when the bundle has none.
	Reference []byte
}

// ItemVectors are the outputs of item_encoder for the whole catalog.
type ItemVectors struct {
	K, D            int64
	RetrievalVector []float32 // [I,K]
	RankerToken     []float32 // [I,D]
}

// Golden are the requests of a release and what the factory computed for each.
type Golden struct {
	Requests [][]byte // JSON of shortlist.v1.RecommendRequest
	Tensors  *Tensors // with the names of docs/bundle.md
	Warmup   [][]byte // JSON of shortlist.v1.RecommendRequest
}

// Load reads, verifies and parses the release in dir. Every fault is an *Error; several may be joined.
func Load(dir string) (*Bundle, error) {
	releaseID, files, err := readDir(dir)
	if err != nil {
		return nil, err
	}
	return Parse(releaseID, files)
}

// Parse verifies and parses a release from the contents of its files by relative path. releaseID is the
// name of the directory. files must not change afterwards.
func Parse(releaseID string, files map[string][]byte) (*Bundle, error) {
	manifest, err := parseManifest(files[manifestFile])
	if err != nil {
		return nil, err
	}
	if err := verifyFiles(manifest, releaseID, files); err != nil {
		return nil, err
	}
	if err := checkManifest(manifest); err != nil {
		return nil, err
	}
	b := &Bundle{
		Manifest:  manifest,
		Graphs:    map[string][]byte{},
		Sources:   map[string]*SourceTable{},
		HNSW:      map[string]*HNSW{},
		Reference: files[referenceFile],
	}
	for _, graph := range slices.Concat(manifest.GetGraphs(), manifest.GetExtraGraphs()) {
		b.Graphs[graph.GetName()] = files[graph.GetPath()]
	}
	if err := b.parseTables(files); err != nil {
		return nil, err
	}
	if b.Golden, err = parseGolden(manifest.GetGolden(), files); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *Bundle) parseTables(files map[string][]byte) error {
	open := func(path string) (*Tensors, error) {
		data, ok := files[path]
		if !ok {
			return nil, refuse(path, "present", fixExport, "the contract asks for this file")
		}
		t, err := ParseTensors(path, data)
		if err != nil {
			return nil, err
		}
		return t, t.finite()
	}
	t, err := open(catalogFile)
	if err != nil {
		return err
	}
	if b.Catalog, err = parseCatalog(t, b.Manifest.GetSchema()); err != nil {
		return err
	}
	items := int64(b.Catalog.Len())
	if t, err = open(vectorsFile); err != nil {
		return err
	}
	if b.Vectors, err = parseVectors(t, items); err != nil {
		return err
	}
	for _, cross := range b.Manifest.GetCross() {
		if t, err = open(cross.GetPath()); err != nil {
			return err
		}
		counter, err := parseCounter(t, cross, items)
		if err != nil {
			return err
		}
		b.Counters = append(b.Counters, counter)
	}
	for _, source := range b.Manifest.GetFunnel().GetSources() {
		if spec := source.GetHnsw(); spec != nil {
			if t, err = open(spec.GetPath()); err != nil {
				return err
			}
			if b.HNSW[source.GetName()], err = parseHNSW(t, spec, items); err != nil {
				return err
			}
		}
		if source.GetKind() == bundlev1.SourceKind_TWO_TOWER {
			continue
		}
		if t, err = open(source.GetPath()); err != nil {
			return err
		}
		if b.Sources[source.GetName()], err = parseSource(t, source, items); err != nil {
			return err
		}
	}
	return nil
}

func parseVectors(t *Tensors, items int64) (*ItemVectors, error) {
	retrieval, k, err := t.matrix("retrieval_vector", items)
	if err != nil {
		return nil, err
	}
	token, d, err := t.matrix("ranker_token", items)
	return &ItemVectors{K: k, D: d, RetrievalVector: retrieval, RankerToken: token}, err
}

// matrix is an F32 tensor with the given number of rows, and its width.
func (t *Tensors) matrix(name string, rows int64) ([]float32, int64, error) {
	values, shape, err := t.Floats(name)
	if err != nil {
		return nil, 0, err
	}
	if len(shape) != 2 || shape[0] != rows || shape[1] < 1 {
		return nil, 0, refuse(t.file, "shape", fixFactory, "tensor %q has shape %v; the catalog has %d items", name, shape, rows)
	}
	return values, shape[1], nil
}

func parseGolden(spec *bundlev1.Golden, files map[string][]byte) (*Golden, error) {
	g := &Golden{}
	var err error
	if g.Requests, err = parseLines(spec.GetRequests(), files); err != nil {
		return nil, err
	}
	if len(g.Requests) != int(spec.GetCases()) {
		return nil, refuse(spec.GetRequests(), "cases", fixFactory, "the file has %d requests, the manifest says %d", len(g.Requests), spec.GetCases())
	}
	if spec.GetWarmup() != "" {
		if g.Warmup, err = parseLines(spec.GetWarmup(), files); err != nil {
			return nil, err
		}
	}
	data, ok := files[spec.GetTensors()]
	if !ok {
		return nil, refuse(spec.GetTensors(), "present", fixExport, "the golden tensors are missing")
	}
	if g.Tensors, err = ParseTensors(spec.GetTensors(), data); err != nil {
		return nil, err
	}
	if err := g.Tensors.finite(); err != nil {
		return nil, err
	}
	for i := range g.Requests {
		if name := fmt.Sprintf("%d/final_rows", i); !g.Tensors.Has(name) {
			return nil, refuse(spec.GetTensors(), "tensor", fixFactory, "tensor %q is missing", name)
		}
	}
	return g, nil
}

// parseLines cuts JSON lines; blank lines are skipped.
func parseLines(path string, files map[string][]byte) ([][]byte, error) {
	data, ok := files[path]
	if !ok {
		return nil, refuse(path, "present", fixExport, "the manifest names this file")
	}
	var lines [][]byte
	for i, line := range bytes.Split(data, []byte("\n")) {
		if strings.TrimSpace(string(line)) == "" {
			continue
		}
		if !json.Valid(line) {
			return nil, refuse(path, "json", fixExport, "line %d is not JSON", i+1)
		}
		lines = append(lines, line)
	}
	return lines, nil
}
