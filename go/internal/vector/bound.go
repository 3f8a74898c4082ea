package vector

import "math"

// coded is a query in signed bytes, with what bounds the error of its coarse scores. It is in steps: a score
// divided by the query's own scale t.
//
// Why the bound holds. Let q = t*u + e with integer u, and x = s*c + f for a row. The score that decides is the
// fp32 product, the coarse one is s * (u.c), so in steps
//
//	score/t - s*(u.c) = (q.x - t*s*(u.c))/t + rounding = (e.x)/t + u.f + rounding
//
// and by Cauchy and Schwarz |e.x| <= |e||x|, |u.f| <= |u||f|. Rounding: summing K products in fp32 loses at most
// g*|q||x| with g = K*2^-24 / (1 - K*2^-24); numbers below the smallest normal one lose up to 2^-149 each;
// and making the coarse score, an upper and a lower bound of it, each a few operations of fp32, loses less than
// 2^-20 of |u||s*c| <= |u|(|x|+|f|). So |score/t - coarse| <= length*|x| + residual*|f| + floor with the numbers below.
type coded struct {
	u                       []int8
	offset                  int32 // what turns the product with unsigned codes into that with signed ones
	length, residual, floor float32
}

// Limits of what the bound covers: beyond them fp32 or int32 could overflow, or t lose its digits.
const (
	largestWidth  = 60_000
	largestLength = 1e15 // of a row
	smallestStep  = 1e-20
	largestStep   = 1e15
)

// encodeQuery codes q in 8 bits for a scan of c; false where the bound cannot be given and only fp32 can answer.
func (c *codes) encodeQuery(out *coded, q []float32) bool {
	x := make([]float64, c.width) // q as the codes see it: a rotation keeps every product
	if c.signs != nil {
		rotate(x, q, c.signs)
	} else {
		for d, v := range q {
			x[d] = float64(v)
		}
	}
	t := largest(x) / 127
	if !(t >= smallestStep && t <= largestStep) {
		return false
	}
	out.u = resize(out.u, c.width)
	sum, worst := 0, 0
	for d, v := range x {
		u := math.RoundToEven(v / t)
		out.u[d] = int8(u)
		sum += int(u)
		if math.Abs(v-t*u) > math.Abs(x[worst]-t*float64(out.u[worst])) {
			worst = d
		}
	}
	out.offset = -shift * int32(sum)
	if c.bits == Int4 { // -7.5 times the sum must be whole: where that is odd, the worst rounded number is rounded to the other side
		if sum%2 != 0 {
			step := int8(1)
			if x[worst] < t*float64(out.u[worst]) {
				step = -1
			}
			out.u[worst] += step
			sum += int(step)
		}
		out.offset = -15 * int32(sum/2)
	}
	squares, off := 0.0, 0.0
	for d, v := range x {
		u := float64(out.u[d])
		squares += u * u
		off += (v - t*u) * (v - t*u)
	}
	k := float64(len(q))
	gamma := k * 0x1p-24 / (1 - k*0x1p-24)
	u := math.Sqrt(squares)
	const slack = 0x1p-20
	out.length = up((math.Sqrt(off)+gamma*norm(q))/t + slack*u)
	out.residual = up(u + slack*u)
	out.floor = up(k*0x1p-149/t + 0x1p-140)
	return true
}

// within is the largest distance between the coarse score and the score, in steps, of a row whose length and
// residual are at most those given.
func (c *coded) within(length, residual float32) float32 {
	return (c.length*length + c.residual*residual + c.floor) * (1 + 0x1p-20)
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
