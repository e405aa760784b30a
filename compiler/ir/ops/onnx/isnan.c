/* SPDX-License-Identifier: Apache-2.0 */
/* IsNaN, IsInf */
#include <math.h>

#include "ir/ops/onnx/pointwise.h"

static struct value *is_nan(struct lower *lo, struct value *const *x)
{
	return s_op2(lo, OP_arith_ne, x[0], x[0]);
}

static struct value *is_inf(struct lower *lo, struct value *const *x)
{
	struct value *r = NULL;
	double inf = (double)INFINITY;

	if (op_int(lo->op, A_detect_positive))
		r = s_op2(lo, OP_arith_eq, x[0], s_like(lo, x[0], inf));
	if (op_int(lo->op, A_detect_negative)) {
		struct value *neg = s_op2(lo, OP_arith_eq, x[0],
					  s_like(lo, x[0], -inf));

		r = r ? s_op2(lo, OP_arith_or, r, neg) : neg;
	}
	return r ? r : s_int(lo, DT_BOOL, 0);
}

OP(IsNaN, .domain = "", .since = 20, .first = 9,
	.in = { { "X", T_FLOAT } },
	.out = { { "Y", T_BOOL } },
	.infer = infer_compare,
	.scalar = is_nan);
OP(IsInf, .domain = "", .since = 20, .first = 10,
	.in = { { "X", T_FLOAT } },
	.out = { { "Y", T_BOOL } },
	.attr = {
		ATTR(detect_negative, AT_INT, .i = 1),
		ATTR(detect_positive, AT_INT, .i = 1),
	},
	.infer = infer_compare,
	.scalar = is_inf);
