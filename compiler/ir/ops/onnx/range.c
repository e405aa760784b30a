/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Range: start, start + delta, ... before limit.  The number of elements,
 * max(ceil((limit - start) / delta), 0), is an expression for integers; for
 * floats read at run time it is the value of ops that are built beside this
 * one.
 */
#include <math.h>

#include "ir/ops/onnx/fold.h"
#include "ir/ops/onnx/movement.h"

static bool range_const(struct value *v, double *d)
{
	enum dtype t = v->type->dtype;
	struct blob b;

	if (!value_const(v, &b) || b.size != dtype_size(t))
		return false;
	*d = scalar_cast(t, DT_F64, scalar_load(t, b.data)).d;
	return true;
}

static const struct expr *float_count(struct infer *in)
{
	struct ctx *c = in->ctx;
	struct value *start = op_in(in->op, 0), *limit = op_in(in->op, 1);
	struct value *delta = op_in(in->op, 2), *n;
	double a, b, step;

	if (range_const(start, &a) && range_const(limit, &b) &&
	    range_const(delta, &step)) {
		double count = ceil((b - a) / step);

		if (step == 0 || !(count < 0x1p62)) {
			infer_error(in, "from %g to %g by %g has no end", a, b,
				    step);
			return NULL;
		}
		return expr_const(c, count > 0 ? (int64_t)count : 0);
	}
	struct named_attr to = { A_to, attr_int(c, dtype_info[DT_I64].onnx) };

	if (!(n = infer_helper(in, OP_Sub, VALUES(limit, start), 0, NULL)) ||
	    !(n = infer_helper(in, OP_Div, VALUES(n, delta), 0, NULL)) ||
	    !(n = infer_helper(in, OP_Ceil, VALUES(n), 0, NULL)) ||
	    !(n = infer_helper(in, OP_Cast, 1, &n, 1, &to)))
		return NULL;
	return expr_max(c, infer_elements_of(in, n, 1)[0], expr_const(c, 0));
}

static const struct expr *int_count(struct infer *in)
{
	struct ctx *c = in->ctx;
	const struct expr *start = infer_scalar(in, 0);
	const struct expr *limit = start ? infer_scalar(in, 1) : NULL;
	const struct expr *delta = limit ? infer_scalar(in, 2) : NULL;

	if (!delta)
		return NULL;
	if (expr_is(delta, 0)) {
		infer_error(in, "delta is 0");
		return NULL;
	}
	const struct expr *neg = expr_is_neg(c, delta);
	const struct expr *size = expr_max(c, delta, expr_scale(c, delta, -1));
	const struct expr *len = expr_sub(c, limit, start);

	len = expr_sub(c, len, expr_scale(c, expr_mul(c, neg, len), 2));
	len = expr_ceildiv(c, len, expr_max(c, size, expr_const(c, 1)));
	return infer_dim(c, expr_max(c, len, expr_const(c, 0)));
}

static bool range_infer(struct infer *in)
{
	enum dtype t = infer_type(in, 0)->dtype;
	const struct expr *n;

	for (unsigned i = 0; i < 3; i++)
		if (!expr_is(type_elems(in->ctx, infer_type(in, i)), 1))
			return infer_error(in, "input '%s' must be a scalar, "
					       "is %s",
					   op_def(in->op)->in[i].name,
					   type_str(in->ctx,
						    infer_type(in, i)));
	n = dtype_is_float(t) ? float_count(in) : int_count(in);
	if (!n)
		return false;
	infer_set(in, 0, t, 1, &n);
	return true;
}

static bool range_lower(struct lower *lo)
{
	const struct type *t = lower_type(lo, 0);
	struct nest n = nest_begin(lo, 1, &t);
	struct value *start = nest_load_broadcast(lo, lower_in(lo, 0), 0, NULL);
	struct value *delta = nest_load_broadcast(lo, lower_in(lo, 2), 0, NULL);
	/* Halves accumulate in f32, as stash_type says. */
	enum dtype wide = acc_dtype(t->dtype);
	struct value *i = s_cast(lo, wide, nest_value(lo, n.iv[0]));
	struct value *v = s_add(lo, s_cast(lo, wide, start),
				s_mul(lo, i, s_cast(lo, wide, delta)));

	v = s_cast(lo, t->dtype, v);
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(Range, .domain = "", .since = 27, .first = 11,
	.in = { { "start", T_FLOAT | T_INDEX | T(I16) },
		{ "limit", T_FLOAT | T_INDEX | T(I16) | P_SAME },
		{ "delta", T_FLOAT | T_INDEX | T(I16) | P_SAME } },
	.out = { { "output", T_FLOAT | T_INDEX | T(I16) } },
	.attr = {
		ATTR(stash_type, AT_INT, .i = 1),
	},
	.infer = range_infer,
	.lower = range_lower);
