/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QGemm: alpha * A' * B' of quantized matrices, to which C is added as an
 * integer of the scale alpha * a_scale * b_scale.  With a scale and a zero
 * point for it the result is quantized, without it is float.
 */
#include "ir/ops/onnx/fold.h"
#include "ir/ops/onnx/matmul.h"
#include "ir/ops/onnx/requantize.h"

enum { IN_A, IN_A_SCALE, IN_A_ZERO, IN_B, IN_B_SCALE, IN_B_ZERO, IN_C,
       IN_Y_SCALE, IN_Y_ZERO };

static bool gemm_infer(struct infer *in)
{
	const struct type *a = infer_type(in, IN_A), *b = infer_type(in, IN_B);
	const struct type *bias = infer_type(in, IN_C);
	const struct type *zero = infer_type(in, IN_Y_ZERO);
	const struct expr *dim[2];

	if (!gemm_shape(in, a, b, dim))
		return false;
	if (infer_has(in, IN_Y_SCALE) != infer_has(in, IN_Y_ZERO))
		return infer_error(in, "needs both or none of y_scale and "
				   "y_zero_point");
	if ((bias && !infer_broadcast_into(in, 2, dim, bias)) ||
	    !infer_zero_point(in, IN_A_ZERO, IN_A) ||
	    !infer_zero_point(in, IN_B_ZERO, IN_B) ||
	    !infer_number(in, IN_A_SCALE) || !infer_number(in, IN_A_ZERO) ||
	    !infer_number_or_list(in, IN_B_SCALE, dim[1]) ||
	    !infer_number_or_list(in, IN_B_ZERO, dim[1]) ||
	    !infer_number(in, IN_Y_SCALE) || !infer_number(in, IN_Y_ZERO))
		return false;
	infer_set(in, 0, zero ? zero->dtype : DT_F32, 2, dim);
	return true;
}

static struct value *integer_sum(struct lower *lo, const struct expr *const *iv)
{
	struct value *a = lower_in(lo, IN_A), *b = lower_in(lo, IN_B), *v, *w;
	struct value *za = load_number(lo, DT_I32, IN_A_ZERO);
	struct value *zb = load_number_at(lo, DT_I32, IN_B_ZERO, iv[1]);
	bool ta = op_int(lo->op, A_transA), tb = op_int(lo->op, A_transB);
	const struct expr *ia[2], *ib[2];

	v = s_int(lo, DT_I32, 0);
	struct fold f = fold_begin(lo, 1, &a->type->dim[!ta], 1, &v);

	ia[ta] = iv[0];
	ia[!ta] = f.iv[0];
	ib[tb] = f.iv[0];
	ib[!tb] = iv[1];
	v = less_zero(lo, load_as(lo, DT_I32, a, ia), za);
	w = less_zero(lo, load_as(lo, DT_I32, b, ib), zb);
	v = s_add(lo, f.acc[0], s_mul(lo, v, w));
	fold_end(lo, &f, &v, &v);
	if (lower_in(lo, IN_C))
		v = s_add(lo, v, nest_load_broadcast(lo, lower_in(lo, IN_C), 2,
						     iv));
	return v;
}

static bool gemm_lower(struct lower *lo)
{
	const struct type *out = lower_type(lo, 0);
	struct nest n = nest_begin(lo, 1, &out);
	struct value *v = integer_sum(lo, n.iv), *sa, *sb;

	sa = load_number(lo, DT_F32, IN_A_SCALE);
	sa = s_mul(lo, s_const(lo, DT_F32, op_float(lo->op, A_alpha)), sa);
	sb = load_number_at(lo, DT_F32, IN_B_SCALE, n.iv[1]);
	if (lower_in(lo, IN_Y_SCALE))
		v = requantize(lo, v, sa, sb,
			       load_number(lo, DT_F32, IN_Y_SCALE), out->dtype,
			       load_number(lo, DT_I32, IN_Y_ZERO));
	else
		v = s_mul(lo, s_cast(lo, DT_F32, v), s_mul(lo, sa, sb));
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(QGemm, .domain = "com.microsoft", .since = 1,
	.in = { { "A", T_Q8 }, { "a_scale", T(F32) }, { "a_zero_point", T_Q8 },
		{ "B", T_Q8 }, { "b_scale", T(F32) }, { "b_zero_point", T_Q8 },
		{ "C", T(I32) | P_OPTIONAL },
		{ "y_scale", T(F32) | P_OPTIONAL },
		{ "y_zero_point", T_Q8 | P_OPTIONAL } },
	.out = { { "Y", T_Q8 | T(F32) } },
	.attr = {
		ATTR(alpha, AT_FLOAT, .f = 1),
		ATTR(transA, AT_INT),
		ATTR(transB, AT_INT),
	},
	.infer = gemm_infer,
	.lower = gemm_lower);
