/* SPDX-License-Identifier: Apache-2.0 */
/* QLinearConv of com.microsoft: that of ONNX, also for images whose channels
 * are last.  The weight has the one layout. */
#include "ir/ops/microsoft/channels.h"
#include "ir/ops/onnx/conv.h"
#include "ir/ops/onnx/requantize.h"

enum { IN_X, IN_X_SCALE, IN_X_ZERO, IN_W, IN_W_SCALE, IN_W_ZERO, IN_Y_SCALE,
       IN_Y_ZERO, IN_BIAS };

/* The operator that it becomes checks scales and zero points. */
static bool conv_infer(struct infer *in)
{
	const struct type *x = infer_type(in, IN_X);
	const struct expr *dim[MAX_RANK];

	if (!conv_shape(in, channels_first(in->ctx, in->op, x),
			infer_type(in, IN_W), infer_type(in, IN_BIAS), dim) ||
	    !infer_zero_point(in, IN_X_ZERO, IN_X) ||
	    !infer_zero_point(in, IN_W_ZERO, IN_W) ||
	    !infer_number(in, IN_X_SCALE) || !infer_number(in, IN_X_ZERO) ||
	    !infer_number(in, IN_Y_SCALE) || !infer_number(in, IN_Y_ZERO))
		return false;
	channels_place(in->op, x->rank, dim);
	infer_set(in, 0, infer_type(in, IN_Y_ZERO)->dtype, x->rank, dim);
	return true;
}

static bool conv_decompose(struct lower *lo)
{
	return channels_decompose(lo, OP_QLinearConv);
}

OP(MicrosoftQLinearConv, .domain = "com.microsoft", .type = "QLinearConv",
	.since = 1,
	.in = { { "x", T_Q8 }, { "x_scale", T(F32) }, { "x_zero_point", T_Q8 },
		{ "w", T_Q8 }, { "w_scale", T(F32) }, { "w_zero_point", T_Q8 },
		{ "y_scale", T(F32) }, { "y_zero_point", T_Q8 },
		{ "B", T(I32) | P_OPTIONAL } },
	.out = { { "y", T_Q8 } },
	.attr = {
		CONV_ATTRS,
		ATTR(channels_last, AT_INT),
	},
	.infer = conv_infer,
	.decompose = conv_decompose);
