/* SPDX-License-Identifier: Apache-2.0 */
/* BitShift of unsigned integers; a shift by the width or more gives 0. */
#include <string.h>

#include "ir/op.h"

static bool bitshift_infer(struct infer *in)
{
	const char *dir = op_str(in->op, A_direction);

	if (strcmp(dir, "LEFT") && strcmp(dir, "RIGHT"))
		return infer_error(in, "direction must be LEFT or RIGHT");
	return infer_pointwise(in);
}

static struct value *bitshift_scalar(struct lower *lo, struct value *const *x)
{
	bool left = !strcmp(op_str(lo->op, A_direction), "LEFT");

	return s_op2(lo, left ? OP_arith_shl : OP_arith_shr, x[0], x[1]);
}

OP(BitShift, .domain = "", .since = 11, .first = 11,
	.in = { { "X", T_UINT }, { "Y", T_UINT | P_SAME } },
	.out = { { "Z", T_UINT } },
	.attr = {
		ATTR(direction, AT_STR, .required = true),
	},
	.infer = bitshift_infer,
	.scalar = bitshift_scalar);
