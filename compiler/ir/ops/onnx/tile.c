/* SPDX-License-Identifier: Apache-2.0 */
/* Tile: the input repeated along each dim. */
#include "ir/ops/onnx/movement.h"

static bool tile_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);
	const struct expr *dim[MAX_RANK];
	size_t n;
	const struct expr **times = infer_list(in, 1, x->rank, &n);

	if (!times)
		return false;
	if (n != x->rank)
		return infer_error(in, "%zu repeats for rank %u", n, x->rank);
	for (unsigned i = 0; i < x->rank; i++) {
		if (!infer_require_ge0(in, times[i], "negative repeat"))
			return false;
		dim[i] = infer_dim(in->ctx, expr_mul(in->ctx, x->dim[i],
						     times[i]));
	}
	infer_set(in, 0, x->dtype, x->rank, dim);
	return true;
}

static bool tile_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	struct value *x = lower_in(lo, 0);
	const struct type *t = lower_type(lo, 0);
	struct nest n = nest_begin(lo, 1, &t);
	const struct expr *idx[MAX_RANK];

	for (unsigned i = 0; i < t->rank; i++) {
		const struct expr *dim = x->type->dim[i];

		idx[i] = dim == t->dim[i]  ? n.iv[i]
			 : expr_is(dim, 0) ? expr_const(c, 0)
					   : expr_mod(c, n.iv[i], dim);
	}
	struct value *v = nest_load(lo, x, idx);

	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(Tile, .domain = "", .since = 13, .first = 6,
	.in = { { "input", T_ANY }, { "repeats", T(I64) } },
	.out = { { "output", T_ANY } },
	.infer = tile_infer,
	.lower = tile_lower,
	.fold = fold_same_type);
