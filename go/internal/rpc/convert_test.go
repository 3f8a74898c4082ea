package rpc

import (
	"errors"
	"math"
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/quick"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	shortlistv1 "github.com/shortlist-serving/shortlist/go/gen/shortlist/v1"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

func limits() *Options {
	var o Options
	o.EnsureDefaults()
	return &o
}

// valid is a random query that conversion accepts.
type valid struct{ q rank.Query }

func (valid) Generate(r *rand.Rand, _ int) reflect.Value {
	value := func() rank.Value {
		switch r.Intn(4) {
		case 0:
			return rank.Value{Kind: rank.KindInteger, Integer: r.Int63() - r.Int63()}
		case 1:
			return rank.Value{Kind: rank.KindNumber, Number: r.NormFloat64()}
		case 2:
			return rank.Value{Kind: rank.KindText, Text: "кошка"}
		}
		return rank.Value{Kind: rank.KindTexts, Texts: []string{"a", ""}}
	}
	features := func(prefix string) rank.Features {
		var f rank.Features
		for range r.Intn(3) {
			if f == nil {
				f = rank.Features{}
			}
			f[prefix+string(rune('a'+r.Intn(9)))] = value()
		}
		return f
	}
	ids := func() rank.ItemIDs {
		n := r.Intn(4)
		if n == 0 {
			return rank.ItemIDs{}
		}
		if r.Intn(2) == 0 {
			return rank.ItemIDs{Ints: slices.Repeat([]int64{r.Int63()}, n)}
		}
		return rank.ItemIDs{Strings: slices.Repeat([]string{"item"}, n)}
	}
	q := rank.Query{
		RequestID: "r", UserID: "u", User: features(""), Context: features(""), Limit: r.Intn(100), Mode: rank.Recommend,
		Time: 1 + r.Int63n(1<<40), Priority: rank.Priority(r.Intn(3)),
		Filters: rank.Filters{KeepSeen: r.Intn(2) == 0, KeepUnavailable: r.Intn(2) == 0},
	}
	if r.Intn(2) == 0 {
		items := ids()
		q.History = &rank.History{Items: items}
		if n := items.Len(); n > 0 && r.Intn(2) == 0 {
			q.History.Actions, q.History.Times = slices.Repeat([]string{"view"}, n), slices.Repeat([]int64{5}, n)
		}
	}
	if r.Intn(2) == 0 {
		candidates := ids()
		q.Candidates = &candidates
	}
	if r.Intn(2) == 0 {
		low := r.Float64()
		q.Filters.Columns = []rank.ColumnFilter{{Column: "c", Min: &low, AnyOf: []rank.Value{value()}}}
	}
	if r.Intn(3) == 0 {
		q.Debug = &rank.Debug{Explain: ids(), Force: ids(), Override: features("user."), ReleaseID: "x", Seed: r.Int63(), DoNotLog: r.Intn(2) == 0,
			ForceRung: rank.Rung(r.Intn(7))}
	}
	return reflect.ValueOf(valid{q})
}

// A query survives the way to the wire and back, so that a line of the served log is the request it came from.
func TestQueriesRoundTrip(t *testing.T) {
	t.Parallel()
	roundTrips := func(v valid) bool {
		data, err := proto.Marshal(request(&v.q))
		if err != nil {
			t.Fatal(err)
		}
		in := &shortlistv1.RecommendRequest{}
		if err := proto.Unmarshal(data, in); err != nil {
			t.Fatal(err)
		}
		c := newConverter(limits())
		got := c.query(in, rank.Recommend)
		if err := c.faults.Err(); err != nil {
			t.Error(err)
			return false
		}
		if diff := cmp.Diff(&v.q, got); diff != "" {
			t.Error(diff)
			return false
		}
		return true
	}
	if err := quick.Check(roundTrips, &quick.Config{MaxCount: 300}); err != nil {
		t.Error(err)
	}
}

func TestEveryFaultIsListedAtOnce(t *testing.T) {
	t.Parallel()
	number := func(n float64) *shortlistv1.Value {
		return &shortlistv1.Value{Kind: &shortlistv1.Value_Number{Number: n}}
	}
	in := &shortlistv1.RecommendRequest{
		RequestId: strings.Repeat("x", 129), Limit: -1, Time: -1, Priority: 9,
		User: &shortlistv1.User{
			Id: strings.Repeat("u", 300), Features: map[string]*shortlistv1.Value{"age": number(math.NaN())},
			History: &shortlistv1.History{Items: &shortlistv1.ItemIds{Ints: []int64{1, 2}}, Actions: []string{"view"}, Times: []int64{9, 3}},
		},
		Context:    map[string]*shortlistv1.Value{"a\nforged line": number(math.Inf(1))},
		Candidates: &shortlistv1.ItemIds{Ints: []int64{1}, Strings: []string{"a"}},
		Filters:    &shortlistv1.Filters{Columns: []*shortlistv1.ColumnFilter{{}, {Column: "price", Min: proto.Float64(2), Max: proto.Float64(1)}}},
		Debug:      &shortlistv1.Debug{Explain: &shortlistv1.ItemIds{Strings: []string{""}}},
	}
	c := newConverter(limits())
	c.query(in, rank.Rank)
	var invalid *rank.InvalidError
	if !errors.As(c.faults.Err(), &invalid) {
		t.Fatalf("faults: %v", c.faults.Err())
	}
	var fields []string
	for _, f := range invalid.Fields {
		fields = append(fields, f.Field)
		if f.Problem == "" || f.Fix == "" || f.Reason == "" {
			t.Errorf("%s lacks a problem, a fix or a reason: %+v", f.Field, f)
		}
	}
	want := []string{
		"request_id", "limit", "time", "priority", "user.id", "user.features[age]", "user.history.actions", "user.history.times[1]",
		"context[?]", "filters.columns[0].column", "filters.columns[1]", "candidates", "debug.explain.strings[0]",
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestModesAskForTheirCandidates(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		mode   rank.Mode
		given  bool
		refuse bool
	}{
		{rank.Recommend, false, false}, {rank.Recommend, true, false}, {rank.Rank, true, false}, {rank.Rank, false, true},
		{rank.Retrieve, false, false}, {rank.Retrieve, true, true},
	} {
		in := &shortlistv1.RecommendRequest{}
		if test.given {
			in.Candidates = &shortlistv1.ItemIds{}
		}
		c := newConverter(limits())
		c.query(in, test.mode)
		if refused := c.faults.Err() != nil; refused != test.refuse {
			t.Errorf("mode %d, candidates given %v: %v", test.mode, test.given, c.faults.Err())
		}
	}
}

// Whatever bytes arrive: conversion does not panic, and a request without faults converts again to itself.
func FuzzQuery(f *testing.F) {
	for _, in := range []*shortlistv1.RecommendRequest{
		{}, {Limit: -1, Candidates: &shortlistv1.ItemIds{Ints: []int64{1}}},
		{User: &shortlistv1.User{Id: "u", History: &shortlistv1.History{Items: &shortlistv1.ItemIds{Strings: []string{"a"}}, Times: []int64{1}}}},
	} {
		data, err := proto.Marshal(in)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, byte(in.GetLimit()))
	}
	f.Fuzz(func(t *testing.T, data []byte, mode byte) {
		in := &shortlistv1.RecommendRequest{}
		if proto.Unmarshal(data, in) != nil {
			return
		}
		c := newConverter(limits())
		q := c.query(in, rank.Mode(mode%3))
		if c.faults.Err() != nil {
			return
		}
		again := newConverter(limits())
		if diff := cmp.Diff(q, again.query(request(q), q.Mode), cmp.Comparer(sameValue)); diff != "" || again.faults.Err() != nil {
			t.Errorf("%v\n%s", again.faults.Err(), diff)
		}
	})
}

// sameValue takes an empty list of texts for a missing one: the wire cannot tell them apart.
func sameValue(a, b rank.Value) bool {
	return a.Kind == b.Kind && a.Integer == b.Integer && a.Number == b.Number && a.Text == b.Text && slices.Equal(a.Texts, b.Texts)
}
