/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Floats of 8 and 4 bits: f32 in registers.  No machine that is served has
 * instructions for them, so integer arithmetic converts, exactly, by what
 * dtype_format() says of them.
 */
#include "codegen/llvm/cg.h"

#include <math.h>

enum { F32_FRAC = 23, F32_BIAS = 127 };

#define F32_INF INT64_C(0x7f800000)
#define F32_NAN INT64_C(0x7fc00000)

/* A power of two as bits of an f32. */
static int64_t power(int e)
{
	return (int64_t)(e + F32_BIAS) << F32_FRAC;
}

/* The sign bit of an f32 is how many places above that of the format? */
static unsigned sign_shift(const struct float_format *f)
{
	unsigned n = 31;

	for (uint32_t s = f->sign; s > 1; s >>= 1)
		n--;
	return n;
}

/* ---- f8e8m0: powers of two ------------------------------------------ */

static LLVMValueRef power_value(struct cg *g, LLVMValueRef u)
{
	LLVMBuilderRef b = g->b;
#define K(k) cg_konst(u, g->i32, (k))
	LLVMValueRef r = LLVMBuildShl(b, u, K(F32_FRAC), "");

	/* The least one is a subnormal f32. */
	r = LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntEQ, u, K(0), ""),
			    K(INT64_C(1) << (F32_FRAC - 1)), r, "");
	return LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntEQ, u, K(0xff), ""),
			       K(F32_NAN), r, "");
}

static LLVMValueRef power_bits(struct cg *g, LLVMValueRef u)
{
	LLVMBuilderRef b = g->b;
	/* Half way from 2^-128 to 2^-127, and from there to 2^-126. */
	int64_t least = 0x300000, second = 0x600000;
	int64_t half = INT64_C(1) << (F32_FRAC - 1);
	LLVMValueRef r = LLVMBuildLShr(b, LLVMBuildAdd(b, u, K(half), ""),
				       K(F32_FRAC), "");
	LLVMValueRef low = LLVMBuildICmp(b, LLVMIntSLT, u, K(least), "");
	LLVMValueRef high = LLVMBuildICmp(b, LLVMIntSGE, u, K(F32_INF - half),
					  "");

	r = LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntSLT, u, K(second), ""),
			    K(0), r, "");
	return LLVMBuildSelect(b, LLVMBuildOr(b, low, high, ""), K(0xff), r,
			       "");
}

/* ---- sign and magnitude --------------------------------------------- */

static LLVMValueRef value_of(struct cg *g, const struct float_format *f,
			     LLVMValueRef u)
{
	LLVMBuilderRef b = g->b;
	LLVMValueRef mag = LLVMBuildAnd(b, u, K(f->sign - 1), "");
	LLVMValueRef sign = LLVMBuildShl(b, LLVMBuildAnd(b, u, K(f->sign), ""),
					 K(sign_shift(f)), "");
	LLVMValueRef r = LLVMBuildShl(b, mag, K(F32_FRAC - f->frac), "");

	r = cg_rebiased(g, r, F32_BIAS - (int)f->bias);
	if (f->max + 1 < f->sign) {
		LLVMValueRef inf = LLVMBuildICmp(b, LLVMIntEQ, mag,
						 K(f->inf), "");
		LLVMValueRef beyond = f->inf ? LLVMBuildSelect(b, inf,
							       K(F32_INF),
							       K(F32_NAN), "")
					     : K(F32_NAN);

		r = LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntUGT, mag,
						     K(f->max), ""),
				    beyond, r, "");
	}
	r = LLVMBuildOr(b, r, sign, "");
	if (f->nan == f->sign)
		r = LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntEQ, u,
						     K(f->nan), ""),
				    K(F32_NAN), r, "");
	return r;
}

/*
 * Normal numbers are rounded by adding half of what is cut off.  Below them
 * the adder of floats rounds: the last bit of a sum with `magic` is that of a
 * subnormal number.
 */
static LLVMValueRef magnitude(struct cg *g, const struct float_format *f,
			      LLVMValueRef a)
{
	LLVMBuilderRef b = g->b;
	LLVMValueRef u = a;
	LLVMTypeRef f32 = cg_like(u, g->f32), i32 = LLVMTypeOf(u);
	unsigned cut = F32_FRAC - f->frac;
	int least = 1 - (int)f->bias;
	int magic = least - (int)f->frac + F32_FRAC;
	LLVMValueRef odd = LLVMBuildAnd(b, LLVMBuildLShr(b, a, K(cut), ""),
					K(1), "");
	LLVMValueRef n = LLVMBuildAdd(b, LLVMBuildAdd(b, a, odd, ""),
				      K((INT64_C(1) << (cut - 1)) - 1 -
					power(-(int)f->bias)), "");
	LLVMValueRef d = LLVMBuildFAdd(b, LLVMBuildBitCast(b, a, f32, ""),
				       cg_float_const(u, g->f32,
						      ldexp(1, magic)), "");

	d = LLVMBuildSub(b, LLVMBuildBitCast(b, d, i32, ""), K(power(magic)),
			 "");
	return LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntULT, a,
						K(power(least)), ""),
			       d, LLVMBuildLShr(b, n, K(cut), ""), "");
}

static LLVMValueRef bits_of(struct cg *g, const struct float_format *f,
			    LLVMValueRef u)
{
	LLVMBuilderRef b = g->b;
	LLVMValueRef a = LLVMBuildAnd(b, u, K(0x7fffffff), "");
	LLVMValueRef sign = LLVMBuildAnd(
		b, LLVMBuildLShr(b, u, K(sign_shift(f)), ""), K(f->sign), "");
	LLVMValueRef r = magnitude(g, f, a);
	uint32_t over = f->inf ? f->inf : f->nan ? f->nan : f->max;

	r = LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntUGT, r, K(f->max), ""),
			    K(over), r, "");
	LLVMValueRef nan = LLVMBuildICmp(b, LLVMIntUGT, a, K(F32_INF), "");

	r = LLVMBuildSelect(b, nan, K(f->nan), r, "");
	/* Where the sign alone is NaN there is no -0. */
	if (f->nan == f->sign)
		sign = LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntEQ, r, K(0),
							""),
				       K(0), sign, "");
	r = LLVMBuildOr(b, r, sign, "");
	return f->nan ? r : LLVMBuildSelect(b, nan, K(0), r, "");
#undef K
}

LLVMValueRef float8_value(struct cg *g, enum dtype t, LLVMValueRef bits)
{
	const struct float_format *f = dtype_format(t);
	LLVMValueRef u = LLVMBuildZExt(g->b, bits, cg_like(bits, g->i32), "");

	u = f->sign ? value_of(g, f, u) : power_value(g, u);
	return LLVMBuildBitCast(g->b, u, cg_like(u, g->f32), "");
}

LLVMValueRef float8_bits(struct cg *g, enum dtype t, LLVMValueRef x)
{
	const struct float_format *f = dtype_format(t);
	LLVMValueRef u = LLVMBuildBitCast(g->b, x, cg_like(x, g->i32), "");

	u = f->sign ? bits_of(g, f, u) : power_bits(g, u);
	return LLVMBuildTrunc(g->b, u, cg_like(u, g->i8), "");
}
