/* SPDX-License-Identifier: Apache-2.0 */
/* Clip: min(max(x, low), high); the bounds are optional scalars. */
#include "ir/op.h"

static bool clip_infer(struct infer *in)
{
	for (unsigned i = 1; i < 3; i++) {
		const struct type *t = infer_type(in, i);

		if (t && !expr_is(type_elems(in->ctx, t), 1))
			return infer_error(in, "input '%s' must be a scalar, "
					       "is %s",
					   op_def(in->op)->in[i].name,
					   type_str(in->ctx, t));
	}
	return infer_same(in);
}

static struct value *clip_scalar(struct lower *lo, struct value *const *x)
{
	struct value *y = x[0];

	if (lower_in(lo, 1))
		y = s_op2(lo, OP_arith_max, y, x[1]);
	if (lower_in(lo, 2))
		y = s_op2(lo, OP_arith_min, y, x[2]);
	return y;
}

/* Before opset 11 the bounds are attributes. */
static bool clip_older(struct older *o)
{
	static const enum attr_name name[] = { A_min, A_max };

	if (o->opset >= 11 || !o->n_in || !o->in[0])
		return true;
	for (unsigned i = 0; i < 2; i++) {
		const struct attr *a = older_attr(o, name[i]);

		if (a) {
			while (o->n_in < i + 2)
				o->in[o->n_in++] = NULL;
			o->in[i + 1] = build_scalar_const(
				&o->b, o->in[0]->type->dtype, a->f);
		}
		older_drop_attr(o, name[i]);
	}
	return true;
}

OP(Clip, .domain = "", .since = 13,
	.in = { { "input", T_NUM },
		{ "min", T_NUM | P_SAME | P_OPTIONAL },
		{ "max", T_NUM | P_SAME | P_OPTIONAL } },
	.out = { { "output", T_NUM } },
	.attr = {
		ATTR(min, AT_FLOAT),
		ATTR(max, AT_FLOAT),
	},
	.infer = clip_infer,
	.scalar = clip_scalar,
	.older = clip_older);
