/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Floating-point arithmetic of 32 and 64 bits.
 *
 * What PTX calls approximate is computed by libm.  Rounding to the nearest
 * without flushing has a loop per operation; the rest goes lane by lane
 * through slow32 and slow64 (exec_round.c).
 */
#include "lanes.h"
#include "half.h"
#include "round.h"

#include <math.h>

typedef float f32;
typedef double f64;

/* PTX: a number wins over a NaN, and -0 is below +0. */
static inline f32 fmin32(f32 a, f32 b)
{
	f32 r = a < b || (a == b && signbit(a)) ? a : b;

	r = a != a ? b : b != b ? a : r;
	return r != r ? as_float(0x7fffffff) : r;
}
static inline f32 fmax32(f32 a, f32 b)
{
	f32 r = a > b || (a == b && !signbit(a)) ? a : b;

	r = a != a ? b : b != b ? a : r;
	return r != r ? as_float(0x7fffffff) : r;
}
static inline f64 fmin64(f64 a, f64 b)
{
	f64 r = a < b || (a == b && signbit(a)) ? a : b;

	return a != a ? b : b != b ? a : r;
}
static inline f64 fmax64(f64 a, f64 b)
{
	f64 r = a > b || (a == b && !signbit(a)) ? a : b;

	return a != a ? b : b != b ? a : r;
}

OP2(add_f32, f32, f32, f32, a + b)
OP2(sub_f32, f32, f32, f32, a - b)
OP2(mul_f32, f32, f32, f32, a *b)
OP3(fma_f32, f32, f32, f32, f32, __builtin_fmaf(a, b, c))
OP2(div_f32, f32, f32, f32, a / b)
OP1(rcp_f32, f32, f32, 1.0f / a)
OP1(sqrt_f32, f32, f32, __builtin_sqrtf(a))
OP1(rsqrt_f32, f32, f32, (f32)(1.0 / sqrt((f64)a)))
OP1(ex2_f32, f32, f32, exp2f(a))
OP1(lg2_f32, f32, f32, log2f(a))
OP1(sin_f32, f32, f32, sinf(a))
OP1(cos_f32, f32, f32, cosf(a))
OP1(tanh_f32, f32, f32, tanhf(a))
OP2(min_f32, f32, f32, f32, fmin32(a, b))
OP2(max_f32, f32, f32, f32, fmax32(a, b))
OP1(abs_f32, u32, u32, a & 0x7fffffff)
OP1(neg_f32, u32, u32, a ^ 0x80000000)
OP2(copysign_f32, u32, u32, u32, (a & 0x80000000) | (b & 0x7fffffff))

OP2(add_f64, f64, f64, f64, a + b)
OP2(sub_f64, f64, f64, f64, a - b)
OP2(mul_f64, f64, f64, f64, a *b)
OP3(fma_f64, f64, f64, f64, f64, __builtin_fma(a, b, c))
OP2(div_f64, f64, f64, f64, a / b)
OP1(rcp_f64, f64, f64, 1.0 / a)
OP1(sqrt_f64, f64, f64, __builtin_sqrt(a))
OP1(rsqrt_f64, f64, f64, 1.0 / sqrt(a))
OP2(min_f64, f64, f64, f64, fmin64(a, b))
OP2(max_f64, f64, f64, f64, fmax64(a, b))
OP1(abs_f64, u64, u64, a & ~(1ull << 63))
OP1(neg_f64, u64, u64, a ^ 1ull << 63)
OP2(copysign_f64, u64, u64, u64, (a & 1ull << 63) | (b & ~(1ull << 63)))

#define TESTP(name, T, expr) \
	static void name(struct warp *w, const struct insn *in, uint32_t m) \
	{ \
		u32 *d = reg(w, in->op[0]), r = 0; \
		const T *ra = reg(w, in->op[1]); \
		for (int l = 0; l < LANES; l++) { \
			T a = ra[l]; \
			r |= (u32) !!(expr) << l; \
		} \
		*d = (*d & ~m) | (r & m); \
	}
TESTP(finite_f32, f32, isfinite(a))
TESTP(infinite_f32, f32, isinf(a))
TESTP(number_f32, f32, !isnan(a))
TESTP(notanumber_f32, f32, isnan(a))
TESTP(normal_f32, f32, isnormal(a))
TESTP(subnormal_f32, f32, fpclassify(a) == FP_SUBNORMAL)
TESTP(finite_f64, f64, isfinite(a))
TESTP(infinite_f64, f64, isinf(a))
TESTP(number_f64, f64, !isnan(a))
TESTP(notanumber_f64, f64, isnan(a))
TESTP(normal_f64, f64, isnormal(a))
TESTP(subnormal_f64, f64, fpclassify(a) == FP_SUBNORMAL)

#define ALL (F_RN | F_ROUND | F_FTZ | F_SAT)
#define R32(n, s, f, mods, k) ROWF(n ".f32", s, f, slow32, mods, k)
#define R64(n, s, f, mods, k) ROWF(n ".f64", s, f, slow64, mods, k)

/* clang-format off */
const struct row rows_float[] = {
	R32("add", "www", add_f32, ALL, K_ADD),
	R32("sub", "www", sub_f32, ALL, K_SUB),
	R32("mul", "www", mul_f32, ALL, K_MUL),
	R32("fma", "wwww", fma_f32, ALL, K_FMA),
	R32("mad", "wwww", fma_f32, ALL, K_FMA),
	R32("div", "www", div_f32, ALL, K_DIV),
	R32("div.approx", "www", div_f32, F_FTZ, K_DIV),
	R32("div.full", "www", div_f32, F_FTZ, K_DIV),
	R32("rcp", "ww", rcp_f32, ALL, K_RCP),
	R32("rcp.approx", "ww", rcp_f32, F_FTZ, K_RCP),
	R32("sqrt", "ww", sqrt_f32, ALL, K_SQRT),
	R32("sqrt.approx", "ww", sqrt_f32, F_FTZ, K_SQRT),
	R32("rsqrt.approx", "ww", rsqrt_f32, F_FTZ, K_RSQRT),
	R32("ex2.approx", "ww", ex2_f32, F_FTZ, K_EX2),
	R32("lg2.approx", "ww", lg2_f32, F_FTZ, K_LG2),
	R32("sin.approx", "ww", sin_f32, F_FTZ, K_SIN),
	R32("cos.approx", "ww", cos_f32, F_FTZ, K_COS),
	R32("tanh.approx", "ww", tanh_f32, 0, K_TANH),
	R32("min", "www", min_f32, F_FTZ | F_NAN, K_MIN),
	R32("max", "www", max_f32, F_FTZ | F_NAN, K_MAX),
	R32("abs", "ww", abs_f32, F_FTZ, K_ABS),
	R32("neg", "ww", neg_f32, F_FTZ, K_NEG),
	ROW("copysign.f32", "www", copysign_f32),
	R64("add", "qqq", add_f64, F_RN | F_ROUND, K_ADD),
	R64("sub", "qqq", sub_f64, F_RN | F_ROUND, K_SUB),
	R64("mul", "qqq", mul_f64, F_RN | F_ROUND, K_MUL),
	R64("fma", "qqqq", fma_f64, F_RN | F_ROUND, K_FMA),
	R64("mad", "qqqq", fma_f64, F_RN | F_ROUND, K_FMA),
	R64("div", "qqq", div_f64, F_RN | F_ROUND, K_DIV),
	R64("rcp", "qq", rcp_f64, F_RN | F_ROUND, K_RCP),
	R64("sqrt", "qq", sqrt_f64, F_RN | F_ROUND, K_SQRT),
	ROWF("rcp.approx.f64", "qq", rcp_f64, rcp_f64, F_FTZ, 0),
	ROWF("rsqrt.approx.f64", "qq", rsqrt_f64, rsqrt_f64, F_FTZ, 0),
	ROW("min.f64", "qqq", min_f64), ROW("max.f64", "qqq", max_f64),
	ROW("abs.f64", "qq", abs_f64), ROW("neg.f64", "qq", neg_f64),
	ROW("copysign.f64", "qqq", copysign_f64),
	ROW("testp.finite.f32", "pw", finite_f32),
	ROW("testp.infinite.f32", "pw", infinite_f32),
	ROW("testp.number.f32", "pw", number_f32),
	ROW("testp.notanumber.f32", "pw", notanumber_f32),
	ROW("testp.normal.f32", "pw", normal_f32),
	ROW("testp.subnormal.f32", "pw", subnormal_f32),
	ROW("testp.finite.f64", "pq", finite_f64),
	ROW("testp.infinite.f64", "pq", infinite_f64),
	ROW("testp.number.f64", "pq", number_f64),
	ROW("testp.notanumber.f64", "pq", notanumber_f64),
	ROW("testp.normal.f64", "pq", normal_f64),
	ROW("testp.subnormal.f64", "pq", subnormal_f64),
	{ 0 },
};
/* clang-format on */
