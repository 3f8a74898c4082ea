#include "textflag.h"
#include "wide_amd64.h"

// Sixteen rows' pair of groups: the lower halves of the bytes against Z8, the upper against Z9.
#define HALVES(codes, sum) \
	VMOVDQU32 codes, Z4     \
	VPANDD Z30, Z4, Z5      \
	VPSRLW $4, Z4, Z4       \
	VPANDD Z30, Z4, Z4      \
	VPDPBUSD Z8, Z5, sum    \
	VPDPBUSD Z9, Z4, sum

// func dots4VNNI(out *int32, codes *byte, query *int8, offset int32, pairs int)
//
// As dots8VNNI, with a byte cut into two codes; Z30 is the mask of the lower halves.
TEXT ·dots4VNNI(SB), NOSPLIT, $0-40
	MOVQ out+0(FP), DI
	MOVQ codes+8(FP), SI
	MOVQ query+16(FP), DX
	MOVL offset+24(FP), AX
	VPBROADCASTD AX, Z31
	MOVL $0x0F0F0F0F, AX
	VPBROADCASTD AX, Z30
	MOVQ pairs+32(FP), R8
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
pair:
	VPBROADCASTD (AX), Z8
	VPBROADCASTD 4(AX), Z9
	HALVES((SI)(BX*1), Z0)
	HALVES((R11)(BX*1), Z1)
	HALVES((R12)(BX*1), Z2)
	HALVES((R13)(BX*1), Z3)
	ADDQ $8, AX
	ADDQ $64, BX
	CMPQ BX, R9
	JLT pair
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

// func dots4WideVNNI(out *int32, codes *byte, queries *int8, offsets *int32, pairs int)
//
// As dots8WideVNNI, twice per byte.
TEXT ·dots4WideVNNI(SB), NOSPLIT, $0-40
	MOVQ out+0(FP), DI
	MOVQ codes+8(FP), SI
	MOVQ queries+16(FP), DX
	MOVQ offsets+24(FP), CX
	MOVL $0x0F0F0F0F, AX
	VPBROADCASTD AX, Z30
	MOVQ pairs+32(FP), R9
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
pair:
	VMOVDQU32 (SI)(BX*1), Z20
	VMOVDQU32 (R11)(BX*1), Z21
	VPANDD Z30, Z20, Z16
	VPANDD Z30, Z21, Z17
	PAIR(0, Z0, Z8)
	PAIR(4, Z1, Z9)
	PAIR(8, Z2, Z10)
	PAIR(12, Z3, Z11)
	PAIR(16, Z4, Z12)
	PAIR(20, Z5, Z13)
	PAIR(24, Z6, Z14)
	PAIR(28, Z7, Z15)
	VPSRLW $4, Z20, Z16
	VPSRLW $4, Z21, Z17
	VPANDD Z30, Z16, Z16
	VPANDD Z30, Z17, Z17
	PAIR(32, Z0, Z8)
	PAIR(36, Z1, Z9)
	PAIR(40, Z2, Z10)
	PAIR(44, Z3, Z11)
	PAIR(48, Z4, Z12)
	PAIR(52, Z5, Z13)
	PAIR(56, Z6, Z14)
	PAIR(60, Z7, Z15)
	ADDQ $64, AX
	ADDQ $64, BX
	CMPQ BX, R9
	JLT pair
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
