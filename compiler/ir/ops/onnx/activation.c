/* SPDX-License-Identifier: Apache-2.0 */
/* Formulas and names from the "Activation functions" of ONNX's LSTM page. */
#include "ir/ops/onnx/activation.h"

#include <strings.h>

#include "ir/ops/onnx/pointwise.h"

static struct value *below(struct lower *lo, struct value *x, double limit)
{
	return s_op2(lo, OP_arith_lt, x, s_like(lo, x, limit));
}

struct value *act_relu(struct lower *lo, struct value *x)
{
	return s_select(lo, below(lo, x, 0), s_like(lo, x, 0), x);
}

/* 1 / (1 + exp(-x)): exp overflows to infinity, which gives the right 0. */
struct value *act_sigmoid(struct lower *lo, struct value *x)
{
	struct value *one = s_like(lo, x, 1);
	struct value *e = s_op(lo, OP_math_exp, s_op(lo, OP_arith_neg, x));

	return s_div(lo, one, s_add(lo, one, e));
}

struct value *act_softsign(struct lower *lo, struct value *x)
{
	struct value *d = s_add(lo, s_like(lo, x, 1),
				s_op(lo, OP_arith_abs, x));

	return s_div(lo, x, d);
}

/* log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)) */
struct value *act_softplus(struct lower *lo, struct value *x)
{
	struct value *m = s_op(lo, OP_arith_neg, s_op(lo, OP_arith_abs, x));
	struct value *e = s_op(lo, OP_math_log1p, s_op(lo, OP_math_exp, m));

	return s_add(lo, e, s_op2(lo, OP_arith_max, x, s_like(lo, x, 0)));
}

struct value *act_leaky_relu(struct lower *lo, struct value *x, double alpha)
{
	return s_select(lo, below(lo, x, 0),
			s_mul(lo, x, s_like(lo, x, alpha)), x);
}

struct value *act_elu(struct lower *lo, struct value *x, double alpha)
{
	struct value *e = s_mul(lo, s_like(lo, x, alpha),
				s_op(lo, OP_math_expm1, x));

	return s_select(lo, below(lo, x, 0), e, x);
}

static struct value *affine(struct lower *lo, struct value *x, double alpha,
			    double beta)
{
	return s_add(lo, s_mul(lo, x, s_like(lo, x, alpha)),
		     s_like(lo, x, beta));
}

struct value *act_hard_sigmoid(struct lower *lo, struct value *x, double alpha,
			       double beta)
{
	x = affine(lo, x, alpha, beta);
	x = s_op2(lo, OP_arith_min, x, s_like(lo, x, 1));
	return s_op2(lo, OP_arith_max, x, s_like(lo, x, 0));
}

/* ---- those that only recurrent ops name ----------------------------- */

static struct value *tanh_of(struct lower *lo, struct value *x)
{
	return s_op(lo, OP_math_tanh, x);
}

/* At alpha itself it is x, other than the operator's. */
static struct value *thresholded_relu(struct lower *lo, struct value *x,
				      double alpha)
{
	return s_select(lo, below(lo, x, alpha), s_like(lo, x, 0), x);
}

static struct value *scaled_tanh(struct lower *lo, struct value *x,
				 double alpha, double beta)
{
	x = s_op(lo, OP_math_tanh, s_mul(lo, x, s_like(lo, x, beta)));
	return s_mul(lo, x, s_like(lo, x, alpha));
}

static const struct activation_def table[] = {
	{ "Relu", 0, .none = act_relu },
	{ "Tanh", 0, .none = tanh_of },
	{ "Sigmoid", 0, .none = act_sigmoid },
	{ "Softsign", 0, .none = act_softsign },
	{ "Softplus", 0, .none = act_softplus },
	{ "LeakyRelu", 1, .one = act_leaky_relu, .param = { 0.01 } },
	{ "ThresholdedRelu", 1, .one = thresholded_relu, .param = { 1 } },
	{ "Elu", 1, .one = act_elu, .param = { 1 } },
	{ "Affine", 2, .two = affine, .param = { 1, 0 } },
	{ "ScaledTanh", 2, .two = scaled_tanh, .param = { 1, 1 } },
	{ "HardSigmoid", 2, .two = act_hard_sigmoid, .param = { 0.2, 0.5 } },
};

const struct activation_def *activation_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (!strcasecmp(table[i].name, name))
			return &table[i];
	return NULL;
}

struct value *activation_apply(struct lower *lo,
			       const struct activation_def *def,
			       struct value *x, double alpha, double beta)
{
	switch (def->n_param) {
	case 0: return def->none(lo, x);
	case 1: return def->one(lo, x, alpha);
	default: return def->two(lo, x, alpha, beta);
	}
}
