/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MatMulIntegerToFloat: MatMulInteger times the scales of A and B, plus a
 * bias.  DynamicQuantizeMatMul does so with a float A, which it quantizes over
 * its own range first.
 */
#include "ir/ops/onnx/matmul.h"
#include "ir/ops/onnx/requantize.h"

/* Where the operands of the product are; MAX_PORTS for those that the
 * operator does not have. */
struct operands {
	unsigned a_scale, a_zero, b_scale, b_zero, bias;
};

static const struct operands to_float = { 2, 4, 3, 5, 6 };
static const struct operands dynamic = { MAX_PORTS, MAX_PORTS, 2, 3, 4 };

static bool product_infer(struct infer *in, const struct operands *at)
{
	const struct type *a = infer_type(in, 0), *b = infer_type(in, 1);
	const struct type *scale = infer_type(in, at->b_scale);
	const struct type *bias = infer_type(in, at->bias);
	const struct expr *dim[MAX_RANK];
	unsigned rank;

	if (!matmul_shape(in, a, b, &rank, dim) ||
	    !infer_broadcast_into(in, rank, dim, scale) ||
	    (bias && !infer_broadcast_into(in, rank, dim, bias)))
		return false;
	infer_set(in, 0, scale->dtype, rank, dim);
	return true;
}

static bool to_float_infer(struct infer *in)
{
	return infer_number(in, to_float.a_scale) &&
	       infer_zero_point(in, to_float.a_zero, 0) &&
	       infer_zero_point(in, to_float.b_zero, 1) &&
	       product_infer(in, &to_float);
}

static bool dynamic_infer(struct infer *in)
{
	return infer_zero_point(in, dynamic.b_zero, 1) &&
	       product_infer(in, &dynamic);
}

/* MatMulInteger(a, b) * (a_scale * b_scale) + bias */
static bool product(struct lower *lo, struct value *a, struct value *a_scale,
		    struct value *a_zero, const struct operands *at)
{
	struct ctx *c = lo->b.ctx;
	struct value *bias = lower_in(lo, at->bias), *v, *scale;
	struct named_attr to = { A_to, attr_int(c, dtype_info[DT_F32].onnx) };
	struct named_attr back = { A_to, attr_int(c, dtype_info[
				   lower_type(lo, 0)->dtype].onnx) };

	v = g_op(lo, OP_MatMulInteger,
		 VALUES(a, lower_in(lo, 1), a_zero, lower_in(lo, at->b_zero)),
		 0, NULL);
	if (!v)
		return false;
	v = g_op(lo, OP_Cast, 1, &v, 1, &to);
	scale = g_op(lo, OP_Mul,
		     VALUES(g_op(lo, OP_Cast, 1, &a_scale, 1, &to),
			    g_op(lo, OP_Cast, VALUES(lower_in(lo, at->b_scale)),
				 1, &to)), 0, NULL);
	v = g_op(lo, OP_Mul, VALUES(v, scale), 0, NULL);
	if (bias)
		v = g_op(lo, OP_Add,
			 VALUES(v, g_op(lo, OP_Cast, 1, &bias, 1, &to)), 0,
			 NULL);
	lo->result[0] = g_op(lo, OP_Cast, 1, &v, 1, &back);
	return true;
}

static bool to_float_decompose(struct lower *lo)
{
	return product(lo, lower_in(lo, 0), lower_in(lo, to_float.a_scale),
		       lower_in(lo, to_float.a_zero), &to_float);
}

static bool dynamic_decompose(struct lower *lo)
{
	struct value *a = lower_in(lo, 0);
	struct op *q = build(&lo->b, &(struct op_spec){
					     .code = OP_DynamicQuantizeLinear,
					     .n_in = 1, .in = &a, .n_out = 3 });

	return q && product(lo, &q->out[0], &q->out[1], &q->out[2], &dynamic);
}

OP(MatMulIntegerToFloat, .domain = "com.microsoft", .since = 1,
	.in = { { "A", T_Q8 }, { "B", T_Q8 }, { "a_scale", T(F32) | T(F16) },
		{ "b_scale", T(F32) | T(F16) },
		{ "a_zero_point", T_Q8 | P_OPTIONAL },
		{ "b_zero_point", T_Q8 | P_OPTIONAL },
		{ "bias", T(F32) | T(F16) | P_OPTIONAL } },
	.out = { { "Y", T(F32) | T(F16) } },
	.infer = to_float_infer,
	.decompose = to_float_decompose);
OP(DynamicQuantizeMatMul, .domain = "com.microsoft", .since = 1,
	.in = { { "A", T(F32) }, { "B", T_Q8 }, { "b_scale", T(F32) },
		{ "b_zero_point", T_Q8 | P_OPTIONAL },
		{ "bias", T(F32) | P_OPTIONAL } },
	.out = { { "Y", T(F32) } },
	.infer = dynamic_infer,
	.decompose = dynamic_decompose);
