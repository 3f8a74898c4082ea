package retrieval

import (
	"fmt"
	"slices"
	"time"
)

// Values of Options.Index.
const (
	IndexAuto  = "auto"
	IndexExact = "exact"
	IndexHNSW  = "hnsw"
)

// Options of retrieval.
type Options struct {
	// Index is how two-tower sources search: auto as the release says, exact without any graph of neighbours, hnsw by the
	// release's. The default is auto.
	Index string
	// Observe is told of every search of a two-tower source, with one of Searches; nil for nobody.
	Observe func(by string, took time.Duration)
}

// Searches are the ways in which a two-tower source finds its items; hnsw_scan is a scan in place of a walk.
var Searches = []string{"graph", "fp32", "int8", "int4", "hnsw", "hnsw_scan"}

// EnsureDefaults fills what is not set.
func (o *Options) EnsureDefaults() {
	if o.Index == "" {
		o.Index = IndexAuto
	}
}

// Validate lists every fault as "field: problem".
func (o *Options) Validate() []error {
	if !slices.Contains([]string{IndexAuto, IndexExact, IndexHNSW}, o.Index) {
		return []error{fmt.Errorf("index: %q is none of auto, exact, hnsw", o.Index)}
	}
	return nil
}
