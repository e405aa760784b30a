/* SPDX-License-Identifier: Apache-2.0 */
/* LRN: x / (bias + alpha / size * sum of squares of `size` channels around
 * it) ^ beta. */
#include "ir/ops/onnx/fold.h"

static bool lrn_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);
	int64_t size = op_int(in->op, A_size);

	if (x->rank < 2)
		return infer_error(in, "input is %s, expected a channel dim",
				   type_str(in->ctx, x));
	if (size < 1)
		return infer_error(in, "size is %lld", (long long)size);
	return infer_same(in);
}

/* The sum of squares around an element; `at` is overwritten in dim 1. */
static struct value *window_sum(struct lower *lo, struct value *x,
				const struct expr **at, enum dtype acc)
{
	struct ctx *c = lo->b.ctx;
	const struct type *t = x->type;
	int64_t size = op_int(lo->op, A_size), channels;
	int64_t before = (size - 1) / 2, after = size - 1 - before;
	const struct expr *extent, *guard[2];
	struct value *zero = s_const(lo, t->dtype, 0);
	struct value *v = s_const(lo, acc, 0);

	/* Beyond the channels there is nothing to add. */
	if (expr_is_const(t->dim[1], &channels)) {
		before = before < channels ? before : channels;
		after = after < channels ? after : channels;
	}
	extent = expr_const(c, before + after + 1);
	struct fold f = fold_begin(lo, 1, &extent, 1, &v);

	at[1] = expr_addc(c, expr_add(c, at[1], f.iv[0]), -before);
	guard[0] = at[1];
	guard[1] = expr_addc(c, expr_sub(c, t->dim[1], at[1]), -1);
	v = s_cast(lo, acc, nest_load_guarded(lo, x, at, 2, guard, zero));
	v = s_add(lo, f.acc[0], s_mul(lo, v, v));
	fold_end(lo, &f, &v, &v);
	return v;
}

/* v ^ -beta; 3/4, the default, needs no pow(). */
static struct value *inverse_power(struct lower *lo, struct value *v,
				   double beta)
{
	enum dtype t = v->type->dtype;
	struct value *root = NULL;

	if (beta == 0.75) {
		root = s_op(lo, OP_arith_sqrt, v);
		root = s_mul(lo, root, s_op(lo, OP_arith_sqrt, root));
		return s_div(lo, s_const(lo, t, 1), root);
	}
	return s_op2(lo, OP_math_pow, v, s_const(lo, t, -beta));
}

static bool lrn_lower(struct lower *lo)
{
	struct value *x = lower_in(lo, 0), *v;
	const struct type *t = x->type;
	enum dtype acc = acc_dtype(t->dtype);
	double size = (double)op_int(lo->op, A_size);
	const struct expr *at[MAX_RANK];
	struct nest n = nest_begin(lo, 1, &t);

	for (unsigned i = 0; i < t->rank; i++)
		at[i] = n.iv[i];
	v = window_sum(lo, x, at, acc);
	v = s_mul(lo, v, s_const(lo, acc, op_float(lo->op, A_alpha) / size));
	v = s_add(lo, v, s_const(lo, acc, op_float(lo->op, A_bias)));
	v = inverse_power(lo, v, op_float(lo->op, A_beta));
	v = s_cast(lo, t->dtype, s_mul(lo, load_as(lo, acc, x, n.iv), v));
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(LRN, .domain = "", .since = 13,
	.in = { { "X", T_FLOAT } },
	.out = { { "Y", T_FLOAT } },
	.attr = {
		ATTR(alpha, AT_FLOAT, .f = 0.0001),
		ATTR(beta, AT_FLOAT, .f = 0.75),
		ATTR(bias, AT_FLOAT, .f = 1),
		ATTR(size, AT_INT, .required = true),
	},
	.infer = lrn_infer,
	.lower = lrn_lower);
