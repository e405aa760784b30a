/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ScatterElements (Scatter before opset 11) and ScatterND.
 *
 * Seen from an element of the result: it starts as that of data, and every
 * update whose index names it replaces it or is combined with it, in order.
 * An element of ScatterElements meets only the updates in its own line along
 * the axis; one of ScatterND meets all index tuples.  Negative indices count
 * from the end; those out of range name no element.
 */
#include <string.h>

#include "ir/ops/onnx/movement.h"

static bool scatter_check(struct infer *in)
{
	const char *how = op_str(in->op, A_reduction);

	if (infer_type(in, 2)->dtype != infer_type(in, 0)->dtype)
		return infer_error(in, "updates have type %s, data has %s",
				   dtype_info[infer_type(in, 2)->dtype].name,
				   dtype_info[infer_type(in, 0)->dtype].name);
	if (!strcmp(how, "none"))
		return true;
	if (strcmp(how, "add") && strcmp(how, "mul") && strcmp(how, "max") &&
	    strcmp(how, "min"))
		return infer_error(in, "unknown reduction '%s'", how);
	if (infer_type(in, 0)->dtype == DT_BOOL)
		return infer_unsupported(in, "reduction '%s' of bools", how);
	return true;
}

/* acc after the update. */
static struct value *combined(struct lower *lo, struct value *acc,
			      struct value *update)
{
	const char *how = lo->op->code == OP_Scatter
				  ? "none"
				  : op_str(lo->op, A_reduction);

	if (!strcmp(how, "add"))
		return s_add(lo, acc, update);
	if (!strcmp(how, "mul"))
		return s_mul(lo, acc, update);
	if (!strcmp(how, "max"))
		return s_op2(lo, OP_arith_max, acc, update);
	if (!strcmp(how, "min"))
		return s_op2(lo, OP_arith_min, acc, update);
	return update;
}

/* Does the index name position pos of a dim? */
static struct value *names(struct lower *lo, struct value *index,
			   const struct expr *pos, const struct expr *dim)
{
	struct value *i = s_cast(lo, DT_I64, index);
	struct value *neg = s_op2(lo, OP_arith_lt, i, s_int(lo, DT_I64, 0));
	struct value *wrapped = s_add(lo, i, nest_value(lo, dim));

	return s_op2(lo, OP_arith_eq, s_select(lo, neg, wrapped, i),
		     nest_value(lo, pos));
}

/* ---- ScatterElements ------------------------------------------------ */

static bool scatter_elements_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, 0), *y = infer_type(in, 1);
	const struct type *u = infer_type(in, 2);
	unsigned axis;

	if (in->op->code == OP_ScatterElements && !scatter_check(in))
		return false;
	if (y->rank != x->rank || u->rank != x->rank)
		return infer_error(in, "data is %s, indices are %s, updates %s",
				   type_str(c, x), type_str(c, y),
				   type_str(c, u));
	if (!infer_axis(in, op_int(in->op, A_axis), x->rank, &axis))
		return false;
	for (unsigned i = 0; i < x->rank; i++) {
		const struct expr *d = y->dim[i];

		if (!infer_same_dim(in, &d, u->dim[i],
				    "dims of indices and updates"))
			return false;
		if (i != axis &&
		    !infer_require_ge0(in, expr_sub(c, x->dim[i], d),
				       "indices have a larger dim than data"))
			return false;
	}
	return infer_same(in);
}

static bool scatter_elements_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	struct value *y = lower_in(lo, 1), *u = lower_in(lo, 2);
	const struct type *t = lower_type(lo, 0), *yt = y->type;
	unsigned axis = lower_axis(lo, A_axis, t->rank), n_guard = 0;
	const struct expr *idx[MAX_RANK], *guard[MAX_RANK];
	struct nest n = nest_begin(lo, 1, &t);
	struct value *v = nest_load(lo, lower_in(lo, 0), n.iv);
	/* So far below zero that it names nothing. */
	struct value *none = s_int(lo, yt->dtype, INT32_MIN);
	struct value *zero = s_const(lo, t->dtype, 0);
	struct reduce r = nest_reduce_begin(lo, 1, &yt->dim[axis], 1, &v);

	for (unsigned i = 0; i < t->rank; i++) {
		idx[i] = i == axis ? r.iv[0] : n.iv[i];
		if (i != axis)
			guard[n_guard++] = expr_addc(
				c, expr_sub(c, yt->dim[i], n.iv[i]), -1);
	}
	struct value *at = nest_load_guarded(lo, y, idx, n_guard, guard, none);
	struct value *update = nest_load_guarded(lo, u, idx, n_guard, guard,
						 zero);
	struct value *next = s_select(
		lo, names(lo, at, n.iv[axis], t->dim[axis]),
		combined(lo, r.acc[0], update), r.acc[0]);

	nest_reduce_end(lo, &r, &next, &v);
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

/* ---- ScatterND ------------------------------------------------------ */

static bool scatter_nd_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, 0), *y = infer_type(in, 1);
	const struct type *u = infer_type(in, 2);
	int64_t k;

	if (!scatter_check(in))
		return false;
	if (!x->rank || !y->rank)
		return infer_error(in, "data and indices must not be scalars");
	if (!expr_is_const(y->dim[y->rank - 1], &k))
		return infer_unsupported(in, "the last dim of the indices "
					     "must be constant");
	if (k < 1 || k > x->rank)
		return infer_error(in, "tuples of %lld indices for %s",
				   (long long)k, type_str(c, x));
	if (u->rank != y->rank - 1 + (x->rank - (uint64_t)k))
		return infer_error(in, "updates are %s for indices %s",
				   type_str(c, u), type_str(c, y));
	for (unsigned i = 0; i < u->rank; i++) {
		const struct expr *d =
			i + 1 < y->rank ? y->dim[i]
					: x->dim[k + i - (y->rank - 1)];

		if (!infer_same_dim(in, &d, u->dim[i], "dims of the updates"))
			return false;
	}
	return infer_same(in);
}

static bool scatter_nd_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	struct value *y = lower_in(lo, 1);
	const struct type *t = lower_type(lo, 0), *yt = y->type;
	unsigned last = yt->rank - 1;
	const struct expr *at[MAX_RANK], *from[MAX_RANK];
	int64_t k = 0;

	expr_is_const(yt->dim[last], &k);
	struct nest n = nest_begin(lo, 1, &t);
	struct value *v = nest_load(lo, lower_in(lo, 0), n.iv), *hit = NULL;
	const struct expr *one_tuple = expr_const(c, 1);
	struct reduce r = nest_reduce_begin(lo, last ? last : 1,
					    last ? yt->dim : &one_tuple, 1, &v);

	for (unsigned i = 0; i < last; i++)
		at[i] = from[i] = r.iv[i];
	for (unsigned i = 0; i < t->rank; i++) {
		struct value *one;

		if (i >= k) {
			from[last + i - k] = n.iv[i];
			continue;
		}
		at[last] = expr_const(c, i);
		one = names(lo, nest_load(lo, y, at), n.iv[i], t->dim[i]);
		hit = hit ? s_op2(lo, OP_arith_and, hit, one) : one;
	}
	struct value *update = nest_load(lo, lower_in(lo, 2), from);
	struct value *next = s_select(lo, hit,
				      combined(lo, r.acc[0], update),
				      r.acc[0]);

	nest_reduce_end(lo, &r, &next, &v);
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

#define ELEMENTS                                                     \
	.domain = "",                                                \
	.in = { { "data", T_ANY }, { "indices", T_INDEX },           \
		{ "updates", T_ANY } },                              \
	.out = { { "output", T_ANY } },                              \
	.infer = scatter_elements_infer, .lower = scatter_elements_lower

OP(Scatter, ELEMENTS, .since = 9, .first = 9,
	.attr = {
		ATTR(axis, AT_INT, .i = 0),
	});
OP(ScatterElements, ELEMENTS, .since = 18, .first = 11,
	.attr = {
		ATTR(axis, AT_INT, .i = 0),
		ATTR(reduction, AT_STR, .s = "none"),
	});
OP(ScatterND, .domain = "", .since = 18, .first = 11,
	.in = { { "data", T_ANY }, { "indices", T(I64) },
		{ "updates", T_ANY } },
	.out = { { "output", T_ANY } },
	.attr = {
		ATTR(reduction, AT_STR, .s = "none"),
	},
	.infer = scatter_nd_infer,
	.lower = scatter_nd_lower);
