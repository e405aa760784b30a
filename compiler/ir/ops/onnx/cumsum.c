/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CumSum and CumProd: running sums or products along one axis, as a recurrence
 * over it, so that the work is linear.  An axis that is known only at run time
 * selects among the sums along every axis.
 */
#include "ir/ops/onnx/fold.h"
#include "ir/ops/onnx/movement.h"

static bool known_axis(const struct value *v, unsigned rank, unsigned *axis)
{
	int64_t a;

	if (rank == 1) {
		*axis = 0;
		return true;
	}
	if (!v->known || v->known->n != 1 || !v->known->elem[0] ||
	    !expr_is_const(v->known->elem[0], &a))
		return false;
	*axis = (unsigned)(a < 0 ? a + rank : a);
	return true;
}

static bool cumsum_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0), *a = infer_type(in, 1);
	struct value *v = op_in(in->op, 1);
	unsigned axis;
	int64_t k;

	if (!expr_is(type_elems(in->ctx, a), 1))
		return infer_error(in, "axis must be a scalar, is %s",
				   type_str(in->ctx, a));
	if (!x->rank)
		return infer_error(in, "input must not be a scalar");
	if (v->known && v->known->n == 1 && v->known->elem[0] &&
	    expr_is_const(v->known->elem[0], &k) &&
	    !infer_axis(in, k, x->rank, &axis))
		return false;
	return infer_same(in);
}

/* The dims of x without one. */
static const struct type *without_axis(struct ctx *c, const struct type *x,
				       enum dtype t, unsigned axis)
{
	const struct expr *dim[MAX_RANK];
	unsigned n = 0;

	for (unsigned i = 0; i < x->rank; i++)
		if (i != axis)
			dim[n++] = x->dim[i];
	return type_tensor(c, t, n, dim);
}

/* What the running value starts from. */
static double neutral(const struct lower *lo)
{
	return lo->op->code == OP_CumProd;
}

/* state + x[.., t, ..], or the product */
static struct value *next_state(struct lower *lo, struct value *x,
				struct value *state, unsigned axis,
				const struct expr *t)
{
	struct nest n = nest_begin(lo, 1, &state->type);
	const struct expr *idx[MAX_RANK];
	struct value *next;

	for (unsigned i = 0, k = 0; i < x->type->rank; i++)
		idx[i] = i == axis ? t : n.iv[k++];
	struct value *v = s_cast(lo, state->type->dtype,
				 nest_load(lo, x, idx));

	v = s_op2(lo,
		  lo->op->code == OP_CumProd ? OP_arith_mul : OP_arith_add,
		  nest_load(lo, state, n.iv), v);
	nest_end(lo, &n, 1, &v, &next);
	return next;
}

static struct value *first_state(struct lower *lo, const struct type *t)
{
	struct nest n = nest_begin(lo, 1, &t);
	struct value *v = s_const(lo, t->dtype, neutral(lo)), *r;

	nest_end(lo, &n, 1, &v, &r);
	return r;
}

/* The sums along one axis, with that axis first and in running order. */
static struct value *sums_along(struct lower *lo, unsigned axis)
{
	struct ctx *c = lo->b.ctx;
	struct value *x = lower_in(lo, 0), *init, *result[2];
	enum dtype dt = x->type->dtype;
	enum dtype wide = acc_dtype(dt);
	const struct type *st = without_axis(c, x->type, wide, axis);
	const struct expr *extent = x->type->dim[axis];

	init = first_state(lo, st);
	struct scan s = scan_begin(lo, extent, 1, &init, 1, &st);
	const struct expr *t = s.t;

	if (op_int(lo->op, A_reverse))
		t = expr_addc(c, expr_sub(c, extent, t), -1);
	struct value *next = next_state(lo, x, s.state[0], axis, t);

	scan_end(lo, &s, 2, (struct value *[]){ next, next }, result);
	return result[1];
}

/* Element iv[] of the sums along that axis; the one before it, or what they
 * start from, when they are exclusive. */
static struct value *load_sum(struct lower *lo, struct value *sums,
			      unsigned axis, unsigned rank,
			      const struct expr *const *iv)
{
	struct ctx *c = lo->b.ctx;
	const struct expr *idx[MAX_RANK];
	unsigned k = 0;

	idx[k++] = op_int(lo->op, A_reverse)
			   ? expr_addc(c,
				       expr_sub(c, sums->type->dim[0],
						iv[axis]),
				       -1)
			   : iv[axis];
	for (unsigned i = 0; i < rank; i++)
		if (i != axis)
			idx[k++] = iv[i];
	if (!op_int(lo->op, A_exclusive))
		return s_cast(lo, lower_type(lo, 0)->dtype,
			      nest_load(lo, sums, idx));
	idx[0] = expr_addc(c, idx[0], -1);
	return s_cast(lo, lower_type(lo, 0)->dtype,
		      nest_load_guarded(lo, sums, idx, 1, idx,
					s_const(lo, sums->type->dtype,
						neutral(lo))));
}

static bool cumsum_lower(struct lower *lo)
{
	const struct type *t = lower_type(lo, 0);
	struct value *sums[MAX_RANK] = { NULL }, *v;
	unsigned axis, first = 0, last = t->rank;

	if (known_axis(lower_in(lo, 1), t->rank, &axis)) {
		first = axis;
		last = axis + 1;
	}
	for (unsigned i = first; i < last; i++)
		sums[i] = sums_along(lo, i);
	struct nest n = nest_begin(lo, 1, &t);

	v = load_sum(lo, sums[first], first, t->rank, n.iv);
	for (unsigned i = first + 1; i < last; i++) {
		struct value *a = s_cast(lo, DT_I64,
					 nest_load_broadcast(lo,
							     lower_in(lo, 1),
							     0, NULL));
		struct value *pos = s_op2(lo, OP_arith_eq, a,
					  s_int(lo, DT_I64, i));
		struct value *neg = s_op2(lo, OP_arith_eq, a,
					  s_int(lo, DT_I64,
						(int64_t)i - t->rank));

		v = s_select(lo, s_op2(lo, OP_arith_or, pos, neg),
			     load_sum(lo, sums[i], i, t->rank, n.iv), v);
	}
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

#define RECORD                                                        \
	.domain = "",                                                 \
	.in = { { "x", T_FLOAT | T_INDEX | T(U32) | T(U64) },         \
		{ "axis", T_INDEX } },                                \
	.out = { { "y", T_FLOAT | T_INDEX | T(U32) | T(U64) } },      \
	.attr = { ATTR(exclusive, AT_INT), ATTR(reverse, AT_INT) },   \
	.infer = cumsum_infer, .lower = cumsum_lower

OP(CumSum, RECORD, .since = 14, .first = 11);
OP(CumProd, RECORD, .since = 26, .first = 26);
