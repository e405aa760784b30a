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
		return m_poly(m, r, 2.5110386777403218734e-8,
			      2.7633093851894095476e-7,
			      2.7557241440341740633e-6,
			      0.000024801486160385026774,
			      0.00019841269887385675269,
			      0.0013888888948854309995,
			      0.0083333333333219464517,
			      0.041666666666518598665,
			      0.16666666666666674761,
			      0.5000000000000010525);
	return m_poly(m, r, 0.0013814174378064221495,
		      0.0083689217864059864009, 0.041668407970781653337,
		      0.16666518938716384826, 0.49999993333489490112);
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
	val arg = x, n, ti, q, s;

	x = m_clamp(m, x, -40, 710);
	q = expm1_core(m, reduce(m, x, &n, &ti));
	/* The bits end in n + 2 * 1023; the exponent of s is n - 1 + 1023. */
	s = m_float(m, m_shl(m, m_isub(m, ti, m_int(m, 1024)), 52));
	q = m_fma(m, q, s, m_sub(m, s, m_fp(m, 0.5)));
	q = m_add(m, q, q);
	/* Also for -0, and not to lose bits of denormals. */
	return m_select(m, m_lt(m, m_abs(m, arg), m_fp(m, 0x1p-54)), arg, q);
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

	p = m_poly(m, t, 0.000078538498284294088513,
		   -0.00080102026992725067869, 0.0051883304825924878339,
		   -0.026853814582072517433, 0.11283585248605634751,
		   -0.37612625837465104191, 0.12837916572955936822);
	p = m_fma(m, a, p, a);
	q = m_poly(m, a, 0.000016022462566132344843,
		   -0.000044548700704355799376, -0.0014823191468450670165,
		   0.010202602363341990227, -0.0069662101858882994974,
		   -0.065615250351160010344, -0.14289382696988592579,
		   1.0003637199568605019);
	q = m_mul(m, q, q);
	q = m_mul(m, q, q);
	q = m_fnma(m, q, q, m_fp(m, 1));
	p = m_select(m, m_lt(m, a, m_fp(m, 1)), p, q);
	return m_copysign(m, p, x);
}

/*
 * |x| < 1: x + x P(x^2) / Q(x^2).  Else 1 - exp(-x^2) P(|x|) / Q(|x|), where the
 * quotient stands for exp(x^2) erfc(x) up to 6, from where erf is 1.
 */
val m_erf_f64(const struct math *m, val x)
{
	val a = m_clamp(m, m_abs(m, x), 0, 6), aa = m_mul(m, a, a);
	val near = m_lt(m, a, m_fp(m, 1)), p, q, num, den, e;

	num = m_poly(m, aa, -0.000020732540207113452867097,
		     -0.00049561349239294357760, -0.0088156681841707627139,
		     -0.048329457277614630537, -0.31700613888665545378,
		     0.1283791670955125747);
	den = m_poly(m, aa, 0.000020810258063722438928,
		     0.00069249823171114141983, 0.010693079455684449047,
		     0.093813070719609389906, 0.46051280346130855901, 1);
	p = m_poly(m, a, 0.0089131708799319906482, 0.084234748184330808534,
		   0.37324088235761188268, 0.94892043593005258934,
		   1.3900942919603190324, 0.99999988911436468069);
	q = m_poly(m, a, 0.015798307412634732775, 0.14929827418401079329,
		   0.66951115909442212427, 1.7559905424331550807,
		   2.7907179851352541734, 2.5184722891942865095, 1);
	num = m_select(m, near, num, p);
	den = m_select(m, near, den, q);
	e = m_div(m, num, den);
	p = m_exp(m, m_mul(m, aa, m_fp(m, -1)));
	e = m_select(m, near, m_fma(m, a, e, a),
		     m_fnma(m, p, e, m_fp(m, 1)));
	return m_copysign(m, e, x);
}
