// Package kernel holds the inner loops of a vector scan: dot products of a tile of coded rows with one query or
// with eight, the comparison of scores with limits, and dot products in fp32. Each has a version in plain Go
// that says what it computes; versions in assembly must give the same bits, on every CPU.
//
// A tile is TileRows rows in blocks of Lanes. Within a block the codes are transposed by groups of four
// dimensions, so that one vector register holds a group of all rows of the block and the products of a row add
// up in one lane:
//
//	8 bits: [block][group][row][4]   byte d of a row's group is the code of dimension 4*group+d
//	4 bits: [block][pair][row][4]    the lower half of byte d is dimension 8*pair+d, the upper half 8*pair+4+d
//
// A query is signed bytes, four a group. Eight queries are interleaved: [group][query][4].
package kernel

const (
	// Lanes is the number of rows of a block.
	Lanes = 16
	// TileRows is the number of rows of a tile: its codes and the products of eight queries fit the first cache.
	TileRows = 512
	// Wide is the number of queries of a wide kernel, so that each row is loaded once for all of them.
	Wide = 8
	// Word is the number of rows of a mask's word.
	Word = 64
	// TileWords is the number of words of a tile.
	TileWords = TileRows / Word

	tileBlocks = TileRows / Lanes
)

// level is what the CPU can do. Tests lower it.
type level int

const (
	plain  level = iota // Go
	avx2                // AVX2 and FMA-free fp32
	avx512              // AVX-512 F, BW and VNNI
)

var current = detect()

// Name of the instructions in use, for logs and reports.
func Name() string { return [...]string{"go", "avx2", "avx512vnni"}[current] }

// Dots8 writes out[r] = offset + sum over d of codes[r][d] * query[d] for the TileRows rows of a tile of 8-bit
// codes. len(query) is 4 * groups, len(codes) TileRows * len(query).
func Dots8(out []int32, codes []byte, query []int8, offset int32) {
	out, codes = out[:TileRows], codes[:TileRows*len(query)]
	switch {
	case len(query) == 0:
		dots8(out, codes, query, offset)
	case current == avx512:
		dots8VNNI(&out[0], &codes[0], &query[0], offset, len(query)/4)
	case current == avx2:
		dots8AVX2(&out[0], &codes[0], &query[0], offset, len(query)/4)
	default:
		dots8(out, codes, query, offset)
	}
}

// Dots8Wide is Dots8 for the Wide interleaved queries: out is [Wide][TileRows].
func Dots8Wide(out []int32, codes []byte, queries []int8, offsets *[Wide]int32) {
	out, codes = out[:Wide*TileRows], codes[:TileRows*len(queries)/Wide]
	if current == avx512 && len(queries) > 0 {
		dots8WideVNNI(&out[0], &codes[0], &queries[0], &offsets[0], len(queries)/(4*Wide))
		return
	}
	each(out, queries, offsets, func(out []int32, query []int8, offset int32) { Dots8(out, codes, query, offset) })
}

// Dots4 is Dots8 for 4-bit codes: len(query) is 8 * pairs, len(codes) TileRows * len(query) / 2. Without VNNI it is plain Go.
func Dots4(out []int32, codes []byte, query []int8, offset int32) {
	out, codes = out[:TileRows], codes[:TileRows*len(query)/2]
	if current == avx512 && len(query) > 0 {
		dots4VNNI(&out[0], &codes[0], &query[0], offset, len(query)/8)
		return
	}
	dots4(out, codes, query, offset)
}

// Dots4Wide is Dots4 for the Wide interleaved queries: out is [Wide][TileRows].
func Dots4Wide(out []int32, codes []byte, queries []int8, offsets *[Wide]int32) {
	out, codes = out[:Wide*TileRows], codes[:TileRows*len(queries)/(2*Wide)]
	if current == avx512 && len(queries) > 0 {
		dots4WideVNNI(&out[0], &codes[0], &queries[0], &offsets[0], len(queries)/(8*Wide))
		return
	}
	each(out, queries, offsets, func(out []int32, query []int8, offset int32) { Dots4(out, codes, query, offset) })
}

// each runs a kernel of one query for each of the interleaved ones.
func each(out []int32, queries []int8, offsets *[Wide]int32, one func([]int32, []int8, int32)) {
	query := make([]int8, len(queries)/Wide)
	for q := range Wide {
		for g := 0; g < len(query); g += 4 {
			copy(query[g:g+4], queries[(g*Wide)+4*q:])
		}
		one(out[q*TileRows:(q+1)*TileRows], query, offsets[q])
	}
}

// Mask sets bit r of the tile's TileWords words where float32(dots[r]) * scales[r] >= limits[r/Word].
func Mask(words []uint64, dots []int32, scales, limits []float32) {
	words, dots, scales, limits = words[:TileWords], dots[:TileRows], scales[:TileRows], limits[:TileWords]
	switch current {
	case avx512:
		maskAVX512(&words[0], &dots[0], &scales[0], &limits[0])
	case avx2:
		maskAVX2(&words[0], &dots[0], &scales[0], &limits[0])
	default:
		mask(words, dots, scales, limits)
	}
}

// DotsFloat32 writes out[i] = the inner product of row i of rows [len(out),K] with query [K]. Products and sums
// are rounded to fp32, sixteen running sums take the dimensions in turn and are then added by halves: so every
// CPU gives the same bits.
func DotsFloat32(out, rows, query []float32) {
	k := len(query)
	rows = rows[:len(out)*k]
	if current == plain || k == 0 || k%Lanes != 0 || len(out) == 0 {
		dotsFloat32(out, rows, query)
		return
	}
	dotsFloat32AVX2(&out[0], &rows[0], &query[0], len(out), k)
}
