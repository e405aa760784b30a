/* SPDX-License-Identifier: Apache-2.0 */
#include "half.h"

#include <math.h>

const struct format fmt_f16 = { 5, 10, 0 };
const struct format fmt_bf16 = { 8, 7, 0 };
const struct format fmt_tf32 = { 8, 10, 0 };
const struct format fmt_f32 = { 8, 23, 0 };
const struct format fmt_e4m3 = { 4, 3, 1 };
const struct format fmt_e5m2 = { 5, 2, 0 };

static double to_integer(double x, enum rounding mode)
{
	double r;

	switch (mode) {
	case RZ: return trunc(x);
	case RM: return floor(x);
	case RP: return ceil(x);
	case RNA: return round(x);
	default:
		r = floor(x);
		if (x - r > 0.5 || (x - r == 0.5 && fmod(r, 2) != 0))
			r += 1;
		return r;
	}
}

static uint32_t top_of(const struct format *f)
{
	uint32_t inf = ((1u << f->exp_bits) - 1) << f->mant_bits;

	return f->finite ? (inf | ((1u << f->mant_bits) - 2)) : inf - 1;
}

uint32_t format_from(double x, const struct format *f, enum rounding mode,
		     int sat)
{
	int m = f->mant_bits, bias = (1 << (f->exp_bits - 1)) - 1, e;
	uint32_t sign = (uint32_t) !!signbit(x) << (f->exp_bits + m), bits;
	uint32_t all = (1u << (f->exp_bits + m)) - 1, top = top_of(f);
	double q;

	if (isnan(x))
		return f->exp_bits == 5 && m == 2    ? 0x7f
		       : f->exp_bits == 8 && m == 23 ? 0x7fffffff
						     : all;
	/* A directed mode looks at the signed value, rounded at its unit. */
	if (isinf(x))
		return sign | (sat || f->finite ? (sat ? top : all) : top + 1);
	if (x == 0)
		return sign;
	e = ilogb(x);
	if (e < 1 - bias)
		e = 1 - bias;
	q = fabs(to_integer(ldexp(x, m - e), mode));
	/* A carry to the next exponent comes out of the sum. */
	bits = (uint32_t)(e + bias - 1) * (1u << m) + (uint32_t)q;
	if (e + bias - 1 > (1 << f->exp_bits) || bits > top) {
		if (sat || mode == RZ || (mode == RM && !sign) ||
		    (mode == RP && sign))
			bits = top;
		else
			bits = f->finite ? all : top + 1;
	}
	return sign | bits;
}

double format_to(uint32_t v, const struct format *f)
{
	int m = f->mant_bits, bias = (1 << (f->exp_bits - 1)) - 1;
	uint32_t e = v >> m & ((1u << f->exp_bits) - 1);
	uint32_t frac = v & ((1u << m) - 1);
	double sign = v >> (f->exp_bits + m) & 1 ? -1 : 1;

	if (e == (1u << f->exp_bits) - 1) {
		if (f->finite ? frac == (1u << m) - 1 : frac != 0)
			return NAN;
		if (!f->finite)
			return sign * INFINITY;
	}
	if (!e)
		return sign * ldexp(frac, 1 - bias - m);
	return sign * ldexp((double)(frac | 1u << m), (int)e - bias - m);
}
