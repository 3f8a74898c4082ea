package vector

import (
	"cmp"
	"math"
	"slices"
)

// candidate is a row that may be among the best: its score, in steps, is in [low, high].
type candidate struct {
	low, high float32
	row       int32
}

// pick collects the rows that can still be among the k best of a query.
//
// Invariant: k rows seen so far have scores of at least bar, and every row seen whose upper bound reaches bar is kept.
type pick struct {
	k    int
	bar  float32
	kept []candidate
	full int // prune when so many are kept
	lows []float32
}

func (p *pick) reset(k int) {
	p.k, p.bar, p.kept, p.full = k, float32(math.Inf(-1)), p.kept[:0], 2*k+64
}

// prune raises the bar to the k-th best lower bound and drops what lies below it.
func (p *pick) prune() {
	if len(p.kept) >= p.k {
		p.lows = p.lows[:0]
		for i := range p.kept {
			p.lows = append(p.lows, p.kept[i].low)
		}
		p.bar = max(p.bar, nth(p.lows, len(p.lows)-p.k))
		kept := p.kept[:0]
		for _, c := range p.kept {
			if c.high >= p.bar {
				kept = append(kept, c)
			}
		}
		p.kept = kept
	}
	p.full = max(p.full, 2*len(p.kept)) // so that the work stays linear when nothing can be dropped
}

// best collects the k best rows by score.
//
// Invariant: keys hold the k best seen; bar is no smaller than the key of the k-th.
type best struct {
	k    int
	bar  uint64
	keys []uint64
}

func (b *best) reset(k int) { b.k, b.bar, b.keys = k, math.MaxUint64, b.keys[:0] }

func (b *best) add(score float32, row int64) {
	key := keyOf(score, row)
	if key >= b.bar {
		return
	}
	b.keys = append(b.keys, key)
	if len(b.keys) >= 2*b.k+64 {
		b.bar = nth(b.keys, b.k-1)
		b.keys = b.keys[:b.k]
	}
}

// hits are the rows collected, in order.
func (b *best) hits() (Hits, error) {
	if len(b.keys) > b.k {
		nth(b.keys, b.k-1)
		b.keys = b.keys[:b.k]
	}
	slices.Sort(b.keys)
	h := Hits{Rows: make([]int64, len(b.keys)), Scores: make([]float32, len(b.keys))}
	for i, key := range b.keys {
		h.Scores[i], h.Rows[i] = scoreOf(key), int64(uint32(key))
		if h.Scores[i]-h.Scores[i] != 0 {
			return Hits{}, ErrNonFinite
		}
	}
	return h, nil
}

// keyOf orders by the tie rule: a smaller key is a higher score or, at equal scores, a lower row. NaN comes first, so
// that it is not overlooked.
func keyOf(score float32, row int64) uint64 {
	b := math.Float32bits(score + 0) // -0 and 0 are equal scores
	if b>>31 == 0 {
		b |= 1 << 31
	} else if score == score {
		b = ^b
	}
	return uint64(^b)<<32 | uint64(uint32(row))
}

func scoreOf(key uint64) float32 {
	b := ^uint32(key >> 32)
	if b>>31 == 1 {
		return math.Float32frombits(b &^ (1 << 31))
	}
	return math.Float32frombits(^b)
}

// nth puts s in such an order that s[n] is what sorting would put there, with nothing larger before and nothing
// smaller behind, and returns it (Hoare's selection).
func nth[T cmp.Ordered](s []T, n int) T {
	from, to := 0, len(s)-1
	for from < to {
		pivot := median(s[from], s[from+(to-from)/2], s[to])
		i, j := from, to
		for i <= j {
			for s[i] < pivot {
				i++
			}
			for pivot < s[j] {
				j--
			}
			if i <= j {
				s[i], s[j] = s[j], s[i]
				i++
				j--
			}
		}
		switch {
		case n <= j:
			to = j
		case n >= i:
			from = i
		default:
			return s[n]
		}
	}
	return s[n]
}

func median[T cmp.Ordered](a, b, c T) T {
	return max(min(a, b), min(max(a, b), c))
}
