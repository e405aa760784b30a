/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conv: N-d cross-correlation with groups.  The border is a guarded load, so
 * that no padded copy of X exists unless a pass makes one.
 */
#include "ir/ops/onnx/fold.h"
#include "ir/ops/onnx/window.h"

static bool conv_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, 0), *w = infer_type(in, 1);
	const struct type *bias = infer_type(in, 2);
	const struct expr *dim[MAX_RANK];
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
	if (!window_infer(in, w->dim + 2, &win))
		return false;
	dim[0] = x->dim[0];
	dim[1] = w->dim[0];
	for (unsigned i = 0; i < win.n; i++)
		dim[2 + i] = win.out[i];
	infer_set(in, 0, x->dtype, x->rank, dim);
	return true;
}

static bool conv_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	struct value *x = lower_in(lo, 0), *w = lower_in(lo, 1);
	struct value *v;
	const struct type *out = lower_type(lo, 0);
	enum dtype acc = acc_dtype(out->dtype);
	const struct expr *group = expr_const(c, op_int(lo->op, A_group));
	struct window win;

	if (window_read(c, lo->op, x->type, w->type->dim + 2, &win))
		return false;
	struct nest n = nest_begin(lo, 1, &out);
	/* Output channel co belongs to group co / (M / group). */
	const struct expr *g = expr_div(c, n.iv[1],
					expr_div(c, w->type->dim[0], group));

	v = s_const(lo, acc, 0);
	struct value *zero = s_const(lo, out->dtype, 0);
	struct fold f = fold_begin(lo, 1 + win.n, w->type->dim + 1, 1, &v);
	const struct expr *iw[MAX_RANK] = { n.iv[1], f.iv[0] };
	const struct expr *channel = expr_add(
		c, expr_mul(c, g, w->type->dim[1]), f.iv[0]);

	for (unsigned i = 0; i < win.n; i++)
		iw[2 + i] = f.iv[1 + i];
	v = window_load(lo, &win, x, n.iv[0], channel, n.iv + 2, f.iv + 1,
			zero);
	v = s_mul(lo, s_cast(lo, acc, v), load_as(lo, acc, w, iw));
	window_sum_end(lo, &n, &f, v);
	return true;
}

OP(Conv, .domain = "", .since = 22,
	.in = { { "X", T_FLOAT }, { "W", T_FLOAT | P_SAME },
		{ "B", T_FLOAT | P_SAME | P_OPTIONAL } },
	.out = { { "Y", T_FLOAT } },
	.attr = {
		ATTR(auto_pad, AT_STR, .s = "NOTSET"),
		ATTR(dilations, AT_INTS),
		ATTR(group, AT_INT, .i = 1),
		ATTR(kernel_shape, AT_INTS),
		ATTR(pads, AT_INTS),
		ATTR(strides, AT_INTS),
	},
	.infer = conv_infer,
	.lower = conv_lower);
