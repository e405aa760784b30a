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

val m_exp(const struct math *m, val x)
{
	val n, ti, r, p;

	/* Where the result is surely 0 and surely infinite. */
	x = m_clamp(m, x, m->wide ? -746 : -104, m->wide ? 710 : 89);
	r = reduce(m, x, &n, &ti);
	if (m->wide)
		p = m_poly(m, r, 2.5110386777403218734e-8,
			   2.7633093851894095476e-7,
			   2.7557241440341740633e-6,
			   0.000024801486160385026774,
			   0.00019841269887385675269,
			   0.0013888888948854309995,
			   0.0083333333333219464517,
			   0.041666666666518598665,
			   0.16666666666666674761,
			   0.5000000000000010525, 1, 1);
	else
		p = m_poly(m, r, 0.0013814174378064221495,
			   0.0083689217864059864009,
			   0.041668407970781653337,
			   0.16666518938716384826,
			   0.49999993333489490112, 1, 1);
	return m_scale(m, p, ti);
}

/*
 * 2^n (q + 1) - 1 = 2 (q s + (s - 1/2)), where q = expm1(r) and s = 2^(n-1),
 * which is finite for all n.
 */
val m_expm1(const struct math *m, val x)
{
	val arg = x, n, ti, r, rr, q, s;

	x = m_clamp(m, x, -40, 710);
	r = reduce(m, x, &n, &ti);
	rr = m_mul(m, r, r);
	q = m_poly(m, r, 2.5110386777403218734e-8,
		   2.7633093851894095476e-7,
		   2.7557241440341740633e-6,
		   0.000024801486160385026774,
		   0.00019841269887385675269,
		   0.0013888888948854309995,
		   0.0083333333333219464517,
		   0.041666666666518598665,
		   0.16666666666666674761,
		   0.5000000000000010525);
	q = m_fma(m, rr, q, r);
	/* The bits end in n + 2 * 1023; the exponent of s is n - 1 + 1023. */
	s = m_float(m, m_shl(m, m_isub(m, ti, m_int(m, 1024)), 52));
	q = m_fma(m, q, s, m_sub(m, s, m_fp(m, 0.5)));
	q = m_add(m, q, q);
	/* Also for -0, and not to lose bits of denormals. */
	return m_select(m, m_lt(m, m_abs(m, arg), m_fp(m, 0x1p-54)), arg, q);
}

/* x P(x^2) / Q(x^2), of error 2^-25.5. */
val m_tanh_f32(const struct math *m, val x)
{
	val t, p, q;

	x = m_clamp(m, x, -9.02, 9.02);
	t = m_mul(m, x, x);
	p = m_poly(m, t, 1.3318968857503189445e-8,
		   0.000020583429161509793843, 0.0034940324211642607289,
		   0.13379716508171787935, 0.99999997909347153481);
	q = m_poly(m, t, 7.7619837441122108465e-7,
		   0.00032830886053212368819, 0.025871066187115463603,
		   0.46713031768503528184, 1);
	return m_clamp(m, m_div(m, m_mul(m, x, p), q), -1, 1);
}

/* With t = expm1(-2 |x|), tanh |x| = -t / (t + 2). */
val m_tanh_f64(const struct math *m, val x)
{
	val t = m_expm1(m, m_mul(m, m_abs(m, x), m_fp(m, -2)));

	t = m_div(m, t, m_add(m, t, m_fp(m, 2)));
	return m_copysign(m, t, x);
}

/* x P(x^2) / Q(x^2), of error 2^-25.6. */
val m_erf_f32(const struct math *m, val x)
{
	val t, p, q;

	x = m_clamp(m, x, -3.93, 3.93);
	t = m_mul(m, x, x);
	p = m_poly(m, t, 2.0419582678555108174e-6,
		   0.00028480511559397771813, 0.0037795320850091137243,
		   0.052790036656371822301, 0.19078225850447158735,
		   1.128379145433857748);
	q = m_poly(m, t, 0.000038003767031949162603,
		   0.0011651908915376717225, 0.014997282297184497777,
		   0.11425683503784649236, 0.50240909457264876792, 1);
	return m_clamp(m, m_div(m, m_mul(m, x, p), q), -1, 1);
}

/*
 * |x| < 1: x P(x^2) / Q(x^2).  Else 1 - exp(-x^2) P(|x|) / Q(|x|), where the
 * quotient stands for exp(x^2) erfc(x) up to 6, from where erf is 1.
 */
val m_erf_f64(const struct math *m, val x)
{
	val a = m_clamp(m, m_abs(m, x), 0, 6), aa = m_mul(m, a, a);
	val near = m_lt(m, a, m_fp(m, 1)), p, q, num, den, e;

	num = m_poly(m, aa, 7.7717856608986060903e-8,
		     0.00019688473931819784223, 0.0018774112715136863331,
		     0.045483613441994759369, 0.14350666457465310523,
		     1.1283791670955125747);
	den = m_poly(m, aa, 0.000020810258063722438928,
		     0.00069249823171114141983, 0.010693079455684449047,
		     0.093813070719609389906, 0.46051280346130855901, 1);
	p = m_poly(m, a, 0.0089131708799319906482, 0.084234748184330808534,
		   0.37324088235761188268, 0.94892043593005258934,
		   1.3900942919603190324, 0.99999988911436468069);
	q = m_poly(m, a, 0.015798307412634732775, 0.14929827418401079329,
		   0.66951115909442212427, 1.7559905424331550807,
		   2.7907179851352541734, 2.5184722891942865095, 1);
	num = m_select(m, near, m_mul(m, a, num), p);
	den = m_select(m, near, den, q);
	e = m_div(m, num, den);
	p = m_exp(m, m_mul(m, aa, m_fp(m, -1)));
	e = m_select(m, near, e, m_fnma(m, p, e, m_fp(m, 1)));
	return m_copysign(m, e, x);
}
