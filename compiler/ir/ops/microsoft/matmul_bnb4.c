/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MatMulBnb4: A times a matrix of 4-bit codes, [N, K], row after row without
 * padding, the first of two in the HIGH half of a byte.  A code stands for
 * one of 16 numbers of a float type of 4 bits (quant_type 0) or of the
 * quantiles of a normal distribution (1: NF4, Dettmers and others, QLoRA,
 * appendix E); each block has a factor.
 */
#include "ir/ops/microsoft/packed.h"
#include "ir/ops/onnx/fold.h"

enum { IN_A, IN_B, IN_ABSMAX };

static const float codes[2][16] = {
	{ 0, 5.208333333e-03f, 0.66666667f, 1, 0.33333333f, 0.5f, 0.16666667f,
	  0.25f, -0.0f, -5.208333333e-03f, -0.66666667f, -1, -0.33333333f,
	  -0.5f, -0.16666667f, -0.25f },
	{ -1, -0.6961928009986877f, -0.5250730514526367f,
	  -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f,
	  -0.09105003625154495f, 0, 0.07958029955625534f, 0.16093020141124725f,
	  0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f,
	  0.5626170039176941f, 0.7229568362236023f, 1 },
};

static bool bnb4_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	int64_t block = op_int(in->op, A_block_size);
	int64_t kind = op_int(in->op, A_quant_type);

	if (!packed_product_infer(in))
		return false;
	int64_t n = op_int(in->op, A_N) * op_int(in->op, A_K);

	if (block < 1 || block > PACKED_MOST)
		return infer_error(in, "block_size is %lld", (long long)block);
	if (kind != 0 && kind != 1)
		return infer_error(in, "quant_type is %lld, expected 0 or 1",
				   (long long)kind);
	if (!op_int(in->op, A_transB))
		return infer_unsupported(in, "transB = 0 is not supported");
	const struct expr *bytes = expr_const(c, (n + 1) / 2);
	const struct expr *blocks = expr_const(c, (n + block - 1) / block);

	return infer_dims(in, IN_B, 1, &bytes) &&
	       infer_dims(in, IN_ABSMAX, 1, &blocks);
}

/* The 16 numbers as a tensor. */
static struct value *table(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	const struct expr *n = expr_const(c, 16);
	struct blob data = { codes[op_int(lo->op, A_quant_type)],
			     sizeof(codes[0]) };

	return build_const(&lo->b, type_tensor(c, DT_F32, 1, &n), data);
}

/* Weight number e of the whole matrix. */
static struct value *weight(struct lower *lo, struct value *number,
			    const struct expr *e)
{
	struct ctx *c = lo->b.ctx;
	const struct expr *two = expr_const(c, 2), *at;
	const struct expr *high = expr_scale(
		c, expr_addc(c, expr_scale(c, expr_mod(c, e, two), -1), 1), 4);
	struct value *v;

	at = expr_div(c, e, two);
	v = load_as(lo, DT_U32, lower_in(lo, IN_B), &at);
	v = s_op2(lo, OP_arith_shr, v, s_expr(lo, DT_U32, high));
	v = s_op2(lo, OP_arith_and, v, s_int(lo, DT_U32, 15));
	at = nest_index(lo, s_cast(lo, DT_I64, v), expr_const(c, 16));
	v = nest_load(lo, number, &at);
	at = expr_div(c, e, expr_const(c, op_int(lo->op, A_block_size)));
	return s_mul(lo, v, load_as(lo, DT_F32, lower_in(lo, IN_ABSMAX), &at));
}

static bool bnb4_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	struct value *a = lower_in(lo, IN_A), *number = table(lo), *v;
	const struct type *out = lower_type(lo, 0);
	unsigned last = out->rank - 1;
	const struct expr *at[MAX_RANK], *e;
	struct nest n = nest_begin(lo, 1, &out);

	v = s_const(lo, DT_F32, 0);
	struct fold f = fold_begin(lo, 1, &a->type->dim[last], 1, &v);

	for (unsigned i = 0; i < last; i++)
		at[i] = n.iv[i];
	at[last] = f.iv[0];
	e = expr_add(c, expr_scale(c, n.iv[last], op_int(lo->op, A_K)),
		     f.iv[0]);
	v = s_mul(lo, load_as(lo, DT_F32, a, at), weight(lo, number, e));
	v = s_add(lo, f.acc[0], v);
	fold_end(lo, &f, &v, &v);
	v = s_cast(lo, out->dtype, v);
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(MatMulBnb4, .domain = "com.microsoft", .since = 1,
	.in = { { "A", T_REAL }, { "B", T(U8) }, { "absmax", T_REAL } },
	.out = { { "Y", T_REAL } },
	.attr = {
		ATTR(K, AT_INT, .required = true),
		ATTR(N, AT_INT, .required = true),
		ATTR(block_size, AT_INT, .required = true),
		ATTR(quant_type, AT_INT, .required = true),
		ATTR(training_mode, AT_INT),
		ATTR(transB, AT_INT, .i = 1),
	},
	.infer = bnb4_infer,
	.lower = bnb4_lower);
