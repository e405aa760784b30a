/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pow: any numeric exponent; the result has the type of the base.
 *
 * Constant exponents that models write for squares and roots are spelled out,
 * since they are a multiplication where pow is a call.
 */
#include <math.h>

#include "ir/ops/onnx/pointwise.h"

/* The one element of a constant exponent. */
static bool exponent_const(struct lower *lo, double *y)
{
	struct value *v = lower_in(lo, 1);
	struct blob b;

	if (!value_const(v, &b) || b.size != dtype_size(v->type->dtype))
		return false;
	*y = scalar_cast(v->type->dtype, DT_F64,
			 scalar_load(v->type->dtype, b.data)).d;
	return true;
}

/* x ^ 0.5, which is not sqrt(x) for -0 and -inf: both lose their sign. */
static struct value *root(struct lower *lo, struct value *x)
{
	enum dtype t = x->type->dtype;
	struct value *inf = s_const(lo, t, INFINITY);
	struct value *r = s_op(lo, OP_arith_sqrt,
			       s_add(lo, x, s_const(lo, t, 0)));

	return s_select(lo,
			s_op2(lo, OP_arith_eq, x, s_const(lo, t, -INFINITY)),
			inf, r);
}

static struct value *float_pow(struct lower *lo, struct value *x,
			       struct value *y)
{
	struct value *w = s_wide(lo, x), *r = NULL;
	enum dtype t = w->type->dtype;
	double k;

	if (exponent_const(lo, &k)) {
		if (k == 0)
			r = s_const(lo, t, 1);
		else if (k == 1)
			r = w;
		else if (k == 2)
			r = s_mul(lo, w, w);
		else if (k == 3)
			r = s_mul(lo, s_mul(lo, w, w), w);
		else if (k == 0.5)
			r = root(lo, w);
		else if (k == -1)
			r = s_div(lo, s_const(lo, t, 1), w);
		else if (k == -0.5)
			r = s_div(lo, s_const(lo, t, 1), root(lo, w));
	}
	if (!r)
		r = s_op2(lo, OP_math_pow, w, s_cast(lo, t, y));
	return s_cast(lo, x->type->dtype, r);
}

/*
 * Exact and wrapping: squaring over the six low bits of the exponent.  Larger
 * exponents have overflowed unless the base is -1, 0 or 1, for which only the
 * parity matters; negative ones leave a fraction, which truncates to 0.
 */
static struct value *int_pow(struct lower *lo, struct value *x,
			     struct value *y)
{
	enum dtype t = x->type->dtype;
	struct value *e = s_cast(lo, DT_I64, y), *zero = s_int(lo, DT_I64, 0);
	struct value *one = s_int(lo, DT_I64, 1), *p = x;
	struct value *odd = s_op2(lo, OP_arith_and, e, one);
	struct value *neg = s_op2(lo, OP_arith_lt, e, zero);
	struct value *r = s_int(lo, t, 1);

	e = s_op2(lo, OP_arith_min, e, s_add(lo, odd, s_int(lo, DT_I64, 62)));
	e = s_select(lo, neg, odd, e);
	for (int bit = 0; bit < 6; bit++) {
		struct value *mask = s_int(lo, DT_I64, INT64_C(1) << bit);
		struct value *set = s_op2(lo, OP_arith_ne,
					  s_op2(lo, OP_arith_and, e, mask),
					  zero);

		r = s_select(lo, set, s_mul(lo, r, p), r);
		if (bit < 5)
			p = s_mul(lo, p, p);
	}
	struct value *unit = s_op2(
		lo, OP_arith_or,
		s_op2(lo, OP_arith_eq, x, s_int(lo, t, 1)),
		s_op2(lo, OP_arith_eq, x, s_int(lo, t, -1)));

	return s_select(lo, neg, s_select(lo, unit, r, s_int(lo, t, 0)), r);
}

/* An integer base and a fractional exponent; a root that is exact must not
 * truncate to the integer below. */
static struct value *mixed_pow(struct lower *lo, struct value *x,
			       struct value *y)
{
	struct value *p = s_op2(lo, OP_math_pow, s_cast(lo, DT_F64, x),
				s_cast(lo, DT_F64, y));
	struct value *near = s_op(lo, OP_arith_round, p);
	struct value *off = s_op(lo, OP_arith_abs, s_sub(lo, p, near));
	struct value *tiny = s_mul(lo, s_op(lo, OP_arith_abs, p),
				   s_const(lo, DT_F64, 1e-13));

	p = s_select(lo, s_op2(lo, OP_arith_le, off, tiny), near, p);
	return s_cast(lo, x->type->dtype, p);
}

static struct value *pow_scalar(struct lower *lo, struct value *const *x)
{
	if (dtype_is_float(x[0]->type->dtype))
		return float_pow(lo, x[0], x[1]);
	if (dtype_is_float(x[1]->type->dtype))
		return mixed_pow(lo, x[0], x[1]);
	return int_pow(lo, x[0], x[1]);
}

OP(Pow, .domain = "", .since = 15,
	.in = { { "X", T_FLOAT | T_INDEX }, { "Y", T_NUM } },
	.out = { { "Z", T_FLOAT | T_INDEX } },
	.attr = {
		ATTR(axis, AT_INT),
		ATTR(broadcast, AT_INT),
	},
	.infer = infer_pointwise,
	.scalar = pow_scalar,
	.older = older_broadcast);
