/* SPDX-License-Identifier: Apache-2.0 */
/* ArgMax, ArgMin: where along one axis the extreme is; the first such place,
 * or the last with select_last_index. */
#include "ir/ops/onnx/fold.h"

static bool arg_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);
	const struct expr *dim[MAX_RANK];
	unsigned axis, rank = 0;

	if (!infer_axis(in, op_int(in->op, A_axis), x->rank, &axis))
		return false;
	for (unsigned i = 0; i < x->rank; i++) {
		if (i != axis)
			dim[rank++] = x->dim[i];
		else if (op_int(in->op, A_keepdims))
			dim[rank++] = expr_const(in->ctx, 1);
	}
	infer_set(in, 0, DT_I64, rank, dim);
	return true;
}

static bool arg_extreme(struct lower *lo, bool max)
{
	struct value *x = lower_in(lo, 0), *v[2], *next[2];
	enum dtype t = x->type->dtype, acc = acc_dtype(t);
	static const enum dtype index_type = DT_I64;
	static const enum opcode better[2][2] = {
		{ OP_arith_lt, OP_arith_le }, { OP_arith_gt, OP_arith_ge } };
	unsigned axis = lower_axis(lo, A_axis, x->type->rank);
	bool reduced[MAX_RANK] = { false };
	struct rows r;

	reduced[axis] = true;
	rows_begin(lo, &r, x->type, reduced, op_int(lo->op, A_keepdims), 1,
		   &index_type);
	v[0] = max ? s_lowest(lo, acc) : s_highest(lo, acc);
	v[1] = s_int(lo, DT_I64, 0);
	rows_fold(lo, &r, 2, v);
	v[0] = load_as(lo, acc, x, r.at);
	v[1] = s_op2(lo, better[max][op_int(lo->op, A_select_last_index) != 0],
		     v[0], r.fold.acc[0]);
	next[0] = s_select(lo, v[1], v[0], r.fold.acc[0]);
	next[1] = s_select(lo, v[1], s_expr(lo, DT_I64, r.at[axis]),
			   r.fold.acc[1]);
	rows_fold_end(lo, &r, next, v);
	rows_end(lo, &r, 1, &v[1], lo->result);
	return true;
}

static bool arg_max_lower(struct lower *lo)
{
	return arg_extreme(lo, true);
}

static bool arg_min_lower(struct lower *lo)
{
	return arg_extreme(lo, false);
}

#define ARG_EXTREME(lower_) .domain = "", .since = 13, \
	.in = { { "data", T_NUM } }, \
	.out = { { "reduced", T(I64) } }, \
	.attr = { \
		ATTR(axis, AT_INT), \
		ATTR(keepdims, AT_INT, .i = 1), \
		ATTR(select_last_index, AT_INT), \
	}, \
	.infer = arg_infer, \
	.lower = lower_

OP(ArgMax, ARG_EXTREME(arg_max_lower));
OP(ArgMin, ARG_EXTREME(arg_min_lower));
