/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CenterCropPad: each of the chosen dims is cropped or padded with zeros to
 * the given size about its centre; an odd difference leaves the smaller part
 * in front.  Both cases are one guarded load with an offset.
 */
#include "ir/ops/onnx/movement.h"

/* The sizes of all dims; false after an error. */
static bool crop_sizes(struct infer *in, const struct expr **dim)
{
	const struct type *x = infer_type(in, 0);
	size_t n, n_axes;
	const int64_t *axes = op_ints(in->op, A_axes, &n_axes);
	bool seen[MAX_RANK] = { false };
	const struct expr **size = infer_list(in, 1, axes ? n_axes : x->rank,
					      &n);

	if (!size)
		return false;
	if (n != (axes ? n_axes : x->rank))
		return infer_error(in, "%zu sizes for %zu axes", n,
				   axes ? n_axes : x->rank);
	for (unsigned i = 0; i < x->rank; i++)
		dim[i] = x->dim[i];
	for (size_t k = 0; k < n; k++) {
		unsigned a;

		if (!infer_axis(in, axes ? axes[k] : (int64_t)k, x->rank, &a))
			return false;
		if (seen[a])
			return infer_error(in, "axis %u is given twice", a);
		if (!infer_require_ge0(in, size[k], "negative size"))
			return false;
		seen[a] = true;
		dim[a] = size[k];
	}
	return true;
}

static bool center_crop_pad_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);
	const struct expr *dim[MAX_RANK];

	if (!crop_sizes(in, dim))
		return false;
	infer_set(in, 0, x->dtype, x->rank, dim);
	return true;
}

static bool center_crop_pad_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	struct value *x = lower_in(lo, 0);
	const struct type *t = lower_type(lo, 0);
	const struct expr *idx[MAX_RANK], *guard[2 * MAX_RANK];
	const struct expr *two = expr_const(c, 2);
	unsigned n_guard = 0;
	struct nest n = nest_begin(lo, 1, &t);

	for (unsigned i = 0; i < t->rank; i++) {
		const struct expr *dim = x->type->dim[i];
		const struct expr *crop = expr_sub(c, dim, t->dim[i]);
		const struct expr *pad = expr_scale(c, crop, -1);
		const struct expr *zero = expr_const(c, 0);

		/* Half of what is cropped, less half of what is padded. */
		crop = expr_div(c, expr_max(c, crop, zero), two);
		pad = expr_div(c, expr_max(c, pad, zero), two);
		idx[i] = expr_add(c, n.iv[i], expr_sub(c, crop, pad));
		guard[n_guard++] = idx[i];
		guard[n_guard++] = expr_addc(c, expr_sub(c, dim, idx[i]), -1);
	}
	struct value *v = nest_load_guarded(lo, x, idx, n_guard, guard,
					    s_const(lo, t->dtype, 0));

	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(CenterCropPad, .domain = "", .since = 18, .first = 18,
	.in = { { "input_data", T_ANY }, { "shape", T_INDEX } },
	.out = { { "output_data", T_ANY } },
	.attr = {
		ATTR(axes, AT_INTS),
	},
	.infer = center_crop_pad_infer,
	.lower = center_crop_pad_lower,
	.fold = fold_same_type);
