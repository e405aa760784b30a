/* SPDX-License-Identifier: Apache-2.0 */
/* Dropout at inference: the input itself and a mask that keeps everything. */
#include "ir/op.h"

/* Is the operand a constant whose one element is zero? */
static bool is_zero(struct value *v)
{
	enum dtype t = v->type->dtype;
	struct blob b;

	if (v->known && v->known->n == 1 && v->known->elem[0])
		return expr_is(v->known->elem[0], 0);
	return value_const(v, &b) && b.size == dtype_size(t) &&
	       scalar_cast(t, DT_F64, scalar_load(t, b.data)).d == 0;
}

static bool dropout_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);

	if (infer_has(in, 2) && !is_zero(op_in(in->op, 2)) &&
	    !(infer_has(in, 1) && is_zero(op_in(in->op, 1))))
		return infer_unsupported(in, "training mode is not supported");
	infer_set(in, 0, x->dtype, x->rank, x->dim);
	infer_set(in, 1, DT_BOOL, x->rank, x->dim);
	return true;
}

static bool dropout_lower(struct lower *lo)
{
	const struct type *t = lower_type(lo, 1);

	lo->result[0] = lower_in(lo, 0);
	if (t->kind == TY_NONE)
		return true;
	struct nest n = nest_begin(lo, 1, &t);
	struct value *keep = s_int(lo, DT_BOOL, 1);

	nest_end(lo, &n, 1, &keep, &lo->result[1]);
	return true;
}

/* Before opset 12 the ratio is an attribute; inference ignores it. */
static bool dropout_older(struct older *o)
{
	older_drop_attr(o, A_ratio);
	older_drop_attr(o, A_is_test);
	return true;
}

OP(Dropout, .domain = "", .since = 22,
	.in = { { "data", T_FLOAT },
		{ "ratio", T_FLOAT | P_OPTIONAL },
		{ "training_mode", T_BOOL | P_OPTIONAL } },
	.out = { { "output", T_FLOAT }, { "mask", T_BOOL } },
	.attr = {
		ATTR(seed, AT_INT),
		ATTR(ratio, AT_FLOAT, .f = 0.5),
		ATTR(is_test, AT_INT),
	},
	.infer = dropout_infer,
	.lower = dropout_lower,
	.older = dropout_older);
