/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QuantizeLinear: saturate(round(x / scale) + zero_point), halves to even.
 * DequantizeLinear: (x - zero_point) * scale.
 *
 * Scale and zero point are one number, one per position along an axis, or one
 * per block of positions along it.
 */
#include "ir/ops/onnx/movement.h"

#define T_QUANTIZED (T(I8) | T(U8) | T(I16) | T(U16))

static bool scale_check(struct infer *in, unsigned *axis)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, 0), *s = infer_type(in, 1);
	const struct type *z = infer_type(in, 2);
	int64_t block = op_int(in->op, A_block_size);

	if (z && z->rank != s->rank)
		return infer_error(in, "the scale is %s, the zero point %s",
				   type_str(c, s), type_str(c, z));
	for (unsigned i = 0; z && i < s->rank; i++) {
		const struct expr *d = s->dim[i];

		if (!infer_same_dim(in, &d, z->dim[i],
				    "dims of scale and zero point"))
			return false;
	}
	if (expr_is(type_elems(c, s), 1) && !block)
		return true;
	if (!infer_axis(in, op_int(in->op, A_axis), x->rank, axis))
		return false;
	if (block < 0 || s->rank != (block ? x->rank : 1))
		return infer_error(in, "the scale is %s for %s",
				   type_str(c, s), type_str(c, x));
	for (unsigned i = 0; i < s->rank; i++) {
		unsigned k = block ? i : *axis;
		const struct expr *d = x->dim[k];

		if (block && k == *axis)
			d = expr_ceildiv(c, d, expr_const(c, block));
		if (!infer_same_dim(in, &d, s->dim[i], "dims of the scale"))
			return false;
	}
	return true;
}

/* Type code of output_dtype, or what it defaults to. */
static bool output_type(struct infer *in, enum dtype *t)
{
	int64_t code = op_int(in->op, A_output_dtype);

	return !code || (code > 0 && code < 1000 &&
			 dtype_from_onnx((int)code, t)) ||
	       infer_unsupported(in, "output_dtype %lld is not supported",
				 (long long)code);
}

static bool quantize_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0), *z = infer_type(in, 2);
	enum dtype t = z ? z->dtype : DT_U8;
	unsigned axis;

	if (!scale_check(in, &axis) || !output_type(in, &t))
		return false;
	if (!(T_QUANTIZED >> t & 1))
		return infer_unsupported(in, "output type %s is not supported",
					 dtype_info[t].name);
	if (z && z->dtype != t)
		return infer_error(in, "the zero point is %s, the output %s",
				   dtype_info[z->dtype].name,
				   dtype_info[t].name);
	infer_set(in, 0, t, x->rank, x->dim);
	return true;
}

static bool dequantize_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0), *z = infer_type(in, 2);
	enum dtype t = infer_type(in, 1)->dtype;
	unsigned axis;

	if (!scale_check(in, &axis) || !output_type(in, &t))
		return false;
	if (z && z->dtype != x->dtype)
		return infer_error(in, "the zero point is %s, the input %s",
				   dtype_info[z->dtype].name,
				   dtype_info[x->dtype].name);
	if (!dtype_is_float(t))
		return infer_error(in, "output type %s is no float",
				   dtype_info[t].name);
	infer_set(in, 0, t, x->rank, x->dim);
	return true;
}

/* The element of the scale or the zero point for position iv[]. */
static struct value *parameter(struct lower *lo, unsigned i,
			       const struct expr *const *iv)
{
	struct ctx *c = lo->b.ctx;
	struct value *v = lower_in(lo, i);
	const struct type *t = v->type;
	int64_t block = op_int(lo->op, A_block_size);
	unsigned a = lower_axis(lo, A_axis, lower_type(lo, 0)->rank);
	const struct expr *idx[MAX_RANK];

	for (unsigned k = 0; k < t->rank; k++) {
		idx[k] = block ? iv[k] : expr_const(c, 0);
		if (block && k == a)
			idx[k] = expr_div(c, iv[k], expr_const(c, block));
		else if (!block && !expr_is(t->dim[k], 1))
			idx[k] = iv[a];
	}
	return nest_load(lo, v, idx);
}

static bool quantize_lower(struct lower *lo)
{
	const struct type *t = lower_type(lo, 0);
	struct nest n = nest_begin(lo, 1, &t);
	struct value *x = nest_load(lo, lower_in(lo, 0), n.iv);
	struct value *scale = s_cast(lo, DT_F32, parameter(lo, 1, n.iv));
	struct value *v = s_div(lo, s_cast(lo, DT_F32, x), scale);

	v = s_op(lo, OP_arith_round, v);
	if (lower_in(lo, 2))
		v = s_add(lo, v, s_cast(lo, DT_F32, parameter(lo, 2, n.iv)));
	v = s_cast(lo, t->dtype, v);
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

static bool dequantize_lower(struct lower *lo)
{
	const struct type *t = lower_type(lo, 0);
	struct nest n = nest_begin(lo, 1, &t);
	struct value *v = nest_load(lo, lower_in(lo, 0), n.iv);

	v = s_cast(lo, DT_I32, v);
	if (lower_in(lo, 2))
		v = s_sub(lo, v, s_cast(lo, DT_I32, parameter(lo, 2, n.iv)));
	v = s_mul(lo, s_cast(lo, DT_F32, v),
		  s_cast(lo, DT_F32, parameter(lo, 1, n.iv)));
	v = s_cast(lo, t->dtype, v);
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(QuantizeLinear, .domain = "", .since = 25, .first = 10,
	.in = { { "x", T(F32) | T(F16) | T(BF16) | T(I32) },
		{ "y_scale", T(F32) | T(F16) | T(BF16) | T(I32) },
		{ "y_zero_point", T_QUANTIZED | P_OPTIONAL } },
	.out = { { "y", T_QUANTIZED } },
	.attr = {
		ATTR(axis, AT_INT, .i = 1),
		ATTR(block_size, AT_INT, .i = 0),
		ATTR(output_dtype, AT_INT, .i = 0),
		ATTR(precision, AT_INT, .i = 0),
		ATTR(saturate, AT_INT, .i = 1),
	},
	.infer = quantize_infer,
	.lower = quantize_lower);
OP(DequantizeLinear, .domain = "", .since = 25, .first = 10,
	.in = { { "x", T_QUANTIZED | T(I32) },
		{ "x_scale", T(F32) | T(F16) | T(BF16) },
		{ "x_zero_point", T_QUANTIZED | T(I32) | P_OPTIONAL } },
	.out = { { "y", T(F32) | T(F16) | T(BF16) } },
	.attr = {
		ATTR(axis, AT_INT, .i = 1),
		ATTR(block_size, AT_INT, .i = 0),
		ATTR(output_dtype, AT_INT, .i = 0),
	},
	.infer = dequantize_infer,
	.lower = dequantize_lower);
