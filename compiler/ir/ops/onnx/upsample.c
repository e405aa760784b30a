/* SPDX-License-Identifier: Apache-2.0 */
/* Upsample, up to opset 9: Resize by scales of at least 1. */
#include <string.h>

#include "ir/ops/onnx/resize.h"

static bool upsample_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);
	const char *mode = op_str(in->op, A_mode);
	const struct expr *dim[MAX_RANK];

	if (strcmp(mode, "nearest") && strcmp(mode, "linear"))
		return infer_error(in, "mode must be nearest or linear");
	if (!resize_scaled_dims(in, 1, x->rank, NULL, dim))
		return false;
	infer_set(in, 0, x->dtype, x->rank, dim);
	return true;
}

/* The type is passed on: while folding, the scales are no constant that
 * inference could read. */
static bool upsample_decompose(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	const struct type *t = lower_type(lo, 0);
	struct value *in[] = { lower_in(lo, 0), NULL, lower_in(lo, 1) };
	struct named_attr attr[] = {
		{ A_mode, attr_str(c, op_str(lo->op, A_mode)) },
		{ A_nearest_mode, attr_str(c, "floor") },
		{ A_coordinate_transformation_mode,
		  attr_str(c, "asymmetric") },
	};
	struct op *op = build(&lo->b, &(struct op_spec){
					      .code = OP_Resize,
					      .n_in = ARRAY_SIZE(in),
					      .in = in, .n_out = 1, .out = &t,
					      .n_attr = ARRAY_SIZE(attr),
					      .attr = attr });

	lo->result[0] = &op->out[0];
	return true;
}

/* Before opset 9 the scales are an attribute. */
static bool upsample_older(struct older *o)
{
	struct ctx *c = o->b.ctx;
	const struct attr *a = older_attr(o, A_scales);
	const struct expr *n;

	if (!a)
		return true;
	if (a->kind != AT_FLOATS || o->n_in != 1)
		return older_error(o, "scales must be a list of floats");
	float *s = NEW_ARRAY(&c->perm, a->n + 1, float);

	for (size_t i = 0; i < a->n; i++)
		s[i] = (float)a->floats[i];
	n = expr_const(c, (int64_t)a->n);
	o->in[o->n_in++] = build_const(&o->b, type_tensor(c, DT_F32, 1, &n),
				       (struct blob){ s, a->n * sizeof(*s) });
	older_drop_attr(o, A_scales);
	return true;
}

OP(Upsample, .domain = "", .since = 9, .first = 7,
	.in = { { "X", T_BASIC }, { "scales", T(F32) } },
	.out = { { "Y", T_BASIC } },
	.attr = {
		ATTR(mode, AT_STR, .s = "nearest"),
		ATTR(scales, AT_FLOATS),
	},
	.infer = upsample_infer,
	.decompose = upsample_decompose,
	.older = upsample_older);
