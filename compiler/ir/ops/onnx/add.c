/* SPDX-License-Identifier: Apache-2.0 */
/* Add: A + B with numpy broadcasting; integers wrap. */
#include "ir/op.h"

static struct value *add_scalar(struct lower *lo, struct value *const *x)
{
	return s_add(lo, x[0], x[1]);
}

OP(Add, .domain = "", .since = 14,
	.in = { { "A", T_NUM }, { "B", T_NUM | P_SAME } },
	.out = { { "C", T_NUM } },
	.infer = infer_pointwise,
	.scalar = add_scalar);
