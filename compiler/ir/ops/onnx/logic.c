/* SPDX-License-Identifier: Apache-2.0 */
/* And, Or, Xor, Not of bools; BitwiseAnd, -Or, -Xor, -Not of integers. */
#include "ir/ops/onnx/pointwise.h"

#define BINARY(id, code)                                                  \
	static struct value *id(struct lower *lo, struct value *const *x) \
	{                                                                 \
		return s_op2(lo, code, x[0], x[1]);                       \
	}
BINARY(and_scalar, OP_arith_and)
BINARY(or_scalar, OP_arith_or)
BINARY(xor_scalar, OP_arith_xor)

static struct value *not_scalar(struct lower *lo, struct value *const *x)
{
	return s_op(lo, OP_arith_not, x[0]);
}

#define LOGIC(fn)                                                \
	.domain = "", .since = 7,                                \
	.in = { { "A", T_BOOL }, { "B", T_BOOL } },              \
	.out = { { "C", T_BOOL } },                              \
	.attr = { ATTR(axis, AT_INT), ATTR(broadcast, AT_INT) }, \
	.infer = infer_pointwise, .scalar = fn, .older = older_broadcast
#define BITWISE(fn)                                        \
	.domain = "", .since = 18, .first = 18,            \
	.in = { { "A", T_INT }, { "B", T_INT | P_SAME } }, \
	.out = { { "C", T_INT } }, .infer = infer_pointwise, .scalar = fn

OP(And, LOGIC(and_scalar));
OP(Or, LOGIC(or_scalar));
OP(Xor, LOGIC(xor_scalar));
OP(Not, .domain = "", .since = 1,
	.in = { { "X", T_BOOL } },
	.out = { { "Y", T_BOOL } },
	.infer = infer_same,
	.scalar = not_scalar);
OP(BitwiseAnd, BITWISE(and_scalar));
OP(BitwiseOr, BITWISE(or_scalar));
OP(BitwiseXor, BITWISE(xor_scalar));
OP(BitwiseNot, .domain = "", .since = 18, .first = 18,
	.in = { { "X", T_INT } },
	.out = { { "Y", T_INT } },
	.infer = infer_same,
	.scalar = not_scalar);
