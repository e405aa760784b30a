/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BatchNormalization: x * a + b per channel, where a = scale / sqrt(var +
 * epsilon) and b = B - mean * a are ops of their own, so that they fold when
 * constant and can move into a preceding Conv.  In training mode the
 * statistics are those of x, and the running ones are further results.
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
	if (in->op->n_out > 3)
		return infer_unsupported(in, "saved statistics are not "
					 "supported");
	if (in->op->n_out > 1 && !op_int(in->op, A_training_mode))
		return infer_error(in, "has %u outputs without training_mode",
				   in->op->n_out);
	if (!op_int(in->op, A_spatial))
		return infer_unsupported(in, "spatial = 0 is not supported");
	for (unsigned k = 1; k < 5; k++)
		if (!infer_dims(in, k, 1, &channels))
			return false;
	infer_set(in, 1, infer_type(in, 3)->dtype, 1, &channels);
	infer_set(in, 2, infer_type(in, 4)->dtype, 1, &channels);
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

static struct value *mean_of(struct lower *lo, struct value *x)
{
	int64_t axes[MAX_RANK] = { 0 };
	int n = 1;

	for (unsigned i = 2; i < x->type->rank; i++)
		axes[n++] = i;
	return g_op(lo, OP_ReduceMean, VALUES(x, build_ints(&lo->b, n, axes)),
		    ATTRS({ A_keepdims, attr_int(lo->b.ctx, 0) }));
}

/* old * momentum + now * (1 - momentum). */
static struct value *running(struct lower *lo, struct value *old,
			     struct value *now)
{
	enum dtype t = now->type->dtype;
	double momentum = op_float(lo->op, A_momentum);
	struct value *m = build_scalar_const(&lo->b, t, momentum);
	struct value *rest = build_scalar_const(&lo->b, t, 1 - momentum);

	m = g_op(lo, OP_Mul, VALUES(convert(lo, t, old), m), 0, NULL);
	rest = g_op(lo, OP_Mul, VALUES(now, rest), 0, NULL);
	m = g_op(lo, OP_Add, VALUES(m, rest), 0, NULL);
	return convert(lo, old->type->dtype, m);
}

/* Puts the statistics of v[0] in the place of the given v[3] and v[4]. */
static void train(struct lower *lo, struct value **v)
{
	struct value *mean, *d;

	/* A list has one channel; images have theirs in dim 1. */
	if (v[0]->type->rank < 2)
		mean = g_op(lo, OP_ReduceMean, VALUES(v[0]), 0, NULL);
	else
		mean = mean_of(lo, v[0]);
	d = g_op(lo, OP_Sub, VALUES(v[0], per_channel(lo, mean,
						      v[0]->type->rank)),
		 0, NULL);
	d = g_op(lo, OP_Mul, VALUES(d, d), 0, NULL);
	if (v[0]->type->rank < 2)
		d = g_op(lo, OP_ReduceMean, VALUES(d), 0, NULL);
	else
		d = mean_of(lo, d);
	if (lo->op->n_out > 1)
		lo->result[1] = running(lo, v[3], mean);
	if (lo->op->n_out > 2)
		lo->result[2] = running(lo, v[4], d);
	v[3] = mean;
	v[4] = d;
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
	if (op_int(lo->op, A_training_mode))
		train(lo, v);
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
 * by is_test = 0 as well, which is its default. */
static bool batch_older(struct older *old)
{
	const struct attr *test = older_attr(old, A_is_test);

	if (old->opset < 14 && !(test && test->i) && old->n_out > 1)
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
