/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of one element that are a primitive, or nearly. */
#include "ir/ops/onnx/pointwise.h"

#define UNARY(id, code)                                                   \
	static struct value *id(struct lower *lo, struct value *const *x) \
	{                                                                 \
		return s_op(lo, code, x[0]);                              \
	}
UNARY(neg, OP_arith_neg)
UNARY(square_root, OP_arith_sqrt)
UNARY(exponential, OP_math_exp)
UNARY(logarithm, OP_math_log)
UNARY(round_down, OP_arith_floor)
UNARY(round_up, OP_arith_ceil)
UNARY(round_even, OP_arith_round)
UNARY(error_function, OP_math_erf)
UNARY(sine, OP_math_sin)
UNARY(cosine, OP_math_cos)
UNARY(tangent, OP_math_tan)
UNARY(arc_sine, OP_math_asin)
UNARY(arc_cosine, OP_math_acos)
UNARY(arc_tangent, OP_math_atan)
UNARY(hyperbolic_tangent, OP_math_tanh)

static struct value *absolute(struct lower *lo, struct value *const *x)
{
	return dtype_is_signed(x[0]->type->dtype)
		       ? s_op(lo, OP_arith_abs, x[0])
		       : x[0];
}

static struct value *reciprocal(struct lower *lo, struct value *const *x)
{
	return s_div(lo, s_like(lo, x[0], 1), x[0]);
}

/* NaN and zero are their own sign. */
static struct value *sign(struct lower *lo, struct value *const *x)
{
	struct value *zero = s_like(lo, x[0], 0), *r = x[0];

	if (dtype_is_signed(x[0]->type->dtype))
		r = s_select(lo, s_op2(lo, OP_arith_lt, r, zero),
			     s_like(lo, x[0], -1), r);
	return s_select(lo, s_op2(lo, OP_arith_gt, x[0], zero),
			s_like(lo, x[0], 1), r);
}

#define RECORD(version, types, fn)                          \
	.domain = "", .since = (version),                   \
	.in = { { "X", (types) } }, .out = { { "Y", (types) } }, \
	.infer = infer_same, .scalar = fn

OP(Neg, RECORD(13, T_FLOAT | T_SINT, neg));
OP(Abs, RECORD(13, T_NUM, absolute));
OP(Sign, .first = 9, RECORD(13, T_NUM, sign));
OP(Sqrt, RECORD(13, T_FLOAT, square_root));
OP(Reciprocal, RECORD(13, T_FLOAT, reciprocal));
OP(Exp, RECORD(13, T_FLOAT, exponential));
OP(Log, RECORD(13, T_FLOAT, logarithm));
OP(Floor, RECORD(13, T_FLOAT, round_down));
OP(Ceil, RECORD(13, T_FLOAT, round_up));
OP(Round, .first = 11, RECORD(22, T_FLOAT, round_even));
OP(Erf, .first = 9, RECORD(13, T_FLOAT, error_function));
OP(Sin, .first = 7, RECORD(22, T_FLOAT, sine));
OP(Cos, .first = 7, RECORD(22, T_FLOAT, cosine));
OP(Tan, .first = 7, RECORD(22, T_FLOAT, tangent));
OP(Asin, .first = 7, RECORD(22, T_FLOAT, arc_sine));
OP(Acos, .first = 7, RECORD(22, T_FLOAT, arc_cosine));
OP(Atan, .first = 7, RECORD(22, T_FLOAT, arc_tangent));
OP(Tanh, RECORD(13, T_FLOAT, hyperbolic_tangent));
