package vector

import (
	"math"
	"math/rand/v2"
)

// 4 bits are too coarse for a vector whose length sits in few coordinates. A random rotation, signs and then the
// Hadamard transform, spreads it over all of them and keeps every product (QuIP, arXiv 2307.13304; RaBitQ, arXiv
// 2405.12497). It is made in float64, so that its rounding is far below what the bound's slack covers.

// randomSigns are the signs [P] of the rotation of vectors of width k, the same in every run. P is the least power
// of two that is at least k and 8, the dimensions of a pair of groups.
func randomSigns(k int) []float64 {
	p := 8
	for p < k {
		p *= 2
	}
	random := rand.New(rand.NewPCG(0x5ca1ab1e, uint64(p)))
	signs := make([]float64, p)
	for i := range signs {
		signs[i] = float64(1 - 2*random.IntN(2))
	}
	return signs
}

// rotate writes P^-0.5 * Hadamard * diag(signs) * x, with x padded with 0, to out [P].
func rotate(out []float64, x []float32, signs []float64) {
	clear(out)
	for d, v := range x {
		out[d] = float64(v) * signs[d]
	}
	for half := 1; half < len(out); half *= 2 {
		for from := 0; from < len(out); from += 2 * half {
			for i := from; i < from+half; i++ {
				out[i], out[i+half] = out[i]+out[i+half], out[i]-out[i+half]
			}
		}
	}
	unit := 1 / math.Sqrt(float64(len(out)))
	for i := range out {
		out[i] *= unit
	}
}
