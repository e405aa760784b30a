/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ReduceSum and its family: a fold over the axes of input 'axes' (an attribute
 * before opset 18, 13 for ReduceSum).  Without axes all dims are reduced, or
 * none with noop_with_empty_axes.
 */
#include <math.h>

#include "ir/ops/onnx/fold.h"

enum {
	REDUCE_TYPES = T_FLOAT | T(I32) | T(I64) | T(U32) | T(U64),
	REDUCE_ORDERED = REDUCE_TYPES | T(I8) | T(U8) | T_BOOL,
};

struct kept {
	unsigned n;			/* reduced dims */
	const struct expr *dim[MAX_RANK];	/* 1, or 0 where reduced */
};

/* From a list of which not even the length is known: each axis is counted,
 * and all of them have to be. */
static bool reduce_counted(struct infer *in, struct kept *a, unsigned rank,
			   const struct expr *const *count)
{
	struct ctx *c = in->ctx;
	const struct expr *len = infer_type(in, 1)->dim[0];
	const struct expr *one = expr_const(c, 1), *hits = expr_const(c, 0);

	if (!op_int(in->op, A_keepdims))
		return infer_unsupported(in, "the number of 'axes' must be "
					     "constant where keepdims is 0");
	a->n = 0;
	for (unsigned i = 0; i < rank; i++) {
		const struct expr *any = expr_add(c, count[i],
						  count[i + rank]);

		hits = expr_add(c, hits, any);
		if (!infer_require_ge0(in, expr_sub(c, one, any),
				       "an axis is given twice"))
			return false;
		a->dim[i] = expr_sub(c, one, any);
		if (!op_int(in->op, A_noop_with_empty_axes))
			a->dim[i] = expr_min(c, a->dim[i], len);
		a->dim[i] = expr_dim(c, a->dim[i]);
	}
	infer_require_eq(in, hits, len);
	return true;
}

static bool reduce_axes(struct infer *in, struct kept *a)
{
	struct ctx *c = in->ctx;
	const struct expr *one = expr_const(c, 1), **count;
	unsigned rank = infer_type(in, 0)->rank;
	struct axes list = { .n = 0 };

	if (infer_has(in, 1) &&
	    (count = infer_counts(in, 1, -(int64_t)rank, 2 * rank)))
		return reduce_counted(in, a, rank, count);
	if (infer_has(in, 1) && !infer_axes(in, 1, rank, &list))
		return false;
	bool all = !list.n && !op_int(in->op, A_noop_with_empty_axes);

	a->n = all ? rank : (unsigned)list.n;
	for (unsigned i = 0; i < rank; i++)
		a->dim[i] = list.n ? infer_dim(c, expr_sub(c, one, list.any[i]))
				   : expr_const(c, !all);
	return true;
}

static bool reduce_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);
	const struct expr *dim[MAX_RANK];
	struct kept a;

	if (!reduce_axes(in, &a))
		return false;
	unsigned rank = kept_shape(in->ctx, x, a.dim, a.n,
				   op_int(in->op, A_keepdims), dim);

	infer_set(in, 0, x->dtype, rank, dim);
	return true;
}

/* One member of the family.  NULL for a step of identity. */
struct reduction {
	struct value *(*init)(struct lower *lo, enum dtype t);
	struct value *(*map)(struct lower *lo, struct value *v);
	enum opcode code;
	/* From the fold's result and the number of elements. */
	struct value *(*last)(struct lower *lo, struct value *v,
			      const struct expr *n);
	bool real;	/* integers are computed in f64 */
};

static struct value *zero(struct lower *lo, enum dtype t)
{
	return s_int(lo, t, 0);
}

static struct value *one(struct lower *lo, enum dtype t)
{
	return s_int(lo, t, 1);
}

static struct value *magnitude(struct lower *lo, struct value *v)
{
	return dtype_is_signed(v->type->dtype) ? s_op(lo, OP_arith_abs, v) : v;
}

static struct value *square(struct lower *lo, struct value *v)
{
	return s_mul(lo, v, v);
}

static struct value *divide(struct lower *lo, struct value *v,
			    const struct expr *n)
{
	return s_div(lo, v, s_expr(lo, v->type->dtype, n));
}

static struct value *root(struct lower *lo, struct value *v,
			  const struct expr *n)
{
	(void)n;
	return s_op(lo, OP_arith_sqrt, v);
}

static struct value *logarithm(struct lower *lo, struct value *v,
			       const struct expr *n)
{
	(void)n;
	return s_op(lo, OP_math_log, v);
}

static bool read_axes(struct lower *lo, struct kept *a)
{
	const struct type *out[MAX_OUTS] = { NULL };
	struct infer in = { lo->b.ctx, lo->op, out };

	return reduce_axes(&in, a);
}

static bool reduce(struct lower *lo, const struct reduction *k)
{
	struct value *x = lower_in(lo, 0), *v;
	enum dtype t = x->type->dtype, acc = acc_dtype(t);
	struct kept a;
	struct rows r;

	if (!read_axes(lo, &a))
		return false;
	if (k->real && !dtype_is_float(t))
		acc = DT_F64;
	rows_begin_kept(lo, &r, x->type, a.dim, a.n,
			op_int(lo->op, A_keepdims), 1, &t);
	v = k->init(lo, acc);
	rows_fold(lo, &r, 1, &v);
	v = load_as(lo, acc, x, r.at);
	if (k->map)
		v = k->map(lo, v);
	v = s_op2(lo, k->code, r.fold.acc[0], v);
	rows_fold_end(lo, &r, &v, &v);
	if (k->last)
		v = k->last(lo, v, rows_count(lo->b.ctx, &r));
	v = s_cast(lo, t, v);
	rows_end(lo, &r, 1, &v, lo->result);
	return true;
}

static bool sum_lower(struct lower *lo)
{
	return reduce(lo, &(struct reduction){ zero, NULL, OP_arith_add,
					       NULL, false });
}

static bool mean_lower(struct lower *lo)
{
	return reduce(lo, &(struct reduction){ zero, NULL, OP_arith_add,
					       divide, false });
}

static bool prod_lower(struct lower *lo)
{
	return reduce(lo, &(struct reduction){ one, NULL, OP_arith_mul, NULL,
					       false });
}

static bool max_lower(struct lower *lo)
{
	bool is_bool = lower_in(lo, 0)->type->dtype == DT_BOOL;

	return reduce(lo, &(struct reduction){
				  s_lowest, NULL,
				  is_bool ? OP_arith_or : OP_arith_max, NULL,
				  false });
}

static bool min_lower(struct lower *lo)
{
	bool is_bool = lower_in(lo, 0)->type->dtype == DT_BOOL;

	return reduce(lo, &(struct reduction){
				  s_highest, NULL,
				  is_bool ? OP_arith_and : OP_arith_min, NULL,
				  false });
}

static bool l1_lower(struct lower *lo)
{
	return reduce(lo, &(struct reduction){ zero, magnitude, OP_arith_add,
					       NULL, false });
}

static bool l2_lower(struct lower *lo)
{
	return reduce(lo, &(struct reduction){ zero, square, OP_arith_add,
					       root, true });
}

static bool sum_square_lower(struct lower *lo)
{
	return reduce(lo, &(struct reduction){ zero, square, OP_arith_add,
					       NULL, false });
}

static bool log_sum_lower(struct lower *lo)
{
	return reduce(lo, &(struct reduction){ zero, NULL, OP_arith_add,
					       logarithm, true });
}

/* The row's maximum, or 0 when it is not finite: what may be subtracted. */
static struct value *finite_max(struct lower *lo, struct rows *r,
				struct value *x, enum dtype t)
{
	struct value *v = s_lowest(lo, t);

	rows_fold(lo, r, 1, &v);
	v = s_op2(lo, OP_arith_max, r->fold.acc[0], load_as(lo, t, x, r->at));
	rows_fold_end(lo, r, &v, &v);
	return s_select(lo,
			s_op2(lo, OP_arith_lt, s_op(lo, OP_arith_abs, v),
			      s_const(lo, t, INFINITY)),
			v, s_const(lo, t, 0));
}

/* max + log(sum(exp(x - max))): no exp() overflows. */
static bool log_sum_exp_lower(struct lower *lo)
{
	struct value *x = lower_in(lo, 0), *v, *max;
	enum dtype t = x->type->dtype;
	enum dtype acc = dtype_is_float(t) ? acc_dtype(t) : DT_F64;
	struct kept a;
	struct rows r;

	if (!read_axes(lo, &a))
		return false;
	rows_begin_kept(lo, &r, x->type, a.dim, a.n,
			op_int(lo->op, A_keepdims), 1, &t);
	max = finite_max(lo, &r, x, acc);
	v = s_const(lo, acc, 0);
	rows_fold(lo, &r, 1, &v);
	v = s_sub(lo, load_as(lo, acc, x, r.at), max);
	v = s_add(lo, r.fold.acc[0], s_op(lo, OP_math_exp, v));
	rows_fold_end(lo, &r, &v, &v);
	v = s_add(lo, s_op(lo, OP_math_log, v), max);
	v = s_cast(lo, t, v);
	rows_end(lo, &r, 1, &v, lo->result);
	return true;
}

static bool reduce_older(struct older *old)
{
	/* ReduceSum changed at 13, the others at 18. */
	return older_attr_to_input(old, A_axes, 1);
}

#define REDUCE(version, types_, lower_) .domain = "", .since = version, \
	.in = { { "data", types_ }, { "axes", T(I64) | P_OPTIONAL } }, \
	.out = { { "reduced", types_ } }, \
	.attr = { \
		ATTR(axes, AT_INTS), \
		ATTR(keepdims, AT_INT, .i = 1), \
		ATTR(noop_with_empty_axes, AT_INT), \
	}, \
	.infer = reduce_infer, \
	.lower = lower_, \
	.older = reduce_older

OP(ReduceSum, REDUCE(13, REDUCE_TYPES, sum_lower));
OP(ReduceMean, REDUCE(18, REDUCE_TYPES, mean_lower));
OP(ReduceProd, REDUCE(18, REDUCE_TYPES, prod_lower));
OP(ReduceMax, REDUCE(20, REDUCE_ORDERED, max_lower));
OP(ReduceMin, REDUCE(20, REDUCE_ORDERED, min_lower));
OP(ReduceL1, REDUCE(18, REDUCE_TYPES, l1_lower));
OP(ReduceL2, REDUCE(18, REDUCE_TYPES, l2_lower));
OP(ReduceSumSquare, REDUCE(18, REDUCE_TYPES, sum_square_lower));
OP(ReduceLogSum, REDUCE(18, REDUCE_TYPES, log_sum_lower));
OP(ReduceLogSumExp, REDUCE(18, REDUCE_TYPES, log_sum_exp_lower));
