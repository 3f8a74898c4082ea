package bundle

import (
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
)

var (
	releaseIDPattern = regexp.MustCompile(`^\d{8}T\d{6}Z-[0-9a-f]{12}$`)
	namePattern      = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
)

// ValidReleaseID says whether id has the form of a release id; such an id is safe as a file name.
func ValidReleaseID(id string) bool { return releaseIDPattern.MatchString(id) }

// parseManifest reads the manifest strictly. The version is looked at first, so that a newer manifest is
// called that and not a list of unknown fields.
func parseManifest(data []byte) (*bundlev1.Manifest, error) {
	if data == nil {
		return nil, refuse(manifestFile, "present", fixCopy, "it is missing")
	}
	var version struct {
		Snake uint32 `json:"format_version"`
		Camel uint32 `json:"formatVersion"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, refuse(manifestFile, "json", fixCopy, "%v", err)
	}
	if v := max(version.Snake, version.Camel); v > FormatVersion {
		return nil, refuse(manifestFile, "format_version", "upgrade the server, or export with an older factory",
			"the manifest comes from the future: its version is %d and this server reads %d", v, FormatVersion)
	} else if v != FormatVersion {
		return nil, refuse(manifestFile, "format_version", fixExport, "the version is %d and this server reads %d", v, FormatVersion)
	}
	m := &bundlev1.Manifest{}
	if err := (protojson.UnmarshalOptions{}).Unmarshal(data, m); err != nil {
		return nil, refuse(manifestFile, "fields", "export with a factory of this server's version", "%v", err)
	}
	return m, nil
}

// checkManifest holds the manifest against the rules of manifest.proto and docs/bundle.md and lists every
// fault.
func checkManifest(m *bundlev1.Manifest) error {
	f := &faults{file: manifestFile}
	if !ValidReleaseID(m.GetReleaseId()) {
		f.add("release_id", "%q does not have the form 20060102T150405Z-<12 hex digits>", m.GetReleaseId())
	} else if !strings.HasPrefix(m.GetDigest(), m.GetReleaseId()[len(m.GetReleaseId())-12:]) {
		f.add("release_id", "%q does not end in the first digits of the digest %q", m.GetReleaseId(), m.GetDigest())
	}
	if m.GetName() == "" {
		f.add("name", "it is empty")
	}
	if _, err := time.Parse(time.RFC3339, m.GetCreatedAt()); err != nil {
		f.add("created_at", "%q is not an RFC 3339 time", m.GetCreatedAt())
	}
	checkSchema(f, m.GetSchema())
	checkGraphs(f, m)
	checkFunnel(f, m)
	checkTasks(f, m)
	checkCross(f, m)
	if t := m.GetTolerance(); t == nil || !(t.GetAbsolute() >= 0 && t.GetAbsolute() < 1) || !(t.GetRelative() >= 0 && t.GetRelative() < 1) {
		f.add("tolerance", "absolute and relative must be in [0,1)")
	}
	if m.GetGolden().GetCases() < 1 {
		f.add("golden", "there are no golden cases, so the release cannot prove itself")
	}
	for _, gate := range m.GetGates() {
		if !gate.GetPassed() && !gate.GetOverridden() {
			f.add("gates", "gate %q failed: %s", gate.GetName(), gate.GetDetail())
		}
	}
	return f.err()
}

func checkSchema(f *faults, s *bundlev1.Schema) {
	if s.GetItemId() != bundlev1.DType_INT64 && s.GetItemId() != bundlev1.DType_STRING {
		f.add("schema.item_id", "%v is not INT64 or STRING", s.GetItemId())
	}
	checkColumns(f, "user", s.GetUser())
	checkColumns(f, "context", s.GetContext())
	checkColumns(f, "item", s.GetItem())
	if len(s.GetActions()) == 0 || hasDuplicates(s.GetActions()) {
		f.add("schema.actions", "there must be at least one action, and none twice")
	}
	if h := s.GetHistory(); h.GetMaxEvents() < 1 || h.GetStep() < 1 || h.GetStep() > h.GetMaxEvents() {
		f.add("schema.history", "max_events is %d and step %d; 1 <= step <= max_events must hold", h.GetMaxEvents(), h.GetStep())
	}
}

func checkColumns(f *faults, role string, columns []*bundlev1.Column) {
	names := make([]string, len(columns))
	for i, column := range columns {
		checkColumn(f, role, column)
		names[i] = column.GetName()
	}
	if hasDuplicates(names) {
		f.add("schema", "two %s columns have one name", role)
	}
}

func checkColumn(f *faults, role string, c *bundlev1.Column) {
	bad := func(format string, args ...any) {
		f.add("schema", "%s column %q: "+format, append([]any{role, c.GetName()}, args...)...)
	}
	if !namePattern.MatchString(c.GetName()) {
		bad("the name does not match %s", namePattern)
	}
	list := c.GetOp() == bundlev1.Op_VOCABULARY_LIST || c.GetOp() == bundlev1.Op_TOKENS
	if list != (c.GetWidth() > 0) {
		bad("width is %d; lists have one and scalars have none", c.GetWidth())
	}
	hashed := c.GetOp() == bundlev1.Op_HASH || c.GetOp() == bundlev1.Op_TOKENS
	if hashed != (c.GetBuckets() > 0) {
		bad("buckets is %d; hashed columns have some and others none", c.GetBuckets())
	}
	switch c.GetOp() {
	case bundlev1.Op_NUMBER:
		if !finite(c.GetDefaultNumber()) || !finite(c.GetMin()) || !finite(c.GetMax()) {
			bad("default_number, min and max must be finite")
		}
		if c.Min != nil && c.Max != nil && c.GetMin() > c.GetMax() {
			bad("min %v is above max %v", c.GetMin(), c.GetMax())
		}
		if c.GetRaw() != bundlev1.DType_INT64 && c.GetRaw() != bundlev1.DType_FLOAT32 {
			bad("a number cannot be made of raw %v", c.GetRaw())
		}
	case bundlev1.Op_VOCABULARY, bundlev1.Op_VOCABULARY_LIST:
		if hasDuplicates(c.GetVocabulary()) {
			bad("the vocabulary has a value twice")
		}
	case bundlev1.Op_HASH, bundlev1.Op_TOKENS:
	case bundlev1.Op_ITEM_ROW:
		if role != "item" {
			bad("ITEM_ROW is for item columns")
		}
		if hasDuplicates(c.GetVocabulary()) {
			bad("the vocabulary has an id twice")
		}
	default:
		bad("op %v is not known", c.GetOp())
	}
	if c.GetInHistory() && role != "item" {
		bad("in_history is for item columns")
	}
}

// GraphInputs are the input names that the contract asks of a graph, sorted.
func GraphInputs(graph string, s *bundlev1.Schema) []string {
	var names []string
	columns := func(role string, columns []*bundlev1.Column, keep func(*bundlev1.Column) bool) {
		for _, c := range columns {
			if keep == nil || keep(c) {
				names = append(names, role+"_"+c.GetName())
			}
		}
	}
	request := func() { columns("user", s.GetUser(), nil); columns("context", s.GetContext(), nil) }
	history := func() {
		columns("history", s.GetItem(), (*bundlev1.Column).GetInHistory)
		names = append(names, "history_action", "history_length")
		if s.GetEventTimes() {
			names = append(names, "history_time")
		}
	}
	switch graph {
	case ItemEncoder:
		columns("item", s.GetItem(), nil)
	case SequenceEncoder:
		history()
		names = append(names, "past_keys", "past_values", "past_recent")
	case QueryEncoder:
		names = []string{"state", "recent", "history_length"}
		request()
	case Index:
		names = []string{"query_vectors", "item_vectors", "allowed", "k"}
	case Preranker:
		names = []string{"query_vectors", "retrieval_vector", "cross"}
	case HistoryEncoder:
		history()
		names = append(names, "past_keys", "past_values")
	case Ranker:
		names = []string{"keys", "values", "history_length", "ranker_token", "cross", "prerank_score"}
		request()
	}
	slices.Sort(names)
	return names
}

var graphOutputs = map[string][]string{
	ItemEncoder:     {"retrieval_vector", "ranker_token"},
	SequenceEncoder: {"state", "recent", "keys", "values"},
	QueryEncoder:    {"query_vectors"},
	Index:           {"rows", "scores"},
	Preranker:       {"score"},
	HistoryEncoder:  {"keys", "values"},
	Ranker:          {"logits"},
}

// GraphOutputs are the outputs that the contract asks of a graph, in order.
func GraphOutputs(graph string) []string { return slices.Clone(graphOutputs[graph]) }

func checkGraphs(f *faults, m *bundlev1.Manifest) {
	seen := map[string]bool{}
	for _, g := range m.GetGraphs() {
		if graphOutputs[g.GetName()] == nil || seen[g.GetName()] {
			f.add("graphs", "graph %q is not one of %v, or is there twice", g.GetName(), GraphNames)
			continue
		}
		seen[g.GetName()] = true
		checkListed(f, m, "graph "+strconv.Quote(g.GetName()), g.GetPath())
		inputs, outputs := specNames(f, g.GetName(), g.GetInputs()), specNames(f, g.GetName(), g.GetOutputs())
		slices.Sort(inputs)
		if want := GraphInputs(g.GetName(), m.GetSchema()); !slices.Equal(inputs, want) {
			f.add("graphs", "graph %q has inputs %v; schema and contract ask for %v", g.GetName(), inputs, want)
		}
		if want := graphOutputs[g.GetName()]; !slices.Equal(outputs, want) {
			f.add("graphs", "graph %q has outputs %v; the contract asks for %v", g.GetName(), outputs, want)
		}
	}
	for _, name := range GraphNames {
		if !seen[name] {
			f.add("graphs", "graph %q is missing", name)
		}
	}
	for _, g := range m.GetExtraGraphs() {
		if !namePattern.MatchString(g.GetName()) || graphOutputs[g.GetName()] != nil || seen[g.GetName()] {
			f.add("extra_graphs", "graph %q does not match %s, or its name is taken", g.GetName(), namePattern)
		}
		seen[g.GetName()] = true
		checkListed(f, m, "graph "+strconv.Quote(g.GetName()), g.GetPath())
		specNames(f, g.GetName(), slices.Concat(g.GetInputs(), g.GetOutputs()))
	}
}

func specNames(f *faults, graph string, specs []*bundlev1.TensorSpec) []string {
	names := make([]string, len(specs))
	for i, spec := range specs {
		names[i] = spec.GetName()
		if d := spec.GetDtype(); d != bundlev1.DType_INT64 && d != bundlev1.DType_FLOAT32 && d != bundlev1.DType_BOOL {
			f.add("graphs", "graph %q: tensor %q has dtype %v; graphs take INT64, FLOAT32 and BOOL", graph, spec.GetName(), d)
		}
	}
	return names
}

func checkFunnel(f *faults, m *bundlev1.Manifest) {
	fn := m.GetFunnel()
	if len(fn.GetSources()) == 0 {
		f.add("funnel", "there is no retrieval source")
	}
	seen := map[string]bool{}
	for _, s := range fn.GetSources() {
		bad := func(format string, args ...any) {
			f.add("funnel", "source %q: "+format, append([]any{s.GetName()}, args...)...)
		}
		if s.GetName() == "" || seen[s.GetName()] {
			bad("the name is empty or there twice")
		}
		seen[s.GetName()] = true
		if s.GetLimit() < 1 {
			bad("limit is 0")
		}
		checkHNSW(f, m, s)
		switch s.GetKind() {
		case bundlev1.SourceKind_TWO_TOWER:
			continue
		case bundlev1.SourceKind_COOCCURRENCE:
			if s.GetHistoryEvents() < 1 || !(s.GetDecay() > 0 && s.GetDecay() <= 1) {
				bad("history_events is %d and decay %v; at least 1 and in (0,1] must hold", s.GetHistoryEvents(), s.GetDecay())
			}
		case bundlev1.SourceKind_POPULAR:
			if s.GetSegment() != "" && !isRequestColumn(m.GetSchema(), s.GetSegment()) {
				bad("segment %q is not a text column of user or context", s.GetSegment())
			}
		default:
			bad("kind %v is not known", s.GetKind())
		}
		checkListed(f, m, "source "+strconv.Quote(s.GetName()), s.GetPath())
	}
	if fn.GetPrerankKeep() < 1 || fn.GetMaxCandidates() < 1 || fn.GetChunk() < 1 || fn.GetDefaultLimit() < 1 || fn.GetDefaultLimit() > fn.GetMaxLimit() {
		f.add("funnel", "prerank_keep, max_candidates, chunk and default_limit must be at least 1, and default_limit at most max_limit")
	}
}

func checkHNSW(f *faults, m *bundlev1.Manifest, s *bundlev1.Source) {
	h := s.GetHnsw()
	asked := s.GetIndex() == bundlev1.IndexKind_INDEX_HNSW && s.GetKind() == bundlev1.SourceKind_TWO_TOWER
	if asked != (h != nil) {
		f.add("funnel", "source %q: it has a graph of neighbours if, and only if, it is a TWO_TOWER with INDEX_HNSW", s.GetName())
	}
	if h == nil {
		return
	}
	if h.GetM() < 2 || h.GetM() > 1024 || h.GetEfSearch() < 1 || !(h.GetRecall() >= 0 && h.GetRecall() <= 1) || !(h.GetMinRecall() >= 0 && h.GetMinRecall() <= 1) {
		f.add("funnel", "source %q: hnsw has m %d, ef_search %d, recall %v and min_recall %v; 2..1024, at least 1, and shares are allowed",
			s.GetName(), h.GetM(), h.GetEfSearch(), h.GetRecall(), h.GetMinRecall())
	}
	checkListed(f, m, "the hnsw of source "+strconv.Quote(s.GetName()), h.GetPath())
}

func checkTasks(f *faults, m *bundlev1.Manifest) {
	names := make([]string, len(m.GetTasks()))
	for i, task := range m.GetTasks() {
		names[i] = task.GetName()
	}
	if len(names) == 0 || hasDuplicates(names) {
		f.add("tasks", "there must be at least one task, and none twice")
	}
	if len(m.GetValueFormula().GetTerms()) == 0 {
		f.add("value_formula", "it has no terms")
	}
	for i, term := range m.GetValueFormula().GetTerms() {
		if !slices.Contains(names, term.GetTask()) {
			f.add("value_formula", "term %d: task %q is not one of %v", i, term.GetTask(), names)
		}
		if !finite(term.GetWeight()) || !finite(term.GetExponent()) {
			f.add("value_formula", "term %d: weight and exponent must be finite", i)
		}
		if name := term.GetItemColumn(); name != "" && !slices.ContainsFunc(m.GetSchema().GetItem(), func(c *bundlev1.Column) bool {
			return c.GetName() == name && c.GetOp() == bundlev1.Op_NUMBER
		}) {
			f.add("value_formula", "term %d: %q is not a NUMBER column of the items", i, name)
		}
	}
}

func checkCross(f *faults, m *bundlev1.Manifest) {
	seen := map[string]bool{}
	for _, cross := range m.GetCross() {
		if cross.GetName() == "" || seen[cross.GetName()] {
			f.add("cross", "name %q is empty or there twice", cross.GetName())
		}
		seen[cross.GetName()] = true
		if cross.GetSegment() != SegmentLastItem && !isRequestColumn(m.GetSchema(), cross.GetSegment()) {
			f.add("cross", "%q: segment %q is not a text column of user or context, or %s", cross.GetName(), cross.GetSegment(), SegmentLastItem)
		}
		checkListed(f, m, "cross "+strconv.Quote(cross.GetName()), cross.GetPath())
	}
}

// isRequestColumn says whether ref is "user.<column>" or "context.<column>" of a column that holds one text.
func isRequestColumn(s *bundlev1.Schema, ref string) bool {
	role, name, _ := strings.Cut(ref, ".")
	columns := map[string][]*bundlev1.Column{"user": s.GetUser(), "context": s.GetContext()}[role]
	return slices.ContainsFunc(columns, func(c *bundlev1.Column) bool {
		return c.GetName() == name && slices.Contains([]bundlev1.Op{bundlev1.Op_VOCABULARY, bundlev1.Op_HASH, bundlev1.Op_TOKENS}, c.GetOp())
	})
}

func checkListed(f *faults, m *bundlev1.Manifest, what, path string) {
	if !slices.ContainsFunc(m.GetFiles(), func(file *bundlev1.File) bool { return file.GetPath() == path }) {
		f.add("files", "%s names %q, which files does not list", what, path)
	}
}

func hasDuplicates(texts []string) bool {
	seen := make(map[string]struct{}, len(texts))
	for _, text := range texts {
		seen[text] = struct{}{}
	}
	return len(seen) != len(texts)
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
