/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OneHot: a new dim of size `depth` that is values[1] at the index and
 * values[0] elsewhere.  Indices in [-depth, -1] count from the end; the whole
 * row is off for others.
 */
#include "ir/ops/onnx/movement.h"

static bool one_hot_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0), *v = infer_type(in, 2);
	const struct expr *dim[MAX_RANK + 1], *two = expr_const(in->ctx, 2);
	unsigned axis, k = 0;

	if (v->rank != 1 || !infer_same_dim(in, &two, v->dim[0],
					    "number of values"))
		return infer_error(in, "values must be two, are %s",
				   type_str(in->ctx, v));
	if (!infer_rank(in, x->rank + 1u) ||
	    !infer_axis(in, op_int(in->op, A_axis), x->rank + 1, &axis))
		return false;
	const struct expr *depth = infer_scalar(in, 1);

	if (!depth || !infer_require_ge0(in, depth, "negative depth"))
		return false;
	for (unsigned i = 0; i <= x->rank; i++)
		dim[i] = i == axis ? depth : x->dim[k++];
	infer_set(in, 0, v->dtype, x->rank + 1, dim);
	return true;
}

static bool one_hot_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	struct value *x = lower_in(lo, 0), *values = lower_in(lo, 2);
	const struct type *t = lower_type(lo, 0);
	unsigned axis = lower_axis(lo, A_axis, t->rank), k = 0;
	struct nest n = nest_begin(lo, 1, &t);
	const struct expr *idx[MAX_RANK], *at[2];

	for (unsigned i = 0; i < t->rank; i++)
		if (i != axis)
			idx[k++] = n.iv[i];
	at[0] = expr_const(c, 0);
	at[1] = expr_const(c, 1);
	struct value *i = s_cast(lo, DT_I64, nest_load(lo, x, idx));
	struct value *wrapped = s_add(lo, i, nest_value(lo, t->dim[axis]));
	struct value *neg = s_op2(lo, OP_arith_lt, i, s_int(lo, DT_I64, 0));
	struct value *hit = s_op2(lo, OP_arith_eq,
				  s_select(lo, neg, wrapped, i),
				  nest_value(lo, n.iv[axis]));
	struct value *v = s_select(lo, hit, nest_load(lo, values, &at[1]),
				   nest_load(lo, values, &at[0]));

	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(OneHot, .domain = "", .since = 11, .first = 9,
	.in = { { "indices", T_NUM }, { "depth", T_NUM }, { "values", T_ANY } },
	.out = { { "output", T_ANY } },
	.attr = {
		ATTR(axis, AT_INT, .i = -1),
	},
	.infer = one_hot_infer,
	.lower = one_hot_lower);
