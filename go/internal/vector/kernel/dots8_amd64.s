#include "textflag.h"
#include "wide_amd64.h"

// func dots8VNNI(out *int32, codes *byte, query *int8, offset int32, groups int)
//
// Four blocks at a time, so that four sums are in flight: VPDPBUSD adds to each lane the four products of an
// unsigned byte of the codes and a signed one of the query.
TEXT ·dots8VNNI(SB), NOSPLIT, $0-40
	MOVQ out+0(FP), DI
	MOVQ codes+8(FP), SI
	MOVQ query+16(FP), DX
	MOVL offset+24(FP), AX
	VPBROADCASTD AX, Z31
	MOVQ groups+32(FP), R8
	MOVQ R8, R9
	SHLQ $6, R9                     // bytes of a block
	MOVQ $8, R10                    // four blocks each
blocks:
	LEAQ (SI)(R9*1), R11
	LEAQ (SI)(R9*2), R12
	LEAQ (R11)(R9*2), R13
	VMOVDQA32 Z31, Z0
	VMOVDQA32 Z31, Z1
	VMOVDQA32 Z31, Z2
	VMOVDQA32 Z31, Z3
	XORQ BX, BX                     // offset of the group in a block
	MOVQ DX, AX
group:
	VPBROADCASTD (AX), Z8
	VMOVDQU32 (SI)(BX*1), Z4
	VMOVDQU32 (R11)(BX*1), Z5
	VMOVDQU32 (R12)(BX*1), Z6
	VMOVDQU32 (R13)(BX*1), Z7
	VPDPBUSD Z8, Z4, Z0
	VPDPBUSD Z8, Z5, Z1
	VPDPBUSD Z8, Z6, Z2
	VPDPBUSD Z8, Z7, Z3
	ADDQ $4, AX
	ADDQ $64, BX
	CMPQ BX, R9
	JLT group
	VMOVDQU32 Z0, (DI)
	VMOVDQU32 Z1, 64(DI)
	VMOVDQU32 Z2, 128(DI)
	VMOVDQU32 Z3, 192(DI)
	ADDQ $256, DI
	LEAQ (SI)(R9*4), SI
	DECQ R10
	JNZ blocks
	VZEROUPPER
	RET

// func dots8WideVNNI(out *int32, codes *byte, queries *int8, offsets *int32, groups int)
//
// Two blocks times eight queries: sixteen sums in registers, ten loads for sixteen VPDPBUSD.
TEXT ·dots8WideVNNI(SB), NOSPLIT, $0-40
	MOVQ out+0(FP), DI
	MOVQ codes+8(FP), SI
	MOVQ queries+16(FP), DX
	MOVQ offsets+24(FP), CX
	MOVQ groups+32(FP), R9
	SHLQ $6, R9                     // bytes of a block
	MOVQ $16, R10                   // two blocks each
blocks:
	LEAQ (SI)(R9*1), R11
	LOAD(0, Z0, Z8)
	LOAD(4, Z1, Z9)
	LOAD(8, Z2, Z10)
	LOAD(12, Z3, Z11)
	LOAD(16, Z4, Z12)
	LOAD(20, Z5, Z13)
	LOAD(24, Z6, Z14)
	LOAD(28, Z7, Z15)
	XORQ BX, BX
	MOVQ DX, AX
group:
	VMOVDQU32 (SI)(BX*1), Z16
	VMOVDQU32 (R11)(BX*1), Z17
	PAIR(0, Z0, Z8)
	PAIR(4, Z1, Z9)
	PAIR(8, Z2, Z10)
	PAIR(12, Z3, Z11)
	PAIR(16, Z4, Z12)
	PAIR(20, Z5, Z13)
	PAIR(24, Z6, Z14)
	PAIR(28, Z7, Z15)
	ADDQ $32, AX
	ADDQ $64, BX
	CMPQ BX, R9
	JLT group
	STORE(0, Z0, Z8)
	STORE(2048, Z1, Z9)
	STORE(4096, Z2, Z10)
	STORE(6144, Z3, Z11)
	STORE(8192, Z4, Z12)
	STORE(10240, Z5, Z13)
	STORE(12288, Z6, Z14)
	STORE(14336, Z7, Z15)
	ADDQ $128, DI
	LEAQ (SI)(R9*2), SI
	DECQ R10
	JNZ blocks
	VZEROUPPER
	RET

// Four rows, widened to 16 bits, times the query's group in Y8: VPMADDWD cannot overflow, where the
// byte-wise VPMADDUBSW would saturate.
#define ROWS4(at, sum) \
	VPMOVZXBW at(SI), Y9    \
	VPMADDWD Y8, Y9, Y9     \
	VPADDD Y9, sum, sum

// func dots8AVX2(out *int32, codes *byte, query *int8, offset int32, groups int)
//
// A block at a time; each sum holds two halves of four rows' products, which are added at the end.
TEXT ·dots8AVX2(SB), NOSPLIT, $0-40
	MOVQ out+0(FP), DI
	MOVQ codes+8(FP), SI
	MOVQ query+16(FP), DX
	MOVL offset+24(FP), AX
	VMOVD AX, X15
	VPBROADCASTD X15, Y15
	MOVQ groups+32(FP), R8
	MOVQ $32, R10                   // blocks
blocks:
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3
	MOVQ DX, AX
	MOVQ R8, CX
group:
	VPBROADCASTD (AX), X8
	VPMOVSXBW X8, Y8
	ROWS4(0, Y0)
	ROWS4(16, Y1)
	ROWS4(32, Y2)
	ROWS4(48, Y3)
	ADDQ $4, AX
	ADDQ $64, SI
	DECQ CX
	JNZ group
	VPHADDD Y1, Y0, Y0              // rows 0 1 4 5 | 2 3 6 7
	VPHADDD Y3, Y2, Y2
	VPERMQ $0xD8, Y0, Y0
	VPERMQ $0xD8, Y2, Y2
	VPADDD Y15, Y0, Y0
	VPADDD Y15, Y2, Y2
	VMOVDQU Y0, (DI)
	VMOVDQU Y2, 32(DI)
	ADDQ $64, DI
	DECQ R10
	JNZ blocks
	VZEROUPPER
	RET
