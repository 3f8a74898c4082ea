package retrieval

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/vectordb"
)

// Values of Options.Index.
const (
	IndexAuto  = "auto"
	IndexExact = "exact"
	IndexHNSW  = "hnsw"
	// IndexQdrant asks a vector engine outside this process.
	IndexQdrant = "qdrant"
)

// Options of retrieval.
type Options struct {
	// Index is how two-tower sources search: auto as the release says, exact without any graph of neighbours, hnsw by the
	// release's, qdrant by the engine of Qdrant. The default is auto.
	Index string
	// Qdrant is the vector engine.
	Qdrant vectordb.Options
	// Engine is the connection to it; nil where Index is not qdrant.
	Engine Engine
	// Observe is told of every search of a two-tower source, with one of Searches; nil for nobody.
	Observe func(by string, took time.Duration)
}

// Searches are the ways in which a two-tower source finds its items; hnsw_scan is a scan in place of a walk.
var Searches = []string{"graph", "fp32", "int8", "int4", "hnsw", "hnsw_scan", "qdrant"}

// EnsureDefaults fills what is not set.
func (o *Options) EnsureDefaults() {
	if o.Index == "" {
		o.Index = IndexAuto
	}
	o.Qdrant.EnsureDefaults()
}

// Validate lists every fault as "field: problem".
func (o *Options) Validate() []error {
	var faults []error
	if !slices.Contains([]string{IndexAuto, IndexExact, IndexHNSW, IndexQdrant}, o.Index) {
		faults = append(faults, fmt.Errorf("index: %q is none of auto, exact, hnsw, qdrant", o.Index))
	}
	for _, err := range o.Qdrant.Validate() {
		faults = append(faults, fmt.Errorf("qdrant.%w", err))
	}
	if o.Index == IndexQdrant && o.Qdrant.Address == "" {
		faults = append(faults, errors.New("qdrant.address: it is not set, and index is qdrant"))
	}
	return faults
}
