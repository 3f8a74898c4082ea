package funnel

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	bundlev1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/bundle/v1"
	"github.com/shortlist-serving/shortlist/go/internal/batching"
	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/kvcache"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
	"github.com/shortlist-serving/shortlist/go/internal/repository"
	"github.com/shortlist-serving/shortlist/go/internal/runtime/fake"
	"github.com/shortlist-serving/shortlist/go/internal/stage/retrieval"
)

// goldenQuery stands for the parser of package rpc, which lies above this one.
func goldenQuery([]byte) (*rank.Query, error) {
	return &rank.Query{Time: 2_000_000_000, Limit: 5, User: rank.Features{"gender": {Kind: rank.KindText, Text: "f"}},
		History: &rank.History{Items: rank.ItemIDs{Ints: []int64{10, 20}}}}, nil
}

// replayWorld is a repository over one release and the replayer that judges it.
func replayWorld(t *testing.T, release ranktest.Options) (*Replayer, *repository.Repository, *fake.Runtime, string) {
	t.Helper()
	dir := t.TempDir()
	id := ranktest.Write(t, dir, release)
	rt := ranktest.Runtime(t, ranktest.Bundle(t, ranktest.Options{}))
	repo, err := repository.New(repository.Options{Dir: dir, Runtime: rt, Prepare: Prepare(retrieval.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	pool := batching.NewPool(batching.PoolOptions{Workers: 2})
	t.Cleanup(func() {
		if err := repo.Close(context.Background()); err != nil {
			t.Error(err)
		}
		pool.Close()
	})
	if err := repo.Load(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	f := New(Options{}, repo, batching.NewGate(batching.GateOptions{}), pool, kvcache.New(kvcache.Options{MaxBytes: 1 << 20}), nil, nil, slog.New(slog.NewTextHandler(io.Discard, nil)))
	return NewReplayer(f, goldenQuery), repo, rt, id
}

// golden records a true run and writes it as golden tensors, changed by edit.
func golden(t *testing.T, edit func(*recording)) ranktest.Options {
	t.Helper()
	p, repo, _, id := replayWorld(t, ranktest.Options{})
	s, unpin, err := repo.AcquireRelease(id)
	if err != nil {
		t.Fatal(err)
	}
	defer unpin()
	q, _ := goldenQuery(nil)
	seen := &recording{ints: map[string][]int64{}, floats: map[string][]float32{}}
	if _, _, err := p.funnel.run(unhurried(t.Context()), s.Prepared.(*Release), q, seen.note); err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(seen)
	}
	file := ranktest.NewTensorFile()
	for name, values := range seen.ints {
		file.Ints("0/"+name, values, len(values))
	}
	for name, values := range seen.floats {
		file.Floats("0/"+name, values, len(values))
	}
	return ranktest.Options{Edit: func(_ *bundlev1.Manifest, files map[string][]byte) {
		files["golden/tensors.safetensors"] = file.Bytes(t)
	}}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		edit  func(*recording)
		fault *fake.Fault
		first string // the tensor of the first difference; "" passes
	}{
		"a true release passes": {},
		"within the tolerance":  {edit: func(r *recording) { r.floats["logits"][3] += 5e-6 }},
		"a score is off":        {edit: func(r *recording) { r.floats["score"][1] += 0.01 }, first: "score"},
		"a key is off":          {edit: func(r *recording) { r.floats["keys"][0] += 0.01 }, first: "keys"},
		"a counter is off":      {edit: func(r *recording) { r.floats["cross"][0] += 0.01 }, first: "cross"},
		"an input is off":       {edit: func(r *recording) { r.ints["in.history_id"][0]++ }, first: "in.history_id"},
		"the order is off": {edit: func(r *recording) {
			rows := r.ints["final_rows"]
			rows[0], rows[1] = rows[1], rows[0]
		}, first: "final_rows"},
		"a candidate is missing": {edit: func(r *recording) { r.ints["source.two_tower.rows"][0] = 31 }, first: "source.two_tower.rows"},
		"the merge is off":       {edit: func(r *recording) { slices.Reverse(r.ints["merged_rows"]) }, first: "merged_rows"},
		"NaN":                    {fault: &fake.Fault{NaN: true}, first: "coverage"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, repo, rt, id := replayWorld(t, golden(t, test.edit))
			if test.fault != nil {
				rt.Inject(bundle.Ranker, *test.fault)
			}
			s, unpin, err := repo.AcquireRelease(id)
			if err != nil {
				t.Fatal(err)
			}
			defer unpin()
			report, err := p.Replay(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			if test.first == "" {
				if report.Err() != nil || report.Cases != 1 || report.WorstRatio > 1 {
					t.Errorf("report: %+v", report)
				}
				return
			}
			if report.Err() == nil || !strings.Contains(report.Err().Error(), "first: case 0 "+test.first) {
				t.Errorf("the first difference is not in %s: %v", test.first, report.Err())
			}
		})
	}
}

// A release of low precision states a wide tolerance. It is not for what no graph computes.
func TestLowPrecision(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		edit  func(*recording)
		first string
	}{
		"a score within the wide tolerance": {edit: func(r *recording) { r.floats["logits"][3] += 0.005 }},
		"a score beyond it":                 {edit: func(r *recording) { r.floats["logits"][3] += 0.5 }, first: "logits"},
		"a counter":                         {edit: func(r *recording) { r.floats["cross"][0] += 0.005 }, first: "cross"},
		"a source that no graph scores":     {edit: func(r *recording) { r.floats["source.popular.scores"][0] += 0.005 }, first: "source.popular"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			release := golden(t, test.edit)
			write := release.Edit
			release.Edit = func(m *bundlev1.Manifest, files map[string][]byte) {
				m.Tolerance = &bundlev1.Tolerance{Absolute: 0.01, Relative: 0.01, Reason: "int8"}
				write(m, files)
			}
			p, repo, _, id := replayWorld(t, release)
			s, unpin, err := repo.AcquireRelease(id)
			if err != nil {
				t.Fatal(err)
			}
			defer unpin()
			report, err := p.Replay(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			if err := report.Err(); (err == nil) != (test.first == "") || err != nil && !strings.Contains(err.Error(), "first: case 0 "+test.first) {
				t.Errorf("the first difference is not in %q: %v", test.first, err)
			}
		})
	}
}

func TestAnExchangedRowMayChangeTheMergedLength(t *testing.T) {
	t.Parallel()
	lists := func(a, b, merged []int64) *recording {
		return &recording{ints: map[string][]int64{"a": a, "b": b, "merged_rows": merged}}
	}
	wanted := lists([]int64{1, 2}, []int64{3}, []int64{1, 2, 3})
	for name, test := range map[string]struct {
		seen       *recording
		violations int
	}{
		"equal":                      {lists([]int64{1, 2}, []int64{3}, []int64{1, 2, 3}), 0},
		"into another source's row":  {lists([]int64{1, 3}, []int64{3}, []int64{1, 3}), 0},
		"two fewer by one exchange":  {lists([]int64{1, 3}, []int64{3}, []int64{1}), 1},
		"one fewer without exchange": {lists([]int64{2, 1}, []int64{3}, []int64{1, 2}), 1},
	} {
		c := &comparison{report: &Report{}, at: "case"}
		c.merged([]string{"a", "b"}, wanted, test.seen)
		if c.report.Violations != test.violations {
			t.Errorf("%s: %d violations, want %d: %v", name, c.report.Violations, test.violations, c.report.Messages)
		}
	}
}

func TestOrdersAreJudgedByTheTieRule(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		wanted, got ordered
		violations  int
	}{
		"equal":                   {ordered{[]int64{1, 2}, []float32{2, 1}}, ordered{[]int64{1, 2}, []float32{2, 1}}, 0},
		"a tie may turn":          {ordered{[]int64{1, 2}, []float32{1, 1}}, ordered{[]int64{2, 1}, []float32{1, 1}}, 0},
		"near scores may turn":    {ordered{[]int64{1, 2}, []float32{1.0001, 1}}, ordered{[]int64{2, 1}, []float32{1, 1.0001}}, 0},
		"others may not":          {ordered{[]int64{1, 2}, []float32{1.1, 1}}, ordered{[]int64{2, 1}, []float32{1, 1.1}}, 1},
		"exchanged at the cut":    {ordered{[]int64{1, 2}, []float32{2, 1}}, ordered{[]int64{1, 3}, []float32{2, 1}}, 0},
		"missing above the cut":   {ordered{[]int64{1, 2}, []float32{2, 1}}, ordered{[]int64{3, 2}, []float32{2, 1}}, 1},
		"far places count too":    {ordered{[]int64{1, 2, 3}, []float32{9, 5.00001, 5}}, ordered{[]int64{3, 1, 2}, []float32{5, 9, 5.00001}}, 1},
		"fewer items":             {ordered{[]int64{1, 2}, []float32{2, 1}}, ordered{[]int64{1}, []float32{2}}, 1},
		"the score itself is off": {ordered{[]int64{1}, []float32{2}}, ordered{[]int64{1}, []float32{2.1}}, 1},
	} {
		report := &Report{}
		c := &comparison{report: report, at: "case", absolute: 1e-5, relative: 1e-4}
		c.list("rows", test.wanted, test.got)
		if report.Violations != test.violations {
			t.Errorf("%s: %d violations, want %d: %v", name, report.Violations, test.violations, report.Messages)
		}
	}
}
