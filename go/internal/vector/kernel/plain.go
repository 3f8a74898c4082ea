package kernel

// The kernels in plain Go: the definition that the others are held against.

func dots8(out []int32, codes []byte, query []int8, offset int32) {
	groups := len(query) / 4
	for block := range tileBlocks {
		rows := (*[Lanes]int32)(out[block*Lanes:])
		for r := range rows {
			rows[r] = offset
		}
		for g := range groups {
			code := (*[4 * Lanes]byte)(codes[(block*groups+g)*4*Lanes:])
			q := (*[4]int8)(query[4*g:])
			for r := range rows {
				rows[r] += int32(code[4*r])*int32(q[0]) + int32(code[4*r+1])*int32(q[1]) +
					int32(code[4*r+2])*int32(q[2]) + int32(code[4*r+3])*int32(q[3])
			}
		}
	}
}

func dots4(out []int32, codes []byte, query []int8, offset int32) {
	pairs := len(query) / 8
	for block := range tileBlocks {
		rows := (*[Lanes]int32)(out[block*Lanes:])
		for r := range rows {
			rows[r] = offset
		}
		for p := range pairs {
			code := (*[4 * Lanes]byte)(codes[(block*pairs+p)*4*Lanes:])
			q := (*[8]int8)(query[8*p:])
			for r := range rows {
				for d := range 4 {
					c := code[4*r+d]
					rows[r] += int32(c&15)*int32(q[d]) + int32(c>>4)*int32(q[4+d])
				}
			}
		}
	}
}

func mask(words []uint64, dots []int32, scales, limits []float32) {
	for w := range words {
		var word uint64
		for r := range Word {
			if float32(dots[w*Word+r])*scales[w*Word+r] >= limits[w] {
				word |= 1 << r
			}
		}
		words[w] = word
	}
}

func dotsFloat32(out, rows, query []float32) {
	k := len(query)
	for i := range out {
		row := rows[i*k : (i+1)*k]
		var sums [Lanes]float32
		for d, x := range row {
			sums[d%Lanes] += float32(x * query[d]) // the conversion forbids a fused product and sum
		}
		for half := Lanes / 2; half > 0; half /= 2 {
			for lane := range half {
				sums[lane] += sums[lane+half]
			}
		}
		out[i] = sums[0]
	}
}

func gather(out, table []float32, rows []int64, width int) {
	for i, row := range rows {
		copy(out[i*width:(i+1)*width], table[int(row)*width:(int(row)+1)*width])
	}
}
