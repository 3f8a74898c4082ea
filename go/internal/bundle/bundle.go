// Package bundle opens a release directory, verifies every byte of it and parses it into typed tables.
// docs/bundle.md is the contract. Whatever is used was verified: files are read once, and the same bytes
// are hashed and parsed.
package bundle

import (
	"errors"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
)

// The graphs of a bundle.
const (
	ItemEncoder    = "item_encoder"
	QueryEncoder   = "query_encoder"
	Index          = "index"
	Preranker      = "preranker"
	HistoryEncoder = "history_encoder"
	Ranker         = "ranker"
)

// GraphNames lists the six graphs that every bundle holds.
var GraphNames = []string{ItemEncoder, QueryEncoder, Index, Preranker, HistoryEncoder, Ranker}

// SegmentLastItem is the segment of a counter that is keyed by the catalog row of the newest event.
const SegmentLastItem = "history.last_item"

// FormatVersion is the only manifest version that this reader knows.
const FormatVersion = 1

// Bundle is a verified release. It is immutable.
type Bundle struct {
	Manifest *bundlev1.Manifest
	// Graphs are the bytes of each graph by name.
	Graphs   map[string][]byte
	Catalog  *Catalog
	Counters []*Counter              // in the order of Manifest.Cross
	Sources  map[string]*SourceTable // by source name; none for TWO_TOWER
	Vectors  *ItemVectors            // what the factory's item_encoder computed
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
	Tensors  *Tensors
	Warmup   [][]byte // JSON of shortlist.v1.RecommendRequest
}

// Error says which check a release failed, in which file, and what to do.
type Error struct {
	File    string // relative to the release; "" for the directory itself
	Check   string // short name of the check, as "sha256"
	Problem string
	Fix     string
}

func (e *Error) Error() string {
	file := e.File
	if file == "" {
		file = "release directory"
	}
	return file + ": " + e.Check + ": " + e.Problem + "; " + e.Fix
}

// Load reads, verifies and parses the release in dir. Every error is, or wraps, an *Error.
func Load(dir string) (*Bundle, error) {
	return nil, errors.New("not written yet")
}

// Parse verifies and parses a release from the contents of its files by relative path.
func Parse(releaseID string, files map[string][]byte) (*Bundle, error) {
	return nil, errors.New("not written yet")
}
