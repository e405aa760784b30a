/* SPDX-License-Identifier: Apache-2.0 */
/* Formulas and names from the "Activation functions" of ONNX's LSTM page. */
#include "ir/ops/onnx/activation.h"

#include <strings.h>

static struct value *k(struct lower *lo, struct value *like, double v)
{
	return s_const(lo, like->type->dtype, v);
}

static struct value *affine(struct lower *lo, struct value *x, double alpha,
			    double beta)
{
	return s_add(lo, s_mul(lo, x, k(lo, x, alpha)), k(lo, x, beta));
}

static struct value *relu(struct lower *lo, struct value *x, double alpha,
			  double beta)
{
	(void)alpha;
	(void)beta;
	return s_op2(lo, OP_arith_max, x, k(lo, x, 0));
}

static struct value *tanh_of(struct lower *lo, struct value *x, double alpha,
			     double beta)
{
	(void)alpha;
	(void)beta;
	return s_op(lo, OP_math_tanh, x);
}

static struct value *sigmoid(struct lower *lo, struct value *x, double alpha,
			     double beta)
{
	struct value *one = k(lo, x, 1);

	(void)alpha;
	(void)beta;
	x = s_op(lo, OP_math_exp, s_op(lo, OP_arith_neg, x));
	return s_div(lo, one, s_add(lo, one, x));
}

static struct value *leaky_relu(struct lower *lo, struct value *x,
				double alpha, double beta)
{
	(void)beta;
	return s_select(lo, s_op2(lo, OP_arith_lt, x, k(lo, x, 0)),
			s_mul(lo, x, k(lo, x, alpha)), x);
}

static struct value *thresholded_relu(struct lower *lo, struct value *x,
				      double alpha, double beta)
{
	(void)beta;
	return s_select(lo, s_op2(lo, OP_arith_lt, x, k(lo, x, alpha)),
			k(lo, x, 0), x);
}

static struct value *scaled_tanh(struct lower *lo, struct value *x,
				 double alpha, double beta)
{
	x = s_op(lo, OP_math_tanh, s_mul(lo, x, k(lo, x, beta)));
	return s_mul(lo, x, k(lo, x, alpha));
}

static struct value *hard_sigmoid(struct lower *lo, struct value *x,
				  double alpha, double beta)
{
	x = affine(lo, x, alpha, beta);
	x = s_op2(lo, OP_arith_max, x, k(lo, x, 0));
	return s_op2(lo, OP_arith_min, x, k(lo, x, 1));
}

static struct value *elu(struct lower *lo, struct value *x, double alpha,
			 double beta)
{
	struct value *e = s_mul(lo, s_op(lo, OP_math_expm1, x),
				k(lo, x, alpha));

	(void)beta;
	return s_select(lo, s_op2(lo, OP_arith_lt, x, k(lo, x, 0)), e, x);
}

static struct value *softsign(struct lower *lo, struct value *x, double alpha,
			      double beta)
{
	(void)alpha;
	(void)beta;
	return s_div(lo, x, s_add(lo, s_op(lo, OP_arith_abs, x), k(lo, x, 1)));
}

/* max(x, 0) + log1p(exp(-|x|)): exp() cannot overflow. */
static struct value *softplus(struct lower *lo, struct value *x, double alpha,
			      double beta)
{
	struct value *e = s_op(lo, OP_arith_neg, s_op(lo, OP_arith_abs, x));

	e = s_op(lo, OP_math_log1p, s_op(lo, OP_math_exp, e));
	return s_add(lo, relu(lo, x, alpha, beta), e);
}

/* clang-format off */
static const struct activation_def table[] = {
	{ "Relu",            0, { 0,    0 },   relu },
	{ "Tanh",            0, { 0,    0 },   tanh_of },
	{ "Sigmoid",         0, { 0,    0 },   sigmoid },
	{ "Affine",          2, { 1,    0 },   affine },
	{ "LeakyRelu",       1, { 0.01, 0 },   leaky_relu },
	{ "ThresholdedRelu", 1, { 1,    0 },   thresholded_relu },
	{ "ScaledTanh",      2, { 1,    1 },   scaled_tanh },
	{ "HardSigmoid",     2, { 0.2,  0.5 }, hard_sigmoid },
	{ "Elu",             1, { 1,    0 },   elu },
	{ "Softsign",        0, { 0,    0 },   softsign },
	{ "Softplus",        0, { 0,    0 },   softplus },
};
/* clang-format on */

const struct activation_def *activation_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (!strcasecmp(table[i].name, name))
			return &table[i];
	return NULL;
}
