/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of math*.c: short names for the IR that formulas are made of.  Every
 * function works on the type of the struct math it is given, a scalar or a
 * vector.
 */
#ifndef CODEGEN_LLVM_MATH_EMIT_H
#define CODEGEN_LLVM_MATH_EMIT_H

#include <llvm-c/Core.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef LLVMValueRef val;

struct math {
	LLVMBuilderRef b;
	LLVMTypeRef fp;		/* float, double or a vector of them */
	LLVMTypeRef bits;	/* integers of the same width and count */
	unsigned lanes;		/* 0 for a scalar */
	bool wide;		/* double */
};

struct math math_of(LLVMBuilderRef b, LLVMTypeRef t);
/* The same lanes as double. */
struct math math_wide(const struct math *m);
val m_to(const struct math *m, val x);		/* convert to m's width */

val m_fp(const struct math *m, double v);	/* constants */
val m_int(const struct math *m, uint64_t v);

/* Rounded once each, never fused. */
val m_add(const struct math *m, val a, val b);
val m_sub(const struct math *m, val a, val b);
val m_mul(const struct math *m, val a, val b);
val m_div(const struct math *m, val a, val b);
/* a * b + c and c - a * b, fused where the machine can. */
val m_fma(const struct math *m, val a, val b, val c);
val m_fnma(const struct math *m, val a, val b, val c);
val m_abs(const struct math *m, val a);
val m_sqrt(const struct math *m, val a);
val m_copysign(const struct math *m, val magnitude, val sign);
/* c[0] x^(n-1) + ... + c[n-1] */
val m_poly_n(const struct math *m, val x, size_t n, const double *c);
#define m_poly(m, x, ...)                                             \
	m_poly_n(m, x, sizeof((double[]){ __VA_ARGS__ }) / sizeof(double), \
		 (const double[]){ __VA_ARGS__ })

/* Comparisons are false for NaN. */
val m_lt(const struct math *m, val a, val b);
val m_gt(const struct math *m, val a, val b);
val m_ge(const struct math *m, val a, val b);
val m_eq(const struct math *m, val a, val b);
val m_nan(const struct math *m, val a, val b);	/* is one of them NaN? */
val m_select(const struct math *m, val cond, val a, val b);
/* Into [lo, hi]; NaN stays. */
val m_clamp(const struct math *m, val x, double lo, double hi);

val m_bits(const struct math *m, val x);	/* reinterpret */
val m_float(const struct math *m, val x);
val m_iadd(const struct math *m, val a, val b);
val m_isub(const struct math *m, val a, val b);
val m_and(const struct math *m, val a, val b);
val m_or(const struct math *m, val a, val b);
val m_xor(const struct math *m, val a, val b);
val m_shl(const struct math *m, val a, unsigned n);
val m_shr(const struct math *m, val a, unsigned n);	/* logical */

/* Mantissa bits, and the constants of each width. */
static inline unsigned m_mant(const struct math *m)
{
	return m->wide ? 52 : 23;
}
/* 1.5 * 2^mantissa: adding it rounds to an integer, into the low bits. */
static inline double m_magic(const struct math *m)
{
	return m->wide ? 0x1.8p52 : 0x1.8p23;
}

/*
 * p * 2^n for `ti`, the bits of m_magic() + m_bias2() + n; |p| in [1/2, 2].
 * Exact but for one rounding when the result is denormal; infinite when it
 * is too large.
 */
static inline double m_bias2(const struct math *m)
{
	return m->wide ? 2046 : 254;
}
val m_scale(const struct math *m, val p, val ti);

/* x = m * 2^k with m in [low, 2 low) for positive finite x. */
val m_split(const struct math *m, val x, double low, val *k);

/* ---- the functions, of the width in their name or of any ------------ */

val m_exp(const struct math *m, val x);
val m_log(const struct math *m, val x);
/* m_log for positive finite x only. */
val m_log_core(const struct math *m, val x);
val m_tanh(const struct math *m, val x);
val m_erf_f32(const struct math *m, val x);
val m_erf_f64(const struct math *m, val x);
val m_log1p(const struct math *m, val x);
val m_expm1(const struct math *m, val x);
val m_sin(const struct math *m, val x);
val m_cos(const struct math *m, val x);
val m_tan(const struct math *m, val x);
val m_asin(const struct math *m, val x);
val m_acos(const struct math *m, val x);
val m_atan(const struct math *m, val x);
val m_pow_f32(const struct math *m, val x, val y);
val m_pow_f64(const struct math *m, val x, val y);

#endif
