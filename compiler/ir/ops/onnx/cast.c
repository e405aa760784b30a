/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cast and CastLike among the 13 types.  ONNX leaves a float outside of the
 * integer's range undefined; it saturates here and NaN gives 0.  `saturate`
 * and `round_mode` concern 8-bit floats only.
 */
#include "ir/ops/onnx/pointwise.h"

static bool cast_infer(struct infer *in)
{
	int64_t code = op_int(in->op, A_to);
	const struct type *x = infer_type(in, 0);
	enum dtype t;

	if (code < 0 || code > 1000 || !dtype_from_onnx((int)code, &t))
		return infer_unsupported(
			in, "cast to type %s (%lld) is not supported",
			onnx_dtype_name(code < 0 || code > 1000 ? -1
								: (int)code),
			(long long)code);
	infer_set(in, 0, t, x->rank, x->dim);
	return true;
}

static struct value *cast_scalar(struct lower *lo, struct value *const *x)
{
	enum dtype to = lower_type(lo, 0)->dtype;

	if (to == DT_BOOL && x[0]->type->dtype != DT_BOOL)
		return s_op2(lo, OP_arith_ne, x[0], s_like(lo, x[0], 0));
	return s_cast(lo, to, x[0]);
}

static struct value *cast_fold(struct lower *lo)
{
	return lower_in(lo, 0)->type == lower_type(lo, 0) ? lower_in(lo, 0)
							  : NULL;
}

/* Only the type of the second operand matters, so it must not be loaded. */
static bool cast_like_decompose(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	int64_t to = dtype_info[lower_type(lo, 0)->dtype].onnx;

	lo->result[0] = g_op(lo, OP_Cast, VALUES(lower_in(lo, 0)),
			     ATTRS({ A_to, attr_int(c, to) }));
	return lo->result[0];
}

static bool cast_like_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);

	infer_set(in, 0, infer_type(in, 1)->dtype, x->rank, x->dim);
	return true;
}

OP(Cast, .domain = "", .since = 25,
	.in = { { "input", T_ANY } },
	.out = { { "output", T_ANY } },
	.attr = {
		ATTR(to, AT_INT, .required = true),
		ATTR(saturate, AT_INT, .i = 1),
		ATTR(round_mode, AT_STR, .s = "up"),
	},
	.infer = cast_infer,
	.scalar = cast_scalar,
	.fold = cast_fold);
OP(CastLike, .domain = "", .since = 25, .first = 15,
	.in = { { "input", T_ANY }, { "target_type", T_ANY } },
	.out = { { "output", T_ANY } },
	.attr = {
		ATTR(saturate, AT_INT, .i = 1),
		ATTR(round_mode, AT_STR, .s = "up"),
	},
	.infer = cast_like_infer,
	.decompose = cast_like_decompose,
	.fold = cast_fold);
