package vector

import (
	"math"

	"github.com/shortlist-serving/shortlist/go/internal/vector/kernel"
)

// codes are the rows in few bits, in the layout of package kernel, with what bounds their error.
//
// Row r, rotated where there are signs, stands for scale[r] * (stored code - centre). Lengths are by word of 64 rows: the
// largest |x| and the largest |x - what the codes stand for| in it, rounded up.
type codes struct {
	bits     int
	width    int       // K or P, padded to whole groups of the layout
	signs    []float64 // [P] of the rotation; nil for none
	tile     int       // bytes of a tile
	packed   []byte
	scale    []float32 // [tiles * TileRows], 0 past the last row
	length   []float32 // [words]
	residual []float32 // [words]
}

// The grids, as in the bundle's index/int8.safetensors and int4.safetensors: 8 bits hold -127..127 as 1..255, 4 bits the
// sixteen odd multiples of a half from -7.5 to 7.5 as 0..15.
const (
	shift    = 128
	centre4  = 7.5
	largest8 = 127
)

// encode8 codes vectors [I,K] in 8 bits: scale = max|x| / 127.
func encode8(vectors []float32, k int) *codes {
	c := newCodes(len(vectors)/k, Int8, (k+3)/4*4)
	for row := range len(vectors) / k {
		x := vectors[row*k : (row+1)*k]
		scale := float32(largest(x)) / largest8
		block := c.packed[row/kernel.Lanes*kernel.Lanes*c.width:]
		var residual float64
		for d, v := range x {
			code := 0.0
			if scale > 0 { // clamped, because the scale of the smallest numbers has few digits
				code = min(max(math.RoundToEven(float64(v/scale)), -largest8), largest8)
			}
			block[d/4*4*kernel.Lanes+row%kernel.Lanes*4+d%4] = byte(code + shift)
			off := float64(v) - float64(scale)*code
			residual += off * off
		}
		c.set(row, scale, norm(x), math.Sqrt(residual))
	}
	return c
}

// encode4 codes vectors [I,K], rotated, in 4 bits: scale = max|rotated x| / 7.5.
func encode4(vectors []float32, k int) *codes {
	signs := randomSigns(k)
	c := newCodes(len(vectors)/k, Int4, len(signs))
	c.signs = signs
	rotated := make([]float64, len(signs))
	for row := range len(vectors) / k {
		x := vectors[row*k : (row+1)*k]
		rotate(rotated, x, signs)
		scale := float32(largest(rotated)) / centre4
		block := c.packed[row/kernel.Lanes*kernel.Lanes*c.width/2:]
		var residual float64
		for d, v := range rotated {
			code := math.Ceil(centre4)
			if scale > 0 {
				code = min(max(math.Floor(v/float64(scale))+8, 0), 15)
			}
			at := &block[d/8*4*kernel.Lanes+row%kernel.Lanes*4+d%4]
			*at |= byte(code) << (d % 8 / 4 * 4)
			off := v - float64(scale)*(code-centre4)
			residual += off * off
		}
		c.set(row, scale, norm(x), math.Sqrt(residual))
	}
	return c
}

func newCodes(items, bits, width int) *codes {
	tiles := (items + kernel.TileRows - 1) / kernel.TileRows
	tile := kernel.TileRows * width * bits / 8
	return &codes{
		bits: bits, width: width, tile: tile, packed: make([]byte, tiles*tile), scale: make([]float32, tiles*kernel.TileRows),
		length: make([]float32, tiles*kernel.TileWords), residual: make([]float32, tiles*kernel.TileWords),
	}
}

// set notes what a row's codes stand for.
func (c *codes) set(row int, scale float32, length, residual float64) {
	c.scale[row] = scale
	word := row / kernel.Word
	c.length[word] = max(c.length[word], up(length))
	c.residual[word] = max(c.residual[word], up(residual))
}

// up rounds to an fp32 that is not smaller, with room for what summing in float64 lost.
func up(x float64) float32 {
	return math.Nextafter32(float32(x*(1+1e-9)), float32(math.Inf(1)))
}

func largest[T float32 | float64](x []T) float64 {
	most := 0.0
	for _, v := range x {
		most = max(most, math.Abs(float64(v)))
	}
	return most
}
