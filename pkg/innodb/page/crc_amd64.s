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

// The pair for a distance of n bytes is x^(8n+31), x^(8n-33).
DATA far<>+0(SB)/8, $0x00000000dcb17aa4
DATA far<>+8(SB)/8, $0x00000000b9e02b86
GLOBL far<>(SB), RODATA|NOPTR, $16

DATA near<>+0(SB)/8, $0x00000000740eef02
DATA near<>+8(SB)/8, $0x000000009e4addf8
GLOBL near<>(SB), RODATA|NOPTR, $16

DATA lanes<>+0(SB)/8, $0x000000001c291d04
DATA lanes<>+8(SB)/8, $0x00000000ddc0152b
DATA lanes<>+16(SB)/8, $0x000000003da6d0cb
DATA lanes<>+24(SB)/8, $0x00000000ba4fc28e
DATA lanes<>+32(SB)/8, $0x00000000f20c0dfe
DATA lanes<>+40(SB)/8, $0x00000000493c7d27
DATA lanes<>+48(SB)/8, $0x0000000000000000
DATA lanes<>+56(SB)/8, $0x0000000000000000
GLOBL lanes<>(SB), RODATA|NOPTR, $64

// FOLD multiplies all four lanes of x by k, and adds what follows there.
#define FOLD(k, x, next, t) \
	VPCLMULQDQ $0x00, k, x, t; \
	VPCLMULQDQ $0x11, k, x, x; \
	VPTERNLOGQ $0x96, next, t, x

// func foldBlocks(sum uint32, p *byte, blocks int) uint32
TEXT ·foldBlocks(SB), NOSPLIT, $0-28
	MOVL            sum+0(FP), AX
	MOVQ            p+8(FP), SI
	MOVQ            blocks+16(FP), CX
	VMOVDQU64       (SI), Z0
	VMOVDQU64       64(SI), Z1
	VMOVDQU64       128(SI), Z2
	VMOVDQU64       192(SI), Z3
	VMOVD           AX, X4
	VPXORQ          Z4, Z0, Z0
	VBROADCASTI32X4 far<>(SB), Z5
	DECQ            CX
	JZ              join

// The processor does not look beyond a 4 KiB page by itself.
fold:
	ADDQ       $256, SI
	PREFETCHT0 4096(SI)
	PREFETCHT0 4160(SI)
	PREFETCHT0 4224(SI)
	PREFETCHT0 4288(SI)
	FOLD(Z5, Z0, (SI), Z6)
	FOLD(Z5, Z1, 64(SI), Z7)
	FOLD(Z5, Z2, 128(SI), Z8)
	FOLD(Z5, Z3, 192(SI), Z9)
	DECQ CX
	JNZ  fold

join:
	VBROADCASTI32X4 near<>(SB), Z5
	FOLD(Z5, Z0, Z1, Z6)
	FOLD(Z5, Z0, Z2, Z6)
	FOLD(Z5, Z0, Z3, Z6)
	VEXTRACTI32X4   $3, Z0, X1
	VMOVDQU64       lanes<>(SB), Z5
	VPCLMULQDQ      $0x00, Z5, Z0, Z6
	VPCLMULQDQ      $0x11, Z5, Z0, Z0
	VPXORQ          Z6, Z0, Z0
	VEXTRACTI32X4   $1, Z0, X2
	VEXTRACTI32X4   $2, Z0, X3
	VPXOR           X2, X0, X0
	VPXOR           X3, X0, X0
	VPXOR           X1, X0, X0
	VMOVQ           X0, R8
	VPEXTRQ         $1, X0, R9
	VZEROUPPER
	XORL            AX, AX
	CRC32Q          R8, AX
	CRC32Q          R9, AX
	MOVL            AX, ret+24(FP)
	RET
