/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QLinearSigmoid, QLinearLeakyRelu, QLinearSoftmax: a function of floats
 * between a quantized operand and a quantized result.
 */
#include "ir/ops/onnx/activation.h"
#include "ir/ops/onnx/fold.h"
#include "ir/ops/onnx/requantize.h"
#include "ir/ops/onnx/softmax.h"

enum { IN_X, IN_X_SCALE, IN_X_ZERO, IN_Y_SCALE, IN_Y_ZERO };

static bool unary_infer(struct infer *in)
{
	for (unsigned i = 1; i < in->op->n_in; i++)
		if (!infer_number(in, i))
			return false;
	return infer_zero_point(in, IN_X_ZERO, IN_X) &&
	       infer_zero_point(in, IN_Y_ZERO, IN_X) && infer_same(in);
}

static struct value *to_y(struct lower *lo, struct value *v,
			  struct value *const *x)
{
	return quantize(lo, v, x[IN_Y_SCALE],
			lo->op->n_in > IN_Y_ZERO ? x[IN_Y_ZERO] : NULL,
			x[IN_X]->type->dtype);
}

static struct value *sigmoid(struct lower *lo, struct value *const *x)
{
	struct value *v = dequantize(lo, x[IN_X], x[IN_X_SCALE], x[IN_X_ZERO]);

	return to_y(lo, act_sigmoid(lo, v), x);
}

static struct value *leaky_relu(struct lower *lo, struct value *const *x)
{
	struct value *v = dequantize(lo, x[IN_X], x[IN_X_SCALE], x[IN_X_ZERO]);

	v = act_leaky_relu(lo, v, op_float(lo->op, A_alpha));
	return to_y(lo, v, x);
}

/* ---- QLinearSoftmax ------------------------------------------------- */

static bool softmax_infer(struct infer *in)
{
	const struct type *x = infer_type(in, IN_X);
	unsigned axis;

	return infer_axis(in, op_int(in->op, A_axis), x->rank, &axis) &&
	       unary_infer(in);
}

/* Before opset 13 of ONNX all dims from `axis` on form the row. */
static bool softmax_lower(struct lower *lo)
{
	struct value *x = lower_in(lo, IN_X), *v;
	const struct type *out = x->type, *wide;
	unsigned axis = lower_axis(lo, A_axis, out->rank);
	bool reduced[MAX_RANK], trailing = op_int(lo->op, A_opset) < 13;

	for (unsigned i = 0; i < out->rank; i++)
		reduced[i] = i == axis || (trailing && i > axis);
	wide = type_tensor(lo->b.ctx, DT_F32, out->rank, out->dim);
	struct nest n = nest_begin(lo, 1, &wide);

	v = dequantize(lo, nest_load(lo, x, n.iv),
		       load_number(lo, DT_F32, IN_X_SCALE),
		       load_number(lo, DT_I32, IN_X_ZERO));
	nest_end(lo, &n, 1, &v, &v);
	x = softmax_rows(lo, v, reduced, DT_F32, false);
	n = nest_begin(lo, 1, &out);
	v = quantize(lo, nest_load(lo, x, n.iv),
		     load_number(lo, DT_F32, IN_Y_SCALE),
		     load_number(lo, DT_I32, IN_Y_ZERO), out->dtype);
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

#define UNARY(first) .domain = "com.microsoft", .since = 1, \
	.in = { { first, T_Q8 }, { first "_scale", T(F32) }, \
		{ first "_zero_point", T_Q8 | P_OPTIONAL }, \
		{ "Y_scale", T(F32) }, \
		{ "Y_zero_point", T_Q8 | P_OPTIONAL } }, \
	.out = { { "Y", T_Q8 } }

OP(QLinearSigmoid, UNARY("X"), .infer = unary_infer, .scalar = sigmoid);
OP(QLinearLeakyRelu, UNARY("X"), .infer = unary_infer, .scalar = leaky_relu,
	.attr = {
		ATTR(alpha, AT_FLOAT, .f = 0.01f),
	});
OP(QLinearSoftmax, UNARY("X"), .infer = softmax_infer, .lower = softmax_lower,
	.attr = {
		ATTR(axis, AT_INT, .i = -1),
		ATTR(opset, AT_INT, .required = true),
	});
