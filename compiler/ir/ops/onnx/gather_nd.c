/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GatherND: the last dim of indices holds tuples that index data from dim
 * batch_dims on; the dims before are shared.
 */
#include "ir/ops/onnx/movement.h"

static bool gather_nd_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0), *y = infer_type(in, 1);
	const struct expr *dim[2 * MAX_RANK];
	int64_t batch = op_int(in->op, A_batch_dims), k;
	unsigned n = 0;

	if (!x->rank || !y->rank)
		return infer_error(in, "data and indices must not be scalars");
	if (batch < 0 || batch >= x->rank || batch >= y->rank)
		return infer_error(in, "batch_dims %lld is out of range",
				   (long long)batch);
	if (!expr_is_const(y->dim[y->rank - 1], &k))
		return infer_unsupported(in, "the last dim of the indices "
					     "must be constant");
	if (k < 1 || k > x->rank - batch)
		return infer_error(in, "tuples of %lld indices for %s",
				   (long long)k, type_str(in->ctx, x));
	if (!infer_rank(in, y->rank - 1 + (uint64_t)(x->rank - batch - k)))
		return false;
	for (unsigned i = 0; i + 1 < y->rank; i++) {
		dim[n] = y->dim[i];
		if (i < batch && !infer_same_dim(in, &dim[n], x->dim[i],
						 "batch dims"))
			return false;
		n++;
	}
	for (int64_t i = batch + k; i < x->rank; i++)
		dim[n++] = x->dim[i];
	infer_set(in, 0, x->dtype, n, dim);
	return true;
}

static bool gather_nd_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	struct value *x = lower_in(lo, 0), *y = lower_in(lo, 1);
	const struct type *t = lower_type(lo, 0);
	unsigned batch = (unsigned)op_int(lo->op, A_batch_dims);
	unsigned last = y->type->rank - 1, next = last;
	struct nest n = nest_begin(lo, 1, &t);
	const struct expr *idx[MAX_RANK], *at[MAX_RANK];
	int64_t k = 0;

	expr_is_const(y->type->dim[last], &k);
	for (unsigned i = 0; i < last; i++)
		at[i] = n.iv[i];
	for (unsigned i = 0; i < x->type->rank; i++) {
		if (i < batch) {
			idx[i] = n.iv[i];
		} else if (i < batch + k) {
			at[last] = expr_const(c, i - batch);
			idx[i] = nest_index_wrap(lo, nest_load(lo, y, at),
						 x->type->dim[i]);
		} else {
			idx[i] = n.iv[next++];
		}
	}
	struct value *v = nest_load(lo, x, idx);

	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(GatherND, .domain = "", .since = 13, .first = 11,
	.in = { { "data", T_ANY }, { "indices", T(I64) } },
	.out = { { "output", T_ANY } },
	.attr = {
		ATTR(batch_dims, AT_INT, .i = 0),
	},
	.infer = gather_nd_infer,
	.lower = gather_nd_lower);
