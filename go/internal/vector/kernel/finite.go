package kernel

import "math"

const finiteBlock = 64 // values of a step of the assembly

// Finite says whether no value is NaN or infinite. It reads everything and branches on nothing: what it looks
// for is not there.
func Finite(values []float32) bool {
	if blocks := len(values) / finiteBlock; current != plain && blocks > 0 {
		if !finiteAVX2(&values[0], blocks) {
			return false
		}
		values = values[blocks*finiteBlock:]
	}
	return finite(values)
}

func finite(values []float32) bool {
	const exponent, one = 0x7f80_0000, 0x0080_0000 // the exponent's bits; one in its lowest
	var seen uint32
	for _, v := range values {
		seen |= math.Float32bits(v)&exponent + one // only from the largest exponent the sum reaches the sign's bit
	}
	return seen>>31 == 0
}
