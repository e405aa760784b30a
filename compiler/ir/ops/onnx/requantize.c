/* SPDX-License-Identifier: Apache-2.0 */
/* Scales, zero points and the way back to 8 bits; see requantize.h. */
#include "ir/ops/onnx/requantize.h"

#include "ir/ops/onnx/fold.h"

bool infer_number(struct infer *in, unsigned i)
{
	return infer_number_or_list(in, i, expr_const(in->ctx, 1));
}

bool infer_number_or_list(struct infer *in, unsigned i,
			  const struct expr *length)
{
	const struct type *t = infer_type(in, i);

	if (!t)
		return true;
	if (t->rank > 1)
		return infer_error(in, "input '%s' is %s, expected %s",
				   op_def(in->op)->in[i].name,
				   type_str(in->ctx, t),
				   expr_is(length, 1) ? "a number"
						      : "a number or a list");
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
