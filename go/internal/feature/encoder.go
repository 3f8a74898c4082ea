// Package feature turns what requests and stores say into the columns that graphs take: the closed set
// of operations of docs/bundle.md, histories, and the store that keeps them.
package feature

import (
	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// Encoder encodes for one release. It is safe for concurrent use.
type Encoder struct{}

// NewEncoder makes the encoder of a schema over the items of a catalog.
func NewEncoder(schema *bundlev1.Schema, catalog *bundle.Catalog) (*Encoder, error) {
	return &Encoder{}, nil
}

// ColumnNames are the graph inputs that Columns makes: user_* then context_*, in schema order.
func (e *Encoder) ColumnNames() []string { return nil }

// HistoryNames are the graph inputs that History makes: history_* in schema order, then history_action.
func (e *Encoder) HistoryNames() []string { return nil }

// Columns encodes the features of one request (B = 1); the tensors are parallel to ColumnNames. Missing
// columns take their defaults. Every fault is in the *rank.InvalidError, with fields "user.features[x]"
// and "context[x]".
func (e *Encoder) Columns(user, context rank.Features) ([]runtime.Tensor, error) { return nil, nil }

// History is an encoded history of one request (B = 1).
type History struct {
	// Rows of all events, oldest first, before truncation; -1 for unknown items.
	Rows []int64
	// Start is the first kept event, counted over all events the user ever had.
	Start int64
	// Length is the number of kept events: history_length.
	Length int
	// Tensors are parallel to HistoryNames, [1,N] or [1,N,W] with N = max(Length, 1).
	Tensors []runtime.Tensor
	// LastItem is the row of the newest event; -1 when it is unknown or there is none.
	LastItem int64
}

// History encodes a history, truncated to the schema's window. dropped counts older events that the
// caller's store no longer holds, so that the window stays where it was. Fields of faults are under
// "user.history".
func (e *Encoder) History(h rank.History, dropped int64) (*History, error) { return nil, nil }

// Segment is the value by which a counter or a popular list picks its segment, for segment
// "user.<column>" or "context.<column>"; false when the feature is missing.
func (e *Encoder) Segment(segment string, user, context rank.Features) (string, bool) {
	return "", false
}
