/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DynamicQuantizeLinear: 8 bits over the range of x itself, which always
 * includes 0.  ONNX is silent on two cases, where we do as ONNX Runtime does:
 * NaN is not in the range and becomes 0, and zeros alone have the scale 1.
 */
#include "ir/ops/onnx/fold.h"
#include "ir/ops/onnx/requantize.h"

enum { OUT_Y, OUT_SCALE, OUT_ZERO };

static bool dynamic_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);

	infer_set(in, OUT_Y, DT_U8, x->rank, x->dim);
	infer_set(in, OUT_SCALE, DT_F32, 0, NULL);
	infer_set(in, OUT_ZERO, DT_U8, 0, NULL);
	return true;
}

/* The least and the greatest of 0 and the numbers in in[0] and in[1]: per row
 * along the last dim, or of all. */
static void range_over(struct lower *lo, struct value *const *in, bool rows,
		       struct value **range)
{
	static const enum dtype pair[] = { DT_F32, DT_F32 };
	const struct type *t = in[0]->type;
	struct value *v, *zero, *next[2];
	bool reduced[MAX_RANK];
	struct rows r;

	for (unsigned i = 0; i < t->rank; i++)
		reduced[i] = !rows || i + 1 == t->rank;
	rows_begin(lo, &r, t, reduced, false, 2, pair);
	zero = s_const(lo, DT_F32, 0);
	rows_fold(lo, &r, 2, (struct value *[]){ zero, zero });
	for (int i = 0; i < 2; i++) {
		v = nest_load(lo, in[i], r.at);
		/* Only NaN differs from itself; 0 is in the range anyway. */
		next[i] = s_select(lo, s_op2(lo, OP_arith_eq, v, v), v, zero);
	}
	next[0] = s_op2(lo, OP_arith_min, r.fold.acc[0], next[0]);
	next[1] = s_op2(lo, OP_arith_max, r.fold.acc[1], next[1]);
	rows_fold_end(lo, &r, next, next);
	rows_end(lo, &r, 2, next, range);
}

/* Rows by themselves first: they are independent of one another. */
static void range_of(struct lower *lo, struct value *x, struct value **range)
{
	range[0] = range[1] = x;
	if (x->type->rank > 1)
		range_over(lo, range, true, range);
	range_over(lo, range, false, range);
}

static struct value *scale_of(struct lower *lo, struct value *const *range)
{
	struct nest n = nest_begin(lo, 1, &range[0]->type);
	struct value *min = nest_load(lo, range[0], n.iv);
	struct value *max = nest_load(lo, range[1], n.iv), *v;

	v = s_div(lo, s_sub(lo, max, min), s_const(lo, DT_F32, 255));
	v = s_select(lo, s_op2(lo, OP_arith_eq, max, min),
		     s_const(lo, DT_F32, 1), v);
	nest_end(lo, &n, 1, &v, &v);
	return v;
}

/* round(saturate(-min / scale)) */
static struct value *zero_of(struct lower *lo, struct value *min,
			     struct value *scale)
{
	const struct type *t = type_tensor(lo->b.ctx, DT_U8, 0, NULL);
	struct nest n = nest_begin(lo, 1, &t);
	struct value *v = s_sub(lo, s_const(lo, DT_F32, 0),
				nest_load(lo, min, n.iv));

	v = s_div(lo, v, nest_load(lo, scale, n.iv));
	v = round_to(lo, v, DT_U8, NULL);
	nest_end(lo, &n, 1, &v, &v);
	return v;
}

static struct value *quantize_all(struct lower *lo, struct value *x,
				  struct value *scale, struct value *zero)
{
	const struct type *t = type_tensor(lo->b.ctx, DT_U8, x->type->rank,
					   x->type->dim);
	struct nest n = nest_begin(lo, 1, &t);
	struct value *v = nest_load(lo, x, n.iv), *q, *number;

	number = s_op2(lo, OP_arith_eq, v, v);
	q = quantize(lo, v, nest_load(lo, scale, n.iv),
		     nest_load(lo, zero, n.iv), DT_U8);
	q = s_select(lo, number, q, s_int(lo, DT_U8, 0));
	nest_end(lo, &n, 1, &q, &q);
	return q;
}

struct value *quantize_dynamically(struct lower *lo, struct value *x,
				   struct value **scale, struct value **zero)
{
	struct value *range[2];

	range_of(lo, x, range);
	*scale = scale_of(lo, range);
	*zero = zero_of(lo, range[0], *scale);
	return quantize_all(lo, x, *scale, *zero);
}

struct value *round_dynamically(struct lower *lo, struct value *x)
{
	struct value *scale, *zero, *v;
	struct value *q = quantize_dynamically(lo, x, &scale, &zero);
	struct nest n = nest_begin(lo, 1, &x->type);

	v = dequantize(lo, nest_load(lo, q, n.iv), nest_load(lo, scale, n.iv),
		       nest_load(lo, zero, n.iv));
	nest_end(lo, &n, 1, &v, &v);
	return v;
}

static bool dynamic_lower(struct lower *lo)
{
	struct value *scale, *zero;

	lo->result[OUT_Y] = quantize_dynamically(lo, lower_in(lo, 0), &scale,
						 &zero);
	if (lo->op->n_out > OUT_SCALE)
		lo->result[OUT_SCALE] = scale;
	if (lo->op->n_out > OUT_ZERO)
		lo->result[OUT_ZERO] = zero;
	return true;
}

OP(DynamicQuantizeLinear, .domain = "", .since = 11, .first = 11,
	.in = { { "x", T(F32) } },
	.out = { { "y", T(U8) }, { "y_scale", T(F32) },
		 { "y_zero_point", T(U8) } },
	.infer = dynamic_infer,
	.lower = dynamic_lower);
