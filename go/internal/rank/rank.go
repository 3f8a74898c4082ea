// Package rank holds the words of the domain: queries, values, results and their errors. It imports
// nothing of ours; the wire stops at package rpc, and rows of a catalog stand for items everywhere below it.
package rank

import "slices"

// ItemIDs is a list of item ids of one kind; the release's schema says which.
type ItemIDs struct {
	Ints    []int64
	Strings []string
}

// Len is the number of ids.
func (ids ItemIDs) Len() int { return len(ids.Ints) + len(ids.Strings) }

// ValueKind says which field of a Value is set.
type ValueKind uint8

// The kinds of a feature value. KindNone is a value that was sent empty.
const (
	KindNone ValueKind = iota
	KindInteger
	KindNumber
	KindText
	KindTexts
)

// Value is one raw feature value.
type Value struct {
	Kind    ValueKind
	Integer int64
	Number  float64
	Text    string
	Texts   []string
}

// Features are raw values by column name.
type Features map[string]Value

// History is what a user did, oldest first, as parallel lists. Actions and Times may be empty;
// an action "" is the schema's first.
type History struct {
	Items   ItemIDs
	Actions []string
	Times   []int64
}

// ColumnFilter keeps an item when its column passes every condition that is set.
type ColumnFilter struct {
	Column   string
	AnyOf    []Value
	NoneOf   []Value
	Min, Max *float64
}

// Filters of a request.
type Filters struct {
	KeepSeen        bool
	KeepUnavailable bool
	Columns         []ColumnFilter
}

// Mode says which stages a query runs.
type Mode uint8

// Recommend is the whole funnel, Retrieve stops after retrieval, Rank orders given candidates without a cut.
const (
	Recommend Mode = iota
	Retrieve
	Rank
)

// Priority orders requests under load; a larger one is shed first.
type Priority uint8

// Priorities, most important first.
const (
	Critical Priority = iota
	Normal
	Batch
)

// Debug asks for explanations and overrides; the caller was authorised.
type Debug struct {
	Explain        ItemIDs
	Force          ItemIDs
	Override       Features // "user.<column>" or "context.<column>"
	ReleaseID      string
	Seed           int64
	DoNotLog       bool
	ExplainResults bool
	ForceRung      Rung // 0: none
}

// Query is one validated request.
type Query struct {
	RequestID string
	UserID    string
	History   *History // nil: take the stored one
	User      Features
	Context   Features
	Limit     int // 0: the release's default
	Filters   Filters
	// Candidates skip retrieval; nil in Recommend and Retrieve means retrieve.
	Candidates *ItemIDs
	Mode       Mode
	Time       int64 // unix seconds; never 0
	Priority   Priority
	Tenant     string // who shares the server with others; "" is whoever does not say
	Debug      *Debug
}

// Stage names, in the order of the funnel.
const (
	StageRetrieval  = "retrieval"
	StagePreranking = "preranking"
	StageRanking    = "ranking"
	StageBlending   = "blending"
)

// StageReport tells what one stage did to a request.
type StageReport struct {
	Stage   string
	In, Out int
	Micros  int64
}

// Rung is a step of the degradation ladder, best first.
type Rung uint8

// Rungs of the ladder.
const (
	RungFull Rung = iota + 1
	RungFewerCandidates
	RungPrerankerOrder
	RungRetrievalOrder
	RungCached
	RungPopular
)

var rungNames = [...]string{"", "full", "fewer_candidates", "preranker_order", "retrieval_order", "cached", "popular"}

// String is the rung's name in configuration and metrics; "" for what is no rung.
func (r Rung) String() string {
	if int(r) < len(rungNames) {
		return rungNames[r]
	}
	return ""
}

// ParseRung is the rung of a name.
func ParseRung(name string) (Rung, bool) {
	at := slices.Index(rungNames[1:], name)
	return Rung(at + 1), at >= 0
}

// Degradation says which stage was cut short, and why.
type Degradation struct {
	Stage  string
	Reason string
	Detail string
}

// Coverage says how complete an answer is.
type Coverage struct {
	StagesRun    []string
	Rung         Rung
	Degradations []Degradation
}

// Reasons why a candidate left the funnel.
const (
	DropNotRetrieved = "not_retrieved"
	DropUnknownItem  = "unknown_item"
	DropDuplicate    = "duplicate"
	DropSeen         = "seen"
	DropUnavailable  = "unavailable"
	DropFilter       = "filter"
	DropPrerankCut   = "below_prerank_cut"
	DropLimit        = "below_limit"
)

// SourceScore is what one retrieval source thought of an item.
type SourceScore struct {
	Source string
	Rank   int
	Score  float32
}

// Explanation is the story of one item in one request.
type Explanation struct {
	Row         int64 // -1: unknown to the catalog
	ID          ItemIDs
	Sources     []SourceScore
	Prerank     *float32
	PrerankRank *int
	Cross       []float32
	Logits      []float32
	Score       *float32
	Rank        *int
	DropReason  string
}

// Result is the answer to a query. Rows, Scores and each list of Predictions are parallel.
type Result struct {
	ReleaseID    string
	Items        ItemIDs
	Rows         []int64
	Scores       []float32
	Tasks        []string
	Predictions  [][]float32 // [task][item]
	Stages       []StageReport
	Coverage     Coverage
	Dropped      map[string]int
	Explanations []Explanation
	Micros       int64
}
