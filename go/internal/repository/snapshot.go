// Package repository keeps the releases of one model: it loads, verifies and proves them, publishes the
// active one as an immutable snapshot, and never lets a bad release replace a good one.
package repository

import (
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// Dims are the sizes of a release, by the letters of the shape legend; X is the head width D/H.
type Dims struct {
	I, K, D, Q, L, H, X, C, T int64
}

// Snapshot is a loaded release. It is immutable; everything is safe for concurrent use until released.
type Snapshot struct {
	ID     string
	Bundle *bundle.Bundle
	Dims   Dims

	ItemEncoder    runtime.Session
	QueryEncoder   runtime.Session
	Index          runtime.Session
	Preranker      runtime.Session
	HistoryEncoder runtime.Session
	Ranker         runtime.Session

	RetrievalVectors []float32 // [I,K], computed by this server's item_encoder
	RankerTokens     []float32 // [I,D]

	// Prepared is what Options.Prepare made of this snapshot.
	Prepared any
}

// Session is the session of a graph by name, nil for an unknown name.
func (s *Snapshot) Session(graph string) runtime.Session { return nil }
