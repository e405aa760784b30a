/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exp, expm1, tanh and erf.  Coefficients without a source are minimax fits
 * (Remez; for quotients, least squares with Lawson's weights) of relative
 * error below half a unit in the last place.
 */
#include "codegen/llvm/math_emit.h"

#define LOG2E 0x1.71547652b82fep0

/*
 * x = n ln 2 + r with |r| <= ln 2 / 2.  ln 2 is split so that n times its high
 * part is exact.  *ti gets the bits that m_scale() takes.
 */
static val reduce(const struct math *m, val x, val *n, val *ti)
{
	val magic = m_fp(m, m_magic(m) + m_bias2(m));
	val t = m_fma(m, x, m_fp(m, LOG2E), magic);
	val hi = m_fp(m, m->wide ? 0x1.62e42feep-1 : 0x1.63p-1);
	val lo = m_fp(m, m->wide ? 0x1.a39ef35793c76p-33 :
				   -0x1.bd0105c610ca8p-13);

	*ti = m_bits(m, t);
	*n = m_sub(m, t, magic);
	return m_fnma(m, *n, lo, m_fnma(m, *n, hi, x));
}

/* (exp(r) - 1 - r) / r^2 for |r| <= ln 2 / 2. */
static val exp_tail(const struct math *m, val r)
{
	if (m->wide)
		return m_poly(m, r, 2.5110386777403218e-08,
			      2.7633093851894093e-07,
			      2.755724144034174e-06,
			      2.4801486160385026e-05,
			      0.00019841269887385676,
			      0.001388888894885431,
			      0.008333333333321946,
			      0.041666666666518595,
			      0.16666666666666674,
			      0.500000000000001);
	return m_poly(m, r, 0.0013814174378064222,
		      0.008368921786405987, 0.041668407970781654,
		      0.16666518938716385, 0.4999999333348949);
}

static val expm1_core(const struct math *m, val r)
{
	return m_fma(m, m_mul(m, r, r), exp_tail(m, r), r);
}

val m_exp(const struct math *m, val x)
{
	val one = m_fp(m, 1), n, ti, r, p;

	/* Where the result is surely 0 and surely infinite. */
	x = m_clamp(m, x, m->wide ? -746 : -104, m->wide ? 710 : 89);
	r = reduce(m, x, &n, &ti);
	p = m_fma(m, m_fma(m, exp_tail(m, r), r, one), r, one);
	return m_scale(m, p, ti);
}

/*
 * 2^n (q + 1) - 1 = 2 (q s + (s - 1/2)), where q = expm1(r) and s = 2^(n-1),
 * which is finite for all n.
 */
val m_expm1(const struct math *m, val x)
{
	val arg = x, n, ti, q, s, tiny;
	uint64_t bias = m->wide ? 1023 : 127;

	x = m_clamp(m, x, m->wide ? -40 : -20, m->wide ? 710 : 89);
	q = expm1_core(m, reduce(m, x, &n, &ti));
	/* The bits end in n + 2 bias; the exponent of s is n - 1 + bias. */
	s = m_isub(m, ti, m_int(m, bias + 1));
	s = m_float(m, m_shl(m, s, m_mant(m)));
	q = m_fma(m, q, s, m_sub(m, s, m_fp(m, 0.5)));
	q = m_add(m, q, q);
	/* Also for -0, and not to lose bits of denormals. */
	tiny = m_fp(m, m->wide ? 0x1p-54 : 0x1p-25);
	return m_select(m, m_lt(m, m_abs(m, arg), tiny), arg, q);
}

/*
 * With t = expm1(-2 |x|), tanh |x| = -t / (t + 2).  The scale 2^n of t has
 * -64 < n <= 0, and needs one factor only.
 */
val m_tanh(const struct math *m, val x)
{
	val one = m_fp(m, 1), a = m_mul(m, m_abs(m, x), m_fp(m, -2));
	val n, ti, s, q, t;
	uint64_t bias = m->wide ? 1023 : 127;

	a = m_clamp(m, a, m->wide ? -40 : -20, 0);
	q = expm1_core(m, reduce(m, a, &n, &ti));
	s = m_float(m, m_shl(m, m_isub(m, ti, m_int(m, bias)), m_mant(m)));
	t = m_fma(m, q, s, m_sub(m, s, one));
	t = m_div(m, t, m_add(m, t, m_fp(m, 2)));
	return m_copysign(m, t, x);
}

/*
 * |x| < 1: x + x P(x^2), of error 2^-29.  Else 1 - P(|x|)^8, of error 2^-28;
 * a power takes off the range that would need more terms.
 */
val m_erf_f32(const struct math *m, val x)
{
	val a = m_clamp(m, m_abs(m, x), 0, 3.93), t = m_mul(m, a, a), p, q;

	p = m_poly(m, t, 7.853849828429409e-05,
		   -0.0008010202699272506, 0.005188330482592488,
		   -0.02685381458207252, 0.11283585248605635,
		   -0.376126258374651, 0.12837916572955937);
	p = m_fma(m, a, p, a);
	q = m_poly(m, a, 1.6022462566132343e-05,
		   -4.45487007043558e-05, -0.001482319146845067,
		   0.01020260236334199, -0.006966210185888299,
		   -0.06561525035116, -0.14289382696988592,
		   1.0003637199568605);
	q = m_mul(m, q, q);
	q = m_mul(m, q, q);
	q = m_fnma(m, q, q, m_fp(m, 1));
	p = m_select(m, m_lt(m, a, m_fp(m, 1)), p, q);
	return m_copysign(m, p, x);
}

/*
 * |x| < 1: x + x P(x^2) / Q(x^2).  Else 1 - exp(-x^2) P(|x|) / Q(|x|), where
 * the quotient stands for exp(x^2) erfc(x) up to 6, from where erf is 1.
 */
val m_erf_f64(const struct math *m, val x)
{
	val a = m_clamp(m, m_abs(m, x), 0, 6), aa = m_mul(m, a, a);
	val near = m_lt(m, a, m_fp(m, 1)), p, q, num, den, e;

	num = m_poly(m, aa, -2.073254020711345e-05,
		     -0.0004956134923929436, -0.008815668184170762,
		     -0.04832945727761463, -0.31700613888665546,
		     0.1283791670955126);
	den = m_poly(m, aa, 2.081025806372244e-05,
		     0.0006924982317111414, 0.01069307945568445,
		     0.09381307071960938, 0.4605128034613086, 1);
	p = m_poly(m, a, 0.00891317087993199, 0.08423474818433081,
		   0.3732408823576119, 0.9489204359300526,
		   1.390094291960319, 0.9999998891143647);
	q = m_poly(m, a, 0.015798307412634733, 0.1492982741840108,
		   0.6695111590944222, 1.755990542433155,
		   2.790717985135254, 2.5184722891942863, 1);
	num = m_select(m, near, num, p);
	den = m_select(m, near, den, q);
	e = m_div(m, num, den);
	p = m_exp(m, m_mul(m, aa, m_fp(m, -1)));
	e = m_select(m, near, m_fma(m, a, e, a),
		     m_fnma(m, p, e, m_fp(m, 1)));
	return m_copysign(m, e, x);
}
