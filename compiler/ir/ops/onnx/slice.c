/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slice.  Starts, ends and steps may be known only at run time, so clamping
 * is part of the expressions: negative values count from the end, then the
 * start is brought into [0, dim] and the end likewise, or into [0, dim - 1]
 * and [-1, dim - 1] for a negative step.
 */
#include "ir/ops/onnx/movement.h"

struct slice {
	struct ctx *ctx;
	const struct expr *start[MAX_RANK], *step[MAX_RANK], *dim[MAX_RANK];
};

/* Exporters write "to the end" as the largest integer; sums with that would
 * overflow, so it is brought near the largest dim there can be. */
static const struct expr *bounded(struct ctx *c, const struct expr *e)
{
	const int64_t far = INT64_C(1) << 48;
	int64_t k;

	if (!expr_is_const(e, &k))
		return e;
	return expr_const(c, k > far ? far : k < -far ? -far : k);
}

/* min(max(v, lo), hi) after v += dim where v < 0. */
static const struct expr *clamp(struct ctx *c, const struct expr *v,
				const struct expr *dim, const struct expr *lo,
				const struct expr *hi)
{
	int64_t k;
	bool known = expr_is_const(v, &k);

	/* A dim of 2^47 elements does not exist. */
	if (known && k >= INT64_C(1) << 47)
		return hi;
	if (known && k <= -(INT64_C(1) << 47))
		return expr_min(c, lo, hi);
	v = expr_add(c, v, expr_mul(c, expr_is_neg(c, v), dim));
	return expr_min(c, expr_max(c, v, lo), hi);
}

static void slice_axis(struct slice *s, unsigned axis, const struct expr *dim,
		       const struct expr *start, const struct expr *end,
		       const struct expr *step)
{
	struct ctx *c = s->ctx;
	const struct expr *zero = expr_const(c, 0), *one = expr_const(c, 1);
	const struct expr *neg = expr_is_neg(c, step);
	const struct expr *top = expr_sub(c, dim, neg);
	const struct expr *size = expr_max(c, step, expr_scale(c, step, -1));
	const struct expr *len;

	start = clamp(c, start, dim, zero, top);
	end = clamp(c, end, dim, expr_scale(c, neg, -1), top);
	/* (end - start) * sign of the step, rounded up in steps. */
	len = expr_sub(c, end, start);
	len = expr_sub(c, len,
		       expr_scale(c, expr_mul(c, neg, len), 2));
	len = expr_ceildiv(c, len, expr_max(c, size, one));
	s->start[axis] = start;
	s->step[axis] = step;
	s->dim[axis] = infer_dim(c, expr_max(c, len, zero));
}

struct slice_args {
	size_t n;
	const struct expr **start, **end, **step;
};

/* Sum over the entries of hit[k][axis] * v[k]: what the lists say of an axis
 * when the axes are known only at run time. */
static const struct expr *entry_of(struct ctx *c, const struct axes *axes,
				   unsigned axis, const struct expr **v)
{
	const struct expr *sum = expr_const(c, 0);

	for (size_t k = 0; k < axes->n; k++)
		sum = expr_add(c, sum, expr_mul(c, axes->hit[k][axis],
						bounded(c, v[k])));
	return sum;
}

static void slice_all(struct slice *s, const struct type *x,
		      const struct axes *axes, const struct slice_args *arg)
{
	struct ctx *c = s->ctx;

	for (unsigned i = 0; i < x->rank; i++) {
		const struct expr *none = expr_sub(c, expr_const(c, 1),
						   axes->any[i]);
		const struct expr *end = entry_of(c, axes, i, arg->end);
		const struct expr *step = axes->any[i];

		if (expr_is(none, 1))
			continue;
		if (arg->step)
			step = entry_of(c, axes, i, arg->step);
		end = expr_add(c, end, expr_mul(c, none, x->dim[i]));
		slice_axis(s, i, x->dim[i],
			   entry_of(c, axes, i, arg->start), end,
			   expr_add(c, step, none));
	}
}

/* Shared by inference and meaning; false after an error. */
static bool slice_read(struct infer *in, struct slice *s)
{
	struct ctx *c = s->ctx = in->ctx;
	const struct type *x = infer_type(in, 0);
	struct slice_args arg = { 0 };
	struct axes axes = { 0 };
	size_t n_end, n_step = 0;

	for (unsigned i = 0; i < x->rank; i++) {
		s->start[i] = expr_const(c, 0);
		s->step[i] = expr_const(c, 1);
		s->dim[i] = x->dim[i];
	}
	if (!(arg.start = infer_elems(in, 1, &arg.n)) ||
	    !(arg.end = infer_elems(in, 2, &n_end)) ||
	    (infer_has(in, 3) && !infer_axes(in, 3, x->rank, &axes)) ||
	    (infer_has(in, 4) && !(arg.step = infer_elems(in, 4, &n_step))))
		return false;
	if (n_end != arg.n || (infer_has(in, 3) && axes.n != arg.n) ||
	    (arg.step && n_step != arg.n) || arg.n > x->rank)
		return infer_error(in, "starts, ends, axes and steps do not "
				       "have the same length");
	for (size_t i = 0; arg.step && i < arg.n; i++)
		if (expr_is(arg.step[i], 0))
			return infer_error(in, "step %zu is 0", i);
	if (infer_has(in, 3)) {
		slice_all(s, x, &axes, &arg);
		return true;
	}
	for (unsigned i = 0; i < arg.n; i++)
		slice_axis(s, i, x->dim[i], bounded(c, arg.start[i]),
			   bounded(c, arg.end[i]),
			   arg.step ? bounded(c, arg.step[i])
				    : expr_const(c, 1));
	return true;
}

static bool slice_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);
	struct slice s;

	if (!slice_read(in, &s))
		return false;
	infer_set(in, 0, x->dtype, x->rank, s.dim);
	return true;
}

static bool slice_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	const struct type *t = lower_type(lo, 0);
	struct infer in = { c, lo->op, NULL };
	const struct expr *idx[MAX_RANK];
	struct slice s;

	if (!slice_read(&in, &s))
		return false;
	struct nest n = nest_begin(lo, 1, &t);

	for (unsigned i = 0; i < t->rank; i++)
		idx[i] = expr_add(c, s.start[i],
				  expr_mul(c, s.step[i], n.iv[i]));
	struct value *v = nest_load(lo, lower_in(lo, 0), idx);

	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

/* Same type and forward by one: the whole tensor. */
static struct value *slice_fold(struct lower *lo)
{
	struct infer in = { lo->b.ctx, lo->op, NULL };
	struct slice s;

	if (!fold_same_type(lo) || !slice_read(&in, &s))
		return NULL;
	for (unsigned i = 0; i < lower_type(lo, 0)->rank; i++)
		if (!expr_is(s.start[i], 0) || !expr_is(s.step[i], 1))
			return NULL;
	return lower_in(lo, 0);
}

/* Before opset 10 starts, ends and axes are attributes. */
static bool slice_older(struct older *o)
{
	return older_attr_to_input(o, A_starts, 1) &&
	       older_attr_to_input(o, A_ends, 2) &&
	       older_attr_to_input(o, A_axes, 3);
}

OP(Slice, .domain = "", .since = 13,
	.in = { { "data", T_ANY }, { "starts", T_INDEX }, { "ends", T_INDEX },
		{ "axes", T_INDEX | P_OPTIONAL },
		{ "steps", T_INDEX | P_OPTIONAL } },
	.out = { { "output", T_ANY } },
	.attr = {
		ATTR(starts, AT_INTS),
		ATTR(ends, AT_INTS),
		ATTR(axes, AT_INTS),
	},
	.infer = slice_infer,
	.lower = slice_lower,
	.fold = slice_fold,
	.older = slice_older);
