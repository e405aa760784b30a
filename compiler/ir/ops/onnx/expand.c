/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expand: numpy broadcasting of the input and the shape against each other.
 * A dim and a size that are known only at run time must be equal unless one
 * of them is 1; the product (size - dim) (size - 1) (dim - 1) states that.
 */
#include "ir/ops/onnx/movement.h"

static bool expand_dim(struct infer *in, const struct expr *dim,
		       const struct expr *size, const struct expr **out)
{
	struct ctx *c = in->ctx;
	const struct expr *fact = expr_sub(c, size, dim);
	int64_t k, m;
	bool known = expr_is_const(size, &k), fixed = expr_is_const(dim, &m);

	*out = dim;
	if (dim == size || (known && k == 1))
		return true;
	if (fixed && m == 1) {
		*out = size;
		return infer_require_ge0(in, size, "negative size");
	}
	if (known && fixed)
		return infer_error(in, "dim %lld does not expand to %lld",
				   (long long)m, (long long)k);
	fact = expr_mul(c, fact, expr_addc(c, size, -1));
	infer_require_eq(in, expr_mul(c, fact, expr_addc(c, dim, -1)),
			 expr_const(c, 0));
	if (known)
		*out = size;
	else if (!fixed)
		*out = expr_max(c, dim, size);
	return true;
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
		const struct expr *more = expr_addc(c, xt->dim[i], -1);

		/* A dim of 1 that is one only at run time has the index 0. */
		if (expr_is(xt->dim[i], 1))
			idx[i] = expr_const(c, 0);
		else if (xt->dim[i] == t->dim[k])
			idx[i] = n.iv[k];
		else
			idx[i] = expr_mul(c, n.iv[k], expr_is_pos(c, more));
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
