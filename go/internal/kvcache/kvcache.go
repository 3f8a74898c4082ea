// Package kvcache keeps the encodings of histories, so that a user who comes back costs what is new of her:
// nothing when nothing happened, the new events when some did. docs/adr/0006 says why it is made this way.
//
// Shapes: N history events, P of them encoded already, L layers, H heads, X head width, W width of the
// retriever, R newest events.
package kvcache

import (
	"context"
	"math"
	"sync"
	"sync/atomic"

	"github.com/maypok86/otter/v2"
	"github.com/maypok86/otter/v2/stats"

	"github.com/shortlist-serving/shortlist/go/internal/bundle"
	"github.com/shortlist-serving/shortlist/go/internal/rank"
	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// Encoder is one of the graphs that encode histories.
type Encoder uint8

// The two encoders. Their encodings of one history are kept apart, within one bound.
const (
	Sequence Encoder = iota // for retrieval
	Ranker                  // for the ranker
	Encoders                // how many there are
)

func (e Encoder) String() string {
	return [Encoders]string{bundle.SequenceEncoder, bundle.HistoryEncoder}[e]
}

// Encoding is what an encoder made of a history. It is immutable, and belongs to the collector: a request
// that reads it keeps it alive, whether or not the cache still does.
type Encoding struct {
	Events        int       // N
	Keys, Values  []float32 // [L,H,max(N,1),X]; empty where the encoder cannot go on from a past
	State, Recent []float32 // [W] after the newest event, and [R,W], of Sequence alone

	digest digest // of all events
}

// bytes is what an encoding weighs, with the entry around it.
func (e *Encoding) bytes() int64 {
	return 4*int64(len(e.Keys)+len(e.Values)+len(e.State)+len(e.Recent)) + entryBytes
}

// entryBytes is about what a key, the structs and the cache's own node take.
const entryBytes = 512

// History is what encodings are made of. It belongs to one goroutine, and hashes its events once for all encoders.
type History struct {
	Release  string
	User     string           // "" for none
	Events   int              // N
	Columns  []runtime.Tensor // [1,N] or [1,N,width]: everything that the encoders read of the events
	Priority rank.Priority

	hash eventHash
}

// Encode computes the encoding of a history: of the events after past.Events, or of all when past is nil.
type Encode func(ctx context.Context, past *Encoding) (*Encoding, error)

// Options of a cache.
type Options struct {
	// MaxBytes of encodings that are kept, for all releases together; 0 keeps none. The default is 256 MiB.
	MaxBytes int64
}

// line names the place of a growing history: those of one user that begin alike take turns in it. A new
// window of events begins otherwise, and so has another place.
type line struct {
	encoder Encoder
	release string
	user    string // "" also for histories that are no longer than their beginning, which users share
	begins  digest // of the first events
}

// beginning is how many events name a line. Fewer would let histories without a user displace each other
// often; more would leave short histories without the extension.
const beginning = 4

// Cache holds encodings within a bound of bytes, by W-TinyLFU. It is safe for concurrent use.
type Cache struct {
	kept    *otter.Cache[line, *Encoding] // nil: nothing is kept
	evicted *stats.Counter
	counts  [Encoders]struct{ hits, extensions, misses, shared atomic.Int64 }

	// mu orders flights and what they keep; it is never held while something is encoded.
	mu      sync.Mutex
	flights map[flightKey]*flight
}

// New makes a cache. The zero Options make one that keeps nothing, but still encodes once what several
// requests want at the same time.
func New(opts Options) *Cache {
	c := &Cache{flights: map[flightKey]*flight{}}
	if opts.MaxBytes <= 0 {
		return c
	}
	c.evicted = stats.NewCounter()
	c.kept = otter.Must(&otter.Options[line, *Encoding]{
		MaximumWeight: uint64(opts.MaxBytes),
		Weigher:       func(_ line, e *Encoding) uint32 { return uint32(min(e.bytes(), math.MaxUint32)) },
		StatsRecorder: c.evicted,
		Executor:      func(task func()) { task() }, // evictions are over when a write returns: the bound is one, and no goroutine is left
	}) // it refuses options that contradict each other, and these do not
	return c
}

// Start gives a request its share in an encoding of h: what is kept, what another request already computes,
// or what encode now computes from the longest kept beginning. extends says whether the encoder can go on from
// one; without that it only ever sees whole histories. Leave must be called on the answer.
//
// encode runs detached from ctx, without its deadline: it ends when it is done or when every request that
// wants its result has left. Its errors go to those requests and are not kept.
func (c *Cache) Start(ctx context.Context, encoder Encoder, h *History, extends bool, encode Encode) Call {
	place := line{encoder: encoder, release: h.Release, begins: h.digest(min(h.Events, beginning))}
	if h.Events > beginning {
		place.user = h.User
	}
	past := c.find(place)
	if past != nil && (past.Events > h.Events || past.Events < h.Events && !extends || h.digest(past.Events) != past.digest) {
		past = nil // another history of this line, or no past for this encoder
	}
	if past != nil && past.Events == h.Events {
		c.counts[encoder].hits.Add(1)
		return Call{encoding: past}
	}
	return c.join(ctx, flightKey{encoder, h.Release, h.digest(h.Events), h.Priority}, place, h.Events, past, encode)
}

func (c *Cache) find(place line) *Encoding {
	if c.kept == nil {
		return nil
	}
	kept, _ := c.kept.GetIfPresent(place)
	return kept
}

// keep replaces what its line held. The caller holds the mutex.
func (c *Cache) keep(place line, e *Encoding) {
	if c.kept != nil {
		c.kept.Set(place, e)
	}
}

// Forget drops the encodings of a release. No request may use the release any more: then nothing of it
// comes back, because a flight keeps its result only while a request waits for it.
func (c *Cache) Forget(release string) {
	if c.kept == nil {
		return
	}
	for place := range c.kept.Keys() {
		if place.release == release {
			c.kept.Invalidate(place)
		}
	}
}

// Outcomes counts the calls of Start for an encoder; every one is in one of the four.
type Outcomes struct {
	Hits       int64 // whole encodings that were kept
	Extensions int64 // only the new events were encoded
	Misses     int64 // encoded whole
	Shared     int64 // another request was already encoding the same history
}

// Stats are counts since the start, and what is held now, of all encoders together.
type Stats struct {
	Of        [Encoders]Outcomes
	Evictions int64
	Entries   int
	Bytes     int64
}

// Stats reads the counters.
func (c *Cache) Stats() Stats {
	var s Stats
	for i := range c.counts {
		n := &c.counts[i]
		s.Of[i] = Outcomes{Hits: n.hits.Load(), Extensions: n.extensions.Load(), Misses: n.misses.Load(), Shared: n.shared.Load()}
	}
	if c.kept != nil {
		s.Evictions = int64(c.evicted.Snapshot().Evictions)
		s.Entries, s.Bytes = c.kept.EstimatedSize(), int64(c.kept.WeightedSize())
	}
	return s
}
