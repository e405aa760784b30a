/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QLinearConcat, QLinearWhere: elements of several tensors, each with a scale
 * and a zero point of its own, in those of the result.
 */
#include "ir/ops/onnx/movement.h"
#include "ir/ops/onnx/requantize.h"

/* Element v of the operand at input i, whose scale and zero point follow it,
 * as an element of the result. */
static struct value *convert(struct lower *lo, struct value *v, unsigned i,
			     unsigned y_scale)
{
	v = dequantize(lo, v, load_number(lo, DT_F32, i + 1),
		       load_number(lo, DT_I32, i + 2));
	return quantize(lo, v, load_number(lo, DT_F32, y_scale),
			load_number(lo, DT_I32, y_scale + 1),
			lower_type(lo, 0)->dtype);
}

/* ---- QLinearConcat -------------------------------------------------- */

enum { CONCAT_Y_SCALE, CONCAT_Y_ZERO, CONCAT_X };

/* The operands are triples, which the record cannot say. */
static bool concat_operand(struct infer *in, unsigned k, enum dtype t)
{
	const struct type *x = infer_type(in, k), *s = infer_type(in, k + 1);
	const struct type *z = infer_type(in, k + 2);

	if (!x || !s || !z)
		return infer_error(in, "input %u is missing",
				   !x ? k : !s ? k + 1 : k + 2);
	if (x->dtype != t || z->dtype != t || s->dtype != DT_F32)
		return infer_error(in, "inputs %u to %u have types %s, %s and "
				   "%s, expected %s, f32 and %s", k, k + 2,
				   dtype_info[x->dtype].name,
				   dtype_info[s->dtype].name,
				   dtype_info[z->dtype].name,
				   dtype_info[t].name, dtype_info[t].name);
	if (!expr_is(type_elems(in->ctx, s), 1) ||
	    !expr_is(type_elems(in->ctx, z), 1))
		return infer_error(in, "inputs %u and %u are %s and %s, "
				   "expected one number each", k + 1, k + 2,
				   type_str(in->ctx, s), type_str(in->ctx, z));
	return true;
}

static bool concat_infer(struct infer *in)
{
	unsigned n = in->op->n_in;

	if ((n - CONCAT_X) % 3)
		return infer_error(in, "has %u inputs, expected three for each "
				   "tensor and two more", n);
	enum dtype t = infer_type(in, CONCAT_Y_ZERO)->dtype;

	if (!infer_number(in, CONCAT_Y_SCALE) ||
	    !infer_number(in, CONCAT_Y_ZERO))
		return false;
	for (unsigned k = CONCAT_X; k < n; k += 3)
		if (!concat_operand(in, k, t))
			return false;
	return concat_operands(in, CONCAT_X, 3);
}

/* Each operand in the result's scale, then Concat. */
static bool concat_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	unsigned n = (lo->op->n_in - CONCAT_X) / 3;
	struct value **part = NEW_ARRAY(&c->temp, n + 1, struct value *);

	for (unsigned k = 0; k < n; k++) {
		struct value *x = lower_in(lo, CONCAT_X + 3 * k), *v;
		struct nest s = nest_begin(lo, 1, &x->type);

		v = convert(lo, nest_load(lo, x, s.iv), CONCAT_X + 3 * k,
			    CONCAT_Y_SCALE);
		nest_end(lo, &s, 1, &v, &part[k]);
	}
	lo->result[0] = g_op(lo, OP_Concat, n, part,
			     ATTRS({ A_axis, attr_int(c, op_int(lo->op,
								A_axis)) }));
	return lo->result[0];
}

/* ---- QLinearWhere --------------------------------------------------- */

enum { WHERE_IF, WHERE_X, WHERE_Y = WHERE_X + 3, WHERE_Z_SCALE = WHERE_Y + 3,
       WHERE_Z_ZERO };

static bool where_infer(struct infer *in)
{
	static const unsigned tensors[] = { WHERE_IF, WHERE_X, WHERE_Y };
	const struct expr *dim[MAX_RANK];
	unsigned rank = 0;

	for (unsigned i = WHERE_X; i < in->op->n_in; i++)
		if (i != WHERE_X && i != WHERE_Y && !infer_number(in, i))
			return false;
	for (unsigned i = 0; i < ARRAY_SIZE(tensors); i++)
		if (!infer_broadcast(in, &rank, dim,
				     infer_type(in, tensors[i])))
			return false;
	if (!infer_zero_point(in, WHERE_X + 2, WHERE_X) ||
	    !infer_zero_point(in, WHERE_Y + 2, WHERE_Y) ||
	    !infer_zero_point(in, WHERE_Z_ZERO, WHERE_X) ||
	    !infer_zero_point(in, WHERE_Z_ZERO, WHERE_Y))
		return false;
	infer_set(in, 0, infer_type(in, WHERE_X)->dtype, rank, dim);
	return true;
}

static struct value *where_scalar(struct lower *lo, struct value *const *x)
{
	return s_select(lo, x[WHERE_IF],
			convert(lo, x[WHERE_X], WHERE_X, WHERE_Z_SCALE),
			convert(lo, x[WHERE_Y], WHERE_Y, WHERE_Z_SCALE));
}

OP(QLinearConcat, .domain = "com.microsoft", .since = 1,
	.in = { { "Y_scale", T(F32) }, { "Y_zero_point", T_Q8 },
		{ "inputs", T_Q8 | T(F32) | P_VARIADIC } },
	.out = { { "Y", T_Q8 } },
	.attr = {
		ATTR(axis, AT_INT, .required = true),
	},
	.min_in = 5,
	.infer = concat_infer,
	.lower = concat_lower);
OP(QLinearWhere, .domain = "com.microsoft", .since = 1,
	.in = { { "condition", T_BOOL }, { "X", T_Q8 }, { "x_scale", T(F32) },
		{ "x_zero_point", T_Q8 }, { "Y", T_Q8 }, { "y_scale", T(F32) },
		{ "y_zero_point", T_Q8 }, { "z_scale", T(F32) },
		{ "z_zero_point", T_Q8 } },
	.out = { { "Z", T_Q8 } },
	.infer = where_infer,
	.scalar = where_scalar);
