package kvcache

import (
	"context"
	"fmt"
	"time"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// flightKey names work that requests share. Priorities do not mix: a critical request never waits for work
// that is queued as a batch one's.
type flightKey struct {
	encoder  Encoder
	release  string
	events   digest
	priority rank.Priority
}

// flight is one history being encoded, for all requests that want it.
type flight struct {
	key      flightKey
	done     chan struct{}
	encoding *Encoding // encoding and err are written before done is closed
	err      error
	cancel   context.CancelFunc
	events   int // that are encoded; the rest of the history was kept
	waiting  int // requests that have not left; guarded by Cache.mu
}

// Call is the share of one request in an encoding; it belongs to one goroutine. The zero Call has no share.
type Call struct {
	encoding *Encoding // set when it was kept
	flight   *flight   // nil when there is none
	cache    *Cache    // of the flight; nil when it was left
}

// Wait returns the encoding, or why there is none: the fault of encoding it, or of ctx.
func (c *Call) Wait(ctx context.Context) (*Encoding, error) {
	if c.encoding != nil {
		return c.encoding, nil
	}
	select {
	case <-c.flight.done:
		return c.flight.encoding, c.flight.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Encoded is how many events the encoding costs: 0 where it was kept.
func (c *Call) Encoded() int {
	if c.flight == nil {
		return 0
	}
	return c.flight.events
}

// Leave says that the request wants nothing of the flight any more; work that nobody wants is canceled.
// Encodings that Wait returned stay valid. Leaving twice does nothing.
func (c *Call) Leave() {
	if c.cache != nil {
		c.cache.left(c.flight)
		c.cache = nil
	}
}

// join takes part in the flight of key, a history of so many events, or starts it.
func (c *Cache) join(ctx context.Context, key flightKey, place line, events int, past *Encoding, encode Encode) Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, counts := c.flights[key], &c.counts[key.encoder]
	switch {
	case f != nil:
		f.waiting++
		counts.shared.Add(1)
	default:
		if kept := c.find(place); kept != nil && kept.digest == key.events { // landed since the caller looked
			counts.hits.Add(1)
			return Call{encoding: kept}
		}
		f = c.start(ctx, key, place, past, encode)
		if f.events = events; past != nil {
			f.events -= past.Events
			counts.extensions.Add(1)
		} else {
			counts.misses.Add(1)
		}
	}
	return Call{flight: f, cache: c}
}

// start begins a flight with one request. The caller holds the mutex.
func (c *Cache) start(ctx context.Context, key flightKey, place line, past *Encoding, encode Encode) *flight {
	cost := rank.BudgetFrom(ctx).Cost()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // the first request's end and deadline are not the others', its device is
	ctx = rank.WithBudget(ctx, rank.NewBudget(time.Time{}, cost, key.priority))
	f := &flight{key: key, done: make(chan struct{}), cancel: cancel, waiting: 1}
	c.flights[key] = f
	go func() {
		defer cancel()
		encoding, err := guarded(ctx, past, encode)
		c.mu.Lock()
		defer c.mu.Unlock()
		if f.waiting > 0 { // else left has removed it
			delete(c.flights, key)
		}
		if err == nil {
			encoding.digest = key.events
		}
		if err == nil && f.waiting > 0 {
			c.keep(place, encoding)
		}
		f.encoding, f.err = encoding, err
		close(f.done)
	}()
	return f
}

// left takes one request out of a flight.
func (c *Cache) left(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.waiting--
	if f.waiting == 0 && c.flights[f.key] == f {
		delete(c.flights, f.key) // whoever comes now starts anew
		f.cancel()
	}
}

// guarded turns a panic, a fault of the program, into an error, so that it costs requests and not the server.
func guarded(ctx context.Context, past *Encoding, encode Encode) (e *Encoding, err error) {
	defer func() {
		if p := recover(); p != nil {
			e, err = nil, fmt.Errorf("encode the history: panic: %v", p)
		}
	}()
	return encode(ctx, past)
}
