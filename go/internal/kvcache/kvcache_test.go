package kvcache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// of is a history of items; a second column, of two numbers an event, is half the item's and its negative.
func of(user string, items ...int64) *History {
	numbers := make([]float32, 0, 2*max(len(items), 1))
	for _, item := range items {
		numbers = append(numbers, float32(item)/2, -float32(item))
	}
	padded, n := items, int64(len(items))
	if n == 0 {
		padded, numbers, n = []int64{0}, []float32{0, 0}, 1
	}
	return &History{Release: "r", User: user, Events: len(items), Priority: rank.Normal,
		Columns: []runtime.Tensor{runtime.Ints(padded, 1, n), runtime.Floats(numbers, 1, n, 2)}}
}

// upTo is a history of the items 1 to n.
func upTo(user string, n int64) *History {
	items := make([]int64, n)
	for i := range items {
		items[i] = int64(i) + 1
	}
	return of(user, items...)
}

// encoder makes encodings whose key i is item i, and counts the events that it had to encode.
type encoder struct {
	mu      sync.Mutex
	encoded []int
}

func (e *encoder) of(h *History) Encode {
	return func(_ context.Context, past *Encoding) (*Encoding, error) {
		out := &Encoding{Events: h.Events}
		if past != nil {
			out.Keys = slices.Clone(past.Keys)
		}
		e.mu.Lock()
		e.encoded = append(e.encoded, h.Events-len(out.Keys))
		e.mu.Unlock()
		for _, item := range h.Columns[0].I64[len(out.Keys):] {
			out.Keys = append(out.Keys, float32(item))
		}
		out.Values = slices.Clone(out.Keys)
		return out, nil
	}
}

// ask takes a history through the cache and holds the answer against the items.
func (e *encoder) ask(t *testing.T, c *Cache, h *History) {
	t.Helper()
	e.askFor(t, c, Ranker, h, true)
}

func (e *encoder) askFor(t *testing.T, c *Cache, of Encoder, h *History, extends bool) {
	t.Helper()
	call := c.Start(t.Context(), of, h, extends, e.of(h))
	defer call.Leave()
	got, err := call.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if runs := len(e.encoded); call.Encoded() > 0 && e.encoded[runs-1] != call.Encoded() {
		t.Errorf("the call says %d events, the encoder saw %v", call.Encoded(), e.encoded)
	}
	for i, item := range h.Columns[0].I64 {
		if got.Events != h.Events || len(got.Keys) != len(h.Columns[0].I64) || got.Keys[i] != float32(item) || got.Values[i] != float32(item) {
			t.Fatalf("the encoding of %v is %+v", h.Columns[0].I64, got)
		}
	}
}

func TestOnlyNewEventsAreEncoded(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		histories []*History
		encoded   []int // events of each run of the encoder
	}{
		"the same again":              {[]*History{upTo("u", 6), upTo("u", 6)}, []int{6}},
		"one event more":              {[]*History{upTo("u", 6), upTo("u", 7)}, []int{6, 1}},
		"step by step":                {[]*History{upTo("u", 5), upTo("u", 6), upTo("u", 8), upTo("u", 8), upTo("u", 9)}, []int{5, 1, 2, 1}},
		"without a user":              {[]*History{upTo("", 5), upTo("", 7)}, []int{5, 2}},
		"no longer than a beginning":  {[]*History{upTo("u", 3), upTo("v", 3), upTo("u", 4)}, []int{3, 4}},
		"empty":                       {[]*History{of("u"), of("v"), of("u")}, []int{0}},
		"an empty one is no past":     {[]*History{of(""), upTo("", 1)}, []int{0, 1}},
		"another event in the past":   {[]*History{of("u", 1, 2, 3, 4, 5, 6), of("u", 1, 2, 3, 4, 9, 6, 7)}, []int{6, 7}},
		"another beginning":           {[]*History{upTo("u", 6), of("u", 9, 2, 3, 4, 5, 6)}, []int{6, 6}},
		"a window that moved":         {[]*History{upTo("u", 8), of("u", 4, 5, 6, 7, 8, 9)}, []int{8, 6}},
		"fewer events than are kept":  {[]*History{upTo("u", 7), upTo("u", 6)}, []int{7, 6}},
		"another user, the same past": {[]*History{upTo("u", 6), upTo("v", 7)}, []int{6, 7}},
	} {
		e, c := &encoder{}, New(Options{MaxBytes: 1 << 20})
		for _, h := range test.histories {
			e.ask(t, c, h)
		}
		if !slices.Equal(e.encoded, test.encoded) {
			t.Errorf("%s: the encoder saw %v events, want %v", name, e.encoded, test.encoded)
		}
	}
}

// An encoder that cannot go on from a past never gets one, and what did not change is kept all the same.
func TestWithoutExtensionHistoriesAreEncodedWhole(t *testing.T) {
	t.Parallel()
	e, c := &encoder{}, New(Options{MaxBytes: 1 << 20})
	for _, n := range []int64{6, 6, 7, 8, 8} {
		e.askFor(t, c, Sequence, upTo("u", n), false)
	}
	if want := []int{6, 7, 8}; !slices.Equal(e.encoded, want) {
		t.Errorf("the encoder saw %v events, want %v", e.encoded, want)
	}
	if got := c.Stats(); got.Of[Sequence] != (Outcomes{Misses: 3, Hits: 2}) || got.Entries != 1 {
		t.Errorf("%+v", got)
	}
}

// Both encoders take what is theirs of one history, also where one of them knows less of it.
func TestEncodersKeepTheirOwn(t *testing.T) {
	t.Parallel()
	e, c := &encoder{}, New(Options{MaxBytes: 1 << 20})
	for _, ask := range []struct {
		n  int64
		of []Encoder
	}{{5, []Encoder{Sequence, Ranker}}, {6, []Encoder{Sequence}}, {8, []Encoder{Sequence, Ranker}}, {8, []Encoder{Ranker, Sequence}}} {
		h := upTo("u", ask.n) // one for both, as in a request
		for _, of := range ask.of {
			e.askFor(t, c, of, h, true)
		}
	}
	if want := []int{5, 5, 1, 2, 3}; !slices.Equal(e.encoded, want) {
		t.Errorf("the encoders saw %v events, want %v", e.encoded, want)
	}
	if got := c.Stats(); got.Entries != 2 || got.Of[Sequence] != (Outcomes{1, 2, 1, 0}) || got.Of[Ranker] != (Outcomes{1, 1, 1, 0}) {
		t.Errorf("%+v", got)
	}
	c.Forget("r")
	if got := c.Stats(); got.Entries != 0 || got.Bytes != 0 {
		t.Errorf("after its release was forgotten %+v", got)
	}
}

func TestEveryColumnCounts(t *testing.T) {
	t.Parallel()
	e, c := &encoder{}, New(Options{MaxBytes: 1 << 20})
	e.ask(t, c, upTo("u", 6))
	for i := range 12 { // each number of the second column
		h := upTo("u", 6)
		h.Columns[1].F32[i] += 0.25
		e.ask(t, c, h)
	}
	if len(e.encoded) != 13 {
		t.Errorf("%d of 13 different histories were encoded", len(e.encoded))
	}
}

func TestReleasesShareNothingAndAreForgotten(t *testing.T) {
	t.Parallel()
	e, c := &encoder{}, New(Options{MaxBytes: 1 << 20})
	for _, release := range []string{"a", "b", "b"} {
		h := upTo("u", 6)
		h.Release = release
		e.ask(t, c, h)
	}
	if s := c.Stats(); len(e.encoded) != 2 || s.Of[Ranker] != (Outcomes{Misses: 2, Hits: 1}) || s.Entries != 2 {
		t.Errorf("encoded %v, %+v", e.encoded, s)
	}
	c.Forget("a")
	one := c.Stats()
	c.Forget("b")
	if none := c.Stats(); one.Entries != 1 || one.Bytes <= 0 || none.Entries != 0 || none.Bytes != 0 {
		t.Errorf("after one release was forgotten %+v, after both %+v", one, none)
	}
}

func TestNothingIsKeptWithoutRoom(t *testing.T) {
	t.Parallel()
	e, c := &encoder{}, New(Options{})
	e.ask(t, c, upTo("u", 6))
	e.ask(t, c, upTo("u", 6))
	c.Forget("r")
	if s := c.Stats(); len(e.encoded) != 2 || s.Of[Ranker] != (Outcomes{Misses: 2}) || s.Entries != 0 || s.Bytes != 0 {
		t.Errorf("encoded %v, %+v", e.encoded, s)
	}
}

func TestErrorsAndPanicsAreNotKept(t *testing.T) {
	t.Parallel()
	e, c := &encoder{}, New(Options{MaxBytes: 1 << 20})
	broken := errors.New("broken")
	for name, fault := range map[string]Encode{
		"error": func(context.Context, *Encoding) (*Encoding, error) { return nil, broken },
		"panic": func(context.Context, *Encoding) (*Encoding, error) { panic(broken) },
	} {
		call := c.Start(t.Context(), Ranker, upTo(name, 6), true, fault)
		if _, err := call.Wait(t.Context()); err == nil {
			t.Errorf("%s: no error came back", name)
		}
		call.Leave()
		e.ask(t, c, upTo(name, 6))
	}
	if len(e.encoded) != 2 {
		t.Errorf("after the faults %d of 2 histories were encoded", len(e.encoded))
	}
}

// The bound holds after every write, whatever comes, and for one encoding that is larger than all of it.
func TestBytesAreBounded(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10
	c := New(Options{MaxBytes: limit})
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		h := upTo(fmt.Sprint("u", random.IntN(300)), 5+random.Int64N(10))
		size := random.IntN(4 << 10)
		if i%100 == 0 {
			size = limit
		}
		call := c.Start(t.Context(), Ranker, h, true, func(context.Context, *Encoding) (*Encoding, error) {
			return &Encoding{Events: h.Events, Keys: make([]float32, size), Values: make([]float32, size)}, nil
		})
		if _, err := call.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		call.Leave()
		var held int64
		for _, e := range c.kept.All() {
			held += e.bytes()
		}
		if s := c.Stats(); s.Bytes > limit || held > limit {
			t.Fatalf("after %d writes the cache holds %d bytes, and says %d", i+1, held, s.Bytes)
		}
	}
	if s := c.Stats(); s.Evictions == 0 || s.Bytes < limit/2 {
		t.Errorf("the cache was hardly used: %+v", s)
	}
}

// What was given out stays as it is, however often its place is taken by others.
func TestEvictedEncodingsStayWhole(t *testing.T) {
	t.Parallel()
	e, c := &encoder{}, New(Options{MaxBytes: 4 << 10})
	var calls []Call
	var held []*Encoding
	for user := range 100 {
		h := of(fmt.Sprint("u", user), 1, 2, 3, 4, int64(user))
		calls = append(calls, c.Start(t.Context(), Ranker, h, true, e.of(h)))
		got, err := calls[user].Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, got)
	}
	for user, got := range held {
		if got.Keys[4] != float32(user) {
			t.Errorf("the encoding of user %d now ends with %v", user, got.Keys[4])
		}
		calls[user].Leave()
	}
	if c.Stats().Evictions == 0 {
		t.Error("nothing was evicted, so nothing was tested")
	}
}

// BenchmarkHit is a request whose history is kept for both encoders.
func BenchmarkHit(b *testing.B) {
	for _, n := range []int64{200, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			e, c, h := &encoder{}, New(Options{MaxBytes: 1 << 20}), upTo("u", n)
			for encoder := range Encoders {
				call := c.Start(b.Context(), encoder, h, true, e.of(h))
				if _, err := call.Wait(b.Context()); err != nil {
					b.Fatal(err)
				}
				call.Leave()
			}
			b.ReportAllocs()
			for b.Loop() {
				fresh := *h // requests come with their own
				fresh.hash = eventHash{}
				for encoder := range Encoders {
					call := c.Start(b.Context(), encoder, &fresh, true, e.of(&fresh))
					call.Leave()
				}
			}
		})
	}
}
