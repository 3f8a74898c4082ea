package dispatch

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/shortlist-serving/shortlist/go/internal/runtime"
)

func TestBucketsBoundWaste(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{1, 7, 8, 200, 256, 512, 3000, 10000} {
		for _, first := range []int64{1, 16, 64} {
			for _, padding := range []float64{0.1, 0.25, 0.5} {
				sizes := buckets(limit, first, padding)
				if !slices.IsSorted(sizes) || sizes[len(sizes)-1] != limit {
					t.Fatalf("buckets of %d: %v", limit, sizes)
				}
				for n := range limit {
					size, ok := fit(sizes, n+1)
					if !ok || size < n+1 || (size > sizes[0] && float64(size-n-1) > padding*float64(size)) {
						t.Fatalf("%d of %d at %v falls into %d of %v", n+1, limit, padding, size, sizes)
					}
				}
				if _, ok := fit(sizes, limit+1); ok {
					t.Fatalf("a size above the limit %d has a bucket", limit)
				}
			}
		}
	}
	if got := buckets(512, 16, 0.25); len(got) > 16 {
		t.Errorf("%d buckets up to 512: %v", len(got), got)
	}
	if got := doubles(12); !slices.Equal(got, []int64{1, 2, 4, 8, 12}) {
		t.Errorf("batch sizes are %v", got)
	}
}

// What is packed comes back, nothing else is touched, and the rest of the batch stays as it was.
func TestBlocksRoundTrip(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		rank := 1 + random.IntN(4)
		small, large := make([]int64, rank), make([]int64, rank)
		for i := range rank {
			small[i] = random.Int64N(4)
			large[i] = small[i] + random.Int64N(3)
		}
		at := random.Int64N(3)
		large[0] += at
		call := runtime.Floats(make([]float32, product(small)), small...)
		for i := range call.F32 {
			call.F32[i] = 1 + random.Float32()
		}
		batch := runtime.Floats(make([]float32, product(large)), large...)
		pack(&batch, &call, at)
		set := 0
		for _, x := range batch.F32 {
			if x != 0 {
				set++
			}
		}
		back := runtime.Floats(make([]float32, product(small)), small...)
		unpack(&back, &batch, at)
		if !slices.Equal(back.F32, call.F32) || set != len(call.F32) {
			t.Fatalf("%v in %v at %d: %d elements set, came back %v", small, large, at, set, slices.Equal(back.F32, call.F32))
		}
	}
}
