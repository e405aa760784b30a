/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LpNormalization: x divided by its L1 or L2 norm along one axis; a zero norm
 * gives zeros.  MeanVarianceNormalization: (x - mean) / deviation over `axes`.
 */
#include "ir/ops/onnx/fold.h"

static bool lp_infer(struct infer *in)
{
	int64_t p = op_int(in->op, A_p);
	unsigned axis;

	if (p != 1 && p != 2)
		return infer_error(in, "p is %lld, expected 1 or 2",
				   (long long)p);
	return infer_axis(in, op_int(in->op, A_axis), infer_type(in, 0)->rank,
			  &axis) &&
	       infer_same(in);
}

/* The factor of each row: 1 / norm, or 0 for a zero norm. */
static struct value *inverse_norm(struct lower *lo, struct value *x,
				  const bool *reduced, enum dtype acc)
{
	int64_t p = op_int(lo->op, A_p);
	struct rows r;
	struct value *v, *zero, *res;

	rows_begin(lo, &r, x->type, reduced, true, 1, &acc);
	zero = s_const(lo, acc, 0);
	rows_fold(lo, &r, 1, &zero);
	v = power_of(lo, load_as(lo, acc, x, r.at), p);
	v = s_add(lo, r.fold.acc[0], v);
	rows_fold_end(lo, &r, &v, &v);
	v = root_of(lo, v, p);
	v = s_select(lo, s_op2(lo, OP_arith_eq, v, zero), zero,
		     s_div(lo, s_const(lo, acc, 1), v));
	rows_end(lo, &r, 1, &v, &res);
	return res;
}

static bool lp_lower(struct lower *lo)
{
	struct value *x = lower_in(lo, 0), *v;
	const struct type *t = x->type;
	enum dtype acc = acc_dtype(t->dtype);
	bool reduced[MAX_RANK] = { false };

	reduced[lower_axis(lo, A_axis, t->rank)] = true;
	struct value *inv = inverse_norm(lo, x, reduced, acc);
	struct nest n = nest_begin(lo, 1, &t);

	v = s_mul(lo, load_as(lo, acc, x, n.iv),
		  nest_load_broadcast(lo, inv, n.rank, n.iv));
	v = s_cast(lo, t->dtype, v);
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

static bool mvn_axes(struct infer *in, bool *reduced)
{
	static const int64_t usual[] = { 0, 2, 3 };
	const struct type *x = infer_type(in, 0);
	size_t n;
	const int64_t *axes = op_ints(in->op, A_axes, &n);

	if (!op_has(in->op, A_axes)) {
		axes = usual;
		n = ARRAY_SIZE(usual);
	}
	for (size_t i = 0; i < n; i++) {
		unsigned axis;

		if (!infer_axis(in, axes[i], x->rank, &axis))
			return false;
		reduced[axis] = true;
	}
	return true;
}

static bool mvn_infer(struct infer *in)
{
	bool reduced[MAX_RANK] = { false };

	return mvn_axes(in, reduced) && infer_same(in);
}

static bool mvn_lower(struct lower *lo)
{
	struct value *x = lower_in(lo, 0), *v, *d;
	const struct type *t = x->type, *out[MAX_OUTS] = { NULL };
	enum dtype acc = acc_dtype(t->dtype);
	bool reduced[MAX_RANK] = { false };
	struct infer in = { lo->b.ctx, lo->op, out };

	if (!mvn_axes(&in, reduced))
		return false;
	struct value *mean = row_mean(lo, x, reduced, acc, ROW_SUM, NULL);
	struct value *var = row_mean(lo, x, reduced, acc, ROW_DEVIATION, mean);
	struct nest n = nest_begin(lo, 1, &t);

	v = s_sub(lo, load_as(lo, acc, x, n.iv),
		  nest_load_broadcast(lo, mean, n.rank, n.iv));
	/* The constant is that of ONNX's function body. */
	d = s_add(lo, s_op(lo, OP_arith_sqrt,
			   nest_load_broadcast(lo, var, n.rank, n.iv)),
		  s_const(lo, acc, 1e-9));
	v = s_cast(lo, t->dtype, s_div(lo, v, d));
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(LpNormalization, .domain = "", .since = 22,
	.in = { { "input", T_FLOAT } },
	.out = { { "output", T_FLOAT } },
	.attr = {
		ATTR(axis, AT_INT, .i = -1),
		ATTR(p, AT_INT, .i = 2),
	},
	.infer = lp_infer,
	.lower = lp_lower);

OP(MeanVarianceNormalization, .domain = "", .since = 13, .first = 9,
	.in = { { "X", T_FLOAT } },
	.out = { { "Y", T_FLOAT } },
	.attr = {
		ATTR(axes, AT_INTS),
	},
	.infer = mvn_infer,
	.lower = mvn_lower);
