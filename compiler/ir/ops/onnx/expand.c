/* SPDX-License-Identifier: Apache-2.0 */
/* Expand: numpy broadcasting of the input and the shape against each other. */
#include "ir/ops/onnx/movement.h"

static bool expand_dim(struct infer *in, const struct expr *dim,
		       const struct expr *size, const struct expr **out)
{
	int64_t k, m;

	*out = dim;
	if (!infer_require_ge0(in, size, "negative size"))
		return false;
	if (infer_broadcast_dim(in, out, size))
		return true;
	return infer_error(in, "dim %lld does not expand to %lld",
			   expr_is_const(dim, &m) ? (long long)m : -1,
			   expr_is_const(size, &k) ? (long long)k : -1);
}

static bool expand_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);
	const struct expr *dim[MAX_RANK], *one = expr_const(in->ctx, 1);
	size_t n;

	if (infer_type(in, 1)->rank != 1)
		return infer_error(in, "the shape must be a list, is %s",
				   type_str(in->ctx, infer_type(in, 1)));
	const struct expr **size = infer_elems(in, 1, &n);

	if (!size || !infer_rank(in, n))
		return false;
	unsigned rank = n > x->rank ? (unsigned)n : x->rank;

	for (unsigned i = 0; i < rank; i++) {
		unsigned a = rank - x->rank, b = rank - (unsigned)n;

		if (!expand_dim(in, i < a ? one : x->dim[i - a],
				i < b ? one : size[i - b], &dim[i]))
			return false;
	}
	infer_set(in, 0, x->dtype, rank, dim);
	return true;
}

static bool expand_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	struct value *x = lower_in(lo, 0);
	const struct type *t = lower_type(lo, 0), *xt = x->type;
	struct nest n = nest_begin(lo, 1, &t);
	const struct expr *idx[MAX_RANK];

	for (unsigned i = 0; i < xt->rank; i++) {
		unsigned k = t->rank - xt->rank + i;

		idx[i] = broadcast_index(c, xt->dim[i], n.iv[k]);
	}
	struct value *v = nest_load(lo, x, idx);

	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(Expand, .domain = "", .since = 13, .first = 8,
	.in = { { "input", T_ANY }, { "shape", T(I64) } },
	.out = { { "output", T_ANY } },
	.infer = expand_infer,
	.lower = expand_lower,
	.fold = fold_same_type);
