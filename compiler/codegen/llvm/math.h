/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elementary functions and rounding as straight-line LLVM IR.
 *
 * Nothing emitted here needs a library: no branches, no tables in memory, and
 * only intrinsics that every machine has as instructions.  Products that feed
 * a sum carry the `contract` flag, so machines with fused multiply-add use it
 * and the others do not call fma().  Results may differ in the last places
 * between the two; the error bounds, in units in the last place, hold for
 * both and are those that tests/math/check.c enforces.
 *
 * Special values are those of C99 Annex F; denormals are kept.  sin, cos and
 * tan hold their bound up to |x| = 1e9.  Beyond that the reduction loses bits
 * with growing |x|; the result is still that of some angle (sin and cos stay
 * in [-1, 1]).
 */
#ifndef CODEGEN_LLVM_MATH_H
#define CODEGEN_LLVM_MATH_H

#include <llvm-c/Core.h>

#include "ir/ir.h"

/*
 * `code` is one of OP_math_*; x (and y, for pow; NULL else) are float, double
 * or fixed vectors of them.  The result has their type.
 */
LLVMValueRef emit_math(LLVMBuilderRef b, enum opcode code, LLVMValueRef x,
		       LLVMValueRef y);

/*
 * OP_arith_floor, ceil, round (halves to even) or trunc of the same types,
 * exact for all values, NaN, infinities and -0 included.  has_sse41 says that
 * the target has an instruction for it, as do x86 since SSE4.1 and all of
 * AArch64.
 */
LLVMValueRef emit_round(LLVMBuilderRef b, enum opcode code, LLVMValueRef x,
			bool has_sse41);

#endif
