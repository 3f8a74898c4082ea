package dispatch

import "github.com/shortlist-serving/shortlist/go/internal/runtime"

// overlap copies the low corner that two row-major blocks of the same rank share. From a small block into a
// large one it packs, the other way round it cuts the padding off.
func overlap[T any](to, from []T, toShape, fromShape []int64) {
	toStep, fromStep := product(toShape), product(fromShape)
	if toStep == 0 || fromStep == 0 {
		return
	}
	if sameBelow(toShape, fromShape) { // rows lie next to each other in both
		copy(to, from[:min(toStep, fromStep)])
		return
	}
	toStep, fromStep = toStep/toShape[0], fromStep/fromShape[0]
	for i := range min(toShape[0], fromShape[0]) {
		overlap(to[i*toStep:(i+1)*toStep], from[i*fromStep:(i+1)*fromStep], toShape[1:], fromShape[1:])
	}
}

// sameBelow says whether two shapes agree but for the first axis.
func sameBelow(a, b []int64) bool {
	for i := 1; i < len(a); i++ {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func product(shape []int64) int64 {
	n := int64(1)
	for _, size := range shape {
		n *= size
	}
	return n
}

// pack puts the rows of a call into a batch, from row at on.
func pack(batch, call *runtime.Tensor, at int64) { blocks(batch, call, at, true) }

// unpack takes the rows of a call out of a batch.
func unpack(call, batch *runtime.Tensor, at int64) { blocks(batch, call, at, false) }

func blocks(batch, call *runtime.Tensor, at int64, packing bool) {
	from := at * product(batch.Shape[1:])
	shape := append([]int64{batch.Shape[0] - at}, batch.Shape[1:]...)
	switch batch.DType {
	case runtime.Float32:
		move(batch.F32[from:], call.F32, shape, call.Shape, packing)
	case runtime.Int64:
		move(batch.I64[from:], call.I64, shape, call.Shape, packing)
	case runtime.Bool:
		move(batch.Bool[from:], call.Bool, shape, call.Shape, packing)
	}
}

func move[T any](batch, call []T, batchShape, callShape []int64, packing bool) {
	if packing {
		overlap(batch, call, batchShape, callShape)
	} else {
		overlap(call, batch, callShape, batchShape)
	}
}

// arena is the memory of one batch, kept for the next.
type arena struct {
	f32  [][]float32
	i64  [][]int64
	bool [][]bool
}

func newArena(tensors int) *arena {
	return &arena{f32: make([][]float32, tensors), i64: make([][]int64, tensors), bool: make([][]bool, tensors)}
}

// tensor i of a batch, all zero: padding is 0 everywhere.
func (a *arena) tensor(i int, dtype runtime.DType, shape []int64) runtime.Tensor {
	n := int(product(shape))
	switch dtype {
	case runtime.Int64:
		return runtime.Ints(cleared(&a.i64[i], n), shape...)
	case runtime.Bool:
		return runtime.Bools(cleared(&a.bool[i], n), shape...)
	default:
		return runtime.Floats(cleared(&a.f32[i], n), shape...)
	}
}

func cleared[T any](buffer *[]T, n int) []T {
	if cap(*buffer) < n {
		*buffer = make([]T, n, n+n/4)
		return *buffer
	}
	*buffer = (*buffer)[:n]
	clear(*buffer)
	return *buffer
}
