package rpc

import (
	"fmt"
	"math"
	"strings"
	"time"

	shortlistv1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

const maxRequestID = 128

// converter turns messages into queries. It checks everything that needs no release, lists every fault,
// and leaves faulty values out of the query, so that the rest can still be checked against the release.
type converter struct {
	limits *Options
	now    func() time.Time
	faults rank.Faults
}

func newConverter(limits *Options) *converter { return &converter{limits: limits, now: time.Now} }

// query converts a request. Its faults are in c.faults.
func (c *converter) query(in *shortlistv1.RecommendRequest, mode rank.Mode) *rank.Query {
	q := &rank.Query{RequestID: in.GetRequestId(), Mode: mode, Time: in.GetTime(), Limit: int(in.GetLimit())}
	if len(q.RequestID) > maxRequestID {
		c.faults.Add("request_id", rank.ReasonTooLarge, fmt.Sprintf("is over %d bytes", maxRequestID), "shorten it")
		q.RequestID = ""
	}
	if q.Limit < 0 {
		c.faults.Add("limit", rank.ReasonInvalidField, "is negative", "use 0 for the release's default")
		q.Limit = 0
	}
	switch {
	case q.Time < 0:
		c.faults.Add("time", rank.ReasonInvalidField, "is negative", "give unix seconds, or 0 for the server's clock")
	case q.Time == 0:
		q.Time = c.now().Unix()
	}
	q.Priority = c.priority(in.GetPriority())
	c.user(in.GetUser(), q)
	q.Context = c.features("context", in.GetContext())
	q.Filters = c.filters(in.GetFilters())
	c.candidates(in, q)
	if in.GetDebug() != nil {
		q.Debug = c.debug(in.GetDebug())
	}
	return q
}

func (c *converter) priority(p shortlistv1.Priority) rank.Priority {
	switch p {
	case shortlistv1.Priority_PRIORITY_CRITICAL:
		return rank.Critical
	case shortlistv1.Priority_PRIORITY_BATCH:
		return rank.Batch
	case shortlistv1.Priority_PRIORITY_UNSPECIFIED, shortlistv1.Priority_PRIORITY_NORMAL:
	default:
		c.faults.Add("priority", rank.ReasonInvalidField, "is no value of Priority", "use CRITICAL, NORMAL or BATCH")
	}
	return rank.Normal
}

func (c *converter) candidates(in *shortlistv1.RecommendRequest, q *rank.Query) {
	switch {
	case in.GetCandidates() == nil:
		if q.Mode == rank.Rank {
			c.faults.Add("candidates", rank.ReasonMissingField, "Rank orders given candidates", "give some, or call Recommend")
		}
	case q.Mode == rank.Retrieve:
		c.faults.Add("candidates", rank.ReasonInvalidField, "Retrieve finds candidates itself", "leave them out, or call Rank")
	default:
		ids := c.itemIDs("candidates", in.GetCandidates(), c.limits.MaxCandidates)
		q.Candidates = &ids
	}
}

func (c *converter) user(in *shortlistv1.User, q *rank.Query) {
	q.UserID = c.id("user.id", in.GetId())
	q.User = c.features("user.features", in.GetFeatures())
	if in.GetHistory() != nil {
		history := c.history("user.history", in.GetHistory())
		q.History = &history
	}
}

// id checks the length of an id, which may be empty.
func (c *converter) id(path, id string) string {
	if len(id) > c.limits.MaxIDBytes {
		c.faults.Add(path, rank.ReasonTooLarge, fmt.Sprintf("is over %d bytes", c.limits.MaxIDBytes), "shorten it")
		return ""
	}
	return id
}

func (c *converter) itemIDs(path string, in *shortlistv1.ItemIds, limit int) rank.ItemIDs {
	ids := rank.ItemIDs{Ints: in.GetInts(), Strings: in.GetStrings()}
	if ids.Len() > limit {
		c.faults.Add(path, rank.ReasonTooLarge, fmt.Sprintf("has %d ids where %d are allowed", ids.Len(), limit), "send fewer")
		return rank.ItemIDs{}
	}
	if len(ids.Ints) > 0 && len(ids.Strings) > 0 {
		c.faults.Add(path, rank.ReasonInvalidField, "has both `ints` and `strings`", "send ids of the one kind that the release's schema states")
		return rank.ItemIDs{}
	}
	for i, id := range ids.Strings {
		if id == "" || len(id) > c.limits.MaxIDBytes {
			c.faults.Add(fmt.Sprintf("%s.strings[%d]", path, i), rank.ReasonInvalidField,
				fmt.Sprintf("is empty or over %d bytes", c.limits.MaxIDBytes), "send the catalog's id")
			return rank.ItemIDs{}
		}
	}
	return ids
}

func (c *converter) history(path string, in *shortlistv1.History) rank.History {
	h := rank.History{Items: c.itemIDs(path+".items", in.GetItems(), c.limits.MaxHistory), Actions: in.GetActions(), Times: in.GetTimes()}
	n := in.GetItems()
	events := len(n.GetInts()) + len(n.GetStrings())
	if len(h.Actions) != 0 && len(h.Actions) != events {
		c.faults.Add(path+".actions", rank.ReasonInvalidField, fmt.Sprintf("has %d entries for %d items", len(h.Actions), events),
			"send one an item, or none")
		h.Actions = nil
	}
	if len(h.Times) != 0 && len(h.Times) != events {
		c.faults.Add(path+".times", rank.ReasonInvalidField, fmt.Sprintf("has %d entries for %d items", len(h.Times), events),
			"send one an item, or none")
		h.Times = nil
	}
	for i := range h.Times {
		if h.Times[i] < 0 || i > 0 && h.Times[i] < h.Times[i-1] {
			c.faults.Add(fmt.Sprintf("%s.times[%d]", path, i), rank.ReasonInvalidField, "is negative or earlier than the event before it",
				"send events oldest first, in unix seconds")
			break
		}
	}
	if h.Items.Len() != events { // the items were at fault: nothing else can be parallel to them
		return rank.History{}
	}
	return h
}

func (c *converter) features(path string, in map[string]*shortlistv1.Value) rank.Features {
	if len(in) == 0 {
		return nil
	}
	if len(in) > c.limits.MaxFeatures {
		c.faults.Add(path, rank.ReasonTooLarge, fmt.Sprintf("has %d entries where %d are allowed", len(in), c.limits.MaxFeatures), "send the schema's columns only")
		return nil
	}
	features := make(rank.Features, len(in))
	for name, value := range in {
		if len(name) > c.limits.MaxIDBytes {
			c.faults.Add(path, rank.ReasonTooLarge, fmt.Sprintf("has a name over %d bytes", c.limits.MaxIDBytes), "use the schema's names")
			continue
		}
		if v, ok := c.value(path+"["+plainName(name)+"]", value); ok {
			features[name] = v
		}
	}
	return features
}

// plainName keeps raw input out of messages: a name that does not look like a column's is not echoed.
func plainName(name string) string {
	if len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '.' || r == '-')
	}) {
		return "?"
	}
	return name
}

func (c *converter) value(path string, in *shortlistv1.Value) (rank.Value, bool) {
	switch kind := in.GetKind().(type) {
	case *shortlistv1.Value_Integer:
		return rank.Value{Kind: rank.KindInteger, Integer: kind.Integer}, true
	case *shortlistv1.Value_Number:
		if c.finite(path, kind.Number) {
			return rank.Value{Kind: rank.KindNumber, Number: kind.Number}, true
		}
	case *shortlistv1.Value_Text:
		if c.text(path, kind.Text) {
			return rank.Value{Kind: rank.KindText, Text: kind.Text}, true
		}
	case *shortlistv1.Value_Texts:
		texts := kind.Texts.GetValues()
		if len(texts) > c.limits.MaxTexts {
			c.faults.Add(path+".texts", rank.ReasonTooLarge, fmt.Sprintf("has %d texts where %d are allowed", len(texts), c.limits.MaxTexts), "send fewer")
			return rank.Value{}, false
		}
		for i, text := range texts {
			if !c.text(fmt.Sprintf("%s.texts[%d]", path, i), text) {
				return rank.Value{}, false
			}
		}
		return rank.Value{Kind: rank.KindTexts, Texts: texts}, true
	default: // sent empty: a missing value
		return rank.Value{}, true
	}
	return rank.Value{}, false
}

func (c *converter) finite(path string, number float64) bool {
	if math.IsNaN(number) || math.IsInf(number, 0) {
		c.faults.Add(path, rank.ReasonNotFinite, "is NaN or infinite", "send a finite number, or leave it out")
		return false
	}
	return true
}

func (c *converter) text(path, text string) bool {
	if len(text) > c.limits.MaxTextBytes {
		c.faults.Add(path, rank.ReasonTooLarge, fmt.Sprintf("is over %d bytes", c.limits.MaxTextBytes), "shorten it")
		return false
	}
	return true
}

func (c *converter) filters(in *shortlistv1.Filters) rank.Filters {
	filters := rank.Filters{KeepSeen: in.GetKeepSeen(), KeepUnavailable: in.GetKeepUnavailable()}
	if len(in.GetColumns()) > c.limits.MaxFilters {
		c.faults.Add("filters.columns", rank.ReasonTooLarge, fmt.Sprintf("has %d filters where %d are allowed", len(in.GetColumns()), c.limits.MaxFilters), "send fewer")
		return filters
	}
	for i, column := range in.GetColumns() {
		path := fmt.Sprintf("filters.columns[%d]", i)
		f := rank.ColumnFilter{
			Column: column.GetColumn(), Min: column.Min, Max: column.Max,
			AnyOf: c.values(path+".any_of", column.GetAnyOf()), NoneOf: c.values(path+".none_of", column.GetNoneOf()),
		}
		if f.Column == "" {
			c.faults.Add(path+".column", rank.ReasonMissingField, "is empty", "name an item column of the schema")
			continue
		}
		if f.Min != nil && !c.finite(path+".min", *f.Min) || f.Max != nil && !c.finite(path+".max", *f.Max) {
			continue
		}
		if f.Min != nil && f.Max != nil && *f.Min > *f.Max {
			c.faults.Add(path, rank.ReasonInvalidField, "`min` is over `max`", "swap them")
		}
		filters.Columns = append(filters.Columns, f)
	}
	return filters
}

func (c *converter) values(path string, in []*shortlistv1.Value) []rank.Value {
	if len(in) == 0 {
		return nil
	}
	if len(in) > c.limits.MaxFilterValues {
		c.faults.Add(path, rank.ReasonTooLarge, fmt.Sprintf("has %d values where %d are allowed", len(in), c.limits.MaxFilterValues), "send fewer")
		return nil
	}
	values := make([]rank.Value, 0, len(in))
	for i, value := range in {
		v, ok := c.value(fmt.Sprintf("%s[%d]", path, i), value)
		if ok && v.Kind == rank.KindNone {
			c.faults.Add(fmt.Sprintf("%s[%d]", path, i), rank.ReasonMissingField, "has no value", "set `integer`, `number` or `text`")
		} else if ok {
			values = append(values, v)
		}
	}
	return values
}

func (c *converter) debug(in *shortlistv1.Debug) *rank.Debug {
	return &rank.Debug{
		Explain:        c.itemIDs("debug.explain", in.GetExplain(), c.limits.MaxExplained),
		Force:          c.itemIDs("debug.force", in.GetForce(), c.limits.MaxExplained),
		Override:       c.features("debug.override_features", in.GetOverrideFeatures()),
		ReleaseID:      c.id("debug.release_id", in.GetReleaseId()),
		Seed:           in.GetSeed(),
		DoNotLog:       in.GetDoNotLog(),
		ExplainResults: in.GetExplainResults(),
		ForceRung:      c.rung("debug.force_rung", in.GetForceRung()),
	}
}

// rung reads a rung; unspecified is none.
func (c *converter) rung(path string, in shortlistv1.Rung) rank.Rung {
	if in < 0 || in > shortlistv1.Rung_RUNG_POPULAR {
		c.faults.Add(path, rank.ReasonInvalidField, "is no value of Rung", "use RUNG_FULL to RUNG_POPULAR")
		return 0
	}
	return rank.Rung(in)
}
