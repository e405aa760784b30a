/* SPDX-License-Identifier: Apache-2.0 */
/* Relu and its relatives that need no elementary function; NaN propagates
 * where ONNX's formula lets it. */
#include "ir/ops/onnx/activation.h"
#include "ir/ops/onnx/pointwise.h"

static struct value *below_zero(struct lower *lo, struct value *x)
{
	return s_op2(lo, OP_arith_lt, x, s_like(lo, x, 0));
}

static struct value *relu(struct lower *lo, struct value *const *x)
{
	return act_relu(lo, x[0]);
}

static struct value *leaky_relu(struct lower *lo, struct value *const *x)
{
	return s_cast(lo, x[0]->type->dtype,
		      act_leaky_relu(lo, s_wide(lo, x[0]),
				     op_float(lo->op, A_alpha)));
}

static struct value *prelu(struct lower *lo, struct value *const *x)
{
	if (!dtype_is_signed(x[0]->type->dtype))
		return x[0];
	return s_select(lo, below_zero(lo, x[0]), s_mul(lo, x[0], x[1]), x[0]);
}

/* Before opset 7 the slope is one number or one per channel. */
static bool prelu_older(struct older *o)
{
	if (o->opset >= 7 || o->n_in != 2 || !o->in[0] || !o->in[1] ||
	    o->in[1]->type->rank != 1 || expr_is(o->in[1]->type->dim[0], 1))
		return true;
	int64_t axes[MAX_RANK];
	int n = 0;

	for (unsigned i = 2; i < o->in[0]->type->rank; i++)
		axes[n++] = i - 1;
	if (!n)
		return true;
	o->in[1] = build_op(&o->b, OP_Unsqueeze,
			    VALUES(o->in[1], build_ints(&o->b, n, axes)), 0,
			    NULL);
	return o->in[1];
}

static struct value *thresholded_relu(struct lower *lo,
				      struct value *const *x)
{
	struct value *k = s_like(lo, x[0], op_float(lo->op, A_alpha));

	return s_select(lo, s_op2(lo, OP_arith_gt, x[0], k), x[0],
			s_like(lo, x[0], 0));
}

static struct value *hard_sigmoid(struct lower *lo, struct value *const *x)
{
	struct value *y = act_hard_sigmoid(lo, s_wide(lo, x[0]),
					   op_float(lo->op, A_alpha),
					   op_float(lo->op, A_beta));

	return s_cast(lo, x[0]->type->dtype, y);
}

static struct value *hard_swish(struct lower *lo, struct value *const *x)
{
	struct value *w = s_wide(lo, x[0]);
	struct value *y = s_mul(lo, w, act_hard_sigmoid(lo, w, 1.0 / 6, 0.5));

	return s_cast(lo, x[0]->type->dtype, y);
}

static struct value *softsign(struct lower *lo, struct value *const *x)
{
	return s_cast(lo, x[0]->type->dtype,
		      act_softsign(lo, s_wide(lo, x[0])));
}

/* Integers are computed as f64: the bias may be a fraction. */
static struct value *shrink(struct lower *lo, struct value *const *x)
{
	enum dtype t = x[0]->type->dtype;
	struct value *w = dtype_is_float(t) ? s_wide(lo, x[0])
					    : s_cast(lo, DT_F64, x[0]);
	double lambda = op_float(lo->op, A_lambd);
	struct value *bias = s_like(lo, w, op_float(lo->op, A_bias));
	struct value *below = s_op2(lo, OP_arith_lt, w, s_like(lo, w, -lambda));
	struct value *above = s_op2(lo, OP_arith_gt, w, s_like(lo, w, lambda));
	struct value *y = s_select(lo, above, s_sub(lo, w, bias),
				   s_like(lo, w, 0));

	y = s_select(lo, below, s_add(lo, w, bias), y);
	return s_cast(lo, t, y);
}

#define RECORD(version, types, fn)                                    \
	.domain = "", .since = (version), .in = { { "X", (types) } }, \
	.out = { { "Y", (types) } }, .infer = infer_same, .scalar = fn

OP(Relu, RECORD(14, T_FLOAT | T_SINT, relu),
	.keeps_factors = true);
OP(LeakyRelu, RECORD(16, T_FLOAT, leaky_relu),
	.attr = {
		ATTR(alpha, AT_FLOAT, .f = 0.01f),
	},
	.keeps_factors = true);
OP(PRelu, .domain = "", .since = 16,
	.in = { { "X", T_FLOAT | T_INDEX | T(U32) | T(U64) },
		{ "slope", T_FLOAT | T_INDEX | T(U32) | T(U64) | P_SAME } },
	.out = { { "Y", T_FLOAT | T_INDEX | T(U32) | T(U64) } },
	.infer = infer_like_first,
	.scalar = prelu,
	.older = prelu_older,
	.keeps_factors = true);
OP(ThresholdedRelu, RECORD(22, T_FLOAT, thresholded_relu), .first = 10,
	.attr = {
		ATTR(alpha, AT_FLOAT, .f = 1),
	});
OP(HardSigmoid, RECORD(22, T_FLOAT, hard_sigmoid),
	.attr = {
		ATTR(alpha, AT_FLOAT, .f = 0.2f),
		ATTR(beta, AT_FLOAT, .f = 0.5),
	});
OP(HardSwish, RECORD(22, T_FLOAT, hard_swish), .first = 14);
OP(Softsign, RECORD(22, T_FLOAT, softsign));
OP(Shrink, RECORD(9, T_NUM, shrink), .first = 9,
	.attr = {
		ATTR(bias, AT_FLOAT, .f = 0),
		ATTR(lambd, AT_FLOAT, .f = 0.5),
	});
