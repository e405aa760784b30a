/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gather: output = data[.., indices, ..] along one axis.  Negative indices
 * count from the end; one out of range gives DLRT_INDEX.
 */
#include "ir/ops/onnx/movement.h"

static bool gather_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0), *y = infer_type(in, 1);
	const struct expr *dim[2 * MAX_RANK];
	unsigned axis, n = 0;

	if (!infer_axis(in, op_int(in->op, A_axis), x->rank, &axis) ||
	    !infer_rank(in, x->rank + y->rank - 1))
		return false;
	for (unsigned i = 0; i < axis; i++)
		dim[n++] = x->dim[i];
	for (unsigned i = 0; i < y->rank; i++)
		dim[n++] = y->dim[i];
	for (unsigned i = axis + 1; i < x->rank; i++)
		dim[n++] = x->dim[i];
	infer_set(in, 0, x->dtype, n, dim);
	return true;
}

static bool gather_lower(struct lower *lo)
{
	struct value *x = lower_in(lo, 0), *y = lower_in(lo, 1);
	const struct type *t = lower_type(lo, 0);
	unsigned axis = lower_axis(lo, A_axis, x->type->rank);
	struct nest n = nest_begin(lo, 1, &t);
	const struct expr *idx[MAX_RANK];

	for (unsigned i = 0; i < axis; i++)
		idx[i] = n.iv[i];
	for (unsigned i = axis + 1; i < x->type->rank; i++)
		idx[i] = n.iv[i + y->type->rank - 1];
	idx[axis] = nest_index_wrap(lo, nest_load(lo, y, n.iv + axis),
				    x->type->dim[axis]);
	struct value *v = nest_load(lo, x, idx);

	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(Gather, .domain = "", .since = 13,
	.in = { { "data", T_ANY }, { "indices", T_INDEX } },
	.out = { { "output", T_ANY } },
	.attr = {
		ATTR(axis, AT_INT, .i = 0),
	},
	.infer = gather_infer,
	.lower = gather_lower);
