#include "textflag.h"

// Sixteen rows' bits of a mask word: K1 -> AX at the given shift of R8.
#define ROWS16(at, shift) \
	VCVTDQ2PS at(SI), Z1         \
	VMULPS at(DX), Z1, Z1        \
	VCMPPS $0x1D, Z0, Z1, K1     \ // greater or equal, false for NaN
	KMOVW K1, AX                 \
	SHLQ $shift, AX              \
	ORQ AX, R8

// func maskAVX512(words *uint64, dots *int32, scales, limits *float32)
TEXT ·maskAVX512(SB), NOSPLIT, $0-32
	MOVQ words+0(FP), DI
	MOVQ dots+8(FP), SI
	MOVQ scales+16(FP), DX
	MOVQ limits+24(FP), CX
	MOVQ $8, R10
word:
	VBROADCASTSS (CX), Z0
	XORQ R8, R8
	ROWS16(0, 0)
	ROWS16(64, 16)
	ROWS16(128, 32)
	ROWS16(192, 48)
	MOVQ R8, (DI)
	ADDQ $8, DI
	ADDQ $4, CX
	ADDQ $256, SI
	ADDQ $256, DX
	DECQ R10
	JNZ word
	VZEROUPPER
	RET

// func maskAVX2(words *uint64, dots *int32, scales, limits *float32)
//
// Byte by byte: each is eight rows.
TEXT ·maskAVX2(SB), NOSPLIT, $0-32
	MOVQ words+0(FP), DI
	MOVQ dots+8(FP), SI
	MOVQ scales+16(FP), DX
	MOVQ limits+24(FP), CX
	MOVQ $8, R10
word:
	VBROADCASTSS (CX), Y0
	MOVQ $8, R9
byte:
	VCVTDQ2PS (SI), Y1
	VMULPS (DX), Y1, Y1
	VCMPPS $0x1D, Y0, Y1, Y1
	VMOVMSKPS Y1, AX
	MOVB AX, (DI)
	INCQ DI
	ADDQ $32, SI
	ADDQ $32, DX
	DECQ R9
	JNZ byte
	ADDQ $4, CX
	DECQ R10
	JNZ word
	VZEROUPPER
	RET

// func dotsFloat32AVX2(out, rows, query *float32, n, k int)
//
// Y0 and Y1 are the sixteen running sums; product and sum are two instructions, because plain Go rounds twice.
TEXT ·dotsFloat32AVX2(SB), NOSPLIT, $0-40
	MOVQ out+0(FP), DI
	MOVQ rows+8(FP), SI
	MOVQ query+16(FP), DX
	MOVQ n+24(FP), R10
	MOVQ k+32(FP), R9
	SHLQ $2, R9                     // bytes of a row
row:
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	XORQ BX, BX
dims:
	VMOVUPS (SI)(BX*1), Y2
	VMOVUPS 32(SI)(BX*1), Y3
	VMULPS (DX)(BX*1), Y2, Y2
	VMULPS 32(DX)(BX*1), Y3, Y3
	VADDPS Y2, Y0, Y0
	VADDPS Y3, Y1, Y1
	ADDQ $64, BX
	CMPQ BX, R9
	JLT dims
	VADDPS Y1, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VADDPS X1, X0, X0
	VMOVHLPS X0, X0, X1
	VADDPS X1, X0, X0
	VMOVSHDUP X0, X1
	VADDSS X1, X0, X0
	VMOVSS X0, (DI)
	ADDQ $4, DI
	ADDQ R9, SI
	DECQ R10
	JNZ row
	VZEROUPPER
	RET
