/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log, log1p and pow.  The double-precision kernels follow the methods, and
 * use the coefficients, of Sun's fdlibm (e_log.c, s_log1p.c, e_pow.c).
 */
#include "codegen/llvm/math_emit.h"

#include <math.h>

static val ln2_hi(const struct math *m)
{
	return m_fp(m, m->wide ? 0x1.62e42feep-1 : 0x1.63p-1);
}

static val ln2_lo(const struct math *m)
{
	return m_fp(m, m->wide ? 0x1.a39ef35793c76p-33 :
				 -0x1.bd0105c610ca8p-13);
}

/*
 * log(1 + f) - f + f^2/2, for sqrt(1/2) <= 1 + f <= sqrt(2); *half gets
 * f^2/2.  In double as s (f^2/2 + R(s^2)) with s = f / (2 + f); in float as
 * f^3 P(f), of error 2^-27.
 */
static val log_tail(const struct math *m, val f, val *half)
{
	val ff = m_mul(m, f, f), s, z, r;

	*half = m_mul(m, ff, m_fp(m, 0.5));
	if (!m->wide) {
		r = m_poly(m, f, -0.07634673700739379,
			   0.12761670338149186, -0.13160153030038632,
			   0.14201741362485432, -0.16623359146461852,
			   0.2000122776856974, -0.25000820987447736,
			   0.33333331694848156);
		return m_mul(m, m_mul(m, f, ff), r);
	}
	s = m_div(m, f, m_add(m, f, m_fp(m, 2)));
	z = m_mul(m, s, s);
	r = m_poly(m, z, 1.479819860511658591e-01, 1.531383769920937332e-01,
		   1.818357216161805012e-01, 2.222219843214978396e-01,
		   2.857142874366239149e-01, 3.999999999940941908e-01,
		   6.666666666666735130e-01);
	return m_mul(m, s, m_fma(m, z, r, *half));
}

static double sqrt_half(const struct math *m)
{
	return m->wide ? 0x1.6a09e667f3bcdp-1 : 0x1.6a09e6p-1;
}

val m_log_core(const struct math *m, val x)
{
	val k, f, r, half;

	f = m_sub(m, m_split(m, x, sqrt_half(m), &k), m_fp(m, 1));
	r = m_fma(m, k, ln2_lo(m), log_tail(m, f, &half));
	r = m_sub(m, f, m_sub(m, half, r));
	return m_fma(m, k, ln2_hi(m), r);
}

/* r, or the logarithm of what is not positive and finite; log zero = -inf. */
static val log_special(const struct math *m, val x, val zero, val r)
{
	val other = m_select(m, m_eq(m, x, zero), m_fp(m, -INFINITY),
			     m_fp(m, NAN));

	r = m_select(m, m_gt(m, x, zero), r, other);
	/* Infinity and NaN are their own logarithms. */
	return m_select(m, m_lt(m, x, m_fp(m, INFINITY)), r, x);
}

val m_log(const struct math *m, val x)
{
	return log_special(m, x, m_fp(m, 0), m_log_core(m, x));
}

/*
 * log(u) for u = 1 + x rounded, plus what the rounding lost over u.  Near 0,
 * x itself is f.
 */
val m_log1p(const struct math *m, val x)
{
	val one = m_fp(m, 1), u = m_add(m, x, one), k, f, c, r, half, near;

	near = m_lt(m, m_abs(m, x), m_fp(m, 0.25));
	/* The smaller of the two operands of the sum is the one to recover. */
	c = m_select(m, m_gt(m, x, one), m_sub(m, one, m_sub(m, u, x)),
		     m_sub(m, x, m_sub(m, u, one)));
	c = m_div(m, c, u);
	f = m_sub(m, m_split(m, u, sqrt_half(m), &k), one);
	f = m_select(m, near, x, f);
	k = m_select(m, near, m_fp(m, 0), k);
	c = m_select(m, near, m_fp(m, 0), c);
	r = log_tail(m, f, &half);
	r = m_add(m, m_fma(m, k, ln2_lo(m), c), r);
	r = m_fma(m, k, ln2_hi(m), m_sub(m, f, m_sub(m, half, r)));
	r = m_copysign(m, r, x);
	return log_special(m, x, m_fp(m, -1), r);
}

/* ---- pow ------------------------------------------------------------ */

static val invert(const struct math *m, val cond)
{
	return LLVMBuildNot(m->b, cond, "");
}

static val both(const struct math *m, val a, val b)
{
	return LLVMBuildAnd(m->b, a, b, "");
}

/* Is y an integer?  *odd gets 1 when it is an odd one, else 0. */
static val is_integer(const struct math *m, val y, val *odd)
{
	val limit = m_fp(m, m->wide ? 0x1p52 : 0x1p23), none = m_int(m, 0);
	val a = m_abs(m, y), t = m_add(m, a, limit);
	val small = m_lt(m, a, limit);
	val whole = LLVMBuildOr(m->b, m_eq(m, m_sub(m, t, limit), a),
				m_ge(m, a, limit), "");

	/* The last bit counts ones up to twice that, then only even ones. */
	t = m_and(m, m_bits(m, m_select(m, small, t, a)), m_int(m, 1));
	limit = m_add(m, limit, limit);
	t = m_select(m, m_lt(m, a, limit), t, none);
	*odd = m_select(m, whole, t, none);
	return whole;
}

/* x^y from r, which is |x|^y for positive finite |x|. */
static val pow_special(const struct math *m, val x, val y, val r)
{
	val zero = m_fp(m, 0), one = m_fp(m, 1), inf = m_fp(m, INFINITY);
	val nan = m_fp(m, NAN), a = m_abs(m, x), odd;
	val whole = is_integer(m, y, &odd);
	val is_zero = m_eq(m, a, zero), is_inf = m_eq(m, a, inf);
	val up = LLVMBuildXor(m->b, is_zero, m_gt(m, y, zero), "");
	val bad, sign;

	r = m_select(m, LLVMBuildOr(m->b, is_zero, is_inf, ""),
		     m_select(m, up, inf, zero), r);
	sign = m_and(m, m_bits(m, x), m_shl(m, odd, m->wide ? 63 : 31));
	r = m_float(m, m_or(m, m_bits(m, r), sign));
	/* A negative finite x, to what is no integer. */
	bad = both(m, m_lt(m, x, zero), both(m, invert(m, whole),
					     m_lt(m, a, inf)));
	r = m_select(m, bad, nan, r);
	r = m_select(m, m_nan(m, x, y), nan, r);
	r = m_select(m, m_eq(m, x, one), one, r);
	return m_select(m, m_eq(m, y, zero), one, r);
}

/* In double the error of y log x, at most 2^-45, is none for float. */
val m_pow_f32(const struct math *m, val x, val y)
{
	struct math w = math_wide(m);
	val r = m_log_core(&w, m_abs(&w, m_to(&w, x)));

	/* An infinite y times log(1) is to be 0. */
	r = m_mul(&w, r, m_clamp(&w, m_to(&w, y), -0x1p40, 0x1p40));
	return pow_special(m, x, y, m_to(m, m_exp(&w, r)));
}

/* x without the low half of its bits, so that products with it are exact. */
static val head(const struct math *m, val x)
{
	return m_float(m, m_and(m, m_bits(m, x),
				m_int(m, 0xffffffff00000000)));
}

/*
 * log2(x) in two parts of which the first is a head, of about 70 bits, for
 * positive finite x: 2/(3 ln 2) (3 + s^2 + r(s)) s with s = (x-b) / (x+b) and
 * b 1 or 3/2.
 */
static val log2_parts(const struct math *m, val x, val *low)
{
	val k, u, v, ss, sh, sl, th, tl, r, s2, ph, pl, zh, zl, dh, t1;
	val high, one = m_fp(m, 1), zero = m_fp(m, 0), b;

	x = m_split(m, x, 0x1.bb67ae8584caap-1, &k);
	high = m_gt(m, x, m_fp(m, 0x1.3988e1409212ep0));
	b = m_select(m, high, m_fp(m, 1.5), one);
	u = m_sub(m, x, b);
	v = m_div(m, one, m_add(m, x, b));
	ss = m_mul(m, u, v);
	sh = head(m, ss);
	th = head(m, m_add(m, x, b));
	tl = m_sub(m, x, m_sub(m, th, b));
	sl = m_sub(m, m_sub(m, u, m_mul(m, sh, th)), m_mul(m, sh, tl));
	sl = m_mul(m, v, sl);
	s2 = m_mul(m, ss, ss);
	r = m_poly(m, s2, 2.06975017800338417784e-01,
		   2.30660745775561754067e-01, 2.72728123808534006489e-01,
		   3.33333329818377432918e-01, 4.28571428578550184252e-01,
		   5.99999999999994648725e-01);
	r = m_mul(m, m_mul(m, s2, s2), r);
	r = m_add(m, r, m_mul(m, sl, m_add(m, sh, ss)));
	s2 = m_mul(m, sh, sh);
	th = head(m, m_add(m, m_add(m, s2, m_fp(m, 3)), r));
	tl = m_sub(m, r, m_sub(m, m_sub(m, th, m_fp(m, 3)), s2));
	u = m_mul(m, sh, th);
	v = m_add(m, m_mul(m, sl, th), m_mul(m, tl, ss));
	ph = head(m, m_add(m, u, v));
	pl = m_sub(m, v, m_sub(m, ph, u));
	zh = m_mul(m, ph, m_fp(m, 9.61796700954437255859e-01));
	zl = m_add(m, m_mul(m, ph, m_fp(m, -7.02846165095275826516e-09)),
		   m_mul(m, pl, m_fp(m, 9.61796693925975554329e-01)));
	zl = m_add(m, zl, m_select(m, high,
				   m_fp(m, 1.35003920212974897128e-08), zero));
	dh = m_select(m, high, m_fp(m, 5.84962487220764160156e-01), zero);
	t1 = head(m, m_add(m, m_add(m, m_add(m, zh, zl), dh), k));
	*low = m_sub(m, zl, m_sub(m, m_sub(m, m_sub(m, t1, k), dh), zh));
	return t1;
}

/* 2^(h + l), |l| much smaller than |h|. */
static val exp2_parts(const struct math *m, val h, val l)
{
	val magic = m_fp(m, m_magic(m) + m_bias2(m)), lo = m_fp(m, -1080);
	val hi = m_fp(m, 1030), zero = m_fp(m, 0), z = m_add(m, h, l);
	val t, n, u, v, w, c, one = m_fp(m, 1), tt;
	val under = m_lt(m, z, lo), over = m_gt(m, z, hi);

	h = m_select(m, over, hi, m_select(m, under, lo, h));
	l = m_select(m, LLVMBuildOr(m->b, over, under, ""), zero, l);
	n = m_add(m, m_add(m, h, l), magic);
	tt = m_bits(m, n);
	h = m_sub(m, h, m_sub(m, n, magic));
	t = head(m, m_add(m, h, l));
	u = m_mul(m, t, m_fp(m, 6.93147182464599609375e-01));
	v = m_sub(m, l, m_sub(m, t, h));
	v = m_add(m, m_mul(m, v, m_fp(m, 6.93147180559945286227e-01)),
		  m_mul(m, t, m_fp(m, -1.90465429995776804525e-09)));
	z = m_add(m, u, v);
	w = m_sub(m, v, m_sub(m, z, u));
	/* exp(z) - 1 = z + w + z^2/2 + ... */
	c = m_poly(m, z, 2.5110386777403218734e-8, 2.7633093851894095476e-7,
		   2.7557241440341740633e-6, 2.4801486160385026e-05,
		   0.00019841269887385676, 0.001388888894885431,
		   0.008333333333321946, 0.041666666666518595,
		   0.16666666666666674, 0.500000000000001);
	c = m_fma(m, m_mul(m, z, z), c, m_fma(m, z, w, w));
	return m_scale(m, m_add(m, one, m_add(m, z, c)), tt);
}

val m_pow_f64(const struct math *m, val x, val y)
{
	val l, h = log2_parts(m, m_abs(m, x), &l), yc, yh, p, q;

	/* Beyond 2^65 every power but of 1 is 0 or infinite. */
	yc = m_clamp(m, y, -0x1p65, 0x1p65);
	yh = head(m, yc);
	q = m_add(m, m_mul(m, m_sub(m, yc, yh), h), m_mul(m, yc, l));
	p = m_mul(m, yh, h);
	return pow_special(m, x, y, exp2_parts(m, p, q));
}
