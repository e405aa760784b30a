/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wider in registers than in memory: narrow floats are f32 there.
 * Where the machine does not convert half floats, integer arithmetic does,
 * exactly.
 */
#include "codegen/llvm/cg.h"

#include <math.h>

bool cg_is_vec(LLVMValueRef v)
{
	return LLVMGetTypeKind(LLVMTypeOf(v)) == LLVMVectorTypeKind;
}

/* The type with this element and the shape of v. */
LLVMTypeRef cg_like(LLVMValueRef v, LLVMTypeRef elem)
{
	return cg_is_vec(v)
		       ? LLVMVectorType(elem, LLVMGetVectorSize(LLVMTypeOf(v)))
		       : elem;
}

LLVMValueRef cg_konst(LLVMValueRef as, LLVMTypeRef elem, int64_t k)
{
	LLVMValueRef c[64];

	if (!cg_is_vec(as))
		return LLVMConstInt(elem, (uint64_t)k, true);
	unsigned n = LLVMGetVectorSize(LLVMTypeOf(as));

	for (unsigned i = 0; i < n; i++)
		c[i] = LLVMConstInt(elem, (uint64_t)k, true);
	return LLVMConstVector(c, n);
}

LLVMValueRef cg_float_const(LLVMValueRef as, LLVMTypeRef elem, double k)
{
	LLVMValueRef c[64];

	if (!cg_is_vec(as))
		return LLVMConstReal(elem, k);
	unsigned n = LLVMGetVectorSize(LLVMTypeOf(as));

	for (unsigned i = 0; i < n; i++)
		c[i] = LLVMConstReal(elem, k);
	return LLVMConstVector(c, n);
}

/* f32 -> bits of bf16: add half an ulp, ties to even; NaN stays quiet. */
static LLVMValueRef to_bf16(struct cg *g, LLVMValueRef x)
{
	LLVMBuilderRef b = g->b;
	LLVMTypeRef i32 = cg_like(x, g->i32);
	LLVMValueRef u = LLVMBuildBitCast(b, x, i32, "");
	LLVMValueRef odd = LLVMBuildAnd(
		b, LLVMBuildLShr(b, u, cg_konst(x, g->i32, 16), ""),
		cg_konst(x, g->i32, 1), "");
	LLVMValueRef r = LLVMBuildAdd(
		b, u, LLVMBuildAdd(b, odd, cg_konst(x, g->i32, 0x7fff), ""),
		"");
	LLVMValueRef nan = LLVMBuildFCmp(b, LLVMRealUNO, x, x, "");

	r = LLVMBuildSelect(
		b, nan, LLVMBuildOr(b, u, cg_konst(x, g->i32, 0x400000), ""), r,
		"");
	return LLVMBuildTrunc(b,
			      LLVMBuildLShr(b, r, cg_konst(x, g->i32, 16), ""),
			      cg_like(x, g->i16), "");
}

static LLVMValueRef from_bf16(struct cg *g, LLVMValueRef h)
{
	LLVMValueRef u = LLVMBuildZExt(g->b, h, cg_like(h, g->i32), "");

	u = LLVMBuildShl(g->b, u, cg_konst(h, g->i32, 16), "");
	return LLVMBuildBitCast(g->b, u, cg_like(h, g->f32), "");
}

/*
 * f32 -> bits of f16 in integer arithmetic, for machines without the
 * instruction: normal numbers by re-biasing and rounding, small ones by
 * letting the float adder round (x + 0.5 aligns the last bit of a denormal
 * half with the last bit of the sum).
 */
static LLVMValueRef to_f16_soft(struct cg *g, LLVMValueRef x)
{
	LLVMBuilderRef b = g->b;
	LLVMTypeRef i32 = g->i32;
#define K(k) cg_konst(x, i32, (k))
	LLVMValueRef u = LLVMBuildBitCast(b, x, cg_like(x, i32), "");
	LLVMValueRef sign = LLVMBuildAnd(
		b, LLVMBuildLShr(b, u, K(16), ""), K(0x8000), "");
	LLVMValueRef a = LLVMBuildAnd(b, u, K(0x7fffffff), "");
	LLVMValueRef odd = LLVMBuildAnd(b, LLVMBuildLShr(b, a, K(13), ""),
					K(1), "");
	LLVMValueRef n = LLVMBuildAdd(b, a, LLVMBuildAdd(b, odd, K(0xfff), ""),
				      "");

	n = LLVMBuildLShr(b, LLVMBuildSub(b, n, K(0x38000000), ""), K(13), "");
	LLVMValueRef f = LLVMBuildBitCast(b, a, cg_like(x, g->f32), "");
	LLVMValueRef d =
		LLVMBuildFAdd(b, f, cg_float_const(x, g->f32, 0.5), "");

	d = LLVMBuildSub(b, LLVMBuildBitCast(b, d, cg_like(x, i32), ""),
			 K(0x3f000000), "");
	LLVMValueRef small = LLVMBuildICmp(b, LLVMIntULT, a, K(0x38800000), "");
	LLVMValueRef big = LLVMBuildICmp(b, LLVMIntUGE, a, K(0x477ff000), "");
	LLVMValueRef nan = LLVMBuildICmp(b, LLVMIntUGT, a, K(0x7f800000), "");
	LLVMValueRef r = LLVMBuildSelect(b, small, d, n, "");

	r = LLVMBuildSelect(b, big, K(0x7c00), r, "");
	r = LLVMBuildSelect(b, nan, K(0x7e00), r, "");
#undef K
	return LLVMBuildTrunc(b, LLVMBuildOr(b, r, sign, ""),
			      cg_like(x, g->i16), "");
}

LLVMValueRef cg_rebiased(struct cg *g, LLVMValueRef m, int e)
{
	LLVMBuilderRef b = g->b;
	LLVMTypeRef i32 = cg_like(m, g->i32), f32 = cg_like(m, g->f32);
	LLVMValueRef one = cg_konst(m, g->i32, 1 << 23), tiny, power, x;

	if (!g->t->isa->flushes) {
		x = LLVMBuildFMul(b, LLVMBuildBitCast(b, m, f32, ""),
				  cg_float_const(m, g->f32, ldexp(1, e)), "");
		return LLVMBuildBitCast(b, x, i32, "");
	}
	/* A subnormal number is the fraction of a normal one, less its 1. */
	power = cg_konst(m, g->i32, (int64_t)(e + 1) << 23);
	x = LLVMBuildBitCast(b, LLVMBuildAdd(b, m, power, ""), f32, "");
	x = LLVMBuildFSub(b, x, LLVMBuildBitCast(b, power, f32, ""), "");
	tiny = LLVMBuildICmp(b, LLVMIntULT, m, one, "");
	return LLVMBuildSelect(
		b, tiny, LLVMBuildBitCast(b, x, i32, ""),
		LLVMBuildSub(b, LLVMBuildAdd(b, m, power, ""), one, ""), "");
}

static LLVMValueRef from_f16_soft(struct cg *g, LLVMValueRef h)
{
	LLVMBuilderRef b = g->b;
	LLVMTypeRef i32 = g->i32;
#define K(k) cg_konst(h, i32, (k))
	LLVMValueRef u = LLVMBuildZExt(b, h, cg_like(h, i32), "");
	LLVMValueRef sign = LLVMBuildShl(
		b, LLVMBuildAnd(b, u, K(0x8000), ""), K(16), "");
	LLVMValueRef m = LLVMBuildShl(b, LLVMBuildAnd(b, u, K(0x7fff), ""),
				      K(13), "");
	LLVMValueRef special = LLVMBuildICmp(b, LLVMIntUGE, m, K(0x0f800000),
					     "");
	LLVMValueRef r = LLVMBuildSelect(
		b, special, LLVMBuildOr(b, m, K(0x7f800000), ""),
		cg_rebiased(g, m, 112), "");

	r = LLVMBuildOr(b, r, sign, "");
#undef K
	return LLVMBuildBitCast(b, r, cg_like(h, g->f32), "");
}

static LLVMValueRef to_narrow(struct cg *g, enum dtype t, LLVMValueRef x)
{
	if (!dtype_is_half(t))
		return float8_bits(g, t, x);
	if (t == DT_BF16)
		return to_bf16(g, x);
	if (!g->t->isa->f16c)
		return to_f16_soft(g, x);
	x = LLVMBuildFPTrunc(g->b, x, cg_like(x, g->f16), "");
	return LLVMBuildBitCast(g->b, x, cg_like(x, g->i16), "");
}

static LLVMValueRef from_narrow(struct cg *g, enum dtype t, LLVMValueRef h)
{
	if (!dtype_is_half(t))
		return float8_value(g, t, h);
	if (t == DT_BF16)
		return from_bf16(g, h);
	if (!g->t->isa->f16c)
		return from_f16_soft(g, h);
	h = LLVMBuildBitCast(g->b, h, cg_like(h, g->f16), "");
	return LLVMBuildFPExt(g->b, h, cg_like(h, g->f32), "");
}

/*
 * f64 -> f32, rounded to odd: of the two neighbours of an inexact value the
 * one with an odd last bit.  Rounding that to a half gives what rounding the
 * f64 once would (Boldo and Melquiond, "Emulation of a FMA and correctly
 * rounded sums"), subnormal results included.
 */
LLVMValueRef cg_f32_odd(struct cg *g, LLVMValueRef x)
{
	LLVMBuilderRef b = g->b;
	LLVMTypeRef i32 = cg_like(x, g->i32);
	LLVMValueRef near = LLVMBuildFPTrunc(b, x, cg_like(x, g->f32), "");
	LLVMValueRef back = LLVMBuildFPExt(b, near, LLVMTypeOf(x), "");
	LLVMValueRef u = LLVMBuildBitCast(b, near, i32, "");
	LLVMValueRef even = LLVMBuildICmp(
		b, LLVMIntEQ, LLVMBuildAnd(b, u, cg_konst(x, g->i32, 1), ""),
		LLVMConstNull(i32), "");
	LLVMValueRef inexact = LLVMBuildFCmp(b, LLVMRealONE, back, x, "");
	LLVMValueRef ax = cg_call(g, "llvm.fabs", LLVMTypeOf(x), 1, &x);
	LLVMValueRef aback = cg_call(g, "llvm.fabs", LLVMTypeOf(x), 1, &back);
	LLVMValueRef step = LLVMBuildSelect(
		b, LLVMBuildFCmp(b, LLVMRealOLT, aback, ax, ""),
		cg_konst(x, g->i32, 1), cg_konst(x, g->i32, -1), "");

	u = LLVMBuildSelect(b, LLVMBuildAnd(b, even, inexact, ""),
			    LLVMBuildAdd(b, u, step, ""), u, "");
	return LLVMBuildBitCast(b, u, LLVMTypeOf(near), "");
}

/* After an operation in f32: what the narrower type would hold. */
LLVMValueRef cg_rounded(struct cg *g, enum dtype t, LLVMValueRef x)
{
	return dtype_is_narrow(t) ? from_narrow(g, t, to_narrow(g, t, x)) : x;
}

/* After an operation on the register's bits: what an integer type of fewer
 * bits would hold. */
LLVMValueRef cg_wrapped(struct cg *g, enum dtype t, LLVMValueRef x)
{
	unsigned bits = dtype_info[t].bits;
	LLVMValueRef above;

	if (!dtype_is_packed(t))
		return x;
	if (!dtype_is_signed(t))
		return LLVMBuildAnd(g->b, x, cg_konst(x, g->i8,
						      (1 << bits) - 1), "");
	above = cg_konst(x, g->i8, 8 - bits);
	return LLVMBuildAShr(g->b, LLVMBuildShl(g->b, x, above, ""), above,
			     "");
}

LLVMValueRef cg_from_mem(struct cg *g, enum dtype t, LLVMValueRef x)
{
	if (dtype_is_narrow(t))
		return from_narrow(g, t, x);
	if (dtype_is_packed(t))
		return cg_wrapped(g, t, x);
	if (t == DT_BOOL)
		return LLVMBuildICmp(g->b, LLVMIntNE, x,
				     LLVMConstNull(LLVMTypeOf(x)), "");
	return x;
}

LLVMValueRef cg_to_mem(struct cg *g, enum dtype t, LLVMValueRef x)
{
	if (dtype_is_narrow(t))
		return to_narrow(g, t, x);
	if (t == DT_BOOL)
		return LLVMBuildZExt(g->b, x, cg_like(x, g->i8), "");
	return x;
}
