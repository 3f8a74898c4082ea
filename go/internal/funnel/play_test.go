package funnel_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shortlist-serving/shortlist/go/internal/feature"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/fake"
)

// Rewrite only with a diff that you understand: each line of a play is a promise about answers.
var rewrite = flag.Bool("rewrite", false, "rewrite testdata/*.txt")

// TestPlays runs the plays of testdata: a command, "----", and what the funnel answers.
func TestPlays(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no plays: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(newWorld(t, ranktest.Options{}), string(want))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// play returns the script with fresh answers. A scene is lines up to an empty one.
func play(w *world, script string) string {
	var out strings.Builder
	for i, scene := range strings.Split(strings.TrimRight(script, "\n"), "\n\n") {
		if i > 0 {
			out.WriteString("\n")
		}
		for _, line := range strings.Split(scene, "\n") {
			if line == "----" {
				break
			}
			out.WriteString(line + "\n")
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if text := w.act(strings.Fields(line)); text != "" {
				out.WriteString("----\n" + text)
			}
		}
	}
	return out.String()
}

// act performs one command: fault <graph> error|nan|slow|heal, store <id> history=..., or a call.
func (w *world) act(words []string) string {
	switch words[0] {
	case "fault":
		w.runtime.Inject(words[1], map[string]fake.Fault{
			"error": {Err: errors.New("broken")}, "nan": {NaN: true}, "slow": {Delay: time.Second}, "heal": {},
		}[words[2]])
		return ""
	case "store":
		user := &feature.User{Features: rank.Features{}}
		q := parse(words[2:])
		if q.History != nil {
			user.History = *q.History
		}
		user.Features = q.User
		w.store.users[words[1]] = user
		return ""
	}
	q := parse(words[1:])
	q.Mode = map[string]rank.Mode{"recommend": rank.Recommend, "retrieve": rank.Retrieve, "rank": rank.Rank}[words[0]]
	result, err := w.Answer(w.t.Context(), q)
	if err != nil {
		return fmt.Sprintf("error: %v\n", err)
	}
	return show(result)
}

func parse(words []string) *rank.Query {
	q := query()
	q.User, q.Context = rank.Features{}, rank.Features{}
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "user":
			q.UserID = value
		case "gender":
			q.User["gender"] = text(value)
		case "query":
			q.Context["query"] = text(strings.ReplaceAll(value, "_", " "))
		case "city":
			q.Context["city"] = text(value)
		case "history":
			q.History = &rank.History{Items: *parseIDs(value)}
		case "candidates":
			q.Candidates = parseIDs(value)
		case "limit":
			q.Limit, _ = strconv.Atoi(value)
		case "category":
			q.Filters.Columns = append(q.Filters.Columns, rank.ColumnFilter{Column: "category", AnyOf: []rank.Value{text(value)}})
		case "max_price":
			price, _ := strconv.ParseFloat(value, 64)
			q.Filters.Columns = append(q.Filters.Columns, rank.ColumnFilter{Column: "price", Max: &price})
		case "keep_seen":
			q.Filters.KeepSeen = true
		case "explain":
			q.Debug = debug(q)
			q.Debug.Explain = *parseIDs(value)
		case "force":
			q.Debug = debug(q)
			q.Debug.Force = *parseIDs(value)
		default:
			panic("unknown word " + word)
		}
	}
	return q
}

func debug(q *rank.Query) *rank.Debug {
	if q.Debug == nil {
		return &rank.Debug{}
	}
	return q.Debug
}

func parseIDs(text string) *rank.ItemIDs {
	ids := &rank.ItemIDs{}
	for _, word := range strings.Split(text, ",") {
		if id, err := strconv.ParseInt(word, 10, 64); err == nil {
			ids.Ints = append(ids.Ints, id)
		}
	}
	return ids
}

func show(r *rank.Result) string {
	var b strings.Builder
	for _, s := range r.Stages {
		fmt.Fprintf(&b, "%s %d -> %d\n", s.Stage, s.In, s.Out)
	}
	if r.Coverage.Rung != rank.RungFull || len(r.Coverage.Degradations) > 0 {
		fmt.Fprintf(&b, "rung %d", r.Coverage.Rung)
		sort.Slice(r.Coverage.Degradations, func(i, j int) bool {
			x, y := r.Coverage.Degradations[i], r.Coverage.Degradations[j]
			return x.Stage+x.Reason+x.Detail < y.Stage+y.Reason+y.Detail
		})
		for _, d := range r.Coverage.Degradations {
			fmt.Fprintf(&b, "; %s: %s", d.Stage, d.Reason)
		}
		b.WriteString("\n")
	}
	b.WriteString("items")
	for i, id := range r.Items.Ints {
		fmt.Fprintf(&b, " %d:%.4f", id, r.Scores[i])
	}
	b.WriteString("\n")
	reasons := make([]string, 0, len(r.Dropped))
	for reason := range r.Dropped {
		reasons = append(reasons, reason)
	}
	slices.Sort(reasons)
	for _, reason := range reasons {
		fmt.Fprintf(&b, "dropped %s %d\n", reason, r.Dropped[reason])
	}
	for _, e := range r.Explanations {
		fmt.Fprintf(&b, "explain %d", e.ID.Ints[0])
		for _, s := range e.Sources {
			fmt.Fprintf(&b, " %s#%d", s.Source, s.Rank)
		}
		if e.PrerankRank != nil {
			fmt.Fprintf(&b, " prerank#%d=%.4f", *e.PrerankRank, *e.Prerank)
		}
		if e.Rank != nil {
			fmt.Fprintf(&b, " rank#%d=%.4f", *e.Rank, *e.Score)
		}
		fmt.Fprintf(&b, " %s\n", e.DropReason)
	}
	return b.String()
}
