/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cast and CastLike among all types.  ONNX leaves a float outside of the
 * integer's range undefined; it saturates here and NaN gives 0.  ONNX's own
 * cases want integers of 4 and 2 bits to wrap, though.
 *
 * `saturate` and `round_mode` concern 8-bit floats only.  A float8 is clamped
 * to its largest numbers before arith.cast, which would make infinities or
 * NaNs of what is beyond them.  A f8e8m0 is a power of two, 2^-127 to 2^127:
 * `saturate` makes these of all beyond, 0 and negative numbers included.  What
 * ONNX's NaNs become in f4e2m1 is open; it is 0.
 */
#include <math.h>
#include <string.h>

#include "ir/ops/onnx/pointwise.h"

static bool check_mode(struct infer *in)
{
	const char *mode = op_str(in->op, A_round_mode);

	return !strcmp(mode, "up") || !strcmp(mode, "down") ||
	       !strcmp(mode, "nearest") ||
	       infer_error(in, "round_mode is '%s'", mode);
}

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
	return check_mode(in);
}

enum { POWER_MIN = -127, POWER_MAX = 127 };

/* x, or the last power of two where rounding in that direction ends there. */
static struct value *reach(struct lower *lo, struct value *x, bool up)
{
	struct value *last = s_like(lo, x, ldexp(1, up ? POWER_MIN
						       : POWER_MAX));
	struct value *end = s_like(lo, x, up ? 0 : INFINITY);

	return s_select(lo,
			s_op2(lo, up ? OP_arith_gt : OP_arith_lt, x, end),
			s_op2(lo, up ? OP_arith_max : OP_arith_min, x, last),
			x);
}

/* The powers of two around x are the nearest one and one beside it. */
static struct value *to_power(struct lower *lo, struct value *x)
{
	enum dtype from = x->type->dtype;
	bool wide = !dtype_is_float(from) || from == DT_F64;
	const char *mode = op_str(lo->op, A_round_mode);
	bool nearest = !strcmp(mode, "nearest"), up = !strcmp(mode, "up");

	x = s_cast(lo, wide ? DT_F64 : DT_F32, x);
	if (op_int(lo->op, A_saturate))
		x = s_clamp(lo, x, ldexp(1, POWER_MIN), ldexp(1, POWER_MAX));
	else if (!nearest)
		x = reach(lo, x, up);
	struct value *near = s_cast(lo, DT_F8E8M0, x);
	struct value *y = s_cast(lo, x->type->dtype, near);

	if (nearest)
		return near;
	return s_select(lo, s_op2(lo, up ? OP_arith_lt : OP_arith_gt, y, x),
			s_cast(lo, DT_F8E8M0,
			       s_mul(lo, y, s_like(lo, y, up ? 2 : 0.5))),
			near);
}

static struct value *cast_scalar(struct lower *lo, struct value *const *x)
{
	enum dtype to = lower_type(lo, 0)->dtype;

	if (to == DT_BOOL && x[0]->type->dtype != DT_BOOL)
		return s_op2(lo, OP_arith_ne, x[0], s_like(lo, x[0], 0));
	if (to == DT_F8E8M0 && x[0]->type->dtype != DT_F8E8M0)
		return to_power(lo, x[0]);
	if (dtype_is_packed(to) && dtype_is_float(x[0]->type->dtype) &&
	    !dtype_is_float(to))
		return s_cast(lo, to, s_cast(lo, DT_I32, x[0]));
	return op_int(lo->op, A_saturate) ? s_cast_saturate(lo, to, x[0])
					  : s_cast(lo, to, x[0]);
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

	lo->result[0] = g_op(
		lo, OP_Cast, VALUES(lower_in(lo, 0)),
		ATTRS({ A_to, attr_int(c, to) },
		      { A_saturate,
			attr_int(c, op_int(lo->op, A_saturate)) },
		      { A_round_mode,
			attr_str(c, op_str(lo->op, A_round_mode)) }));
	return lo->result[0];
}

static bool cast_like_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);

	infer_set(in, 0, infer_type(in, 1)->dtype, x->rank, x->dim);
	return check_mode(in);
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
