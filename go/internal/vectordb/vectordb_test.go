package vectordb_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/ranktest"
	"github.com/shortlist-serving/shortlist/go/internal/vectordb"
	"github.com/shortlist-serving/shortlist/go/internal/vectordb/vectordbtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// now is when all but the last two items of the test release are available.
const now = 2_000_000_000

func open(t *testing.T, s *vectordbtest.Server, timeout time.Duration) *vectordb.Engine {
	t.Helper()
	e, err := vectordb.Open(vectordb.Options{Address: s.Address, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// uploaded is an engine that holds the test release.
func uploaded(t *testing.T, timeout time.Duration) (*vectordbtest.Server, *vectordb.Engine, *bundle.Bundle) {
	t.Helper()
	s, b := vectordbtest.New(t), ranktest.Bundle(t, ranktest.Options{})
	e := open(t, s, timeout)
	if n, err := e.Upload(t.Context(), b); err != nil || n != 32 {
		t.Fatalf("%d rows, %v", n, err)
	}
	return s, e, b
}

func text(s string) rank.Value         { return rank.Value{Kind: rank.KindText, Text: s} }
func number(n float64) rank.Value      { return rank.Value{Kind: rank.KindNumber, Number: n} }
func pointer(n float64) *float64       { return &n }
func one(v ...rank.Value) []rank.Value { return v }

// Rows of the test release: category by row mod 3 (books, games, music), price row + 0.5, and the first row mod 4 of the tags
// new, rare, sale; rows 30 and 31 are not available.
func TestFiltersAreAppliedByTheEngine(t *testing.T) {
	t.Parallel()
	_, e, b := uploaded(t, time.Minute)
	query := make([]float32, b.Vectors.K)
	query[0] = 1
	for name, test := range map[string]struct {
		filter rank.ColumnFilter
		passes func(row int64) bool
	}{
		"none":              {rank.ColumnFilter{Column: "price"}, func(int64) bool { return true }},
		"any of texts":      {rank.ColumnFilter{Column: "category", AnyOf: one(text("books"), text("music"))}, func(r int64) bool { return r%3 != 1 }},
		"any of many":       {rank.ColumnFilter{Column: "category", AnyOf: one(rank.Value{Kind: rank.KindTexts, Texts: []string{"books", "x"}})}, func(r int64) bool { return r%3 == 0 }},
		"none of texts":     {rank.ColumnFilter{Column: "category", NoneOf: one(text("books"))}, func(r int64) bool { return r%3 != 0 }},
		"any of a list":     {rank.ColumnFilter{Column: "tags", AnyOf: one(text("rare"))}, func(r int64) bool { return r%4 >= 2 }},
		"none of a list":    {rank.ColumnFilter{Column: "tags", NoneOf: one(text("new"))}, func(r int64) bool { return r%4 == 0 }},
		"bounds, inclusive": {rank.ColumnFilter{Column: "price", Min: pointer(1.5), Max: pointer(3.5)}, func(r int64) bool { return 1 <= r && r <= 3 }},
		"any of numbers":    {rank.ColumnFilter{Column: "price", AnyOf: one(number(2.5), number(9))}, func(r int64) bool { return r == 2 }},
		"none of numbers":   {rank.ColumnFilter{Column: "price", NoneOf: one(number(1.5))}, func(r int64) bool { return r != 1 }},
		"an integer as a text": {rank.ColumnFilter{Column: "id", AnyOf: one(rank.Value{Kind: rank.KindInteger, Integer: ranktest.ItemID(5)})},
			func(r int64) bool { return r == 5 }},
	} {
		for _, at := range []int64{0, now} {
			rows, err := e.Search(t.Context(), b.Manifest.GetReleaseId(),
				vectordb.Query{Vector: query, Limit: 100, Seen: []int64{7}, Columns: []rank.ColumnFilter{test.filter}, Time: at})
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(rows)
			var want []int64
			for row := range int64(32) {
				if row != 7 && test.passes(row) && (at == 0 || b.Catalog.Available(row, at)) {
					want = append(want, row)
				}
			}
			if !slices.Equal(rows, want) {
				t.Errorf("%s at %d: %v, want %v", name, at, rows, want)
			}
		}
	}
}

func TestAnUploadIsRepeatable(t *testing.T) {
	t.Parallel()
	s, e, b := uploaded(t, time.Minute)
	name := vectordb.Collection(b.Manifest.GetReleaseId())
	s.Remove(name, 3, 4) // as if it had broken off
	if n, err := e.Upload(t.Context(), b); err != nil || n != 32 {
		t.Errorf("again: %d rows, %v", n, err)
	}
	if points, indexed := s.Points(name); points != 32 || indexed != 6 {
		t.Errorf("%d points, %d keys are indexed", points, indexed)
	}
	s.Fail(status.Error(codes.ResourceExhausted, "the disk is full"))
	if _, err := e.Upload(t.Context(), b); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("a failed upload: %v", err)
	}
}

func TestFailuresSayWhat(t *testing.T) {
	t.Parallel()
	s, e, b := uploaded(t, time.Minute)
	release := b.Manifest.GetReleaseId()
	query := vectordb.Query{Vector: make([]float32, b.Vectors.K), Limit: 3}
	var failure *vectordb.Error
	if _, err := e.Search(t.Context(), "other", query); !errors.As(err, &failure) || !strings.Contains(failure.Fix, "shortlistd upload") {
		t.Errorf("no collection: %v", err)
	}
	s.Fail(status.Error(codes.Unavailable, "restarting"))
	if _, err := e.Search(t.Context(), release, query); !errors.As(err, &failure) || !strings.Contains(err.Error(), "restarting") {
		t.Errorf("unavailable: %v", err)
	}
	s.Fail(nil)
	s.Hang()
	hasty := open(t, s, 20*time.Millisecond)
	if _, err := hasty.Search(t.Context(), release, query); !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &failure) {
		t.Errorf("past the timeout: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := e.Search(ctx, release, query); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("past the request's deadline: %v", err)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for address, faults := range map[string]int{"": 0, "qdrant:6334": 0, "qdrant": 1, "qdrant:grpc": 1} {
		o := vectordb.Options{Address: address}
		o.EnsureDefaults()
		if got := o.Validate(); len(got) != faults || o.Timeout != 200*time.Millisecond {
			t.Errorf("%q: %v", address, got)
		}
	}
	if got := (&vectordb.Options{Timeout: -1}).Validate(); len(got) != 1 {
		t.Errorf("a negative timeout: %v", got)
	}
	if _, err := vectordb.Open(vectordb.Options{}); err == nil {
		t.Error("an engine without an address was opened")
	}
}
