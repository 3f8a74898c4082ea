package funnel

import (
	"strconv"
	"testing"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// relative costs of the rungs, full = 1.
var relative = []float64{1, 0.4, 0.15, 0.1, 0, 0}

// drive runs a ladder against a server that refuses somebody whenever the demand, a multiple of its
// capacity for full answers, does not fit on the rungs that users get.
func drive(l *ladder, now *time.Time, demand float64, length time.Duration, each func(level float64)) {
	for end := now.Add(length); now.Before(end); *now = now.Add(ladderWindow) {
		cost := 0.0
		const users = 200
		for user := range users {
			rung := l.rung(&rank.Query{UserID: strconv.Itoa(user), Priority: rank.Normal})
			cost += relative[rung-rank.RungFull] / users
		}
		l.entered(*now, "", demand*cost > 1)
		if each != nil {
			each(l.level)
		}
	}
}

func TestLadderGoesDownFastAndUpSlowly(t *testing.T) {
	t.Parallel()
	for _, demand := range []float64{1.5, 3, 8} {
		l, now := newLadder(rank.RungPopular), time.Unix(1e9, 0)
		drive(l, &now, demand, 5*time.Second, nil)
		reached := l.level
		if reached == 0 {
			t.Fatalf("demand %g: the ladder did not move in 5 s", demand)
		}
		drive(l, &now, demand, 3*time.Minute, nil) // settle
		changes, last := 0, l.level
		rungs := map[string]rank.Rung{}
		flips := map[string]int{}
		drive(l, &now, demand, 5*time.Minute, func(level float64) {
			if level != last {
				changes++
			}
			last = level
			for user := range 50 {
				name := strconv.Itoa(user)
				rung := l.rung(&rank.Query{UserID: name, Priority: rank.Normal})
				if before, ok := rungs[name]; ok && before != rung {
					flips[name]++
				}
				rungs[name] = rung
			}
		})
		if changes > 24 { // one step down and one up for every longest dwell
			t.Errorf("demand %g: the level moved %d times in 5 minutes", demand, changes)
		}
		for user, n := range flips {
			if n > 24 {
				t.Errorf("demand %g: the answers of user %s changed their rung %d times in 5 minutes", demand, user, n)
			}
		}
		before := l.level
		drive(l, &now, 0.2, time.Second, nil)
		if l.level < before-ladderStep {
			t.Errorf("demand %g: the level fell from %g to %g in a second", demand, before, l.level)
		}
		drive(l, &now, 0.2, 3*time.Minute, nil)
		if l.level != 0 || len(l.strained) != 0 {
			t.Errorf("demand %g: level %g three minutes after the load went", demand, l.level)
		}
	}
}

func TestLadderRespectsPriorityAndItsEnd(t *testing.T) {
	t.Parallel()
	l, now := newLadder(rank.RungRetrievalOrder), time.Unix(1e9, 0)
	for range 100 {
		l.entered(now, "", true)
		now = now.Add(ladderWindow)
	}
	if got := l.rung(&rank.Query{UserID: "u", Priority: rank.Batch}); got != rank.RungRetrievalOrder {
		t.Errorf("batch is on %s, past the worst rung that is allowed", got)
	}
	if got := l.rung(&rank.Query{UserID: "u", Priority: rank.Critical}); got != rank.RungPrerankerOrder {
		t.Errorf("critical is on %s, want one rung above the others", got)
	}
	off := newLadder(rank.RungFull)
	off.entered(now, "", true)
	off.entered(now.Add(time.Second), "", true)
	if got := off.rung(&rank.Query{Priority: rank.Batch}); got != rank.RungFull {
		t.Errorf("a ladder that is off gives %s", got)
	}
}

func TestCacheForgetsByBytesAgeAndRelease(t *testing.T) {
	t.Parallel()
	c := newCache(3*(entryBytes+1+12), time.Hour)
	answer := &rank.Result{ReleaseID: "r", Rows: []int64{1}, Scores: []float32{1}, Coverage: rank.Coverage{Rung: rank.RungFull}}
	user := func(id string) *rank.Query { return &rank.Query{UserID: id} }
	for _, id := range []string{"a", "b", "c"} {
		c.put(user(id), answer)
	}
	c.get(user("a"), "r")
	c.put(user("d"), answer)
	for id, want := range map[string]bool{"a": true, "b": false, "c": true, "d": true} {
		if got := c.get(user(id), "r") != nil; got != want {
			t.Errorf("user %s is kept: %t", id, got)
		}
	}
	if c.get(user("a"), "other release") != nil || c.get(user("a"), "r") != nil {
		t.Error("an answer of another release is kept")
	}
	degraded := *answer
	degraded.Coverage.Rung = rank.RungPrerankerOrder
	c.put(user("e"), &degraded)
	if c.get(user("e"), "r") != nil {
		t.Error("a degraded answer is kept")
	}
	c.age = -1
	if c.get(user("c"), "r") != nil {
		t.Error("an old answer is kept")
	}
	for c.recent.Len() > 0 {
		c.remove(c.recent.Back())
	}
	if c.bytes != 0 || len(c.entries) != 0 {
		t.Errorf("the empty cache counts %d bytes, %d entries", c.bytes, len(c.entries))
	}
}

// Every part of a request that shapes its answer is in the key.
func TestCacheKeyTellsRequestsApart(t *testing.T) {
	t.Parallel()
	c := newCache(1<<20, time.Hour)
	bound := 1.0
	text := func(s string) rank.Value { return rank.Value{Kind: rank.KindText, Text: s} }
	queries := []*rank.Query{
		{}, {UserID: "a"}, {Mode: rank.Retrieve}, {Limit: 3}, {Filters: rank.Filters{KeepSeen: true}}, {Filters: rank.Filters{KeepUnavailable: true}},
		{Context: rank.Features{"a": text("b")}}, {Context: rank.Features{"b": text("a")}}, {User: rank.Features{"a": text("b")}},
		{History: &rank.History{Items: rank.ItemIDs{Ints: []int64{1}}}}, {Candidates: &rank.ItemIDs{}}, {Candidates: &rank.ItemIDs{Ints: []int64{1, 2}}},
		{Candidates: &rank.ItemIDs{Ints: []int64{2, 1}}}, {Filters: rank.Filters{Columns: []rank.ColumnFilter{{Column: "p", Min: &bound}}}},
		{Filters: rank.Filters{Columns: []rank.ColumnFilter{{Column: "p", Max: &bound}}}},
		{Filters: rank.Filters{Columns: []rank.ColumnFilter{{Column: "p", AnyOf: []rank.Value{text("x")}}}}},
		{Filters: rank.Filters{Columns: []rank.ColumnFilter{{Column: "p", NoneOf: []rank.Value{text("x")}}}}},
	}
	seen := map[uint64]int{}
	for i, q := range queries {
		if other, ok := seen[c.key(q)]; ok {
			t.Errorf("requests %d and %d have one key", other, i)
		}
		seen[c.key(q)] = i
	}
	one := &rank.Query{UserID: "a", Context: rank.Features{"a": text("1"), "b": text("2"), "c": text("3")}, History: &rank.History{}}
	two := &rank.Query{UserID: "a", Context: rank.Features{"c": text("3"), "b": text("2"), "a": text("1")}, User: rank.Features{"x": text("y")}}
	if c.key(one) != c.key(two) {
		t.Error("the order of features, or a new history of a user with an id, changes the key")
	}
}

// Sampling sends its share down every rung, and nothing else.
func TestSamplingReachesEveryRung(t *testing.T) {
	t.Parallel()
	f := New(Options{SampleRungs: 0.02}, nil, nil, nil, nil, nil, nil, nil)
	counts := map[rank.Rung]int{}
	const requests = 20_000
	for range requests {
		rung, _ := f.plan(&rank.Query{})
		counts[rung]++
	}
	for rung := rank.RungFewerCandidates; rung <= rank.RungPopular; rung++ {
		if share := float64(counts[rung]) / requests; share < 0.015 || share > 0.025 {
			t.Errorf("%s got %.3f of the traffic, want 0.02", rung, share)
		}
	}
	if rung, _ := f.plan(&rank.Query{Debug: &rank.Debug{ForceRung: rank.RungFull}}); rung != rank.RungFull {
		t.Errorf("a forced full answer is planned on %s", rung)
	}
	f.opts.SampleRungs = 0
	if rung, reason := f.plan(&rank.Query{}); rung != rank.RungFull {
		t.Errorf("without sampling a request is planned on %s for %s", rung, reason)
	}
}
