/* SPDX-License-Identifier: Apache-2.0 */
/* Activations built on exp, erf and tanh. */
#include <string.h>

#include "ir/ops/onnx/activation.h"
#include "ir/ops/onnx/pointwise.h"

static struct value *sigmoid(struct lower *lo, struct value *const *x)
{
	return s_cast(lo, x[0]->type->dtype,
		      act_sigmoid(lo, s_wide(lo, x[0])));
}

static struct value *swish(struct lower *lo, struct value *const *x)
{
	struct value *w = s_wide(lo, x[0]), *z = w;
	double alpha = op_float(lo->op, A_alpha);

	if (alpha != 1)
		z = s_mul(lo, w, s_like(lo, w, alpha));
	return s_cast(lo, x[0]->type->dtype, s_mul(lo, w, act_sigmoid(lo, z)));
}

static struct value *elu(struct lower *lo, struct value *const *x)
{
	return s_cast(lo, x[0]->type->dtype,
		      act_elu(lo, s_wide(lo, x[0]),
			      op_float(lo->op, A_alpha)));
}

static struct value *selu(struct lower *lo, struct value *const *x)
{
	struct value *y = act_elu(lo, s_wide(lo, x[0]),
				  op_float(lo->op, A_alpha));

	y = s_mul(lo, y, s_like(lo, y, op_float(lo->op, A_gamma)));
	return s_cast(lo, x[0]->type->dtype, y);
}

/* max(0, x) + min(0, alpha * expm1(x / alpha)) */
static struct value *celu(struct lower *lo, struct value *const *x)
{
	struct value *zero = s_like(lo, x[0], 0);
	struct value *k = s_like(lo, x[0], op_float(lo->op, A_alpha));
	struct value *e = s_mul(lo, k, s_op(lo, OP_math_expm1,
					    s_div(lo, x[0], k)));

	return s_add(lo, s_op2(lo, OP_arith_max, x[0], zero),
		     s_op2(lo, OP_arith_min, e, zero));
}

static bool celu_infer(struct infer *in)
{
	if (op_float(in->op, A_alpha) == 0)
		return infer_error(in, "alpha must not be 0");
	return infer_same(in);
}

static struct value *softplus(struct lower *lo, struct value *const *x)
{
	return s_cast(lo, x[0]->type->dtype,
		      act_softplus(lo, s_wide(lo, x[0])));
}

/*
 * x * tanh(softplus(x)).  With e = exp(x), tanh(log(1 + e)) is n / (n + 2)
 * for n = e * (e + 2); it is 1 in f64 long before e * e overflows in f32.
 */
static struct value *mish(struct lower *lo, struct value *const *x)
{
	struct value *w = s_wide(lo, x[0]), *two = s_like(lo, w, 2);
	struct value *e = s_op(lo, OP_math_exp,
			       s_op2(lo, OP_arith_min, w, s_like(lo, w, 40)));
	struct value *n = s_mul(lo, e, s_add(lo, e, two));
	struct value *y = s_mul(lo, w, s_div(lo, n, s_add(lo, n, two)));

	return s_cast(lo, x[0]->type->dtype, y);
}

static bool gelu_infer(struct infer *in)
{
	const char *how = op_str(in->op, A_approximate);

	if (strcmp(how, "none") && strcmp(how, "tanh"))
		return infer_error(in, "approximate must be none or tanh");
	return infer_same(in);
}

/* x / 2 * (1 + erf(x / sqrt 2)), or erf by a tanh of a cubic. */
static struct value *gelu(struct lower *lo, struct value *const *x)
{
	struct value *w = s_wide(lo, x[0]), *one = s_like(lo, w, 1), *t;

	if (!strcmp(op_str(lo->op, A_approximate), "tanh")) {
		struct value *cubic = s_add(
			lo, s_mul(lo, s_mul(lo, w, w), s_like(lo, w, 0.044715)),
			one);

		t = s_mul(lo, s_mul(lo, w, s_like(lo, w, 0.7978845608028654)),
			  cubic);
		t = s_op(lo, OP_math_tanh, t);
	} else {
		t = s_mul(lo, w, s_like(lo, w, 0.7071067811865476));
		t = s_op(lo, OP_math_erf, t);
	}
	struct value *y = s_mul(lo, s_mul(lo, w, s_like(lo, w, 0.5)),
				s_add(lo, one, t));

	return s_cast(lo, x[0]->type->dtype, y);
}

#define RECORD(version, fn)                                          \
	.domain = "", .since = (version), .in = { { "X", T_FLOAT } }, \
	.out = { { "Y", T_FLOAT } }, .scalar = fn

OP(Sigmoid, RECORD(13, sigmoid), .infer = infer_same);
OP(Swish, RECORD(24, swish), .first = 24, .infer = infer_same,
	.attr = {
		ATTR(alpha, AT_FLOAT, .f = 1),
	});
OP(Elu, RECORD(22, elu), .infer = infer_same,
	.attr = {
		ATTR(alpha, AT_FLOAT, .f = 1),
	});
OP(Selu, RECORD(22, selu), .infer = infer_same,
	.attr = {
		ATTR(alpha, AT_FLOAT, .f = 1.67326319217681884765625),
		ATTR(gamma, AT_FLOAT, .f = 1.05070102214813232421875),
	});
OP(Celu, .domain = "", .since = 12, .first = 12,
	.in = { { "X", T(F32) } },
	.out = { { "Y", T(F32) } },
	.attr = {
		ATTR(alpha, AT_FLOAT, .f = 1),
	},
	.infer = celu_infer,
	.scalar = celu);
OP(Softplus, RECORD(22, softplus), .infer = infer_same);
OP(Mish, RECORD(22, mish), .first = 18, .infer = infer_same);
OP(Gelu, RECORD(20, gelu), .first = 20, .infer = gelu_infer,
	.attr = {
		ATTR(approximate, AT_STR, .s = "none"),
	});
