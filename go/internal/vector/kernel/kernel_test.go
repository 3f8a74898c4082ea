package kernel

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// levels runs a test with every set of instructions that this CPU has.
func levels(t *testing.T, run func(t *testing.T)) {
	best := current
	defer func() { current = best }()
	for l := plain; l <= best; l++ {
		current = l
		t.Run(Name(), run)
	}
}

// tile8 is a tile of codes, and the same by row and dimension.
func tile8(random *rand.Rand, groups int, code func() byte) (codes []byte, at func(row, d int) int32) {
	codes = make([]byte, TileRows*4*groups)
	for i := range codes {
		codes[i] = code()
	}
	return codes, func(row, d int) int32 {
		return int32(codes[((row/Lanes)*groups+d/4)*4*Lanes+(row%Lanes)*4+d%4])
	}
}

func signed(random *rand.Rand, n int) []int8 {
	query := make([]int8, n)
	for i := range query {
		query[i] = int8(random.IntN(256) - 128)
	}
	return query
}

func TestDots8(t *testing.T) {
	levels(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		extreme := []byte{0, 1, 127, 128, 254, 255}
		for groups := range 40 {
			for name, code := range map[string]func() byte{
				"random":  func() byte { return byte(random.IntN(256)) },
				"extreme": func() byte { return extreme[random.IntN(len(extreme))] },
				"largest": func() byte { return 255 },
			} {
				codes, at := tile8(random, groups, code)
				query := signed(random, 4*groups)
				if name == "largest" {
					for i := range query {
						query[i] = -128
					}
				}
				offset := int32(random.Uint32()) >> 8
				got := make([]int32, TileRows)
				Dots8(got, codes, query, offset)
				for row := range got {
					want := offset
					for d, q := range query {
						want += at(row, d) * int32(q)
					}
					if got[row] != want {
						t.Fatalf("%s, %d groups, row %d: %d, want %d", name, groups, row, got[row], want)
					}
				}
			}
		}
	})
}

func TestDots4(t *testing.T) {
	levels(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(9, 10))
		for pairs := range 20 {
			codes, query := make([]byte, TileRows*4*pairs), signed(random, 8*pairs)
			for i := range codes {
				codes[i] = byte(random.IntN(256))
			}
			got := make([]int32, TileRows)
			Dots4(got, codes, query, 77)
			for row := range got {
				want := int32(77)
				for d, q := range query {
					code := codes[((row/Lanes)*pairs+d/8)*4*Lanes+(row%Lanes)*4+d%4]
					want += int32(code>>(d%8/4*4)&15) * int32(q)
				}
				if got[row] != want {
					t.Fatalf("%d pairs, row %d: %d, want %d", pairs, row, got[row], want)
				}
			}
			queries, offsets := signed(random, 8*pairs*Wide), [Wide]int32{1, -2, 3, -4, 5, -6, 7, -8}
			wide, apart := make([]int32, Wide*TileRows), make([]int32, Wide*TileRows)
			Dots4Wide(wide, codes, queries, &offsets)
			each(apart, queries, &offsets, func(out []int32, query []int8, offset int32) { dots4(out, codes, query, offset) })
			if !slices.Equal(wide, apart) {
				t.Fatalf("%d pairs: eight queries differ from one by one", pairs)
			}
		}
	})
}

func TestWideIsEightTimesOne(t *testing.T) {
	levels(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(3, 4))
		for _, groups := range []int{0, 1, 2, 3, 16, 33} {
			codes, _ := tile8(random, groups, func() byte { return byte(random.IntN(256)) })
			queries := signed(random, 4*groups*Wide)
			offsets := [Wide]int32{1, -2, 3, -4, 5, -6, 7, -8}
			got, want := make([]int32, Wide*TileRows), make([]int32, Wide*TileRows)
			Dots8Wide(got, codes, queries, &offsets)
			each(want, queries, &offsets, func(out []int32, query []int8, offset int32) { dots8(out, codes, query, offset) })
			if !slices.Equal(got, want) {
				t.Fatalf("%d groups differ", groups)
			}
		}
	})
}

func TestMask(t *testing.T) {
	levels(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(5, 6))
		inf, nan := float32(math.Inf(1)), float32(math.NaN())
		for range 50 {
			dots, scales, limits := make([]int32, TileRows), make([]float32, TileRows), make([]float32, TileWords)
			for r := range dots {
				dots[r], scales[r] = int32(random.IntN(41)-20), float32(random.IntN(4))/2 // many meet a limit exactly
			}
			for w := range limits {
				limits[w] = []float32{-inf, inf, nan, 0, 5, -3, float32(random.IntN(20)), 1e-30}[random.IntN(8)]
			}
			dots[7], scales[8] = math.MinInt32, 3e38
			got, want := make([]uint64, TileWords), make([]uint64, TileWords)
			Mask(got, dots, scales, limits)
			mask(want, dots, scales, limits)
			if !slices.Equal(got, want) {
				t.Fatalf("%x, want %x", got, want)
			}
			for r := range dots {
				if got[r/Word]>>(r%Word)&1 == 1 != (float32(dots[r])*scales[r] >= limits[r/Word]) {
					t.Fatalf("row %d: %d * %v against %v", r, dots[r], scales[r], limits[r/Word])
				}
			}
		}
	})
}

// Same bits at every level, and near the sum in float64.
func TestDotsFloat32(t *testing.T) {
	levels(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(7, 8))
		for _, k := range []int{0, 1, 5, 15, 16, 17, 32, 64, 100, 128, 768} {
			const n = 37
			rows, query := normal(random, n*k), normal(random, k)
			got, want := make([]float32, n), make([]float32, n)
			DotsFloat32(got, rows, query)
			dotsFloat32(want, rows, query)
			for i := range got {
				if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
					t.Fatalf("k = %d, row %d: %v, plain Go %v", k, i, got[i], want[i])
				}
				var exact, size float64
				for d, q := range query {
					exact += float64(rows[i*k+d]) * float64(q)
					size += math.Abs(float64(rows[i*k+d]) * float64(q))
				}
				if diff := math.Abs(float64(got[i]) - exact); diff > size*float64(k/Lanes+6)*0x1p-24 {
					t.Fatalf("k = %d, row %d: %v is off by %g", k, i, got[i], diff)
				}
			}
		}
	})
}

func normal(random *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(random.NormFloat64())
	}
	return x
}

// Any bytes: the assembly of this CPU against plain Go.
func FuzzDots8(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8}, uint8(3), int32(-7))
	f.Add([]byte{255, 128, 255, 128, 0}, uint8(17), int32(math.MaxInt32))
	f.Fuzz(func(t *testing.T, seed []byte, groups uint8, offset int32) {
		n := 4 * int(groups%64)
		codes, query := make([]byte, TileRows*n), make([]int8, n)
		var key [32]byte
		copy(key[:], seed)
		random := rand.NewChaCha8(key)
		_, _ = random.Read(codes)
		for i := range query {
			query[i] = int8(random.Uint64())
			if i < len(seed) {
				query[i] = int8(seed[i])
			}
		}
		copy(codes, seed)
		got, want := make([]int32, TileRows), make([]int32, TileRows)
		Dots8(got, codes, query, offset)
		dots8(want, codes, query, offset)
		if !slices.Equal(got, want) {
			t.Fatalf("seed %x, n %d, offset %d", binary.LittleEndian.AppendUint32(nil, uint32(offset)), n, offset)
		}
	})
}

func BenchmarkDots8(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 1))
	codes, _ := tile8(random, 16, func() byte { return byte(random.IntN(256)) })
	out, queries, offsets := make([]int32, Wide*TileRows), signed(random, 64*Wide), [Wide]int32{}
	words, scales, limits := make([]uint64, TileWords), normal(random, TileRows), make([]float32, TileWords)
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			Dots8(out, codes, queries[:64], 1)
		}
	})
	b.Run("eight", func(b *testing.B) {
		for b.Loop() {
			Dots8Wide(out, codes, queries, &offsets)
		}
	})
	b.Run("mask", func(b *testing.B) {
		for b.Loop() {
			Mask(words, out, scales, limits)
		}
	})
}

func TestGather(t *testing.T) {
	levels(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(13, 14))
		for _, width := range []int{1, 15, 16, 24, 64, 128} {
			const items = 70
			table := make([]float32, items*width)
			for i := range table {
				table[i] = random.Float32()
			}
			for _, n := range []int{0, 1, 15, 16, 17, 33, 200} {
				rows, want := make([]int64, n), []float32{}
				for i := range rows {
					rows[i] = int64(random.IntN(items))
					want = append(want, table[int(rows[i])*width:][:width]...)
				}
				out := make([]float32, n*width+1)
				out[n*width] = 7
				Gather(out, table, rows, width)
				if !slices.Equal(out[:n*width], want) || out[n*width] != 7 {
					t.Fatalf("%d rows of %d", n, width)
				}
			}
		}
	})
}

// The assembly would read what lies beside the table.
func TestGatherRefusesRowsOutsideTheTable(t *testing.T) {
	levels(t, func(t *testing.T) {
		for _, row := range []int64{-1, 3} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("row %d of 3 was taken", row)
					}
				}()
				Gather(make([]float32, 32), make([]float32, 48), []int64{0, row}, 16)
			}()
		}
	})
}

func TestFinite(t *testing.T) {
	levels(t, func(t *testing.T) {
		nan, inf := float32(math.NaN()), float32(math.Inf(1))
		for _, n := range []int{0, 1, 63, 64, 65, 200} {
			values := make([]float32, n)
			for i := range values {
				values[i] = []float32{0, -1, math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32}[i%5]
			}
			if !Finite(values) {
				t.Fatalf("%d finite values are not", n)
			}
			for i, kept := range values {
				for _, bad := range []float32{nan, -nan, inf, -inf} {
					if values[i] = bad; Finite(values) {
						t.Fatalf("%v at %d of %d is finite", bad, i, n)
					}
				}
				values[i] = kept
			}
		}
	})
}

func BenchmarkGather(b *testing.B) {
	const items, width = 50_000, 64
	table, other := make([]float32, items*width), make([]float32, 1<<20)
	rows, out := make([]int64, 1000), make([]float32, 1000*width)
	levels := map[string]level{"copies": plain, "asks ahead": current}
	for name, l := range levels {
		b.Run(name, func(b *testing.B) {
			defer func(before level) { current = before }(current)
			current = l
			random := rand.New(rand.NewPCG(1, 2))
			var took time.Duration
			for b.Loop() {
				for i := range rows {
					rows[i] = random.Int64N(items)
				}
				for i := range other { // what graphs do to the caches between two gathers
					other[i]++
				}
				start := time.Now()
				Gather(out, table, rows, width)
				took += time.Since(start)
			}
			b.ReportMetric(took.Seconds()*1e6/float64(b.N), "us/gather")
		})
	}
}
