package vector

import (
	"math"

	"github.com/shortlist-serving/shortlist/go/internal/vector/kernel"
)

// codes are the rows in few bits, in the layout of package kernel, with what bounds their error.
//
// Row r stands for scale[r] * c, with signed codes c that are stored as unsigned bytes c + shift. Lengths are by
// word of 64 rows: the largest |x| and the largest |x - scale*c| in it, rounded up.
type codes struct {
	width    int // K padded to whole groups of the layout
	tiles    int
	packed   []byte
	scale    []float32 // [tiles * TileRows], 0 past the last row
	length   []float32 // [words]
	residual []float32 // [words]
}

// shift of 8-bit codes, as in the bundle's index/int8.safetensors: c in -127..127.
const shift = 128

// encode8 codes vectors [I,K] in 8 bits: scale = max|x| / 127.
func encode8(vectors []float32, k int) *codes {
	items := len(vectors) / k
	c := newCodes(items, (k+3)/4*4, (k+3)/4*4)
	for row := range items {
		x := vectors[row*k : (row+1)*k]
		scale := float32(largest(x)) / 127
		block := c.packed[row/kernel.Lanes*kernel.Lanes*c.width:]
		var residual float64
		for d, v := range x {
			code := 0.0
			if scale > 0 { // clamped, because the scale of the smallest numbers has few digits
				code = min(max(math.RoundToEven(float64(v/scale)), -127), 127)
			}
			block[d/4*4*kernel.Lanes+row%kernel.Lanes*4+d%4] = byte(code + shift)
			off := float64(v) - float64(scale)*code
			residual += off * off
		}
		c.set(row, scale, norm(x), math.Sqrt(residual))
	}
	return c
}

// newCodes are codes without rows; a row takes the given bytes.
func newCodes(items, width, bytes int) *codes {
	tiles := (items + kernel.TileRows - 1) / kernel.TileRows
	c := &codes{
		width: width, tiles: tiles, packed: make([]byte, tiles*kernel.TileRows*bytes), scale: make([]float32, tiles*kernel.TileRows),
		length: make([]float32, tiles*kernel.TileWords), residual: make([]float32, tiles*kernel.TileWords),
	}
	for i := range c.packed {
		c.packed[i] = shift // so that padding, in a row or below the last, adds nothing
	}
	return c
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

func largest(x []float32) float64 {
	most := 0.0
	for _, v := range x {
		most = max(most, math.Abs(float64(v)))
	}
	return most
}
