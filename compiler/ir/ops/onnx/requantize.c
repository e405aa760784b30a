/* SPDX-License-Identifier: Apache-2.0 */
/* Scales, zero points and the way back to 8 bits; see requantize.h. */
#include "ir/ops/onnx/requantize.h"

#include <float.h>

#include "ir/ops/onnx/fold.h"

bool infer_number(struct infer *in, unsigned i)
{
	const struct type *t = infer_type(in, i);
	int64_t n;

	if (!t || !t->rank || (t->rank == 1 && expr_is(t->dim[0], 1)))
		return true;
	const char *name = op_def(in->op)->in[i].name;
	const char *found = type_str(in->ctx, t);

	if (t->rank == 1 && !expr_is_const(t->dim[0], &n))
		return infer_unsupported(in, "input '%s' is %s, which may not "
					 "be one number", name, found);
	return infer_error(in, "input '%s' is %s, expected one number", name,
			   found);
}

bool infer_number_or_list(struct infer *in, unsigned i,
			  const struct expr *length)
{
	const struct type *t = infer_type(in, i);

	if (!t)
		return true;
	if (t->rank > 1)
		return infer_error(in, "input '%s' is %s, expected a number or "
				   "a list", op_def(in->op)->in[i].name,
				   type_str(in->ctx, t));
	return infer_broadcast_into(in, 1, &length, t);
}

bool infer_zero_point(struct infer *in, unsigned i, unsigned k)
{
	const struct type *z = infer_type(in, i), *x = infer_type(in, k);

	return !z || z->dtype == x->dtype ||
	       infer_error(in, "input '%s' has type %s, '%s' has %s",
			   op_def(in->op)->in[i].name,
			   dtype_info[z->dtype].name,
			   op_def(in->op)->in[k].name,
			   dtype_info[x->dtype].name);
}

struct value *load_number_at(struct lower *lo, enum dtype to, unsigned i,
			     const struct expr *at)
{
	struct value *v = lower_in(lo, i);

	return v ? load_broadcast_as(lo, to, v, 1, &at) : NULL;
}

struct value *load_number(struct lower *lo, enum dtype to, unsigned i)
{
	return load_number_at(lo, to, i, expr_const(lo->b.ctx, 0));
}

struct value *less_zero(struct lower *lo, struct value *v, struct value *zero)
{
	return zero ? s_sub(lo, v, zero) : v;
}

struct value *rounded(struct lower *lo, struct value *v)
{
	return s_op2(lo, OP_arith_max, v, s_const(lo, DT_F32, -FLT_MAX));
}

/* The lowest or highest number of a type, less the zero point, as an f32. */
static struct value *bound(struct lower *lo, struct value *end,
			   struct value *zero)
{
	return s_cast(lo, DT_F32,
		      less_zero(lo, s_cast(lo, DT_I32, end), zero));
}

struct value *round_to(struct lower *lo, struct value *v, enum dtype to,
		       struct value *zero)
{
	v = s_op2(lo, OP_arith_max, v, bound(lo, s_lowest(lo, to), zero));
	v = s_op2(lo, OP_arith_min, v, bound(lo, s_highest(lo, to), zero));
	v = s_cast(lo, DT_I32, s_op(lo, OP_arith_round, v));
	return s_cast(lo, to, zero ? s_add(lo, v, zero) : v);
}

struct value *dequantize(struct lower *lo, struct value *v,
			 struct value *scale, struct value *zero)
{
	v = s_cast(lo, DT_I32, v);
	if (zero)
		v = s_sub(lo, v, s_cast(lo, DT_I32, zero));
	return s_mul(lo, s_cast(lo, DT_F32, v), s_cast(lo, DT_F32, scale));
}

struct value *quantize(struct lower *lo, struct value *v, struct value *scale,
		       struct value *zero, enum dtype to)
{
	v = s_div(lo, v, s_cast(lo, DT_F32, scale));
	return round_to(lo, v, to, zero ? s_cast(lo, DT_I32, zero) : NULL);
}

struct value *requantize(struct lower *lo, struct value *sum, struct value *sx,
			 struct value *sw, struct value *sy, enum dtype to,
			 struct value *zero)
{
	struct value *m = sx && sw ? s_mul(lo, sx, sw) : sx ? sx : sw;

	if (m && sy)
		m = s_div(lo, m, sy);
	sum = s_cast(lo, DT_F32, sum);
	return round_to(lo, m ? s_mul(lo, sum, m) : sum, to, zero);
}
