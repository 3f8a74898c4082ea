package kvcache

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// slow encodes in a second, unless it is canceled, and counts both.
type slow struct {
	encoder
	started, canceled atomic.Int64
}

func (s *slow) of(h *History) Encode {
	return func(ctx context.Context, past *Encoding) (*Encoding, error) {
		s.started.Add(1)
		select {
		case <-time.After(time.Second):
			return s.encoder.of(h)(ctx, past)
		case <-ctx.Done():
			s.canceled.Add(1)
			return nil, ctx.Err()
		}
	}
}

func TestOneEncodingServesAllWhoWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c, h := &slow{}, New(Options{MaxBytes: 1 << 20}), upTo("u", 6)
		got := make([]*Encoding, 10)
		for i := range got {
			call := c.Start(t.Context(), Ranker, h, true, s.of(h))
			defer call.Leave()
			if call.Encoded() != 6 {
				t.Errorf("%d events are encoded for the request", call.Encoded())
			}
			go func() {
				var err error
				if got[i], err = call.Wait(t.Context()); err != nil {
					t.Error(err)
				}
			}()
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for _, e := range got {
			if e == nil || e != got[0] {
				t.Errorf("requests got %p and %p", e, got[0])
			}
		}
		if stats := c.Stats().Of[Ranker]; s.started.Load() != 1 || stats.Misses != 1 || stats.Shared != 9 {
			t.Errorf("%d runs, %+v", s.started.Load(), stats)
		}
	})
}

// The first request's deadline and cancellation are its own: the work goes on for the other.
func TestTheFirstWhoLeavesFailsNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c, h := &slow{}, New(Options{MaxBytes: 1 << 20}), upTo("u", 6)
		hurried, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		first := c.Start(hurried, Ranker, h, true, s.of(h))
		second := c.Start(t.Context(), Ranker, h, true, s.of(h))
		if _, err := first.Wait(hurried); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the first got %v at its deadline", err)
		}
		first.Leave()
		first.Leave() // twice does nothing
		got, err := second.Wait(t.Context())
		second.Leave()
		if err != nil || got.Events != 6 || s.canceled.Load() != 0 {
			t.Errorf("the second got %v, %v; %d canceled", got, err, s.canceled.Load())
		}
		if again := c.Start(t.Context(), Ranker, h, true, nil); again.encoding != got {
			t.Error("the encoding was not kept")
		}
	})
}

func TestWorkThatNobodyWantsIsCanceled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c, h := &slow{}, New(Options{MaxBytes: 1 << 20}), upTo("u", 6)
		first, second := c.Start(t.Context(), Ranker, h, true, s.of(h)), c.Start(t.Context(), Ranker, h, true, s.of(h))
		first.Leave()
		second.Leave()
		third := c.Start(t.Context(), Ranker, h, true, s.of(h)) // does not inherit the cancellation
		got, err := third.Wait(t.Context())
		third.Leave()
		if err != nil || got.Events != 6 || s.started.Load() != 2 || s.canceled.Load() != 1 {
			t.Errorf("the third got %v, %v; %d started, %d canceled", got, err, s.started.Load(), s.canceled.Load())
		}
	})
}

// An encoding that lands when nobody wants it any more must not enter: its release may be gone by then.
func TestAbandonedEncodingsAreNotKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, c, h := &encoder{}, New(Options{MaxBytes: 1 << 20}), upTo("u", 6)
		call := c.Start(t.Context(), Ranker, h, true, func(_ context.Context, past *Encoding) (*Encoding, error) {
			time.Sleep(time.Second) // deaf to its cancellation
			return e.of(h)(t.Context(), past)
		})
		call.Leave()
		c.Forget("r")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s := c.Stats(); s.Entries != 0 || len(c.flights) != 0 {
			t.Errorf("%+v, %d flights", s, len(c.flights))
		}
	})
}

func TestPrioritiesDoNotMix(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{MaxBytes: 1 << 20})
		var seen [rank.Batch + 1]atomic.Bool
		for _, priority := range []rank.Priority{rank.Batch, rank.Critical} {
			h := upTo("u", 6)
			h.Priority = priority
			asked, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			call := c.Start(rank.WithBudget(asked, rank.NewBudget(time.Now(), 7, priority)), Ranker, h, true, func(ctx context.Context, _ *Encoding) (*Encoding, error) {
				time.Sleep(time.Second)
				b := rank.BudgetFrom(ctx)
				if _, limited := b.Deadline(); limited || b.Cost() != 7 {
					t.Errorf("the work has a deadline, or the cost %d", b.Cost())
				}
				seen[b.Priority()].Store(true)
				return &Encoding{Events: h.Events}, nil
			})
			defer call.Leave()
			defer cancel()
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !seen[rank.Batch].Load() || !seen[rank.Critical].Load() || c.Stats().Of[Ranker].Shared != 0 {
			t.Errorf("one flight is of another priority: %+v", c.Stats())
		}
	})
}

// The encoders wait for their own work alone.
func TestEncodersDoNotShareFlights(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c, h := &slow{}, New(Options{MaxBytes: 1 << 20}), upTo("u", 6)
		first := c.Start(t.Context(), Sequence, h, true, s.of(h))
		defer first.Leave()
		second := c.Start(t.Context(), Ranker, h, true, func(context.Context, *Encoding) (*Encoding, error) {
			return nil, errors.New("broken")
		})
		defer second.Leave()
		if _, err := second.Wait(t.Context()); err == nil {
			t.Error("the ranker's fault was not told")
		}
		if got, err := first.Wait(t.Context()); err != nil || got.Events != 6 {
			t.Errorf("the retriever got %v, %v", got, err)
		}
		if stats := c.Stats(); stats.Of[Sequence].Misses != 1 || stats.Of[Ranker].Misses != 1 || stats.Entries != 1 {
			t.Errorf("%+v", stats)
		}
	})
}
