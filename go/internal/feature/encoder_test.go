package feature_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/shortlist-serving/shortlist/go/internal/feature"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newEncoder(t testing.TB) *feature.Encoder { return encoderOf(t, ranktest.Options{}) }

func encoderOf(t testing.TB, release ranktest.Options) *feature.Encoder {
	t.Helper()
	b := ranktest.Bundle(t, release)
	e, err := feature.NewEncoder(b.Manifest.GetSchema(), b.Catalog)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func text(s string) rank.Value    { return rank.Value{Kind: rank.KindText, Text: s} }
func number(x float64) rank.Value { return rank.Value{Kind: rank.KindNumber, Number: x} }

// show prints tensors as name=values[shape].
func show(names []string, tensors []runtime.Tensor) string {
	var b strings.Builder
	for i, t := range tensors {
		if t.DType == runtime.Float32 {
			fmt.Fprintf(&b, "%s=%v%v ", names[i], t.F32, t.Shape)
		} else {
			fmt.Fprintf(&b, "%s=%v%v ", names[i], t.I64, t.Shape)
		}
	}
	return strings.TrimSpace(b.String())
}

func TestColumns(t *testing.T) {
	t.Parallel()
	e := newEncoder(t)
	red, lamp := feature.HashID("red", ranktest.Buckets), feature.HashID("lamp", ranktest.Buckets)
	tests := []struct {
		user, context rank.Features
		want          string
	}{
		{nil, nil, "user_gender=[0][1] user_age=[30][1] context_query=[0 0 0 0][1 4]"},
		{rank.Features{"gender": text("m"), "age": number(41.5)}, rank.Features{"query": text("Red  LAMP!")},
			fmt.Sprintf("user_gender=[2][1] user_age=[41.5][1] context_query=[%d %d 0 0][1 4]", red, lamp)},
		{rank.Features{"gender": text("M"), "age": {Kind: rank.KindInteger, Integer: 120}}, rank.Features{"query": {}},
			"user_gender=[0][1] user_age=[120][1] context_query=[0 0 0 0][1 4]"},
	}
	for _, test := range tests {
		tensors, err := e.Columns(test.user, test.context)
		if err != nil {
			t.Fatal(err)
		}
		if got := show(e.ColumnNames(), tensors); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}

// faultsOf lists the faults of err as "field reason".
func faultsOf(t *testing.T, err error) []string {
	t.Helper()
	var invalid *rank.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("err = %v, want an InvalidError", err)
	}
	var faults []string
	for _, f := range invalid.Fields {
		if f.Problem == "" || f.Fix == "" {
			t.Errorf("%+v does not say what or how to fix", f)
		}
		faults = append(faults, f.Field+" "+strings.TrimPrefix(f.Reason, "ERROR_REASON_"))
	}
	return faults
}

func TestColumnsListEveryFault(t *testing.T) {
	t.Parallel()
	e := newEncoder(t)
	_, err := e.Columns(
		rank.Features{"gender": number(1), "age": number(math.NaN()), "shoe": text("x"), "<script>": text("x")},
		rank.Features{"query": text("\xff"), "hour": number(3)})
	got := faultsOf(t, err)
	slices.Sort(got)
	want := []string{
		"context[hour] UNKNOWN_COLUMN", "context[query] INVALID_FIELD", "user.features[?] UNKNOWN_COLUMN",
		"user.features[age] NOT_FINITE", "user.features[gender] WRONG_TYPE", "user.features[shoe] UNKNOWN_COLUMN",
	}
	if !slices.Equal(got, want) {
		t.Errorf("faults %q, want %q", got, want)
	}
	for value, reason := range map[float64]string{-1: "INVALID_FIELD", 120.5: "INVALID_FIELD", math.Inf(1): "NOT_FINITE", 1e300: "NOT_FINITE"} {
		_, err := e.Columns(rank.Features{"age": number(value)}, nil)
		if got := faultsOf(t, err); len(got) != 1 || got[0] != "user.features[age] "+reason {
			t.Errorf("age %v: %q, want %s", value, got, reason)
		}
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	e := newEncoder(t)
	h, err := e.History(rank.History{Items: rank.ItemIDs{Ints: []int64{20, 999, 40}}, Actions: []string{"buy", "view", ""}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(h.Rows, []int64{1, -1, 3}) || h.Start != 0 || h.Length != 3 || h.LastItem != 3 {
		t.Errorf("%+v", h)
	}
	want := "history_id=[2 0 4][1 3] history_category=[2 0 1][1 3] history_price=[1.5 0 3.5][1 3] " +
		"history_tags=[1 0 0 0 0 0 1 2 3][1 3 3] history_action=[2 1 1][1 3]"
	if got := show(e.HistoryNames(), h.Tensors); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}

	empty, err := e.History(rank.History{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	want = "history_id=[0][1 1] history_category=[0][1 1] history_price=[0][1 1] history_tags=[0 0 0][1 1 3] history_action=[0][1 1]"
	if got := show(e.HistoryNames(), empty.Tensors); got != want || empty.Length != 0 || empty.LastItem != -1 {
		t.Errorf("an empty history is %s, length %d, last item %d", got, empty.Length, empty.LastItem)
	}
}

// The window depends on all events there ever were, so dropping old ones from a store does not move it.
func TestHistoryWindowIsStable(t *testing.T) {
	t.Parallel()
	e := newEncoder(t)
	var all []int64
	for n := range int64(40) {
		all = append(all, ranktest.ItemID(n%32))
		whole, err := e.History(rank.History{Items: rank.ItemIDs{Ints: all}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if whole.Length > ranktest.MaxEvents || whole.Start%ranktest.Step != 0 || int(whole.Start)+whole.Length != len(all) {
			t.Fatalf("%d events: start %d, length %d", len(all), whole.Start, whole.Length)
		}
		const held = ranktest.MaxEvents + ranktest.Step
		if len(all) <= held {
			continue
		}
		dropped := len(all) - held
		part, err := e.History(rank.History{Items: rank.ItemIDs{Ints: all[dropped:]}}, int64(dropped))
		if err != nil {
			t.Fatal(err)
		}
		if part.Start != whole.Start || show(e.HistoryNames(), part.Tensors) != show(e.HistoryNames(), whole.Tensors) {
			t.Fatalf("%d events: the window of a store that dropped %d is another", len(all), dropped)
		}
	}
}

func TestHistoryTimes(t *testing.T) {
	t.Parallel()
	e := encoderOf(t, ranktest.Options{Times: true})
	// Of ten events the window keeps the newest six; the times of the older ones do not matter.
	history := rank.History{Items: rank.ItemIDs{Ints: make([]int64, 10)}, Times: []int64{0, 0, 0, 0, 5, 6, 6, 7, 8, 1 << 62}}
	h, err := e.History(history, 0)
	if err != nil {
		t.Fatal(err)
	}
	last := len(h.Tensors) - 1
	if got, want := show(e.HistoryNames()[last:], h.Tensors[last:]), "history_time=[5 6 6 7 8 4611686018427387904][1 6]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	empty, err := e.History(rank.History{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := show(e.HistoryNames()[last:], empty.Tensors[last:]), "history_time=[0][1 1]"; got != want {
		t.Errorf("without events %s, want %s", got, want)
	}

	items := rank.ItemIDs{Ints: []int64{10, 20}}
	for name, test := range map[string]struct {
		history rank.History
		want    string
	}{
		"none":         {rank.History{Items: items}, "user.history.times MISSING_FIELD"},
		"too few":      {rank.History{Items: items, Times: []int64{1}}, "user.history.times INVALID_FIELD"},
		"descending":   {rank.History{Items: items, Times: []int64{2, 1}}, "user.history.times[1] INVALID_FIELD"},
		"unknown":      {rank.History{Items: items, Times: []int64{0, 1}}, "user.history.times[0] MISSING_FIELD"},
		"before epoch": {rank.History{Items: items, Times: []int64{math.MinInt64, 1}}, "user.history.times[0] MISSING_FIELD"},
	} {
		_, err := e.History(test.history, 0)
		if got := faultsOf(t, err); !slices.Equal(got, []string{test.want}) {
			t.Errorf("%s: %q, want %s", name, got, test.want)
		}
	}
}

func TestHistoryFaults(t *testing.T) {
	t.Parallel()
	e := newEncoder(t)
	items := rank.ItemIDs{Ints: []int64{10, 20}}
	tests := map[string]struct {
		history rank.History
		want    []string
	}{
		"kind":    {rank.History{Items: rank.ItemIDs{Strings: []string{"a"}}}, []string{"user.history.items WRONG_TYPE"}},
		"actions": {rank.History{Items: items, Actions: []string{"view"}}, []string{"user.history.actions INVALID_FIELD"}},
		"action": {rank.History{Items: items, Actions: []string{"eat", "sleep"}},
			[]string{"user.history.actions[0] INVALID_FIELD", "user.history.actions[1] INVALID_FIELD"}},
		"times":   {rank.History{Items: items, Times: []int64{1}}, []string{"user.history.times INVALID_FIELD"}},
		"descend": {rank.History{Items: items, Times: []int64{2, 1}}, []string{"user.history.times[1] INVALID_FIELD"}},
	}
	for name, test := range tests {
		_, err := e.History(test.history, 0)
		if got := faultsOf(t, err); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestSegment(t *testing.T) {
	t.Parallel()
	e := newEncoder(t)
	user, context := rank.Features{"gender": text("F")}, rank.Features{"query": text("  Red LAMP ")}
	for segment, want := range map[string]string{
		"user.gender": "F", "context.query": "red lamp", "user.query": "", "context.gender": "", "item.id": "", "nothing": "",
	} {
		if got, ok := e.Segment(segment, user, context); got != want || ok != (want != "") {
			t.Errorf("segment %s = %q, %v; want %q", segment, got, ok, want)
		}
	}
	if _, ok := e.Segment("user.gender", nil, nil); ok {
		t.Error("a missing feature has a segment")
	}
}

func BenchmarkEncode(b *testing.B) {
	e := newEncoder(b)
	user, context := rank.Features{"gender": text("m"), "age": number(30)}, rank.Features{"query": text("red lamp for the desk")}
	history := rank.History{}
	for i := range int64(200) {
		history.Items.Ints = append(history.Items.Ints, ranktest.ItemID(i%32))
	}
	b.Run("columns", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := e.Columns(user, context); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("history of 200", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := e.History(history, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
}
