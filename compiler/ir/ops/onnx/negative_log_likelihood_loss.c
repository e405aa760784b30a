/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NegativeLogLikelihoodLoss: -weight[t] * input[n][t][..] for the target class
 * t of every position; the mean divides by the sum of the weights.  Positions
 * of the class ignore_index count as nothing.  SoftmaxCrossEntropyLoss is the
 * same of LogSoftmax(scores).
 */
#include <string.h>

#include "ir/ops/onnx/fold.h"
#include "ir/ops/onnx/movement.h"

static bool loss_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, 0), *t = infer_type(in, 1);
	const struct type *w = infer_type(in, 2);
	const char *how = op_str(in->op, A_reduction);
	const struct expr *classes;

	if (strcmp(how, "none") && strcmp(how, "sum") && strcmp(how, "mean"))
		return infer_error(in, "unknown reduction '%s'", how);
	if (x->rank < 2 || t->rank + 1 != x->rank)
		return infer_error(in, "input is %s, target is %s",
				   type_str(c, x), type_str(c, t));
	for (unsigned i = 0; i < t->rank; i++) {
		const struct expr *d = t->dim[i];

		if (!infer_same_dim(in, &d, x->dim[i ? i + 1 : 0],
				    "dims of input and target"))
			return false;
	}
	classes = x->dim[1];
	if (w && (w->rank != 1 ||
		  !infer_same_dim(in, &classes, w->dim[0],
				  "number of classes and weights")))
		return infer_error(in, "weight is %s for %s", type_str(c, w),
				   type_str(c, x));
	if (strcmp(how, "none"))
		infer_set(in, 0, x->dtype, 0, NULL);
	else
		infer_set(in, 0, x->dtype, t->rank, t->dim);
	/* log_prob of SoftmaxCrossEntropyLoss */
	infer_set(in, 1, x->dtype, x->rank, x->dim);
	return true;
}

/* The loss and the weight of the position at[]. */
static void position(struct lower *lo, const struct expr *const *at,
		     enum dtype wide, struct value **loss,
		     struct value **weight)
{
	struct value *x = lower_in(lo, 0), *t = lower_in(lo, 1);
	struct value *zero = s_const(lo, wide, 0), *ignored = NULL;
	struct value *target = s_cast(lo, DT_I64, nest_load(lo, t, at));
	const struct expr *idx[MAX_RANK];

	if (op_has(lo->op, A_ignore_index)) {
		struct value *skip = s_int(lo, DT_I64,
					   op_int(lo->op, A_ignore_index));

		ignored = s_op2(lo, OP_arith_eq, target, skip);
		/* Whatever the class is, there is one to load. */
		target = s_select(lo, ignored, s_int(lo, DT_I64, 0), target);
	}
	idx[0] = at[0];
	idx[1] = nest_index(lo, target, x->type->dim[1]);
	for (unsigned i = 2; i < x->type->rank; i++)
		idx[i] = at[i - 1];
	*weight = s_const(lo, wide, 1);
	if (lower_in(lo, 2))
		*weight = s_cast(lo, wide,
				 nest_load(lo, lower_in(lo, 2), &idx[1]));
	*loss = s_op(lo, OP_arith_neg, s_cast(lo, wide, nest_load(lo, x, idx)));
	*loss = s_mul(lo, *loss, *weight);
	if (ignored) {
		*weight = s_select(lo, ignored, zero, *weight);
		*loss = s_select(lo, ignored, zero, *loss);
	}
}

static bool loss_lower(struct lower *lo)
{
	const struct type *t = lower_type(lo, 0);
	const struct type *target = lower_in(lo, 1)->type;
	const char *how = op_str(lo->op, A_reduction);
	enum dtype wide = acc_dtype(t->dtype);
	struct value *v[2], *sum[2];
	struct nest n = nest_begin(lo, 1, &t);

	if (!strcmp(how, "none")) {
		position(lo, n.iv, wide, &v[0], &v[1]);
		sum[0] = v[0];
	} else {
		v[0] = v[1] = s_const(lo, wide, 0);
		struct reduce r = nest_reduce_begin(lo, target->rank,
						    target->dim, 2, v);

		position(lo, r.iv, wide, &v[0], &v[1]);
		v[0] = s_add(lo, r.acc[0], v[0]);
		v[1] = s_add(lo, r.acc[1], v[1]);
		nest_reduce_end(lo, &r, v, sum);
		if (!strcmp(how, "mean"))
			sum[0] = s_div(lo, sum[0], sum[1]);
	}
	sum[0] = s_cast(lo, t->dtype, sum[0]);
	nest_end(lo, &n, 1, sum, lo->result);
	return true;
}

static bool cross_entropy_decompose(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	struct named_attr attr[2] = {
		{ A_reduction, attr_str(c, op_str(lo->op, A_reduction)) },
	};
	unsigned n_attr = 1;

	if (op_has(lo->op, A_ignore_index))
		attr[n_attr++] = (struct named_attr){
			A_ignore_index, op_attr(lo->op, A_ignore_index)
		};
	struct value *log = g_op(lo, OP_LogSoftmax, VALUES(lower_in(lo, 0)),
				 ATTRS({ A_axis, attr_int(c, 1) }));

	if (!log)
		return false;
	lo->result[0] = g_op(lo, OP_NegativeLogLikelihoodLoss,
			     VALUES(log, lower_in(lo, 1), lower_in(lo, 2)),
			     n_attr, attr);
	if (lo->op->n_out > 1)
		lo->result[1] = log;
	return lo->result[0];
}

OP(NegativeLogLikelihoodLoss, .domain = "", .since = 22, .first = 12,
	.in = { { "input", T_FLOAT }, { "target", T_INDEX },
		{ "weight", T_FLOAT | P_SAME | P_OPTIONAL } },
	.out = { { "loss", T_FLOAT } },
	.attr = {
		ATTR(ignore_index, AT_INT),
		ATTR(reduction, AT_STR, .s = "mean"),
	},
	.infer = loss_infer,
	.lower = loss_lower);
OP(SoftmaxCrossEntropyLoss, .domain = "", .since = 13, .first = 12,
	.in = { { "scores", T_FLOAT }, { "labels", T_INDEX },
		{ "weights", T_FLOAT | P_SAME | P_OPTIONAL } },
	.out = { { "output", T_FLOAT }, { "log_prob", T_FLOAT } },
	.attr = {
		ATTR(ignore_index, AT_INT),
		ATTR(reduction, AT_STR, .s = "mean"),
	},
	.infer = loss_infer,
	.decompose = cross_entropy_decompose);
