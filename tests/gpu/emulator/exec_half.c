/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arithmetic of f16 and bf16, alone and in pairs.
 *
 * Sums and products of two halves are exact enough in 32 bits that rounding
 * twice changes nothing; fma goes through 64 bits, in which the product is
 * exact and the sum is rounded to odd.
 */
#include "lanes.h"
#include "half.h"
#include "round.h"

#include <math.h>

/* a * b + c as a float that rounds to the right half. */
static float fma_odd(float a, float b, float c)
{
	double p = (double)a * b, s = p + (double)c, bb, err;
	uint64_t u;

	/* The error of the sum, exactly (Knuth). */
	bb = s - p;
	err = (p - (s - bb)) + ((double)c - bb);
	if (err != 0 && isfinite(s)) {
		u = as_bits64(s);
		if (!(u & 1))
			u += (err > 0) == (s > 0) ? 1 : -1ull;
		s = as_double(u);
	}
	/* To float, rounding to odd again. */
	float f = (float)s;

	if ((double)f != s && isfinite(f) && !(as_bits(f) & 1)) {
		uint32_t v = as_bits(f);

		v += ((double)fabsf(f) < fabs(s)) ? 1 : -1u;
		f = as_float(v);
	}
	return f;
}

static float pick_min(float a, float b)
{
	if (a != a)
		return b;
	return a < b || b != b || (a == b && signbit(a)) ? a : b;
}
static float pick_max(float a, float b)
{
	if (a != a)
		return b;
	return a > b || b != b || (a == b && !signbit(a)) ? a : b;
}

static float compute(const struct insn *in, float a, float b, float c)
{
	float r;

	switch (in->kind) {
	case K_ADD: r = a + b; break;
	case K_SUB: r = a - b; break;
	case K_MUL: r = a * b; break;
	case K_FMA: r = fma_odd(a, b, c); break;
	case K_MIN: r = pick_min(a, b); break;
	case K_MAX: r = pick_max(a, b); break;
	case K_EX2: r = exp2f(a); break;
	case K_TANH: r = tanhf(a); break;
	case K_ABS: r = fabsf(a); break;
	default: r = -a; break;
	}
	if (in->flags & F_NAN && (a != a || b != b))
		r = NAN;
	if (in->flags & F_SAT)
		r = r > 0 ? (r < 1 ? r : 1) : 0;
	if (in->flags & F_RELU && r == r)
		r = r > 0 ? r : 0;
	return r;
}

static uint32_t flush16(uint32_t h, uint8_t flags)
{
	return flags & F_FTZ && !(h & 0x7c00) ? h & 0x8000 : h;
}

static uint32_t one_f16(const struct insn *in, uint32_t a, uint32_t b,
			uint32_t c)
{
	a = flush16(a & 0xffff, in->flags);
	b = flush16(b & 0xffff, in->flags);
	c = flush16(c & 0xffff, in->flags);
	if (in->kind == K_NEG)
		return a ^ 0x8000;
	if (in->kind == K_ABS)
		return a & 0x7fff;
	return flush16(
		float_to_half(compute(in, half_to_float(a), half_to_float(b),
				      half_to_float(c))),
		in->flags);
}

static uint32_t one_bf16(const struct insn *in, uint32_t a, uint32_t b,
			 uint32_t c)
{
	if (in->kind == K_NEG)
		return (a & 0xffff) ^ 0x8000;
	if (in->kind == K_ABS)
		return a & 0x7fff;
	return float_to_bf16(compute(in, bf16_to_float(a), bf16_to_float(b),
				     bf16_to_float(c)));
}

#define HALF(name, one) \
	static void name(struct warp *w, const struct insn *in, uint32_t m) \
	{ \
		u32 *d = reg(w, in->op[0]); \
		const u32 *a = reg(w, in->op[1]), *b = reg(w, in->op[2]); \
		const u32 *c = reg(w, in->op[3]); \
		EACH_LANE(m, d[l] = one(in, a[l], b[l], c[l])); \
	} \
	static void name##x2(struct warp *w, const struct insn *in, \
			     uint32_t m) \
	{ \
		u32 *d = reg(w, in->op[0]); \
		const u32 *a = reg(w, in->op[1]), *b = reg(w, in->op[2]); \
		const u32 *c = reg(w, in->op[3]); \
		EACH_LANE(m, u32 lo = one(in, a[l], b[l], c[l]); \
			  u32 hi = \
				  one(in, a[l] >> 16, b[l] >> 16, c[l] >> 16); \
			  d[l] = hi << 16 | lo); \
	}
HALF(f16, one_f16)
HALF(bf16, one_bf16)

#define MODS (F_RN | F_FTZ | F_SAT | F_RELU | F_NAN)
#define H(n, k, h, w) \
	ROWF(n ".f16", h, f16, f16, MODS, k), \
		ROWF(n ".bf16", h, bf16, bf16, MODS, k), \
		ROWF(n ".f16x2", w, f16x2, f16x2, MODS, k), \
		ROWF(n ".bf16x2", w, bf16x2, bf16x2, MODS, k)

const struct row rows_half[] = {
	H("add", K_ADD, "hhh", "www"),
	H("sub", K_SUB, "hhh", "www"),
	H("mul", K_MUL, "hhh", "www"),
	H("fma", K_FMA, "hhhh", "wwww"),
	H("min", K_MIN, "hhh", "www"),
	H("max", K_MAX, "hhh", "www"),
	H("ex2.approx", K_EX2, "hh", "ww"),
	H("tanh.approx", K_TANH, "hh", "ww"),
	H("abs", K_ABS, "hh", "ww"),
	H("neg", K_NEG, "hh", "ww"),
	{ 0 },
};
