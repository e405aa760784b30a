/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Softmax, LogSoftmax, Hardmax along one axis.  Before opset 13 all dims from
 * `axis` on form the row: `older` says so in the attribute `trailing`.
 *
 * The statistics of a row are statements of their own, with the row's dims of
 * extent 1, so that a row is read, reduced and written by one loop when they
 * are fused.
 */
#include "ir/ops/onnx/softmax.h"

#include "ir/ops/onnx/fold.h"

static bool softmax_infer(struct infer *in)
{
	unsigned axis;

	return infer_axis(in, op_int(in->op, A_axis), infer_type(in, 0)->rank,
			  &axis) &&
	       infer_same(in);
}

static void row_dims(struct lower *lo, const struct type *x, bool *reduced)
{
	unsigned axis = lower_axis(lo, A_axis, x->rank);
	bool trailing = op_int(lo->op, A_trailing);

	for (unsigned i = 0; i < x->rank; i++)
		reduced[i] = i == axis || (trailing && i > axis);
}

static struct value *row_max(struct lower *lo, struct value *x,
			     const bool *reduced, enum dtype acc)
{
	struct rows r;
	struct value *v, *res;

	rows_begin(lo, &r, x->type, reduced, true, 1, &acc);
	v = s_lowest(lo, acc);
	rows_fold(lo, &r, 1, &v);
	v = s_op2(lo, OP_arith_max, r.fold.acc[0], load_as(lo, acc, x, r.at));
	rows_fold_end(lo, &r, &v, &v);
	rows_end(lo, &r, 1, &v, &res);
	return res;
}

/* 1 / sum(exp(x - max)), or its negative logarithm. */
static struct value *row_scale(struct lower *lo, struct value *x,
			       struct value *max, const bool *reduced,
			       bool logarithm)
{
	enum dtype acc = max->type->dtype;
	struct rows r;
	struct value *v, *m, *res;

	rows_begin(lo, &r, x->type, reduced, true, 1, &acc);
	m = nest_load(lo, max, r.nest.iv);
	v = s_const(lo, acc, 0);
	rows_fold(lo, &r, 1, &v);
	v = s_sub(lo, load_as(lo, acc, x, r.at), m);
	v = s_add(lo, r.fold.acc[0], s_op(lo, OP_math_exp, v));
	rows_fold_end(lo, &r, &v, &v);
	v = logarithm ? s_op(lo, OP_math_log, v)
		      : s_div(lo, s_const(lo, acc, 1), v);
	rows_end(lo, &r, 1, &v, &res);
	return res;
}

struct value *softmax_rows(struct lower *lo, struct value *x,
			   const bool *reduced, enum dtype to, bool logarithm)
{
	enum dtype acc = acc_dtype(x->type->dtype);
	const struct type *t = type_tensor(lo->b.ctx, to, x->type->rank,
					   x->type->dim);
	struct value *max = row_max(lo, x, reduced, acc), *v, *m, *s, *res;
	struct value *scale = row_scale(lo, x, max, reduced, logarithm);
	struct nest n = nest_begin(lo, 1, &t);

	v = load_as(lo, acc, x, n.iv);
	m = nest_load_broadcast(lo, max, n.rank, n.iv);
	s = nest_load_broadcast(lo, scale, n.rank, n.iv);
	v = s_sub(lo, v, m);
	v = logarithm ? s_sub(lo, v, s)
		      : s_mul(lo, s_op(lo, OP_math_exp, v), s);
	v = s_cast(lo, to, v);
	nest_end(lo, &n, 1, &v, &res);
	return res;
}

static bool softmax(struct lower *lo, bool logarithm)
{
	struct value *x = lower_in(lo, 0);
	bool reduced[MAX_RANK];

	row_dims(lo, x->type, reduced);
	lo->result[0] = softmax_rows(lo, x, reduced, x->type->dtype, logarithm);
	return true;
}

static bool softmax_lower(struct lower *lo)
{
	return softmax(lo, false);
}

static bool log_softmax_lower(struct lower *lo)
{
	return softmax(lo, true);
}

/* Row-major number of an element within its row. */
static const struct expr *row_position(struct ctx *c, const struct type *t,
				       const bool *reduced,
				       const struct expr *const *at)
{
	const struct expr *e = expr_const(c, 0);

	for (unsigned i = 0; i < t->rank; i++)
		if (reduced[i])
			e = expr_add(c, expr_mul(c, e, t->dim[i]), at[i]);
	return e;
}

/* 1 at the first maximum of each row, else 0. */
static bool hardmax_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	static const enum dtype index_type = DT_I64;
	struct value *x = lower_in(lo, 0), *v[2], *next[2], *where;
	const struct type *t = x->type;
	enum dtype acc = acc_dtype(t->dtype);
	bool reduced[MAX_RANK];
	struct rows r;

	row_dims(lo, t, reduced);
	rows_begin(lo, &r, t, reduced, true, 1, &index_type);
	v[0] = s_lowest(lo, acc);
	v[1] = s_int(lo, DT_I64, 0);
	rows_fold(lo, &r, 2, v);
	v[0] = load_as(lo, acc, x, r.at);
	v[1] = s_op2(lo, OP_arith_gt, v[0], r.fold.acc[0]);
	next[0] = s_select(lo, v[1], v[0], r.fold.acc[0]);
	next[1] = s_select(lo, v[1],
			   s_expr(lo, DT_I64,
				  row_position(c, t, reduced, r.at)),
			   r.fold.acc[1]);
	rows_fold_end(lo, &r, next, v);
	rows_end(lo, &r, 1, &v[1], &where);

	struct nest n = nest_begin(lo, 1, &t);

	v[0] = nest_load_broadcast(lo, where, n.rank, n.iv);
	v[1] = s_expr(lo, DT_I64, row_position(c, t, reduced, n.iv));
	v[0] = s_select(lo, s_op2(lo, OP_arith_eq, v[0], v[1]),
			s_const(lo, t->dtype, 1), s_const(lo, t->dtype, 0));
	nest_end(lo, &n, 1, v, lo->result);
	return true;
}

static bool softmax_older(struct older *old)
{
	if (old->opset >= 13)
		return true;
	older_set_attr(old, A_trailing, attr_int(old->b.ctx, 1));
	if (!older_attr(old, A_axis))
		older_set_attr(old, A_axis, attr_int(old->b.ctx, 1));
	return true;
}

#define SOFTMAX(lower_) .domain = "", .since = 13, \
	.in = { { "input", T_FLOAT } }, \
	.out = { { "output", T_FLOAT } }, \
	.attr = { \
		ATTR(axis, AT_INT, .i = -1), \
		ATTR(trailing, AT_INT), \
	}, \
	.infer = softmax_infer, \
	.lower = lower_, \
	.older = softmax_older

OP(Softmax, SOFTMAX(softmax_lower));
OP(LogSoftmax, SOFTMAX(log_softmax_lower));
OP(Hardmax, SOFTMAX(hardmax_lower));
