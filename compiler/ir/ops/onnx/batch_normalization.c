/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BatchNormalization with given statistics: x * a + b per channel, where
 * a = scale / sqrt(var + epsilon) and b = B - mean * a are ops of their own,
 * so that they fold when constant and can move into a preceding Conv.
 */
#include "ir/ops/onnx/fold.h"

static bool batch_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, 0);
	const struct expr *channels = x->rank < 2 ? expr_const(c, 1)
						  : x->dim[1];

	if (!x->rank)
		return infer_error(in, "input is a scalar");
	if (op_int(in->op, A_training_mode) || in->op->n_out > 1)
		return infer_unsupported(in, "training mode is not supported");
	if (!op_int(in->op, A_spatial))
		return infer_unsupported(in, "spatial = 0 is not supported");
	for (unsigned k = 1; k < 5; k++) {
		const struct type *t = infer_type(in, k);

		if (t->rank != 1)
			return infer_error(in, "input '%s' has rank %u",
					   op_def(in->op)->in[k].name,
					   t->rank);
		if (!infer_dims_agree(in, t->dim[0], channels,
				      op_def(in->op)->in[k].name))
			return false;
	}
	return infer_same(in);
}

static struct value *convert(struct lower *lo, enum dtype to, struct value *x)
{
	if (x->type->dtype == to)
		return x;
	return g_op(lo, OP_Cast, VALUES(x),
		    ATTRS({ A_to, attr_int(lo->b.ctx, dtype_info[to].onnx) }));
}

/* A channel vector as [C, 1, ...], which broadcasts to images of this rank. */
static struct value *per_channel(struct lower *lo, struct value *v,
				 unsigned rank)
{
	int64_t axes[MAX_RANK];
	int n = 0;

	for (unsigned i = 2; i < rank; i++)
		axes[n++] = (int64_t)i - 1;
	if (!n)
		return v;
	return g_op(lo, OP_Unsqueeze, VALUES(v, build_ints(&lo->b, n, axes)),
		    0, NULL);
}

static bool batch_decompose(struct lower *lo)
{
	struct value *x = lower_in(lo, 0), *v[5], *a, *b;
	enum dtype t = x->type->dtype;
	enum dtype acc = acc_dtype(lower_in(lo, 3)->type->dtype);
	unsigned rank = x->type->rank;

	if (t == DT_F64)
		acc = t;
	for (unsigned k = 0; k < 5; k++)
		v[k] = convert(lo, acc, lower_in(lo, k));
	a = build_scalar_const(&lo->b, acc, op_float(lo->op, A_epsilon));
	a = g_op(lo, OP_Add, VALUES(v[4], a), 0, NULL);
	a = g_op(lo, OP_Sqrt, VALUES(a), 0, NULL);
	a = g_op(lo, OP_Div, VALUES(v[1], a), 0, NULL);
	b = g_op(lo, OP_Mul, VALUES(v[3], a), 0, NULL);
	b = g_op(lo, OP_Sub, VALUES(v[2], b), 0, NULL);
	a = per_channel(lo, a, rank);
	b = per_channel(lo, b, rank);
	x = g_op(lo, OP_Mul, VALUES(v[0], a), 0, NULL);
	x = g_op(lo, OP_Add, VALUES(x, b), 0, NULL);
	lo->result[0] = convert(lo, t, x);
	return true;
}

/* Until opset 13 training was asked for by naming the other results; until 6
 * by is_test = 0, its default. */
static bool batch_older(struct older *old)
{
	const struct attr *test = older_attr(old, A_is_test);

	if (old->opset < 7 && !(test && test->i) && old->n_out > 1)
		older_set_attr(old, A_training_mode,
			       attr_int(old->b.ctx, 1));
	return true;
}

OP(BatchNormalization, .domain = "", .since = 15,
	.in = { { "X", T_FLOAT }, { "scale", T_FLOAT }, { "B", T_FLOAT },
		{ "input_mean", T_FLOAT }, { "input_var", T_FLOAT } },
	.out = { { "Y", T_FLOAT }, { "running_mean", T_FLOAT | P_OPTIONAL },
		 { "running_var", T_FLOAT | P_OPTIONAL } },
	.attr = {
		ATTR(epsilon, AT_FLOAT, .f = 1e-5),
		ATTR(momentum, AT_FLOAT, .f = 0.9),
		ATTR(training_mode, AT_INT),
		ATTR(spatial, AT_INT, .i = 1),
		ATTR(is_test, AT_INT),
		ATTR(consumed_inputs, AT_INTS),
	},
	.infer = batch_infer,
	.decompose = batch_decompose,
	.older = batch_older);
