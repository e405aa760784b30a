/* SPDX-License-Identifier: Apache-2.0 */
/* ConstantOfShape: a tensor of one repeated element, f32 zero by default. */
#include "ir/ops/onnx/movement.h"

static bool constant_of_shape_infer(struct infer *in)
{
	const struct attr *a = op_attr(in->op, A_value);
	enum dtype t = a ? a->tensor.type->dtype : DT_F32;
	size_t n;

	if (a && !expr_is(type_elems(in->ctx, a->tensor.type), 1))
		return infer_error(in, "value must have one element, is %s",
				   type_str(in->ctx, a->tensor.type));
	if (infer_type(in, 0)->rank != 1)
		return infer_error(in, "the shape must be a list, is %s",
				   type_str(in->ctx, infer_type(in, 0)));
	const struct expr **dim = infer_elems(in, 0, &n);

	if (!dim || !infer_rank(in, n))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!infer_require_ge0(in, dim[i], "negative dim"))
			return false;
	infer_set(in, 0, t, (unsigned)n, dim);
	return true;
}

static bool constant_of_shape_lower(struct lower *lo)
{
	const struct attr *a = op_attr(lo->op, A_value);
	const struct type *t = lower_type(lo, 0);
	struct nest n = nest_begin(lo, 1, &t);
	struct value *v = s_const(lo, t->dtype, 0);

	if (a) {
		union scalar s = scalar_load(t->dtype, a->tensor.blob.data);

		v = dtype_is_float(t->dtype) ? s_const(lo, t->dtype, s.d)
					     : s_int(lo, t->dtype, s.i);
	}
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(ConstantOfShape, .domain = "", .since = 25, .first = 9,
	.in = { { "input", T(I64) } },
	.out = { { "output", T_ANY } },
	.attr = {
		ATTR(value, AT_TENSOR),
	},
	.infer = constant_of_shape_infer,
	.lower = constant_of_shape_lower);
