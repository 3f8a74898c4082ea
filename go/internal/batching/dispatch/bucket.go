package dispatch

import "slices"

// align is what bucket sizes are multiples of where they can be: the tiles of GPU kernels are.
const align = 8

// buckets are the sizes that an axis is padded to, ascending: from first up to limit, each as large as
// maxPadding allows, so that at least 1 - maxPadding of any bucket but the first is used. Sizes are
// multiples of 8 where that bound leaves the choice.
func buckets(limit, first int64, maxPadding float64) []int64 {
	sizes := []int64{min(first, limit)}
	for last := sizes[0]; last < limit; last = sizes[len(sizes)-1] {
		next := int64(float64(last+1) / (1 - maxPadding)) // last+1 is the least that lands in it
		if aligned := next / align * align; aligned > last {
			next = aligned
		}
		sizes = append(sizes, min(max(next, last+1), limit))
	}
	return sizes
}

// doubles are the powers of two below limit, and limit: sizes of the batch axis.
func doubles(limit int64) []int64 {
	var sizes []int64
	for size := int64(1); size < limit; size *= 2 {
		sizes = append(sizes, size)
	}
	return append(sizes, limit)
}

// fit is the smallest bucket that holds n; false when none does.
func fit(sizes []int64, n int64) (int64, bool) {
	at, _ := slices.BinarySearch(sizes, n)
	if at == len(sizes) {
		return 0, false
	}
	return sizes[at], true
}
