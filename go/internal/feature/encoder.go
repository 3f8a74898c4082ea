// Package feature turns what requests and stores say into the columns that graphs take: the closed set
// of operations of docs/bundle.md, histories, and the store that keeps them.
package feature

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// Encoder encodes for one release. It is safe for concurrent use.
type Encoder struct {
	catalog *bundle.Catalog
	window  *bundlev1.HistoryWindow
	actions map[string]int64 // 1 + position
	times   bool             // whether graphs take the times of events
	gather  []*bundle.InputColumn
	roles   [2]role // user, context

	columnNames, historyNames []string
	ints, floats              int // elements of all columns of one request
	historyInts               int // elements of all item columns of one event
	historyFloats             int
}

// role is the columns that one map of features fills.
type role struct {
	name    string // of the graph inputs and segments
	field   string // of the wire
	columns []*Column
	byName  map[string]*Column
}

// NewEncoder makes the encoder of a schema over the items of a catalog, both of one verified bundle.
func NewEncoder(schema *bundlev1.Schema, catalog *bundle.Catalog) (*Encoder, error) {
	e := &Encoder{catalog: catalog, window: schema.GetHistory(), actions: map[string]int64{}, times: schema.GetEventTimes()}
	for i, action := range schema.GetActions() {
		e.actions[action] = int64(i) + 1
	}
	if len(e.actions) == 0 || e.window.GetMaxEvents() == 0 || e.window.GetStep() == 0 {
		return nil, fmt.Errorf("encoder: the schema has no actions or no history window")
	}
	e.roles[0] = e.newRole("user", "user.features", schema.GetUser())
	e.roles[1] = e.newRole("context", "context", schema.GetContext())
	for _, input := range catalog.Inputs() {
		if input.Column.GetInHistory() {
			e.gather = append(e.gather, input)
			e.historyNames = append(e.historyNames, "history_"+input.Column.GetName())
			if input.F32 != nil {
				e.historyFloats += input.Width
			} else {
				e.historyInts += input.Width
			}
		}
	}
	e.historyNames = append(e.historyNames, "history_action")
	if e.times {
		e.historyNames = append(e.historyNames, "history_time")
	}
	return e, nil
}

func (e *Encoder) newRole(name, field string, specs []*bundlev1.Column) role {
	r := role{name: name, field: field, byName: map[string]*Column{}}
	for _, spec := range specs {
		c := NewColumn(spec)
		r.columns = append(r.columns, c)
		r.byName[spec.GetName()] = c
		e.columnNames = append(e.columnNames, name+"_"+spec.GetName())
		if c.dtype() == runtime.Float32 {
			e.floats++
		} else {
			e.ints += c.width()
		}
	}
	return r
}

// ColumnNames are the graph inputs that Columns makes: user_* then context_*, in schema order.
func (e *Encoder) ColumnNames() []string { return e.columnNames }

// HistoryNames are the graph inputs that History makes: history_* in schema order, then history_action,
// and history_time where the schema asks for event times.
func (e *Encoder) HistoryNames() []string { return e.historyNames }

// Columns encodes the features of one request (B = 1); the tensors are parallel to ColumnNames. Missing
// columns take their defaults. Every fault is in the *rank.InvalidError, with fields "user.features[x]"
// and "context[x]".
func (e *Encoder) Columns(user, context rank.Features) ([]runtime.Tensor, error) {
	var faults rank.Faults
	tensors := make([]runtime.Tensor, 0, len(e.columnNames))
	ints, floats := make([]int64, e.ints), make([]float32, e.floats)
	for i, features := range [...]rank.Features{user, context} {
		r := &e.roles[i]
		r.refuseUnknown(&faults, features)
		for _, c := range r.columns {
			value := features[c.spec.GetName()]
			var fault *rank.FieldError
			if c.dtype() == runtime.Float32 {
				floats[0], fault = c.EncodeNumber(value)
				tensors = append(tensors, runtime.Floats(floats[:1:1], c.shape...))
				floats = floats[1:]
			} else {
				w := c.width()
				fault = c.EncodeIDs(ints[:w], value)
				tensors = append(tensors, runtime.Ints(ints[:w:w], c.shape...))
				ints = ints[w:]
			}
			if fault != nil {
				faults.Add(r.path(c.spec.GetName()), fault.Reason, fault.Problem, fault.Fix)
			}
		}
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return tensors, nil
}

func (r *role) refuseUnknown(faults *rank.Faults, features rank.Features) {
	known := 0
	for name := range features {
		if r.byName[name] != nil {
			known++
		}
	}
	if known == len(features) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(features)) {
		if r.byName[name] == nil {
			faults.Add(r.path(name), rank.ReasonUnknownColumn, "the release's schema has no such "+r.name+" column", "leave it out, or use one of: "+r.names())
		}
	}
}

func (r *role) names() string {
	names := make([]string, len(r.columns))
	for i, c := range r.columns {
		names[i] = c.spec.GetName()
	}
	return strings.Join(names, ", ")
}

var fieldName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// path is the wire path of a column; a name that does not look like one is raw input and is not echoed.
func (r *role) path(name string) string {
	if !fieldName.MatchString(name) {
		name = "?"
	}
	return r.field + "[" + name + "]"
}

// Segment is the value by which a counter or a popular list picks its segment, for segment
// "user.<column>" or "context.<column>"; false when the feature is missing.
func (e *Encoder) Segment(segment string, user, context rank.Features) (string, bool) {
	roleName, name, _ := strings.Cut(segment, ".")
	for i, features := range [...]rank.Features{user, context} {
		if r := &e.roles[i]; r.name == roleName {
			if c := r.byName[name]; c != nil {
				return c.Segment(features[name])
			}
		}
	}
	return "", false
}
