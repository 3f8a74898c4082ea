package kvcache

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

// digest names a sequence of events. Histories come from callers, and one that collides would be answered
// with another user's encoding, so the hash is a cryptographic one.
type digest [sha256.Size]byte

// eventHash hashes a history event by event, so that the digests of its beginnings come on the way to that of
// the whole, and remembers those. Each event is the values of all columns; their number and widths are fixed by
// the release, so different histories are different bytes.
type eventHash struct {
	hash   hash.Hash // nil before the first digest
	at     int       // events hashed so far
	buffer []byte    // events on their way into the hash
	known  []prefix
	first  [prefixes]prefix // memory of known, while it lasts
}

// prefix is the digest of the first n events.
type prefix struct {
	n      int
	digest digest
}

const (
	hashBlock = 2048 // bytes that go into the hash at once, about
	prefixes  = 4    // that are asked for: the line, the whole, and the past of each encoder
)

// digest is that of the first n events.
func (h *History) digest(n int) digest {
	e := &h.hash
	for i := range e.known {
		if e.known[i].n == n {
			return e.known[i].digest
		}
	}
	switch {
	case e.hash == nil:
		e.hash, e.buffer, e.known = sha256.New(), make([]byte, 0, hashBlock+512), e.first[:0]
	case n < e.at: // the pasts of two encoders differ, and this is the shorter
		e.hash.Reset()
		e.at = 0
	}
	for ; e.at < n; e.at++ {
		for i := range h.Columns {
			e.add(&h.Columns[i])
		}
		if len(e.buffer) >= hashBlock {
			e.flush()
		}
	}
	e.flush()
	e.known = append(e.known, prefix{n: n})
	last := &e.known[len(e.known)-1]
	e.hash.Sum(last.digest[:0])
	return last.digest
}

func (e *eventHash) flush() {
	_, _ = e.hash.Write(e.buffer) // never fails
	e.buffer = e.buffer[:0]
}

// add takes the next event's values of a column.
func (e *eventHash) add(column *runtime.Tensor) {
	width := 1
	if len(column.Shape) == 3 {
		width = int(column.Shape[2])
	}
	from, to := e.at*width, (e.at+1)*width
	switch column.DType {
	case runtime.Float32:
		for _, x := range column.F32[from:to] {
			e.buffer = binary.LittleEndian.AppendUint32(e.buffer, math.Float32bits(x))
		}
	case runtime.Int64:
		for _, x := range column.I64[from:to] {
			e.buffer = binary.LittleEndian.AppendUint64(e.buffer, uint64(x))
		}
	case runtime.Bool:
		for _, x := range column.Bool[from:to] {
			if x {
				e.buffer = append(e.buffer, 1)
			} else {
				e.buffer = append(e.buffer, 0)
			}
		}
	}
}
