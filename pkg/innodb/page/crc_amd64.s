#include "textflag.h"

// The instruction for CRC-32C takes three cycles and can begin in each, so that
// three independent sums cost as much as one (V. Gopal and others, Fast CRC
// Computation for iSCSI Polynomial Using CRC32 Instruction, Intel 2011). Sums are
// joined by multiplying with x^(8n-33), n being the bytes behind their stream; the
// instruction reduces the product, and adds the 33.

#define STREAM 1344
#define AHEAD (2*3*STREAM)

// x^(8*2*STREAM-33) and x^(8*STREAM-33) modulo the polynomial, bits reflected.
#define BEHIND2 $0x889774e1
#define BEHIND1 $0xc9c8b782

#define STEP(at) \
	CRC32Q (at)(SI), AX; \
	CRC32Q (STREAM+at)(SI), BX; \
	CRC32Q (2*STREAM+at)(SI), DX

// func sumBlocks(sum uint32, p *byte, blocks int) uint32
TEXT ·sumBlocks(SB), NOSPLIT, $0-28
	MOVL sum+0(FP), AX
	MOVQ p+8(FP), SI
	MOVQ blocks+16(FP), CX
	MOVQ BEHIND2, R8
	MOVQ R8, X2
	MOVQ BEHIND1, R8
	MOVQ R8, X3

block:
	XORL BX, BX
	XORL DX, DX
	MOVQ $(STREAM/64), DI

line:
	PREFETCHT1 (AHEAD)(SI)
	PREFETCHT1 (AHEAD+STREAM)(SI)
	PREFETCHT1 (AHEAD+2*STREAM)(SI)
	STEP(0)
	STEP(8)
	STEP(16)
	STEP(24)
	STEP(32)
	STEP(40)
	STEP(48)
	STEP(56)
	ADDQ $64, SI
	DECQ DI
	JNZ  line

	MOVQ      AX, X0
	MOVQ      BX, X1
	PCLMULQDQ $0, X2, X0
	PCLMULQDQ $0, X3, X1
	PXOR      X1, X0
	MOVQ      X0, R8
	XORL      AX, AX
	CRC32Q    R8, AX
	XORL      DX, AX
	ADDQ      $(2*STREAM), SI
	DECQ      CX
	JNZ       block

	MOVL AX, ret+24(FP)
	RET
