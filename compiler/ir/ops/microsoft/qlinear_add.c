/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QLinearAdd, QLinearMul: the sum and the product of quantized tensors that
 * broadcast.
 *
 * The steps are those of ONNX Runtime's kernels, which round in the float that
 * already has the zero point of the result.  Add multiplies by the quotients
 * of the scales and adds without a rounding between; products of 8 bits and
 * an f32 are exact in an f64, so one there does the same.
 */
#include "ir/ops/onnx/requantize.h"

enum { IN_A, IN_A_SCALE, IN_A_ZERO, IN_B, IN_B_SCALE, IN_B_ZERO, IN_C_SCALE,
       IN_C_ZERO };

static bool binary_infer(struct infer *in)
{
	const struct type *a = infer_type(in, IN_A), *b = infer_type(in, IN_B);
	const struct expr *dim[MAX_RANK];
	unsigned rank = 0;

	if (a->dtype != b->dtype)
		return infer_error(in, "input 'B' has type %s, 'A' has %s",
				   dtype_info[b->dtype].name,
				   dtype_info[a->dtype].name);
	for (unsigned i = 0; i < in->op->n_in; i++)
		if (i != IN_A && i != IN_B && !infer_number(in, i))
			return false;
	if (!infer_zero_point(in, IN_A_ZERO, IN_A) ||
	    !infer_zero_point(in, IN_B_ZERO, IN_B) ||
	    !infer_zero_point(in, IN_C_ZERO, IN_A) ||
	    !infer_broadcast(in, &rank, dim, a) ||
	    !infer_broadcast(in, &rank, dim, b))
		return false;
	infer_set(in, 0, a->dtype, rank, dim);
	return true;
}

/* A zero point as an f32; 0 where it is absent. */
static struct value *zero_of(struct lower *lo, struct value *z)
{
	return z ? s_cast(lo, DT_F32, z) : s_const(lo, DT_F32, 0);
}

/* x * y + z with one rounding, where x has few bits. */
static struct value *multiply_add(struct lower *lo, struct value *x,
				  struct value *y, struct value *z)
{
	x = s_mul(lo, s_cast(lo, DT_F64, x), s_cast(lo, DT_F64, y));
	return s_cast(lo, DT_F32, s_add(lo, x, s_cast(lo, DT_F64, z)));
}

/* Does an operand have one element for each row of the other?  Then ONNX
 * Runtime exchanges them. */
static bool is_spread(struct lower *lo, unsigned a, unsigned b)
{
	const struct type *x = lower_in(lo, a)->type;
	const struct type *y = lower_in(lo, b)->type;

	return (!x->rank || expr_is(x->dim[x->rank - 1], 1)) && y->rank &&
	       !expr_is(y->dim[y->rank - 1], 1);
}

static struct value *add(struct lower *lo, struct value *const *x)
{
	bool swap = is_spread(lo, IN_A, IN_B);
	unsigned a = swap ? IN_B : IN_A, b = swap ? IN_A : IN_B;
	struct value *c_scale = x[IN_C_SCALE], *v;
	struct value *ra = s_div(lo, x[a + 1], c_scale);
	struct value *rb = s_div(lo, x[b + 1], c_scale);

	v = rounded(lo, s_mul(lo, rb, zero_of(lo, x[b + 2])));
	v = multiply_add(lo, zero_of(lo, x[a + 2]), ra, v);
	v = s_sub(lo, zero_of(lo, x[IN_C_ZERO]), v);
	v = multiply_add(lo, x[b], rb, v);
	v = multiply_add(lo, x[a], ra, v);
	return round_to(lo, v, x[IN_A]->type->dtype, NULL);
}

static struct value *from_zero(struct lower *lo, struct value *v,
			       struct value *zero)
{
	return less_zero(lo, s_cast(lo, DT_I32, v),
			 zero ? s_cast(lo, DT_I32, zero) : NULL);
}

static struct value *multiply(struct lower *lo, struct value *const *x)
{
	struct value *m = s_div(lo, s_mul(lo, x[IN_A_SCALE], x[IN_B_SCALE]),
				x[IN_C_SCALE]), *v;

	v = s_mul(lo, from_zero(lo, x[IN_A], x[IN_A_ZERO]),
		  from_zero(lo, x[IN_B], x[IN_B_ZERO]));
	v = rounded(lo, s_mul(lo, s_cast(lo, DT_F32, v), m));
	v = s_add(lo, v, zero_of(lo, x[IN_C_ZERO]));
	return round_to(lo, v, x[IN_A]->type->dtype, NULL);
}

#define BINARY(fn) .domain = "com.microsoft", .since = 1, \
	.in = { { "A", T_Q8 }, { "A_scale", T(F32) }, \
		{ "A_zero_point", T_Q8 | P_OPTIONAL }, \
		{ "B", T_Q8 }, { "B_scale", T(F32) }, \
		{ "B_zero_point", T_Q8 | P_OPTIONAL }, \
		{ "C_scale", T(F32) }, \
		{ "C_zero_point", T_Q8 | P_OPTIONAL } }, \
	.out = { { "C", T_Q8 } }, \
	.infer = binary_infer, .scalar = fn

OP(QLinearAdd, BINARY(add));
OP(QLinearMul, BINARY(multiply));
