package kernel

const lineFloats = 16 // of a cache line

// Gather copies rows of a table [I,width] next to each other: out is [len(rows),width]. Every row must be a
// row of the table.
func Gather(out, table []float32, rows []int64, width int) {
	if width == 0 || len(rows) == 0 {
		return
	}
	out, items := out[:len(rows)*width], int64(len(table)/width)
	if current == plain || width%lineFloats != 0 {
		gather(out, table, rows, width)
		return
	}
	for _, row := range rows { // the assembly checks nothing
		if uint64(row) >= uint64(items) {
			gather(out, table, rows, width) // panics at this row, as any index does
			return
		}
	}
	gatherAVX2(&out[0], &table[0], &rows[0], len(rows), width)
}
