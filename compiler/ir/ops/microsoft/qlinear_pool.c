/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QLinearAveragePool, QLinearGlobalAveragePool: averages of quantized images.
 *
 * The steps are those of ONNX Runtime: the first sums floats in the order of
 * the window and rounds with the zero point added, the second sums integers.
 */
#include "ir/ops/microsoft/channels.h"
#include "ir/ops/onnx/fold.h"
#include "ir/ops/onnx/requantize.h"
#include "ir/ops/onnx/window.h"

enum { IN_X, IN_X_SCALE, IN_X_ZERO, IN_Y_SCALE, IN_Y_ZERO };

static bool numbers_infer(struct infer *in)
{
	for (unsigned i = 1; i < in->op->n_in; i++)
		if (!infer_number(in, i))
			return false;
	return infer_zero_point(in, IN_X_ZERO, IN_X) &&
	       infer_zero_point(in, IN_Y_ZERO, IN_X);
}

/* ---- QLinearAveragePool --------------------------------------------- */

static bool pool_infer(struct infer *in)
{
	const struct type *x = channels_first(in->ctx, in->op,
					      infer_type(in, IN_X));
	const struct expr *dim[MAX_RANK];
	struct window w;

	if (!numbers_infer(in) || !window_infer_of(in, x, NULL, &w))
		return false;
	dim[0] = x->dim[0];
	dim[1] = x->dim[1];
	for (unsigned i = 0; i < w.n; i++)
		dim[2 + i] = w.out[i];
	channels_place(in->op, x->rank, dim);
	infer_set(in, 0, x->dtype, x->rank, dim);
	return true;
}

/* The sum of x over the window at iv[] as an f32. */
static struct value *window_sum(struct lower *lo, const struct window *w,
				const struct expr *const *iv)
{
	struct value *x = lower_in(lo, IN_X), *v = s_const(lo, DT_F32, 0);
	struct value *scale = load_number(lo, DT_F32, IN_X_SCALE), *other;
	struct value *zero = load_number(lo, x->type->dtype, IN_X_ZERO);
	struct fold f;

	other = zero ? zero : s_int(lo, x->type->dtype, 0);
	f = fold_begin(lo, w->n, w->kernel, 1, &v);
	v = window_load(lo, w, x, iv[0], iv[1], iv + 2, f.iv, other);
	v = rounded(lo, dequantize(lo, v, scale, zero));
	/* Not the form of a sum, whose order would be free. */
	v = rounded(lo, s_add(lo, f.acc[0], v));
	fold_end(lo, &f, &v, &v);
	return v;
}

/* What the sum is divided by: with the borders it is the whole window, also
 * where ceil_mode leaves less of image and borders. */
static struct value *count(struct lower *lo, const struct window *w,
			   const struct expr *const *iv)
{
	struct ctx *c = lo->b.ctx;
	const struct expr *n = expr_const(c, 1);

	if (!op_int(lo->op, A_count_include_pad))
		n = window_count(c, w, iv + 2, false);
	else
		for (unsigned i = 0; i < w->n; i++)
			n = expr_mul(c, n, w->kernel[i]);
	return s_expr(lo, DT_F32, n);
}

static bool pool_lower(struct lower *lo)
{
	const struct type *out = lower_type(lo, 0);
	struct value *v, *zero;
	struct window w;

	if (op_int(lo->op, A_channels_last))
		return channels_decompose(lo, lo->op->code);
	if (window_read(lo->b.ctx, lo->op, lower_in(lo, IN_X)->type, NULL, &w))
		return false;
	struct nest n = nest_begin(lo, 1, &out);

	v = window_sum(lo, &w, n.iv);
	v = s_div(lo, v, count(lo, &w, n.iv));
	v = s_div(lo, v, load_number(lo, DT_F32, IN_Y_SCALE));
	zero = load_number(lo, DT_F32, IN_Y_ZERO);
	v = round_to(lo, zero ? s_add(lo, v, zero) : v, out->dtype, NULL);
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

/* ---- QLinearGlobalAveragePool --------------------------------------- */

static unsigned channel_dim(const struct op *op, const struct type *x)
{
	return op_int(op, A_channels_last) ? x->rank - 1 : 1;
}

static bool global_infer(struct infer *in)
{
	const struct type *x = infer_type(in, IN_X);
	const struct expr *dim[MAX_RANK];

	if (x->rank < 3)
		return infer_error(in, "input is %s, expected at least one "
				   "spatial dim", type_str(in->ctx, x));
	for (unsigned i = 0; i < x->rank; i++)
		dim[i] = !i || i == channel_dim(in->op, x)
				 ? x->dim[i] : expr_const(in->ctx, 1);
	infer_set(in, 0, x->dtype, x->rank, dim);
	return numbers_infer(in);
}

static bool global_lower(struct lower *lo)
{
	struct value *x = lower_in(lo, IN_X), *v, *m, *zero;
	enum dtype t = x->type->dtype;
	bool reduced[MAX_RANK];
	struct rows r;

	for (unsigned i = 0; i < x->type->rank; i++)
		reduced[i] = i && i != channel_dim(lo->op, x->type);
	rows_begin(lo, &r, x->type, reduced, true, 1, &t);
	zero = load_number(lo, DT_I32, IN_X_ZERO);
	v = s_int(lo, DT_I32, 0);
	rows_fold(lo, &r, 1, &v);
	v = less_zero(lo, load_as(lo, DT_I32, x, r.at), zero);
	v = s_add(lo, r.fold.acc[0], v);
	rows_fold_end(lo, &r, &v, &v);
	m = s_mul(lo, s_expr(lo, DT_F32, rows_count(lo->b.ctx, &r)),
		  load_number(lo, DT_F32, IN_Y_SCALE));
	v = requantize(lo, v, load_number(lo, DT_F32, IN_X_SCALE), NULL, m, t,
		       load_number(lo, DT_I32, IN_Y_ZERO));
	rows_end(lo, &r, 1, &v, lo->result);
	return true;
}

OP(QLinearAveragePool, .domain = "com.microsoft", .since = 1,
	.in = { { "X", T_Q8 }, { "x_scale", T(F32) },
		{ "x_zero_point", T_Q8 | P_OPTIONAL }, { "y_scale", T(F32) },
		{ "y_zero_point", T_Q8 | P_OPTIONAL } },
	.out = { { "Y", T_Q8 } },
	.attr = {
		ATTR(auto_pad, AT_STR, .s = "NOTSET"),
		ATTR(ceil_mode, AT_INT),
		ATTR(channels_last, AT_INT),
		ATTR(count_include_pad, AT_INT),
		ATTR(kernel_shape, AT_INTS),
		ATTR(pads, AT_INTS),
		ATTR(strides, AT_INTS),
	},
	.infer = pool_infer,
	.lower = pool_lower);
OP(QLinearGlobalAveragePool, .domain = "com.microsoft", .since = 1,
	.in = { { "X", T_Q8 }, { "x_scale", T(F32) },
		{ "x_zero_point", T_Q8 | P_OPTIONAL }, { "y_scale", T(F32) },
		{ "y_zero_point", T_Q8 | P_OPTIONAL } },
	.out = { { "Y", T_Q8 } },
	.attr = {
		ATTR(channels_last, AT_INT),
	},
	.infer = global_infer,
	.lower = global_lower);
