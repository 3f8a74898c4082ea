package feature

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.etcd.io/bbolt"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

func openStore(t testing.TB, path string, opts StoreOptions) *BoltStore {
	t.Helper()
	s, err := OpenStore(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func tempStore(t testing.TB, opts StoreOptions) *BoltStore {
	return openStore(t, filepath.Join(t.TempDir(), "users.db"), opts)
}

func ints(ids ...int64) rank.ItemIDs { return rank.ItemIDs{Ints: ids} }

func mustAppend(t *testing.T, s *BoltStore, user string, events rank.History, features rank.Features) {
	t.Helper()
	if _, err := s.Append(t.Context(), user, events, features); err != nil {
		t.Fatal(err)
	}
}

func mustGet(t *testing.T, s *BoltStore, user string, want *User) {
	t.Helper()
	got, err := s.Get(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("user %q (-want +got):\n%s", user, diff)
	}
}

var allFeatures = rank.Features{
	"age":    {Kind: rank.KindNumber, Number: 41.5},
	"city":   {Kind: rank.KindText, Text: "Омск"},
	"id":     {Kind: rank.KindInteger, Integer: math.MinInt64},
	"likes":  {Kind: rank.KindTexts, Texts: []string{"a", "", "b"}},
	"absent": {},
}

func TestStoreSurvivesRestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users.db")
	s := openStore(t, path, StoreOptions{})
	mustAppend(t, s, "u", rank.History{Items: ints(5, -7), Actions: []string{"view", "buy"}, Times: []int64{100, 100}}, allFeatures)
	mustAppend(t, s, "u", rank.History{Items: ints(9), Actions: []string{"view"}, Times: []int64{250}},
		rank.Features{"age": {Kind: rank.KindNumber, Number: 42}})
	mustAppend(t, s, "v", rank.History{Items: rank.ItemIDs{Strings: []string{"x", "ы"}}}, nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, path, StoreOptions{})
	features := rank.Features{}
	for name, value := range allFeatures {
		features[name] = value
	}
	features["age"] = rank.Value{Kind: rank.KindNumber, Number: 42}
	mustGet(t, s, "u", &User{
		History:  rank.History{Items: ints(5, -7, 9), Actions: []string{"view", "buy", "view"}, Times: []int64{100, 100, 250}},
		Features: features,
	})
	mustGet(t, s, "v", &User{History: rank.History{Items: rank.ItemIDs{Strings: []string{"x", "ы"}}}})
	if _, err := s.Get(t.Context(), "nobody"); !errors.Is(err, rank.ErrUserNotFound) {
		t.Errorf("err = %v, want ErrUserNotFound", err)
	}
}

func TestStoreCapsHistoryAndCountsWhatItDrops(t *testing.T) {
	t.Parallel()
	s := tempStore(t, StoreOptions{MaxEvents: 3})
	for i := range int64(5) {
		stored, err := s.Append(t.Context(), "u", rank.History{Items: ints(i), Times: []int64{i}}, nil)
		if err != nil || stored != min(i+1, 3) {
			t.Fatalf("append %d: stored %d, %v", i, stored, err)
		}
	}
	mustGet(t, s, "u", &User{History: rank.History{Items: ints(2, 3, 4), Times: []int64{2, 3, 4}}, Dropped: 2})
	mustAppend(t, s, "u", rank.History{Items: ints(10, 11, 12, 13), Times: []int64{9, 9, 9, 9}}, nil)
	mustGet(t, s, "u", &User{History: rank.History{Items: ints(11, 12, 13), Times: []int64{9, 9, 9}}, Dropped: 6})
}

func TestStoreJoinsHistoriesWithAndWithoutActionsAndTimes(t *testing.T) {
	t.Parallel()
	s := tempStore(t, StoreOptions{})
	mustAppend(t, s, "u", rank.History{Items: ints(1)}, nil)
	mustAppend(t, s, "u", rank.History{Items: ints(2), Actions: []string{"buy"}, Times: []int64{50}}, nil)
	mustAppend(t, s, "u", rank.History{Items: ints(3)}, nil)
	mustGet(t, s, "u", &User{History: rank.History{Items: ints(1, 2, 3), Actions: []string{"", "buy", ""}, Times: []int64{0, 50, 50}}})
}

func TestStoreRefusesFaultyAppends(t *testing.T) {
	t.Parallel()
	s := tempStore(t, StoreOptions{})
	mustAppend(t, s, "u", rank.History{Items: ints(1), Times: []int64{100}}, nil)
	tests := map[string]struct {
		user     string
		events   rank.History
		features rank.Features
		field    string
	}{
		"no user":         {"", rank.History{}, nil, "user_id"},
		"long user":       {strings.Repeat("x", 1025), rank.History{}, nil, "user_id"},
		"user not UTF-8":  {"\xff", rank.History{}, nil, "user_id"},
		"actions":         {"u", rank.History{Items: ints(1, 2), Actions: []string{"view"}}, nil, "events.actions"},
		"times":           {"u", rank.History{Items: ints(1, 2), Times: []int64{1}}, nil, "events.times"},
		"times descend":   {"u", rank.History{Items: ints(1, 2), Times: []int64{200, 199}}, nil, "events.times[1]"},
		"before stored":   {"u", rank.History{Items: ints(1), Times: []int64{99}}, nil, "events.times[0]"},
		"other item kind": {"u", rank.History{Items: rank.ItemIDs{Strings: []string{"a"}}}, nil, "events.items"},
		"mixed items":     {"w", rank.History{Items: rank.ItemIDs{Ints: []int64{1}, Strings: []string{"a"}}}, nil, "events.items"},
		"NaN":             {"u", rank.History{}, rank.Features{"age": {Kind: rank.KindNumber, Number: math.NaN()}}, "features[age]"},
	}
	for name, test := range tests {
		_, err := s.Append(t.Context(), test.user, test.events, test.features)
		var invalid *rank.InvalidError
		if !errors.As(err, &invalid) || len(invalid.Fields) != 1 || invalid.Fields[0].Field != test.field || invalid.Fields[0].Fix == "" {
			t.Errorf("%s: %v, want one fault of %s", name, err, test.field)
		}
	}
	mustGet(t, s, "u", &User{History: rank.History{Items: ints(1), Times: []int64{100}}})
}

func TestStoreConcurrentAppends(t *testing.T) {
	t.Parallel()
	s := tempStore(t, StoreOptions{})
	var wg sync.WaitGroup
	for i := range int64(40) {
		wg.Go(func() {
			if _, err := s.Append(context.Background(), fmt.Sprint("u", i%4), rank.History{Items: ints(i)}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[int64]bool{}
	for u := range 4 {
		user, err := s.Get(t.Context(), fmt.Sprint("u", u))
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range user.History.Items.Ints {
			seen[id] = true
		}
	}
	if len(seen) != 40 {
		t.Errorf("%d of 40 events are stored", len(seen))
	}
}

func TestImport(t *testing.T) {
	t.Parallel()
	s := tempStore(t, StoreOptions{})
	var lines strings.Builder
	for i := range 2500 {
		fmt.Fprintf(&lines, `{"user_id": "u%d", "events": {"items": {"ints": ["%d"]}, "times": ["%d"]}, "features": {"age": {"number": %d}}}`+"\n", i%100, i, i, i)
	}
	lines.WriteString("\n" + `{"userId": "last", "events": {"items": {"ints": [1]}}}`) // no line end
	stored, err := s.Import(t.Context(), strings.NewReader(lines.String()))
	if err != nil || stored != 2501 {
		t.Fatalf("stored %d, %v; want 2501", stored, err)
	}
	user, err := s.Get(t.Context(), "u7")
	if err != nil || user.History.Items.Len() != 25 || user.History.Items.Ints[24] != 2407 || user.Features["age"].Number != 2407 {
		t.Errorf("user u7 = %+v, %v", user, err)
	}
	mustGet(t, s, "last", &User{History: rank.History{Items: ints(1)}})

	stored, err = s.Import(t.Context(), strings.NewReader(`{"user_id": "ok"}`+"\n"+`{"user_id": 7, "x": 1}`+"\n"))
	if err == nil || !strings.Contains(err.Error(), "line 2") || stored != 0 {
		t.Errorf("stored %d, err = %v; want the faulty line's number", stored, err)
	}
	_, err = s.Import(t.Context(), strings.NewReader(`{"user_id": "a"}`+"\n"+`{"user_id": ""}`+"\n"))
	var invalid *rank.InvalidError
	if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "record 2") {
		t.Errorf("err = %v, want the faulty record's number", err)
	}
	if _, err := s.Get(t.Context(), "a"); !errors.Is(err, rank.ErrUserNotFound) {
		t.Error("a part of a faulty batch was stored")
	}
}

func TestStoreReportsDamage(t *testing.T) {
	t.Parallel()
	s := tempStore(t, StoreOptions{})
	mustAppend(t, s, "u", rank.History{Items: ints(1, 2, 3)}, nil)
	err := s.db.Update(func(tx *bbolt.Tx) error {
		record := append([]byte(nil), tx.Bucket(usersBucket).Get([]byte("u"))...)
		record[3] ^= 4
		return tx.Bucket(usersBucket).Put([]byte("u"), record)
	})
	if err != nil {
		t.Fatal(err)
	}
	var damage *RecordError
	if _, err := s.Get(t.Context(), "u"); !errors.As(err, &damage) || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("Get: %v, want a RecordError about the checksum", err)
	}
	if _, err := s.Append(t.Context(), "u", rank.History{Items: ints(4)}, nil); !errors.As(err, &damage) {
		t.Errorf("Append: %v, want a RecordError: it must not overwrite what it cannot read", err)
	}

	path := filepath.Join(t.TempDir(), "garbage.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("garbage ", 4096)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(path, StoreOptions{}); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("err = %v, want an error that says how to mend it", err)
	}
}

func TestStoreIsLockedByItsProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users.db")
	openStore(t, path, StoreOptions{})
	if _, err := OpenStore(path, StoreOptions{}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("err = %v, want the lock named", err)
	}
}

// Any bytes decode to an error or a user, and what decodes encodes to something that decodes the same.
func FuzzDecodeUser(f *testing.F) {
	f.Add(encodeUser(&User{}))
	f.Add(encodeUser(&User{
		History: rank.History{Items: ints(1, 2), Actions: []string{"a", "b"}, Times: []int64{1, 2}}, Dropped: 3, Features: allFeatures,
	}))
	f.Add(encodeUser(&User{History: rank.History{Items: rank.ItemIDs{Strings: []string{"x"}}}}))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := decodeUser(body); err == nil && len(body) < 5 {
			t.Fatal("a record of less than 5 bytes was read")
		}
		user, err := decodeUser(withChecksum(slices.Clone(body)))
		if err != nil {
			return
		}
		again, err := decodeUser(encodeUser(user))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(user, again, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func BenchmarkStoreGet(b *testing.B) {
	s := tempStore(b, StoreOptions{})
	events := rank.History{}
	for i := range int64(250) {
		events.Items.Ints = append(events.Items.Ints, i*997%100000)
		events.Actions = append(events.Actions, []string{"view", "buy"}[i%2])
		events.Times = append(events.Times, 1_700_000_000+i*60)
	}
	if _, err := s.Append(b.Context(), "u", events, allFeatures); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Get(b.Context(), "u"); err != nil {
			b.Fatal(err)
		}
	}
}
