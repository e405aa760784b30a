/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sin, cos, tan and their inverses.  The kernels for double use the methods
 * and coefficients of Sun's fdlibm (k_sin.c, k_cos.c, s_atan.c, e_asin.c).
 */
#include "codegen/llvm/math_emit.h"

/* An angle modulo pi/2, as y + low, and the quarter turns taken from it. */
struct angle {
	val y, low, quarters;
};

/*
 * pi/2 in four parts.  The first three have 23 bits, so that n of up to 30
 * bits times one of them is exact; so are the first two differences.  What
 * is left has an absolute error below 2^-90.
 */
static struct angle reduce(const struct math *m, val x)
{
	val magic = m_fp(m, m_magic(m));
	val t = m_fma(m, x, m_fp(m, 0x1.45f306dc9c883p-1), magic);
	val n = m_sub(m, t, magic), w, r, e, back;
	struct angle a = { .quarters = m_bits(m, t) };

	x = m_fnma(m, n, m_fp(m, 0x1.921fb4p0), x);
	x = m_fnma(m, n, m_fp(m, 0x1.4442dp-24), x);
	w = m_mul(m, n, m_fp(m, 0x1.846988p-48));
	r = m_sub(m, x, w);
	/* What this difference lost, whichever operand was the larger. */
	back = m_sub(m, x, r);
	e = m_add(m, m_sub(m, m_add(m, r, back), x), m_sub(m, w, back));
	e = m_fma(m, n, m_fp(m, 0x1.8cc51701b839ap-72), e);
	/* A difference, as -0 has to stay. */
	a.y = m_sub(m, r, e);
	a.low = m_sub(m, m_sub(m, r, a.y), e);
	/* For x too large, an angle it shall be all the same. */
	a.y = m_clamp(m, a.y, -0.8, 0.8);
	a.low = m_clamp(m, a.low, -0x1p-52, 0x1p-52);
	return a;
}

static val sin_kernel(const struct math *m, const struct angle *a)
{
	val z = m_mul(m, a->y, a->y), v = m_mul(m, z, a->y), r;

	r = m_poly(m, z, 1.58969099521155010221e-10,
		   -2.50507602534068634195e-08, 2.75573137070700676789e-06,
		   -1.98412698298579493134e-04, 8.33333333332248946124e-03);
	r = m_fnma(m, v, r, m_mul(m, a->low, m_fp(m, 0.5)));
	r = m_sub(m, m_mul(m, z, r), a->low);
	r = m_fma(m, v, m_fp(m, 1.66666666666666324348e-01), r);
	return m_sub(m, a->y, r);
}

static val cos_kernel(const struct math *m, const struct angle *a)
{
	val one = m_fp(m, 1), z = m_mul(m, a->y, a->y), half, w, r;

	r = m_poly(m, z, -1.13596475577881948265e-11,
		   2.08757232129817482790e-09, -2.75573143513906633035e-07,
		   2.48015872894767294178e-05, -1.38888888888741095749e-03,
		   4.16666666666666019037e-02);
	r = m_mul(m, m_mul(m, z, z), r);
	r = m_fnma(m, a->y, a->low, r);
	half = m_mul(m, z, m_fp(m, 0.5));
	w = m_sub(m, one, half);
	return m_add(m, w, m_add(m, m_sub(m, m_sub(m, one, w), half), r));
}

/* Is bit 0 set? */
static val is_odd(const struct math *m, val i)
{
	LLVMTypeRef t = LLVMInt1TypeInContext(LLVMGetTypeContext(m->fp));

	if (m->lanes)
		t = LLVMVectorType(t, m->lanes);
	return LLVMBuildTrunc(m->b, i, t, "");
}

/* Flips the sign of x when bit `from` of i is set. */
static val flip(const struct math *m, val x, val i, unsigned from)
{
	val sign = m_and(m, m_shl(m, i, 63 - from),
			 m_int(m, (uint64_t)1 << 63));

	return m_float(m, m_xor(m, m_bits(m, x), sign));
}

/*
 * For float, in double: three parts of pi/2 leave an error below 2^-69, and
 * short series, of errors 2^-37 and 2^-33, do.
 */
static struct angle reduce_f32(const struct math *m, val x)
{
	val magic = m_fp(m, m_magic(m));
	val t = m_fma(m, x, m_fp(m, 0x1.45f306dc9c883p-1), magic);
	val n = m_sub(m, t, magic);
	struct angle a = { .quarters = m_bits(m, t) };

	x = m_fnma(m, n, m_fp(m, 0x1.921fb4p0), x);
	x = m_fnma(m, n, m_fp(m, 0x1.4442dp-24), x);
	x = m_fnma(m, n, m_fp(m, 0x1.8469898cc517p-48), x);
	a.y = m_clamp(m, x, -0.8, 0.8);
	return a;
}

static val sin_kernel_f32(const struct math *m, const struct angle *a)
{
	val z = m_mul(m, a->y, a->y);

	z = m_poly(m, z, 2.7182749960593862833e-6, -0.00019839331162222674,
		   0.008333329375190164, -0.16666666641543115, 1);
	return m_mul(m, a->y, z);
}

static val cos_kernel_f32(const struct math *m, const struct angle *a)
{
	val z = m_mul(m, a->y, a->y);

	return m_poly(m, z, 2.443278537625691e-05,
		      -0.0013887313065578694, 0.04166664561886967,
		      -0.5, 1);
}

/* ---- sin, cos, tan -------------------------------------------------- */

/* What each is made of, for the type of m. */
struct parts {
	struct math m;		/* what to compute in */
	val s, c, quarters;
};

static struct parts parts_of(const struct math *m, val x)
{
	struct parts p = { .m = math_wide(m) };
	struct angle a;

	if (m->wide) {
		a = reduce(m, x);
		p.s = sin_kernel(m, &a);
		p.c = cos_kernel(m, &a);
	} else {
		a = reduce_f32(&p.m, m_to(&p.m, x));
		p.s = sin_kernel_f32(&p.m, &a);
		p.c = cos_kernel_f32(&p.m, &a);
	}
	p.quarters = a.quarters;
	return p;
}

static val sine(const struct math *m, val x, unsigned quarters)
{
	struct parts p = parts_of(m, x);
	val i = m_iadd(&p.m, p.quarters, m_int(&p.m, quarters));
	val r = m_select(&p.m, is_odd(&p.m, i), p.c, p.s);

	return m_to(m, flip(&p.m, r, i, 1));
}

val m_sin(const struct math *m, val x)
{
	return sine(m, x, 0);
}

val m_cos(const struct math *m, val x)
{
	return sine(m, x, 1);
}

val m_tan(const struct math *m, val x)
{
	struct parts p = parts_of(m, x);
	val odd = is_odd(&p.m, p.quarters);
	val r = m_div(&p.m, m_select(&p.m, odd, p.c, p.s),
		      m_select(&p.m, odd, p.s, p.c));

	return m_to(m, flip(&p.m, r, p.quarters, 0));
}

/* ---- inverses ------------------------------------------------------- */

/*
 * atan(a) = atan(c) + atan((a - c) / (1 + a c)) with c one of 0, 1/2, 1, 3/2
 * and infinity, so that the quotient is below 7/16.
 */
val m_atan(const struct math *m, val x)
{
	static const struct {
		double from, c, hi, lo;
	} part[] = {
		{ 7. / 16, 0.5, 4.63647609000806093515e-01,
		  2.26987774529616870924e-17 },
		{ 11. / 16, 1, 7.85398163397448278999e-01,
		  3.06161699786838301793e-17 },
		{ 19. / 16, 1.5, 9.82793723247329054082e-01,
		  1.39033110312309984516e-17 },
	};
	val a = m_abs(m, x), one = m_fp(m, 1), zero = m_fp(m, 0);
	val num = a, den = one, hi = zero, lo = zero, s, z, far;

	for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
		val in = m_ge(m, a, m_fp(m, part[i].from));
		val c = m_fp(m, part[i].c);

		num = m_select(m, in, m_sub(m, a, c), num);
		den = m_select(m, in, m_fma(m, a, c, one), den);
		hi = m_select(m, in, m_fp(m, part[i].hi), hi);
		lo = m_select(m, in, m_fp(m, part[i].lo), lo);
	}
	far = m_ge(m, a, m_fp(m, 39. / 16));
	num = m_select(m, far, m_fp(m, -1), num);
	den = m_select(m, far, a, den);
	hi = m_select(m, far, m_fp(m, 1.57079632679489655800e+00), hi);
	lo = m_select(m, far, m_fp(m, 6.12323399573676603587e-17), lo);
	a = m_div(m, num, den);
	z = m_mul(m, a, a);
	s = m_poly(m, z, 1.62858201153657823623e-02,
		   -3.65315727442169155270e-02, 4.97687799461593236017e-02,
		   -5.83357013379057348645e-02, 6.66107313738753120669e-02,
		   -7.69187620504482999495e-02, 9.09088713343650656196e-02,
		   -1.11111104054623557880e-01, 1.42857142725034663711e-01,
		   -1.99999999998764832476e-01, 3.33333333333329318027e-01);
	s = m_mul(m, a, m_mul(m, z, s));
	s = m_sub(m, hi, m_sub(m, m_sub(m, s, lo), a));
	return m_copysign(m, s, x);
}

/*
 * For |x| <= 1/2: asin(x) = x + x R(x^2) =: s + r.  For more, with
 * t = (1 - |x|) / 2, asin(sqrt(t)) is half of acos |x|.  *near says which.
 */
static void asin_parts(const struct math *m, val x, val *near, val *s, val *r)
{
	val a = m_abs(m, x), half = m_fp(m, 0.5), t, p, q;

	*near = m_lt(m, a, half);
	t = m_select(m, *near, m_mul(m, a, a),
		     m_fnma(m, a, half, half));
	*s = m_select(m, *near, a, m_sqrt(m, t));
	p = m_poly(m, t, 3.47933107596021167570e-05,
		   7.91534994289814532176e-04, -4.00555345006794114027e-02,
		   2.01212532134862925881e-01, -3.25565818622400915405e-01,
		   1.66666666666666657415e-01);
	q = m_poly(m, t, 7.70381505559019352791e-02,
		   -6.88283971605453293030e-01, 2.02094576023350569471e+00,
		   -2.40339491173441421878e+00, 1);
	*r = m_mul(m, *s, m_div(m, m_mul(m, t, p), q));
}

val m_asin(const struct math *m, val x)
{
	val near, s, r, far;

	asin_parts(m, x, &near, &s, &r);
	/* pi/2 - 2 (s + r), the low bits of pi/2 first. */
	far = m_sub(m, m_add(m, r, r), m_fp(m, 6.12323399573676603587e-17));
	far = m_sub(m, m_sub(m, m_fp(m, 1.57079632679489655800e+00),
			     m_add(m, s, s)), far);
	return m_copysign(m, m_select(m, near, m_add(m, s, r), far), x);
}

val m_acos(const struct math *m, val x)
{
	val near, s, r, lo = m_fp(m, 6.12323399573676603587e-17), two, mid;
	val hi = m_fp(m, 1.57079632679489655800e+00), left, zero = m_fp(m, 0);

	asin_parts(m, x, &near, &s, &r);
	two = m_add(m, s, r);
	two = m_add(m, two, two);
	mid = m_copysign(m, s, x);
	r = m_copysign(m, r, x);
	mid = m_sub(m, hi, m_sub(m, mid, m_sub(m, lo, r)));
	left = m_sub(m, m_add(m, hi, hi), m_sub(m, two, m_add(m, lo, lo)));
	two = m_select(m, m_lt(m, x, zero), left, two);
	return m_select(m, near, mid, two);
}
