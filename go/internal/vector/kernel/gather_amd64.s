#include "textflag.h"

#define AHEAD 16 // rows between the one that is asked for and the one that is copied

// func gatherAVX2(out, table *float32, rows *int64, n, width int)
//
// A row is a few lines at an address that no hardware guesses: asking for the lines of later rows lets the
// misses of many rows overlap. A copy of a cold row would wait for each of its own.
TEXT ·gatherAVX2(SB), NOSPLIT, $0-40
	MOVQ out+0(FP), DI
	MOVQ table+8(FP), SI
	MOVQ rows+16(FP), DX
	MOVQ n+24(FP), CX
	MOVQ width+32(FP), R8
	SHLQ $2, R8                     // bytes of a row, whole lines
row:
	CMPQ CX, $AHEAD
	JLE copy
	MOVQ (8*AHEAD)(DX), R9
	IMULQ R8, R9
	ADDQ SI, R9
	XORQ BX, BX
ask:
	PREFETCHT0 (R9)(BX*1)
	ADDQ $64, BX
	CMPQ BX, R8
	JLT ask
copy:
	MOVQ (DX), R9
	IMULQ R8, R9
	ADDQ SI, R9
	XORQ BX, BX
line:
	VMOVUPS (R9)(BX*1), Y0
	VMOVUPS 32(R9)(BX*1), Y1
	VMOVUPS Y0, (DI)(BX*1)
	VMOVUPS Y1, 32(DI)(BX*1)
	ADDQ $64, BX
	CMPQ BX, R8
	JLT line
	ADDQ R8, DI
	ADDQ $8, DX
	DECQ CX
	JNZ row
	VZEROUPPER
	RET
