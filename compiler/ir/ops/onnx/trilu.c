/* SPDX-License-Identifier: Apache-2.0 */
/* Trilu: the upper or lower triangle of the last two dims, zero elsewhere. */
#include "ir/ops/onnx/movement.h"

static bool trilu_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);

	if (x->rank < 2)
		return infer_error(in, "input must have two dims, is %s",
				   type_str(in->ctx, x));
	if (infer_has(in, 1) && !infer_scalar(in, 1))
		return false;
	return infer_same(in);
}

static bool trilu_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	const struct type *t = lower_type(lo, 0);
	struct infer in = { c, lo->op, NULL };
	const struct expr *k = lower_in(lo, 1) ? infer_scalar(&in, 1)
					       : expr_const(c, 0);
	bool upper = op_int(lo->op, A_upper);

	if (!k)
		return false;
	struct nest n = nest_begin(lo, 1, &t);
	/* column - row - k >= 0 above the diagonal, <= 0 below it */
	const struct expr *d = expr_sub(c, n.iv[t->rank - 1],
					n.iv[t->rank - 2]);
	const struct expr *guard = expr_scale(c, expr_sub(c, d, k),
					      upper ? 1 : -1);
	struct value *v = nest_load_guarded(lo, lower_in(lo, 0), n.iv, 1,
					    &guard, s_const(lo, t->dtype, 0));

	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(Trilu, .domain = "", .since = 14, .first = 14,
	.in = { { "input", T_ANY }, { "k", T(I64) | P_OPTIONAL } },
	.out = { { "output", T_ANY } },
	.attr = {
		ATTR(upper, AT_INT, .i = 1),
	},
	.infer = trilu_infer,
	.lower = trilu_lower);
