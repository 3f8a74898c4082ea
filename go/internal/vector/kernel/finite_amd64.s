#include "textflag.h"

// Eight values: the exponent's bits, and one in its lowest; the sum reaches the sign's bit only from the largest
// exponent, which is that of NaN and of the infinities.
#define SEEN(values, bits, seen) \
	VPAND values, Y14, bits    \
	VPADDD Y15, bits, bits     \
	VPOR bits, seen, seen

// func finiteAVX2(values *float32, blocks int) bool
TEXT ·finiteAVX2(SB), NOSPLIT, $0-17
	MOVQ values+0(FP), SI
	MOVQ blocks+8(FP), CX
	MOVL $0x7F800000, AX
	MOVQ AX, X14
	VPBROADCASTD X14, Y14
	MOVL $0x00800000, AX
	MOVQ AX, X15
	VPBROADCASTD X15, Y15
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
block:
	SEEN((SI), Y2, Y0)
	SEEN(32(SI), Y3, Y1)
	SEEN(64(SI), Y4, Y0)
	SEEN(96(SI), Y5, Y1)
	SEEN(128(SI), Y6, Y0)
	SEEN(160(SI), Y7, Y1)
	SEEN(192(SI), Y8, Y0)
	SEEN(224(SI), Y9, Y1)
	ADDQ $256, SI
	DECQ CX
	JNZ block
	VPOR Y0, Y1, Y0
	VMOVMSKPS Y0, AX                // the signs
	TESTL AX, AX
	SETEQ ret+16(FP)
	VZEROUPPER
	RET
