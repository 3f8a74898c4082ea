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

// events hashes a history event by event, so that the digests of its beginnings come on the way to that of
// the whole. Each event is the values of all columns; their number and widths are fixed by the release, so
// different histories are different bytes.
type events struct {
	columns []runtime.Tensor
	widths  []int // values of an event, by column
	at      int   // events hashed so far
	hash    hash.Hash
	buffer  []byte // one event
}

func newEvents(columns []runtime.Tensor, n int) *events {
	e := &events{columns: columns, widths: make([]int, len(columns)), hash: sha256.New()}
	for i := range columns {
		e.widths[i] = columns[i].Len() / max(n, 1)
	}
	return e
}

// digest is that of the first n events; n must not be less than in the call before.
func (e *events) digest(n int) digest {
	for ; e.at < n; e.at++ {
		e.buffer = e.buffer[:0]
		for i, w := range e.widths {
			from, to := e.at*w, (e.at+1)*w
			switch column := &e.columns[i]; column.DType {
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
		_, _ = e.hash.Write(e.buffer) // never fails
	}
	var d digest
	e.hash.Sum(d[:0])
	return d
}
