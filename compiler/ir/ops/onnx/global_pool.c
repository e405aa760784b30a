/* SPDX-License-Identifier: Apache-2.0 */
/* GlobalAveragePool, GlobalMaxPool, GlobalLpPool: each channel of an image
 * becomes one element. */
#include "ir/ops/onnx/fold.h"

static bool global_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);
	const struct expr *dim[MAX_RANK];

	if (x->rank < 2)
		return infer_error(in, "input is %s, expected a channel dim",
				   type_str(in->ctx, x));
	if (op_attr_def(op_def(in->op), A_p) && op_int(in->op, A_p) < 1)
		return infer_error(in, "p is %lld, expected at least 1",
				   (long long)op_int(in->op, A_p));
	for (unsigned i = 0; i < x->rank; i++)
		dim[i] = i < 2 ? x->dim[i] : expr_const(in->ctx, 1);
	infer_set(in, 0, x->dtype, x->rank, dim);
	return true;
}

static void global_begin(struct lower *lo, struct rows *r, enum dtype acc,
			 bool max)
{
	struct value *x = lower_in(lo, 0), *init;
	bool reduced[MAX_RANK];

	for (unsigned i = 0; i < x->type->rank; i++)
		reduced[i] = i >= 2;
	rows_begin(lo, r, x->type, reduced, true, 1, &x->type->dtype);
	init = max ? s_lowest(lo, acc) : s_const(lo, acc, 0);
	rows_fold(lo, r, 1, &init);
}

static bool average_lower(struct lower *lo)
{
	struct value *x = lower_in(lo, 0), *v;
	enum dtype acc = acc_dtype(x->type->dtype);
	struct rows r;

	global_begin(lo, &r, acc, false);
	v = s_add(lo, r.fold.acc[0], load_as(lo, acc, x, r.at));
	rows_fold_end(lo, &r, &v, &v);
	v = s_div(lo, v, s_expr(lo, acc, rows_count(lo->b.ctx, &r)));
	v = s_cast(lo, x->type->dtype, v);
	rows_end(lo, &r, 1, &v, lo->result);
	return true;
}

static bool max_lower(struct lower *lo)
{
	struct value *x = lower_in(lo, 0), *v;
	struct rows r;

	global_begin(lo, &r, x->type->dtype, true);
	v = s_op2(lo, OP_arith_max, r.fold.acc[0], nest_load(lo, x, r.at));
	rows_fold_end(lo, &r, &v, &v);
	rows_end(lo, &r, 1, &v, lo->result);
	return true;
}

static bool lp_lower(struct lower *lo)
{
	struct value *x = lower_in(lo, 0), *v;
	enum dtype acc = acc_dtype(x->type->dtype);
	int64_t p = op_int(lo->op, A_p);
	struct rows r;

	global_begin(lo, &r, acc, false);
	v = power_of(lo, load_as(lo, acc, x, r.at), p);
	v = s_add(lo, r.fold.acc[0], v);
	rows_fold_end(lo, &r, &v, &v);
	v = s_cast(lo, x->type->dtype, root_of(lo, v, p));
	rows_end(lo, &r, 1, &v, lo->result);
	return true;
}

#define GLOBAL(lower_) .domain = "", .since = 22, \
	.in = { { "X", T_FLOAT } }, \
	.out = { { "Y", T_FLOAT } }, \
	.infer = global_infer, \
	.lower = lower_

OP(GlobalAveragePool, GLOBAL(average_lower),
	.keeps_factors = true);
OP(GlobalMaxPool, GLOBAL(max_lower),
	.keeps_factors = true);
OP(GlobalLpPool, GLOBAL(lp_lower),
	.attr = {
		ATTR(p, AT_INT, .i = 2),
	});
