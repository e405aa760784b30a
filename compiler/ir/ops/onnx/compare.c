/* SPDX-License-Identifier: Apache-2.0 */
/* Equal, Less, LessOrEqual, Greater, GreaterOrEqual: false with NaN. */
#include "ir/ops/onnx/pointwise.h"

#define COMPARE(id, code)                                                 \
	static struct value *id(struct lower *lo, struct value *const *x) \
	{                                                                 \
		return s_op2(lo, code, x[0], x[1]);                       \
	}
COMPARE(equal, OP_arith_eq)
COMPARE(less, OP_arith_lt)
COMPARE(less_equal, OP_arith_le)
COMPARE(greater, OP_arith_gt)
COMPARE(greater_equal, OP_arith_ge)

#define RECORD(version, types, fn)                               \
	.domain = "", .since = (version),                        \
	.in = { { "A", (types) }, { "B", (types) | P_SAME } },   \
	.out = { { "C", T_BOOL } },                              \
	.attr = { ATTR(axis, AT_INT), ATTR(broadcast, AT_INT) }, \
	.infer = infer_compare, .scalar = fn, .older = older_broadcast

OP(Equal, RECORD(19, T_BASIC, equal));
OP(Less, RECORD(13, T_NUM, less));
OP(LessOrEqual, .first = 12, RECORD(16, T_NUM, less_equal));
OP(Greater, RECORD(13, T_NUM, greater));
OP(GreaterOrEqual, .first = 12, RECORD(16, T_NUM, greater_equal));
