/* SPDX-License-Identifier: Apache-2.0 */
/* Max, Min, Sum, Mean of one or more tensors; NaN propagates. */
#include "ir/ops/onnx/pointwise.h"

static bool variadic_infer(struct infer *in)
{
	for (unsigned i = 0; i < in->op->n_in; i++)
		if (!infer_has(in, i))
			return infer_error(in, "input %u is missing", i);
	return infer_pointwise(in);
}

static struct value *fold_all(struct lower *lo, struct value *const *x,
			      enum opcode code)
{
	struct value *r = s_wide(lo, x[0]);

	for (unsigned i = 1; i < lo->op->n_in; i++)
		r = s_op2(lo, code, r, s_wide(lo, x[i]));
	return r;
}

static struct value *max_scalar(struct lower *lo, struct value *const *x)
{
	return s_cast(lo, x[0]->type->dtype, fold_all(lo, x, OP_arith_max));
}

static struct value *min_scalar(struct lower *lo, struct value *const *x)
{
	return s_cast(lo, x[0]->type->dtype, fold_all(lo, x, OP_arith_min));
}

static struct value *sum_scalar(struct lower *lo, struct value *const *x)
{
	return s_cast(lo, x[0]->type->dtype, fold_all(lo, x, OP_arith_add));
}

static struct value *mean_scalar(struct lower *lo, struct value *const *x)
{
	struct value *r = fold_all(lo, x, OP_arith_add);

	r = s_div(lo, r, s_like(lo, r, lo->op->n_in));
	return s_cast(lo, x[0]->type->dtype, r);
}

#define VARIADIC(types, fn)                                           \
	.domain = "", .since = 13,                                    \
	.in = { { "data_0", (types) | P_VARIADIC | P_SAME } },        \
	.out = { { "result", (types) } }, .infer = variadic_infer,    \
	.scalar = fn

OP(Max, VARIADIC(T_NUM, max_scalar));
OP(Min, VARIADIC(T_NUM, min_scalar));
OP(Sum, VARIADIC(T_FLOAT, sum_scalar));
OP(Mean, VARIADIC(T_FLOAT, mean_scalar));
