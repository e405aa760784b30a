/* SPDX-License-Identifier: Apache-2.0 */
/* GatherElements: output[i][j] = data[indices[i][j]][j] for axis 0. */
#include "ir/ops/onnx/movement.h"

static bool gather_elements_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0), *y = infer_type(in, 1);
	unsigned axis;

	if (x->rank != y->rank)
		return infer_error(in, "indices have rank %u, data has %u",
				   y->rank, x->rank);
	if (!infer_axis(in, op_int(in->op, A_axis), x->rank, &axis))
		return false;
	for (unsigned i = 0; i < x->rank; i++)
		if (i != axis &&
		    !infer_require_ge0(in,
				       expr_sub(in->ctx, x->dim[i], y->dim[i]),
				       "indices have a larger dim than data"))
			return false;
	infer_set(in, 0, x->dtype, y->rank, y->dim);
	return true;
}

static bool gather_elements_lower(struct lower *lo)
{
	struct value *x = lower_in(lo, 0), *y = lower_in(lo, 1);
	const struct type *t = lower_type(lo, 0);
	unsigned axis = lower_axis(lo, A_axis, t->rank);
	struct nest n = nest_begin(lo, 1, &t);
	const struct expr *idx[MAX_RANK];

	for (unsigned i = 0; i < t->rank; i++)
		idx[i] = n.iv[i];
	idx[axis] = nest_index_wrap(lo, nest_load(lo, y, n.iv),
				    x->type->dim[axis]);
	struct value *v = nest_load(lo, x, idx);

	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(GatherElements, .domain = "", .since = 13, .first = 11,
	.in = { { "data", T_ANY }, { "indices", T_INDEX } },
	.out = { { "output", T_ANY } },
	.attr = {
		ATTR(axis, AT_INT, .i = 0),
	},
	.infer = gather_elements_infer,
	.lower = gather_elements_lower);
