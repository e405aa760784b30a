/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sinh, Cosh, Asinh, Acosh, Atanh from exp, expm1, log and log1p in forms
 * that lose no digits near zero and overflow only where the result does.
 */
#include "ir/ops/onnx/pointwise.h"

/* Where the second term of the asymptotic form is below half an ulp of f64. */
static const double ASYMPTOTIC = 1e8, LN2 = 0.693147180559945309417;

/* y with the sign of x, for y computed from |x|. */
static struct value *with_sign(struct lower *lo, struct value *x,
			       struct value *y)
{
	return s_select(lo, s_op2(lo, OP_arith_lt, x, s_like(lo, x, 0)),
			s_op(lo, OP_arith_neg, y), y);
}

static struct value *half_exp(struct lower *lo, struct value *a)
{
	return s_op(lo, OP_math_exp, s_mul(lo, a, s_like(lo, a, 0.5)));
}

static struct value *sinh_scalar(struct lower *lo, struct value *const *x)
{
	struct value *w = s_wide(lo, x[0]), *half = s_like(lo, w, 0.5);
	struct value *a = s_op(lo, OP_arith_abs, w), *t = half_exp(lo, a);
	struct value *big = s_mul(lo, s_mul(lo, half, t), t);
	struct value *e = s_op(lo, OP_math_expm1, a);
	struct value *frac = s_div(lo, e, s_add(lo, e, s_like(lo, w, 1)));
	struct value *y = s_mul(lo, half, s_add(lo, e, frac));

	y = s_select(lo, s_op2(lo, OP_arith_gt, a, s_like(lo, a, 20)), big, y);
	return s_cast(lo, x[0]->type->dtype, with_sign(lo, w, y));
}

static struct value *cosh_scalar(struct lower *lo, struct value *const *x)
{
	struct value *w = s_wide(lo, x[0]), *half = s_like(lo, w, 0.5);
	struct value *t = half_exp(lo, s_op(lo, OP_arith_abs, w));
	struct value *y = s_add(lo, s_mul(lo, s_mul(lo, half, t), t),
				s_div(lo, s_div(lo, half, t), t));

	return s_cast(lo, x[0]->type->dtype, y);
}

/* log(2 a), the limit of asinh and acosh, where a * a may overflow. */
static struct value *or_asymptotic(struct lower *lo, struct value *a,
				   struct value *y)
{
	struct value *far = s_add(lo, s_op(lo, OP_math_log, a),
				  s_like(lo, a, LN2));

	return s_select(lo,
			s_op2(lo, OP_arith_gt, a, s_like(lo, a, ASYMPTOTIC)),
			far, y);
}

static struct value *asinh_scalar(struct lower *lo, struct value *const *x)
{
	struct value *w = s_wide(lo, x[0]), *one = s_like(lo, w, 1);
	struct value *a = s_op(lo, OP_arith_abs, w), *sq = s_mul(lo, a, a);
	struct value *root = s_op(lo, OP_arith_sqrt, s_add(lo, sq, one));
	struct value *t = s_add(lo, a, s_div(lo, sq, s_add(lo, one, root)));
	struct value *y = or_asymptotic(lo, a, s_op(lo, OP_math_log1p, t));

	return s_cast(lo, x[0]->type->dtype, with_sign(lo, w, y));
}

static struct value *acosh_scalar(struct lower *lo, struct value *const *x)
{
	struct value *w = s_wide(lo, x[0]);
	struct value *t = s_sub(lo, w, s_like(lo, w, 1));
	struct value *sq = s_mul(lo, t, s_add(lo, w, s_like(lo, w, 1)));
	struct value *y = s_op(lo, OP_math_log1p,
			       s_add(lo, t, s_op(lo, OP_arith_sqrt, sq)));

	return s_cast(lo, x[0]->type->dtype, or_asymptotic(lo, w, y));
}

static struct value *atanh_scalar(struct lower *lo, struct value *const *x)
{
	struct value *w = s_wide(lo, x[0]);
	struct value *a = s_op(lo, OP_arith_abs, w);
	struct value *q = s_div(lo, s_add(lo, a, a),
				s_sub(lo, s_like(lo, a, 1), a));
	struct value *y = s_mul(lo, s_like(lo, a, 0.5),
				s_op(lo, OP_math_log1p, q));

	return s_cast(lo, x[0]->type->dtype, with_sign(lo, w, y));
}

#define RECORD(fn)                                              \
	.domain = "", .since = 22, .first = 9,                  \
	.in = { { "input", T_FLOAT } },                         \
	.out = { { "output", T_FLOAT } }, .infer = infer_same,  \
	.scalar = fn

OP(Sinh, RECORD(sinh_scalar));
OP(Cosh, RECORD(cosh_scalar));
OP(Asinh, RECORD(asinh_scalar));
OP(Acosh, RECORD(acosh_scalar));
OP(Atanh, RECORD(atanh_scalar));
