/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AveragePool and LpPool: sums over windows.  The divisor of AveragePool is an
 * index expression, which is a constant wherever no border is in reach.
 */
#include "ir/ops/onnx/fold.h"
#include "ir/ops/onnx/window.h"

static bool pool_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);
	const struct expr *dim[MAX_RANK];
	struct window w;

	if (op_attr_def(op_def(in->op), A_p) && op_int(in->op, A_p) < 1)
		return infer_error(in, "p is %lld, expected at least 1",
				   (long long)op_int(in->op, A_p));
	if (!window_infer(in, NULL, &w))
		return false;
	dim[0] = x->dim[0];
	dim[1] = x->dim[1];
	for (unsigned i = 0; i < w.n; i++)
		dim[2 + i] = w.out[i];
	infer_set(in, 0, x->dtype, x->rank, dim);
	return true;
}

static struct value *divisor(struct lower *lo, const struct window *w,
			     const struct nest *n, enum dtype acc)
{
	return s_expr(lo, acc,
		      window_count(lo->b.ctx, w, n->iv + 2,
				   op_int(lo->op, A_count_include_pad)));
}

static bool pool_lower(struct lower *lo)
{
	struct value *x = lower_in(lo, 0), *v;
	const struct type *out = lower_type(lo, 0);
	enum dtype acc = acc_dtype(out->dtype);
	int64_t p = lo->op->code == OP_LpPool ? op_int(lo->op, A_p) : 0;
	struct window w;

	if (window_read(lo->b.ctx, lo->op, x->type, NULL, &w))
		return false;
	struct nest n = nest_begin(lo, 1, &out);
	struct value *zero = s_const(lo, out->dtype, 0);

	v = s_const(lo, acc, 0);
	struct fold f = fold_begin(lo, w.n, w.kernel, 1, &v);

	v = window_load(lo, &w, x, n.iv[0], n.iv[1], n.iv + 2, f.iv, zero);
	v = s_cast(lo, acc, v);
	v = s_add(lo, f.acc[0], p ? power_of(lo, v, p) : v);
	fold_end(lo, &f, &v, &v);
	v = p ? root_of(lo, v, p) : s_div(lo, v, divisor(lo, &w, &n, acc));
	v = s_cast(lo, out->dtype, v);
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(AveragePool, .domain = "", .since = 22,
	.in = { { "X", T_FLOAT } },
	.out = { { "Y", T_FLOAT } },
	.attr = {
		ATTR(auto_pad, AT_STR, .s = "NOTSET"),
		ATTR(ceil_mode, AT_INT),
		ATTR(count_include_pad, AT_INT),
		ATTR(dilations, AT_INTS),
		ATTR(kernel_shape, AT_INTS),
		ATTR(pads, AT_INTS),
		ATTR(strides, AT_INTS),
	},
	.infer = pool_infer,
	.lower = pool_lower,
	.keeps_factors = true);

OP(LpPool, .domain = "", .since = 22,
	.in = { { "X", T_FLOAT } },
	.out = { { "Y", T_FLOAT } },
	.attr = {
		ATTR(auto_pad, AT_STR, .s = "NOTSET"),
		ATTR(ceil_mode, AT_INT),
		ATTR(dilations, AT_INTS),
		ATTR(kernel_shape, AT_INTS),
		ATTR(p, AT_INT, .i = 2),
		ATTR(pads, AT_INTS),
		ATTR(strides, AT_INTS),
	},
	.infer = pool_infer,
	.lower = pool_lower);
