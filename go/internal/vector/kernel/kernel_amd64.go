package kernel

import "golang.org/x/sys/cpu"

func detect() level {
	switch {
	case cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VNNI:
		return avx512
	case cpu.X86.HasAVX2:
		return avx2
	}
	return plain
}

// The assembly of the .s files. Pointers are to the first elements of the slices that the exported functions
// have checked; groups, pairs, n and k are at least 1.

//go:noescape
func dots8VNNI(out *int32, codes *byte, query *int8, offset int32, groups int)

//go:noescape
func dots8WideVNNI(out *int32, codes *byte, queries *int8, offsets *int32, groups int)

//go:noescape
func dots8AVX2(out *int32, codes *byte, query *int8, offset int32, groups int)

//go:noescape
func dots4VNNI(out *int32, codes *byte, query *int8, offset int32, pairs int)

//go:noescape
func dots4WideVNNI(out *int32, codes *byte, queries *int8, offsets *int32, pairs int)

//go:noescape
func maskAVX512(words *uint64, dots *int32, scales, limits *float32)

//go:noescape
func maskAVX2(words *uint64, dots *int32, scales, limits *float32)

//go:noescape
func dotsFloat32AVX2(out, rows, query *float32, n, k int)

//go:noescape
func gatherAVX2(out, table *float32, rows *int64, n, width int)

//go:noescape
func finiteAVX2(values *float32, blocks int) bool
