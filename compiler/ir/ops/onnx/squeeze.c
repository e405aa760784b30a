/* SPDX-License-Identifier: Apache-2.0 */
/* Squeeze and Unsqueeze: axes are an input since opset 13. */
#include "ir/ops/onnx/movement.h"

/* Which of `rank` dims the axes input names; each at most once. */
static bool axes_mask(struct infer *in, unsigned rank, bool *mask)
{
	int64_t *axes;
	size_t n;

	if (!infer_const_ints(in, 1, &n, &axes))
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned a;

		if (!infer_axis(in, axes[i], rank, &a))
			return false;
		if (mask[a])
			return infer_error(in, "axis %u is given twice", a);
		mask[a] = true;
	}
	return true;
}

static bool squeeze_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);
	const struct expr *dim[MAX_RANK];
	bool mask[MAX_RANK] = { false };
	unsigned rank = 0;

	if (infer_has(in, 1)) {
		if (!axes_mask(in, x->rank, mask))
			return false;
	} else {
		for (unsigned i = 0; i < x->rank; i++)
			mask[i] = expr_is(x->dim[i], 1);
	}
	for (unsigned i = 0; i < x->rank; i++) {
		int64_t k;

		if (!mask[i]) {
			dim[rank++] = x->dim[i];
			continue;
		}
		if (expr_is_const(x->dim[i], &k) && k != 1)
			return infer_error(in, "dim %u is %lld, not 1", i,
					   (long long)k);
		infer_require_eq(in, x->dim[i], expr_const(in->ctx, 1));
	}
	infer_set(in, 0, x->dtype, rank, dim);
	return true;
}

static bool unsqueeze_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);
	const struct expr *dim[MAX_RANK];
	bool mask[MAX_RANK] = { false };
	int64_t *axes;
	size_t n;

	if (!infer_const_ints(in, 1, &n, &axes) ||
	    !infer_rank(in, x->rank + n))
		return false;
	unsigned rank = x->rank + (unsigned)n, k = 0;

	if (!axes_mask(in, rank, mask))
		return false;
	for (unsigned i = 0; i < rank; i++)
		dim[i] = mask[i] ? expr_const(in->ctx, 1) : x->dim[k++];
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
