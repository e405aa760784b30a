/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HannWindow, HammingWindow, BlackmanWindow: sums of cosines over a period of
 * `size` points, or of size - 1 when not periodic.  Computed in f64 and
 * rounded once.
 */
#include "ir/ops/onnx/movement.h"

static bool windows_infer(struct infer *in)
{
	int64_t code = op_int(in->op, A_output_datatype);
	enum dtype t;
	size_t n;
	const struct expr **size;

	if (code < 0 || code > 1000 || !dtype_from_onnx((int)code, &t) ||
	    t == DT_BOOL)
		return infer_unsupported(in, "output_datatype %lld is not "
					     "supported",
					 (long long)code);
	if (infer_type(in, 0)->rank)
		return infer_error(in, "size must be a scalar, is %s",
				   type_str(in->ctx, infer_type(in, 0)));
	size = infer_elems(in, 0, &n);
	if (!size || !infer_require_ge0(in, size[0], "negative size"))
		return false;
	infer_set(in, 0, t, 1, size);
	return true;
}

/* a0 - a1 cos(x) + a2 cos(2 x), x = 2 pi i / period */
static bool cosine_sum(struct lower *lo, double a0, double a1, double a2)
{
	struct ctx *c = lo->b.ctx;
	const struct type *t = lower_type(lo, 0);
	bool periodic = op_int(lo->op, A_periodic);
	struct nest n = nest_begin(lo, 1, &t);
	struct value *i = s_cast(lo, DT_F64, nest_value(lo, n.iv[0]));
	struct value *period = s_cast(
		lo, DT_F64,
		nest_value(lo, expr_addc(c, t->dim[0], periodic ? 0 : -1)));
	struct value *two_pi = s_const(lo, DT_F64, 6.283185307179586);
	struct value *x = s_div(lo, s_mul(lo, two_pi, i), period);
	struct value *y = s_sub(lo, s_const(lo, DT_F64, a0),
				s_mul(lo, s_const(lo, DT_F64, a1),
				      s_op(lo, OP_math_cos, x)));

	if (a2 != 0) {
		struct value *cos2 = s_op(lo, OP_math_cos, s_add(lo, x, x));

		y = s_add(lo, y, s_mul(lo, s_const(lo, DT_F64, a2), cos2));
	}
	y = s_cast(lo, t->dtype, y);
	nest_end(lo, &n, 1, &y, lo->result);
	return true;
}

static bool hann_lower(struct lower *lo)
{
	return cosine_sum(lo, 0.5, 0.5, 0);
}

static bool hamming_lower(struct lower *lo)
{
	return cosine_sum(lo, 25.0 / 46, 21.0 / 46, 0);
}

static bool blackman_lower(struct lower *lo)
{
	return cosine_sum(lo, 0.42, 0.5, 0.08);
}

#define WINDOW(meaning)                                          \
	.domain = "", .since = 17, .first = 17,                  \
	.in = { { "size", T_INDEX } }, .out = { { "output", T_NUM } }, \
	.attr = {                                                \
		ATTR(output_datatype, AT_INT, .i = 1),           \
		ATTR(periodic, AT_INT, .i = 1),                  \
	},                                                       \
	.infer = windows_infer, .lower = meaning

OP(HannWindow, WINDOW(hann_lower));
OP(HammingWindow, WINDOW(hamming_lower));
OP(BlackmanWindow, WINDOW(blackman_lower));
