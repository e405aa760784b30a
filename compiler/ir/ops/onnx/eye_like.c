/* SPDX-License-Identifier: Apache-2.0 */
/* EyeLike: ones on the k-th diagonal of a matrix, zeros elsewhere. */
#include "ir/op.h"

static bool eye_like_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);
	enum dtype t = x->dtype;
	int64_t code = op_int(in->op, A_dtype);

	if (x->rank != 2)
		return infer_error(in, "input must be a matrix, is %s",
				   type_str(in->ctx, x));
	if (op_has(in->op, A_dtype) &&
	    (code < 0 || code > 1000 || !dtype_from_onnx((int)code, &t)))
		return infer_unsupported(in, "dtype %lld is not supported",
					 (long long)code);
	infer_set(in, 0, t, 2, x->dim);
	return true;
}

static bool eye_like_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	const struct type *t = lower_type(lo, 0);
	struct nest n = nest_begin(lo, 1, &t);
	struct value *off = nest_value(lo, expr_sub(c, n.iv[1], n.iv[0]));
	struct value *on = s_op2(lo, OP_arith_eq, off,
				 s_int(lo, DT_I64, op_int(lo->op, A_k)));
	struct value *v = s_select(lo, on, s_const(lo, t->dtype, 1),
				   s_const(lo, t->dtype, 0));

	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(EyeLike, .domain = "", .since = 22, .first = 9,
	.in = { { "input", T_ANY } },
	.out = { { "output", T_ANY } },
	.attr = {
		ATTR(dtype, AT_INT),
		ATTR(k, AT_INT, .i = 0),
	},
	.infer = eye_like_infer,
	.lower = eye_like_lower);
