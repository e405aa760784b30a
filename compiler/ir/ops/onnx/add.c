/* SPDX-License-Identifier: Apache-2.0 */
/* Add, Sub, Mul, Div with numpy broadcasting; integers wrap. */
#include "ir/ops/onnx/pointwise.h"

#define BINARY(id, code)                                                  \
	static struct value *id(struct lower *lo, struct value *const *x) \
	{                                                                 \
		return s_op2(lo, code, x[0], x[1]);                       \
	}
BINARY(add, OP_arith_add)
BINARY(sub, OP_arith_sub)
BINARY(mul, OP_arith_mul)
BINARY(divide, OP_arith_div)	/* integers towards zero, as in C */

#define RECORD(fn)                                             \
	.domain = "", .since = 14,                             \
	.in = { { "A", T_NUM }, { "B", T_NUM | P_SAME } },     \
	.out = { { "C", T_NUM } },                             \
	.attr = { ATTR(axis, AT_INT), ATTR(broadcast, AT_INT) }, \
	.infer = infer_pointwise, .scalar = fn, .older = older_broadcast

OP(Add, RECORD(add));
OP(Sub, RECORD(sub));
OP(Mul, RECORD(mul));
OP(Div, RECORD(divide));
