/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mod: with fmod = 0 the remainder has the divisor's sign (Python), with
 * fmod = 1 the dividend's (C), which floats require.
 */
#include "ir/op.h"

static bool mod_infer(struct infer *in)
{
	if (!op_int(in->op, A_fmod) &&
	    dtype_is_float(infer_type(in, 0)->dtype))
		return infer_error(in, "floating-point inputs need fmod = 1");
	return infer_pointwise(in);
}

static struct value *mod_scalar(struct lower *lo, struct value *const *x)
{
	enum dtype t = x[0]->type->dtype;
	struct value *r = s_op2(lo, OP_arith_rem, x[0], x[1]);

	if (op_int(lo->op, A_fmod) || !dtype_is_signed(t))
		return r;
	struct value *zero = s_int(lo, t, 0);
	struct value *differ = s_op2(lo, OP_arith_xor,
				     s_op2(lo, OP_arith_lt, r, zero),
				     s_op2(lo, OP_arith_lt, x[1], zero));
	struct value *inexact = s_op2(lo, OP_arith_ne, r, zero);

	return s_select(lo, s_op2(lo, OP_arith_and, differ, inexact),
			s_add(lo, r, x[1]), r);
}

OP(Mod, .domain = "", .since = 13, .first = 10,
	.in = { { "A", T_NUM }, { "B", T_NUM | P_SAME } },
	.out = { { "C", T_NUM } },
	.attr = {
		ATTR(fmod, AT_INT, .i = 0),
	},
	.infer = mod_infer,
	.scalar = mod_scalar);
