/* SPDX-License-Identifier: Apache-2.0 */
/* Concat: each piece is a load guarded by its range along the axis. */
#include "ir/ops/onnx/movement.h"

bool concat_operands(struct infer *in, unsigned first, unsigned step)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, first);
	const struct expr *dim[MAX_RANK];
	unsigned axis;

	if (!infer_axis(in, op_int(in->op, A_axis), x->rank, &axis))
		return false;
	for (unsigned i = 0; i < x->rank; i++)
		dim[i] = x->dim[i];
	for (unsigned k = first + step; k < in->op->n_in; k += step) {
		const struct type *y = infer_type(in, k);

		if (y->rank != x->rank)
			return infer_error(in, "input %u is %s, input %u is %s",
					   k, type_str(c, y), first,
					   type_str(c, x));
		for (unsigned i = 0; i < x->rank; i++) {
			if (i == axis)
				dim[i] = expr_add(c, dim[i], y->dim[i]);
			else if (!infer_same_dim(in, &dim[i], y->dim[i],
						 "dims beside the axis"))
				return false;
		}
	}
	infer_set(in, 0, x->dtype, x->rank, dim);
	return true;
}

static bool concat_infer(struct infer *in)
{
	for (unsigned k = 0; k < in->op->n_in; k++)
		if (!infer_has(in, k))
			return infer_error(in, "input %u is missing", k);
	return concat_operands(in, 0, 1);
}

static bool concat_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	const struct type *t = lower_type(lo, 0);
	unsigned axis = lower_axis(lo, A_axis, t->rank);
	struct nest n = nest_begin(lo, 1, &t);
	const struct expr *idx[MAX_RANK], *end = t->dim[axis];
	struct value *v = s_const(lo, t->dtype, 0);

	for (unsigned i = 0; i < t->rank; i++)
		idx[i] = n.iv[i];
	for (unsigned k = lo->op->n_in; k-- > 0;) {
		struct value *x = lower_in(lo, k);
		const struct expr *off = expr_sub(c, end, x->type->dim[axis]);
		const struct expr *guard[2];

		idx[axis] = expr_sub(c, n.iv[axis], off);
		guard[0] = idx[axis];
		guard[1] = expr_addc(c, expr_sub(c, end, n.iv[axis]), -1);
		if (!expr_is(x->type->dim[axis], 0))
			v = nest_load_guarded(lo, x, idx, 2, guard, v);
		end = off;
	}
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

static struct value *concat_fold(struct lower *lo)
{
	return lo->op->n_in == 1 ? lower_in(lo, 0) : NULL;
}

OP(Concat, .domain = "", .since = 13,
	.in = { { "inputs", T_ANY | P_VARIADIC | P_SAME } },
	.out = { { "concat_result", T_ANY } },
	.attr = {
		ATTR(axis, AT_INT, .required = true),
	},
	.infer = concat_infer,
	.lower = concat_lower,
	.fold = concat_fold);
