/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ConvInteger and QLinearConv: sums of (x - zx) * (w - zw) in 32 bits, where
 * they wrap.  The border of x holds its zero point.  QLinearConv adds its
 * bias to the sum and requantizes.
 */
#include "ir/ops/onnx/conv.h"
#include "ir/ops/onnx/requantize.h"

/* The sum of products of an open statement.  x_zero is an element of x or
 * NULL, zw an i32 or NULL. */
static struct value *integer_sum(struct lower *lo, struct conv *cv,
				 struct value *x_zero, struct value *zw)
{
	struct value *other = x_zero, *zx = NULL, *v, *w;

	if (x_zero)
		zx = s_cast(lo, DT_I32, x_zero);
	else
		other = s_int(lo, cv->x->type->dtype, 0);
	conv_fold(lo, cv, DT_I32);
	v = s_cast(lo, DT_I32, conv_image(lo, cv, other));
	w = s_cast(lo, DT_I32, conv_weight(lo, cv));
	v = s_mul(lo, less_zero(lo, v, zx), less_zero(lo, w, zw));
	v = s_add(lo, cv->fold.acc[0], v);
	fold_end(lo, &cv->fold, &v, &v);
	return v;
}

/* ---- ConvInteger ---------------------------------------------------- */

static bool integer_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0), *w = infer_type(in, 1);
	const struct expr *dim[MAX_RANK];

	if (!conv_shape(in, x, w, NULL, dim) ||
	    !infer_zero_point(in, 2, 0) || !infer_zero_point(in, 3, 1) ||
	    !infer_number(in, 2) || !infer_number_or_list(in, 3, w->dim[0]))
		return false;
	infer_set(in, 0, DT_I32, x->rank, dim);
	return true;
}

static bool integer_lower(struct lower *lo)
{
	struct value *x = lower_in(lo, 0), *v, *zx, *zw;
	struct conv cv;

	if (!conv_begin(lo, x, lower_in(lo, 1), &cv))
		return false;
	zx = load_number(lo, x->type->dtype, 2);
	zw = load_number_at(lo, DT_I32, 3, cv.nest.iv[1]);
	v = integer_sum(lo, &cv, zx, zw);
	nest_end(lo, &cv.nest, 1, &v, lo->result);
	return true;
}

/* ---- QLinearConv ---------------------------------------------------- */

enum { IN_X, IN_X_SCALE, IN_X_ZERO, IN_W, IN_W_SCALE, IN_W_ZERO, IN_Y_SCALE,
       IN_Y_ZERO, IN_BIAS };

static bool linear_infer(struct infer *in)
{
	const struct type *x = infer_type(in, IN_X), *w = infer_type(in, IN_W);
	const struct expr *dim[MAX_RANK];

	if (!conv_shape(in, x, w, infer_type(in, IN_BIAS), dim) ||
	    !infer_zero_point(in, IN_X_ZERO, IN_X) ||
	    !infer_zero_point(in, IN_W_ZERO, IN_W) ||
	    !infer_number(in, IN_X_SCALE) || !infer_number(in, IN_X_ZERO) ||
	    !infer_number_or_list(in, IN_W_SCALE, w->dim[0]) ||
	    !infer_number_or_list(in, IN_W_ZERO, w->dim[0]) ||
	    !infer_number(in, IN_Y_SCALE) || !infer_number(in, IN_Y_ZERO))
		return false;
	infer_set(in, 0, infer_type(in, IN_Y_ZERO)->dtype, x->rank, dim);
	return true;
}

static bool linear_lower(struct lower *lo)
{
	struct value *x = lower_in(lo, IN_X), *v, *zx, *zw;
	enum dtype to = lower_type(lo, 0)->dtype;
	struct conv cv;

	if (!conv_begin(lo, x, lower_in(lo, IN_W), &cv))
		return false;
	const struct expr *channel = cv.nest.iv[1];

	zx = load_number(lo, x->type->dtype, IN_X_ZERO);
	zw = load_number_at(lo, DT_I32, IN_W_ZERO, channel);
	v = integer_sum(lo, &cv, zx, zw);
	if (lower_in(lo, IN_BIAS))
		v = s_add(lo, v, nest_load(lo, lower_in(lo, IN_BIAS),
					   &channel));
	v = requantize(lo, v, load_number(lo, DT_F32, IN_X_SCALE),
		       load_number_at(lo, DT_F32, IN_W_SCALE, channel),
		       load_number(lo, DT_F32, IN_Y_SCALE), to,
		       load_number(lo, DT_I32, IN_Y_ZERO));
	nest_end(lo, &cv.nest, 1, &v, lo->result);
	return true;
}

OP(ConvInteger, .domain = "", .since = 10, .first = 10,
	.in = { { "x", T_Q8 }, { "w", T_Q8 },
		{ "x_zero_point", T_Q8 | P_OPTIONAL },
		{ "w_zero_point", T_Q8 | P_OPTIONAL } },
	.out = { { "y", T(I32) } },
	.attr = {
		CONV_ATTRS,
	},
	.infer = integer_infer,
	.lower = integer_lower);
OP(QLinearConv, .domain = "", .since = 10, .first = 10,
	.in = { { "x", T_Q8 }, { "x_scale", T(F32) }, { "x_zero_point", T_Q8 },
		{ "w", T_Q8 }, { "w_scale", T(F32) }, { "w_zero_point", T_Q8 },
		{ "y_scale", T(F32) }, { "y_zero_point", T_Q8 },
		{ "B", T(I32) | P_OPTIONAL } },
	.out = { { "y", T_Q8 } },
	.attr = {
		CONV_ATTRS,
	},
	.infer = linear_infer,
	.lower = linear_lower);
