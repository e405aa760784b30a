/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QuantizeLinear: saturate(round(x / scale) + zero_point), halves to even.
 * DequantizeLinear: (x - zero_point) * scale.
 *
 * Scale and zero point are one number, one per position along an axis, or one
 * per block of positions along it.
 *
 * The quotient is rounded to the type of the division (`precision`, else that
 * of the scale; f32 when that is no float to compute with), then to an
 * integer, then the zero point is added.  ONNX leaves open what NaN becomes:
 * the lowest integer, as in ONNX Runtime, so 0/0 with a scale of 0 does, while
 * x/0 saturates by its sign.  Small floats are not rounded to integers.
 *
 * A product is exact before it is rounded to the result's type, of which the
 * scale is.
 */
#include "ir/ops/onnx/movement.h"

#include <math.h>

#define T_QUANTIZED                                                        \
	(T(I8) | T(U8) | T(I16) | T(U16) | T(I4) | T(U4) | T(I2) | T(U2) | \
	 T_FLOAT8 | T(F4E2M1))

static bool is_one(struct ctx *c, const struct type *t)
{
	return expr_is(type_elems(c, t), 1);
}

/* One number for all: scale and zero point have one shape, which the checks
 * say where one of them does not. */
static bool is_per_tensor(struct ctx *c, const struct op *op)
{
	const struct value *z = op_in(op, 2);

	return !op_int(op, A_block_size) &&
	       (is_one(c, op_in(op, 1)->type) ||
		(!value_is_absent(z) && is_one(c, z->type)));
}

static bool scale_check(struct infer *in, unsigned *axis)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, 0), *s = infer_type(in, 1);
	const struct type *z = infer_type(in, 2);
	int64_t block = op_int(in->op, A_block_size);

	/* One number may be a scalar or the only one of a list. */
	if (z && z->rank != s->rank && !(is_one(c, s) && z->rank < 2) &&
	    !(is_one(c, z) && s->rank < 2))
		return infer_error(in, "the scale is %s, the zero point %s",
				   type_str(c, s), type_str(c, z));
	for (unsigned i = 0; z && (i < z->rank || i < s->rank); i++) {
		const struct expr *one = expr_const(c, 1);
		const struct expr *d = i < s->rank ? s->dim[i] : one;

		if (!infer_same_dim(in, &d, i < z->rank ? z->dim[i] : one,
				    "dims of scale and zero point"))
			return false;
	}
	if (is_per_tensor(c, in->op))
		return true;
	/* The default is 1, which a vector does not have. */
	*axis = 0;
	if ((x->rank != 1 || block) &&
	    !infer_axis(in, op_int(in->op, A_axis), x->rank, axis))
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

/* The type that an attribute names, or what it defaults to. */
static bool named_type(struct infer *in, enum attr_name name, uint32_t of,
		       enum dtype *t)
{
	int64_t code = op_int(in->op, name);

	if (code && (code < 0 || code > 1000 ||
		     !dtype_from_onnx((int)code, t)))
		return infer_unsupported(in, "%s %lld is not supported",
					 attr_names[name], (long long)code);
	return of >> *t & 1 || infer_error(in, "%s cannot be %s",
					   attr_names[name],
					   dtype_info[*t].name);
}

static bool quantize_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0), *z = infer_type(in, 2);
	enum dtype t = z ? z->dtype : DT_U8;
	unsigned axis;

	enum dtype precision = DT_F32;

	if (!scale_check(in, &axis) ||
	    !named_type(in, A_output_dtype, T_QUANTIZED, &t) ||
	    !named_type(in, A_precision, T_FLOAT, &precision))
		return false;
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

	if (!scale_check(in, &axis) ||
	    !named_type(in, A_output_dtype, T_REAL, &t))
		return false;
	if (z && z->dtype != x->dtype)
		return infer_error(in, "the zero point is %s, the input %s",
				   dtype_info[z->dtype].name,
				   dtype_info[x->dtype].name);
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
	unsigned rank = lower_type(lo, 0)->rank;
	unsigned a = rank == 1 ? 0 : lower_axis(lo, A_axis, rank);
	bool one = is_per_tensor(c, lo->op);
	const struct expr *idx[MAX_RANK];

	for (unsigned k = 0; k < t->rank; k++) {
		idx[k] = block ? iv[k] : expr_const(c, 0);
		if (block && k == a)
			idx[k] = expr_div(c, iv[k], expr_const(c, block));
		else if (!block && !one)
			idx[k] = iv[a];
	}
	return nest_load(lo, v, idx);
}

/* The type in which x is divided. */
static enum dtype precision_of(struct lower *lo)
{
	enum dtype t = lower_in(lo, 1)->type->dtype;
	int64_t code = op_int(lo->op, A_precision);

	if (code)
		dtype_from_onnx((int)code, &t);
	return T_FLOAT >> t & 1 ? t : DT_F32;
}

/* What f32 does not hold is beyond the range of all these integers. */
static struct value *to_integer(struct lower *lo, enum dtype t,
				struct value *v, struct value *zero)
{
	enum dtype wide = v->type->dtype == DT_F64 ? DT_F64 : DT_F32;
	unsigned bits = dtype_info[t].bits;
	struct value *low = s_const(
		lo, wide, dtype_is_signed(t) ? -ldexp(1, (int)bits - 1) : 0);

	v = s_cast(lo, wide, s_op(lo, OP_arith_round, v));
	if (zero)
		v = s_add(lo, v, s_cast(lo, wide, zero));
	/* NaN is not, and arith.cast would make 0 of it. */
	v = s_select(lo, s_op2(lo, OP_arith_ge, v, low), v, low);
	return s_cast(lo, t, v);
}

static struct value *to_float(struct lower *lo, enum dtype t, struct value *v,
			      struct value *zero)
{
	if (zero) {
		/* Adding 0 would turn -0 to 0. */
		struct value *none = s_const(lo, v->type->dtype, 0);

		zero = s_cast(lo, v->type->dtype, zero);
		v = s_select(lo, s_op2(lo, OP_arith_eq, zero, none), v,
			     s_add(lo, v, zero));
	}
	return op_int(lo->op, A_saturate) ? s_cast_saturate(lo, t, v)
					  : s_cast(lo, t, v);
}

static bool quantize_lower(struct lower *lo)
{
	const struct type *t = lower_type(lo, 0);
	struct nest n = nest_begin(lo, 1, &t);
	enum dtype p = precision_of(lo);
	struct value *x = s_cast(lo, p, nest_load(lo, lower_in(lo, 0), n.iv));
	struct value *v = s_div(lo, x, s_cast(lo, p, parameter(lo, 1, n.iv)));
	struct value *zero = lower_in(lo, 2) ? parameter(lo, 2, n.iv) : NULL;

	v = dtype_is_float(t->dtype) ? to_float(lo, t->dtype, v, zero)
				     : to_integer(lo, t->dtype, v, zero);
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

/* As a factor: rounded to the type of the result, but for f8e8m0, which may
 * be far below it. */
static struct value *scale_factor(struct lower *lo, enum dtype t,
				  struct value *scale)
{
	if (scale->type->dtype != DT_F8E8M0)
		scale = s_cast(lo, t, scale);
	return s_cast(lo, DT_F32, scale);
}

static bool dequantize_lower(struct lower *lo)
{
	const struct type *t = lower_type(lo, 0);
	struct nest n = nest_begin(lo, 1, &t);
	struct value *v = nest_load(lo, lower_in(lo, 0), n.iv);
	/* Differences of integers are exact in i32. */
	enum dtype wide = dtype_is_float(v->type->dtype) ? DT_F32 : DT_I32;

	v = s_cast(lo, wide, v);
	if (lower_in(lo, 2))
		v = s_sub(lo, v, s_cast(lo, wide, parameter(lo, 2, n.iv)));
	v = s_mul(lo, s_cast(lo, DT_F32, v),
		  scale_factor(lo, t->dtype, parameter(lo, 1, n.iv)));
	v = s_cast(lo, t->dtype, v);
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(QuantizeLinear, .domain = "", .since = 25, .first = 10,
	.in = { { "x", T_REAL | T(I32) },
		{ "y_scale", T_REAL | T(I32) | T(F8E8M0) },
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
		{ "x_scale", T_REAL | T(F8E8M0) },
		{ "x_zero_point", T_QUANTIZED | T(I32) | P_OPTIONAL } },
	.out = { { "y", T_REAL } },
	.attr = {
		ATTR(axis, AT_INT, .i = 1),
		ATTR(block_size, AT_INT, .i = 0),
		ATTR(output_dtype, AT_INT, .i = 0),
	},
	.infer = dequantize_infer,
	.lower = dequantize_lower);
