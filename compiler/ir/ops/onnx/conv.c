/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conv: N-d cross-correlation with groups.  The border is a guarded load, so
 * that no padded copy of X exists unless a pass makes one.
 */
#include "ir/ops/onnx/conv.h"

bool conv_shape(struct infer *in, const struct type *x, const struct type *w,
		const struct type *bias, const struct expr **dim)
{
	struct ctx *c = in->ctx;
	int64_t group = op_int(in->op, A_group), n_out;
	struct window win;

	if (w->rank != x->rank || w->rank < 3)
		return infer_error(in, "input has type %s, weight has %s",
				   type_str(c, x), type_str(c, w));
	if (group < 1)
		return infer_error(in, "group is %lld", (long long)group);
	if (!infer_dims_agree(in, expr_scale(c, w->dim[1], group), x->dim[1],
			      "channels of the weight times group"))
		return false;
	if (expr_is_const(w->dim[0], &n_out) && n_out % group)
		return infer_error(in, "%lld output channels are not divisible "
				   "by group %lld", (long long)n_out,
				   (long long)group);
	infer_require_eq(in, expr_mod(c, w->dim[0], expr_const(c, group)),
			 expr_const(c, 0));
	if (bias && bias->rank != 1)
		return infer_error(in, "'B' has rank %u", bias->rank);
	if (bias && !infer_dims_agree(in, bias->dim[0], w->dim[0],
				      "the length of 'B'"))
		return false;
	if (!window_infer_of(in, x, w->dim + 2, &win))
		return false;
	dim[0] = x->dim[0];
	dim[1] = w->dim[0];
	for (unsigned i = 0; i < win.n; i++)
		dim[2 + i] = win.out[i];
	return true;
}

static bool conv_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);
	const struct expr *dim[MAX_RANK];

	if (!conv_shape(in, x, infer_type(in, 1), infer_type(in, 2), dim))
		return false;
	infer_set(in, 0, x->dtype, x->rank, dim);
	return true;
}

bool conv_begin(struct lower *lo, struct value *x, struct value *w,
		struct conv *cv)
{
	const struct type *out = lower_type(lo, 0);

	*cv = (struct conv){ .x = x, .w = w };
	if (window_read(lo->b.ctx, lo->op, x->type, w->type->dim + 2,
			&cv->win))
		return false;
	cv->nest = nest_begin(lo, 1, &out);
	return true;
}

void conv_fold(struct lower *lo, struct conv *cv, enum dtype acc)
{
	const struct type *w = cv->w->type;
	struct value *zero = s_const(lo, acc, 0);

	cv->fold = fold_begin(lo, 1 + cv->win.n, w->dim + 1, 1, &zero);
}

struct value *conv_image(struct lower *lo, const struct conv *cv,
			 struct value *other)
{
	struct ctx *c = lo->b.ctx;
	const struct expr *group = expr_const(c, op_int(lo->op, A_group));
	const struct expr *const *iv = cv->nest.iv;
	const struct type *w = cv->w->type;
	/* Output channel co belongs to group co / (M / group). */
	const struct expr *g = expr_div(c, iv[1],
					expr_div(c, w->dim[0], group));
	const struct expr *channel = expr_add(c, expr_mul(c, g, w->dim[1]),
					      cv->fold.iv[0]);

	return window_load(lo, &cv->win, cv->x, iv[0], channel, iv + 2,
			   cv->fold.iv + 1, other);
}

struct value *conv_weight(struct lower *lo, const struct conv *cv)
{
	const struct expr *at[MAX_RANK] = { cv->nest.iv[1], cv->fold.iv[0] };

	for (unsigned i = 0; i < cv->win.n; i++)
		at[2 + i] = cv->fold.iv[1 + i];
	return nest_load(lo, cv->w, at);
}

static bool conv_lower(struct lower *lo)
{
	struct value *x = lower_in(lo, 0), *v;
	enum dtype t = lower_type(lo, 0)->dtype, acc = acc_dtype(t);
	struct conv cv;

	if (!conv_begin(lo, x, lower_in(lo, 1), &cv))
		return false;
	struct value *zero = s_const(lo, t, 0);

	conv_fold(lo, &cv, acc);
	v = s_cast(lo, acc, conv_image(lo, &cv, zero));
	v = s_mul(lo, v, s_cast(lo, acc, conv_weight(lo, &cv)));
	window_sum_end(lo, &cv.nest, &cv.fold, v);
	return true;
}

OP(Conv, .domain = "", .since = 22,
	.in = { { "X", T_FLOAT }, { "W", T_FLOAT | P_SAME },
		{ "B", T_FLOAT | P_SAME | P_OPTIONAL } },
	.out = { { "Y", T_FLOAT } },
	.attr = {
		CONV_ATTRS,
	},
	.infer = conv_infer,
	.lower = conv_lower);
