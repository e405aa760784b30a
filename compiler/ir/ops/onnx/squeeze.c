/* SPDX-License-Identifier: Apache-2.0 */
/* Squeeze and Unsqueeze: axes are an input since opset 13. */
#include "ir/ops/onnx/movement.h"

/* 1 where dim i is the k-th of those that no axis names, else 0; the axes may
 * be known only at run time. */
static const struct expr *kept_as(struct ctx *c, const struct axes *a,
				  unsigned i, unsigned k)
{
	const struct expr *at = expr_const(c, (int64_t)i - (int64_t)k);

	for (unsigned j = 0; j < i; j++)
		at = expr_sub(c, at, a->any[j]);
	/* Twice the distance, odd where the dim is named. */
	at = expr_add(c, expr_scale(c, at, 2), a->any[i]);
	return expr_small_is_zero(c, at, 2 * MAX_RANK);
}

static bool squeeze_dims(struct infer *in, const struct axes *a)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, 0);
	const struct expr *dim[MAX_RANK], *one = expr_const(c, 1);
	unsigned rank = x->rank - (unsigned)a->n;

	for (unsigned i = 0; i < x->rank; i++) {
		const struct expr *more = expr_sub(c, x->dim[i], one);
		int64_t k;

		if (expr_is(a->any[i], 1) && expr_is_const(more, &k) && k)
			return infer_error(in, "dim %u is %lld, not 1", i,
					   (long long)k + 1);
		infer_require_eq(in, expr_mul(c, a->any[i], more),
				 expr_const(c, 0));
	}
	for (unsigned k = 0; k < rank; k++) {
		dim[k] = expr_const(c, 0);
		for (unsigned i = 0; i < x->rank; i++)
			dim[k] = expr_add(c, dim[k],
					  expr_mul(c, kept_as(c, a, i, k),
						   x->dim[i]));
		dim[k] = infer_dim(c, dim[k]);
	}
	infer_set(in, 0, x->dtype, rank, dim);
	return true;
}

static bool squeeze_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, 0);
	struct axes a = { 0 };

	if (infer_has(in, 1)) {
		if (!infer_axes(in, 1, x->rank, &a))
			return false;
	} else {
		for (unsigned i = 0; i < x->rank; i++) {
			bool one = expr_is(x->dim[i], 1);

			a.any[i] = expr_const(c, one);
			a.n += one;
		}
	}
	return squeeze_dims(in, &a);
}

static bool unsqueeze_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, 0), *list = infer_type(in, 1);
	const struct expr *dim[MAX_RANK];
	struct axes a = { 0 };
	int64_t n = 1;

	if (list->rank > 1 ||
	    (list->rank && !expr_is_const(list->dim[0], &n)))
		return infer_unsupported(in, "axes must be a list of constant "
					     "length, are %s",
					 type_str(c, list));
	if (!infer_rank(in, x->rank + (uint64_t)n) ||
	    !infer_axes(in, 1, x->rank + (unsigned)n, &a))
		return false;
	unsigned rank = x->rank + (unsigned)n;

	for (unsigned i = 0; i < rank; i++) {
		const struct expr *size = expr_const(c, 0);

		for (unsigned k = 0; k < x->rank; k++)
			size = expr_add(c, size,
					expr_mul(c, kept_as(c, &a, i, k),
						 x->dim[k]));
		dim[i] = expr_max(c, a.any[i], size);
		if (expr_is(a.any[i], 0))
			dim[i] = size;
		dim[i] = infer_dim(c, dim[i]);
	}
	infer_set(in, 0, x->dtype, rank, dim);
	return true;
}

static bool axes_older(struct older *o)
{
	return older_attr_to_input(o, A_axes, 1);
}

OP(Squeeze, .domain = "", .since = 25,
	.in = { { "data", T_ANY }, { "axes", T(I64) | P_OPTIONAL } },
	.out = { { "squeezed", T_ANY } },
	.attr = {
		ATTR(axes, AT_INTS),
	},
	.infer = squeeze_infer,
	.lower = reshape_lower,
	.fold = fold_same_type,
	.older = axes_older);
OP(Unsqueeze, .domain = "", .since = 25,
	.in = { { "data", T_ANY }, { "axes", T(I64) } },
	.out = { { "expanded", T_ANY } },
	.attr = {
		ATTR(axes, AT_INTS),
	},
	.infer = unsqueeze_infer,
	.lower = reshape_lower,
	.fold = fold_same_type,
	.older = axes_older);
