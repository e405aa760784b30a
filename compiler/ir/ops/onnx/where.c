/* SPDX-License-Identifier: Apache-2.0 */
/* Where: X where the condition holds, else Y; all three broadcast. */
#include "ir/op.h"

static bool where_infer(struct infer *in)
{
	const struct expr *dim[MAX_RANK];
	unsigned rank = 0;
	enum dtype t = infer_type(in, 1)->dtype;

	if (infer_type(in, 2)->dtype != t)
		return infer_error(in, "input 'Y' has type %s, 'X' has %s",
				   dtype_info[infer_type(in, 2)->dtype].name,
				   dtype_info[t].name);
	for (unsigned i = 0; i < 3; i++)
		if (!infer_broadcast(in, &rank, dim, infer_type(in, i)))
			return false;
	infer_set(in, 0, t, rank, dim);
	return true;
}

static struct value *where_scalar(struct lower *lo, struct value *const *x)
{
	return s_select(lo, x[0], x[1], x[2]);
}

OP(Where, .domain = "", .since = 16, .first = 9,
	.in = { { "condition", T_BOOL }, { "X", T_ANY }, { "Y", T_ANY } },
	.out = { { "output", T_ANY } },
	.infer = where_infer,
	.scalar = where_scalar);
