/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gemm: alpha * A' * B' + beta * C, where A' and B' may be transposed and C
 * broadcasts to the result.  Factors of 1 leave no trace, and C is added after
 * the contraction, so that it is an epilogue.
 */
#include "ir/ops/onnx/fold.h"
#include "ir/ops/onnx/matmul.h"

enum { GEMM_TYPES = T_FLOAT | T(I32) | T(I64) | T(U32) | T(U64) };

bool gemm_shape(struct infer *in, const struct type *a, const struct type *b,
		const struct expr **dim)
{
	bool ta = op_int(in->op, A_transA), tb = op_int(in->op, A_transB);

	if (a->rank != 2 || b->rank != 2)
		return infer_error(in, "'A' and 'B' must have rank 2, have %u "
				   "and %u", a->rank, b->rank);
	dim[0] = a->dim[ta];
	dim[1] = b->dim[!tb];
	return infer_dims_agree(in, b->dim[tb], a->dim[!ta],
				"the inner dim of 'B'");
}

static bool gemm_infer(struct infer *in)
{
	const struct type *a = infer_type(in, 0), *bias = infer_type(in, 2);
	const struct expr *dim[2];

	if (!gemm_shape(in, a, infer_type(in, 1), dim))
		return false;
	/* C broadcasts to A'B', not the other way. */
	if (bias && !infer_broadcast_into(in, 2, dim, bias))
		return false;
	infer_set(in, 0, a->dtype, 2, dim);
	return true;
}

/* v * factor; integers are scaled in f64, as in ONNX's reference. */
static struct value *scale(struct lower *lo, struct value *v, double factor)
{
	enum dtype t = v->type->dtype;
	enum dtype wide = dtype_is_float(t) ? t : DT_F64;

	if (factor == 1)
		return v;
	v = s_mul(lo, s_cast(lo, wide, v), s_const(lo, wide, factor));
	return s_cast(lo, t, v);
}

static bool gemm_lower(struct lower *lo)
{
	struct value *a = lower_in(lo, 0), *b = lower_in(lo, 1);
	struct value *bias = lower_in(lo, 2), *v;
	const struct type *out = lower_type(lo, 0);
	enum dtype acc = acc_dtype(out->dtype);
	bool ta = op_int(lo->op, A_transA), tb = op_int(lo->op, A_transB);
	double beta = op_float(lo->op, A_beta);
	struct nest n = nest_begin(lo, 1, &out);

	v = s_const(lo, acc, 0);
	struct fold f = fold_begin(lo, 1, &a->type->dim[!ta], 1, &v);
	const struct expr *ia[2], *ib[2];

	ia[ta] = n.iv[0];
	ia[!ta] = f.iv[0];
	ib[tb] = f.iv[0];
	ib[!tb] = n.iv[1];
	v = s_add(lo, f.acc[0],
		  s_mul(lo, load_as(lo, acc, a, ia), load_as(lo, acc, b, ib)));
	fold_end(lo, &f, &v, &v);
	v = scale(lo, v, op_float(lo->op, A_alpha));
	if (bias && beta != 0)
		v = s_add(lo, v,
			  scale(lo, load_broadcast_as(lo, acc, bias, n.rank,
						      n.iv), beta));
	v = s_cast(lo, out->dtype, v);
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

/* Opset 6 had a flag for what is always done since 7. */
static bool gemm_older(struct older *old)
{
	if (old->opset < 7)
		older_drop_attr(old, A_broadcast);
	return true;
}

OP(Gemm, .domain = "", .since = 13,
	.in = { { "A", GEMM_TYPES }, { "B", GEMM_TYPES | P_SAME },
		{ "C", GEMM_TYPES | P_SAME | P_OPTIONAL } },
	.out = { { "Y", GEMM_TYPES } },
	.attr = {
		ATTR(alpha, AT_FLOAT, .f = 1),
		ATTR(beta, AT_FLOAT, .f = 1),
		ATTR(transA, AT_INT),
		ATTR(transB, AT_INT),
		ATTR(broadcast, AT_INT),
	},
	.infer = gemm_infer,
	.lower = gemm_lower,
	.older = gemm_older);
