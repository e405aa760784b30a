/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LayerNormalization and RMSNormalization over the dims from `axis` on.  The
 * variance is that of the deviations from the mean, in a second pass, which
 * does not cancel.  Both are computed in stash_type, or wider where the data
 * are wider.
 *
 * ONNX Runtime writes LayerNormalization into files of older opsets than that
 * which has it, and RMSNormalization as SimplifiedLayerNormalization.
 */
#include "ir/ops/onnx/fold.h"

static bool stash_type(struct infer *in, enum dtype *t)
{
	int64_t code = op_int(in->op, A_stash_type);

	if (code < 0 || code > 64 || !dtype_from_onnx((int)code, t) ||
	    !dtype_is_float(*t))
		return infer_error(in, "stash_type is %lld", (long long)code);
	return true;
}

static bool normalization_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);
	const struct expr *dim[MAX_RANK];
	enum dtype stash;
	unsigned axis;

	if (!infer_axis(in, op_int(in->op, A_axis), x->rank, &axis) ||
	    !stash_type(in, &stash))
		return false;
	/* Scale and B broadcast to X, not the other way. */
	for (unsigned k = 1; k < in->op->n_in; k++) {
		const struct type *t = infer_type(in, k);

		if (t && !infer_broadcast_into(in, x->rank, x->dim, t))
			return false;
	}
	infer_set(in, 0, x->dtype, x->rank, x->dim);
	for (unsigned i = 0; i < x->rank; i++)
		dim[i] = i < axis ? x->dim[i] : expr_const(in->ctx, 1);
	infer_set(in, 1, stash, x->rank, dim);
	infer_set(in, 2, stash, x->rank, dim);
	return true;
}

/* A tensor in another type; the tensor itself when it has it. */
static struct value *convert(struct lower *lo, enum dtype to, struct value *x)
{
	const struct type *t = type_tensor(lo->b.ctx, to, x->type->rank,
					   x->type->dim);

	if (t == x->type)
		return x;
	struct nest n = nest_begin(lo, 1, &t);
	struct value *v = load_as(lo, to, x, n.iv), *res;

	nest_end(lo, &n, 1, &v, &res);
	return res;
}

static bool normalize(struct lower *lo, bool centre)
{
	struct value *x = lower_in(lo, 0), *v, *mean = NULL;
	const struct type *t = x->type;
	unsigned axis = lower_axis(lo, A_axis, t->rank);
	enum dtype stash = DT_F32, acc = acc_dtype(t->dtype);
	bool reduced[MAX_RANK];

	dtype_from_onnx((int)op_int(lo->op, A_stash_type), &stash);
	if (stash == DT_F64)
		acc = stash;
	for (unsigned i = 0; i < t->rank; i++)
		reduced[i] = i >= axis;
	if (centre)
		mean = row_mean(lo, x, reduced, acc, ROW_SUM, NULL);
	struct value *inv = row_mean(lo, x, reduced, acc,
				     centre ? ROW_DEVIATION : ROW_SQUARES,
				     mean);

	inv = inverse_root(lo, inv, op_float(lo->op, A_epsilon));
	struct nest n = nest_begin(lo, 1, &t);

	v = load_as(lo, acc, x, n.iv);
	if (centre)
		v = s_sub(lo, v, nest_load_broadcast(lo, mean, n.rank, n.iv));
	v = s_mul(lo, v, nest_load_broadcast(lo, inv, n.rank, n.iv));
	v = s_mul(lo, v, load_broadcast_as(lo, acc, lower_in(lo, 1), n.rank,
					   n.iv));
	if (lower_in(lo, 2))
		v = s_add(lo, v, load_broadcast_as(lo, acc, lower_in(lo, 2),
						   n.rank, n.iv));
	v = s_cast(lo, t->dtype, v);
	nest_end(lo, &n, 1, &v, lo->result);
	/* The statistics that there are. */
	unsigned k = 1;

	if (centre && k < lo->op->n_out)
		lo->result[k++] = convert(lo, stash, mean);
	if (k < lo->op->n_out)
		lo->result[k] = convert(lo, stash, inv);
	return true;
}

static bool layer_lower(struct lower *lo)
{
	return normalize(lo, true);
}

static bool rms_lower(struct lower *lo)
{
	return normalize(lo, false);
}

#define NORM_ATTRS \
	ATTR(axis, AT_INT, .i = -1), \
	ATTR(epsilon, AT_FLOAT, .f = 1e-5), \
	ATTR(stash_type, AT_INT, .i = 1)

#define RMS \
	.in = { { "X", T_FLOAT }, { "scale", T_FLOAT } }, \
	.attr = { NORM_ATTRS }, \
	.infer = normalization_infer, .lower = rms_lower

OP(LayerNormalization, .domain = "", .since = 17,
	.in = { { "X", T_FLOAT }, { "Scale", T_FLOAT | P_SAME },
		{ "B", T_FLOAT | P_SAME | P_OPTIONAL } },
	.out = { { "Y", T_FLOAT }, { "Mean", T_FLOAT | P_OPTIONAL },
		 { "InvStdDev", T_FLOAT | P_OPTIONAL } },
	.attr = {
		NORM_ATTRS,
	},
	.infer = normalization_infer,
	.lower = layer_lower);

OP(RMSNormalization, .domain = "", .since = 23, .first = 23,
	.out = { { "Y", T_FLOAT } }, RMS);
OP(SimplifiedLayerNormalization, .domain = "", .since = 1,
	.out = { { "Y", T_FLOAT }, { "inv_std_var", T_FLOAT | P_OPTIONAL } },
	RMS);
