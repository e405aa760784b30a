/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GatherBlockQuantized: Gather from a tensor that is quantized in blocks
 * along one axis, dequantized.  Bytes hold 8 / bits numbers each along the
 * last dim, the first in the low bits; the zero points are packed alike, and
 * are 2^(bits - 1) where they are absent.
 */
#include "ir/ops/microsoft/packed.h"
#include "ir/ops/onnx/fold.h"
#include "ir/ops/onnx/movement.h"

enum { IN_DATA, IN_INDICES, IN_SCALES, IN_ZERO };

static int64_t per_byte(const struct op *op)
{
	return 8 / op_int(op, A_bits);
}

/* The dims of data as numbers. */
static void number_dims(struct ctx *c, const struct op *op,
			const struct type *x, const struct expr **dim)
{
	for (unsigned i = 0; i < x->rank; i++)
		dim[i] = i + 1 < x->rank
				 ? x->dim[i]
				 : expr_scale(c, x->dim[i], per_byte(op));
}

static bool gather_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, IN_DATA);
	const struct type *y = infer_type(in, IN_INDICES);
	int64_t bits = op_int(in->op, A_bits);
	int64_t block = op_int(in->op, A_block_size);
	const struct expr *whole[MAX_RANK], *dim[2 * MAX_RANK];
	unsigned axis, along, n = 0, last = x->rank - 1;

	if (bits != 2 && bits != 4 && bits != 8)
		return infer_error(in, "bits is %lld", (long long)bits);
	if (block < 1 || block > INT32_MAX)
		return infer_error(in, "block_size is %lld", (long long)block);
	if (!infer_axis(in, op_int(in->op, A_gather_axis), x->rank, &axis) ||
	    !infer_axis(in, op_int(in->op, A_quantize_axis), x->rank,
			&along) ||
	    !infer_rank(in, x->rank + y->rank - 1))
		return false;
	number_dims(c, in->op, x, whole);
	for (unsigned i = 0; i < axis; i++)
		dim[n++] = whole[i];
	for (unsigned i = 0; i < y->rank; i++)
		dim[n++] = y->dim[i];
	for (unsigned i = axis + 1; i < x->rank; i++)
		dim[n++] = whole[i];
	infer_set(in, 0, infer_type(in, IN_SCALES)->dtype, n, dim);
	whole[along] = expr_ceildiv(c, whole[along], expr_const(c, block));
	if (!infer_dims(in, IN_SCALES, x->rank, whole))
		return false;
	whole[last] = expr_ceildiv(c, whole[last],
				   expr_const(c, per_byte(in->op)));
	return infer_dims(in, IN_ZERO, x->rank, whole);
}

/* The number at[] of a packed tensor. */
static struct value *number(struct lower *lo, struct value *x,
			    const struct expr *const *at)
{
	unsigned last = x->type->rank - 1;
	const struct expr *idx[MAX_RANK];

	for (unsigned i = 0; i < last; i++)
		idx[i] = at[i];
	idx[last] = expr_const(lo->b.ctx, 0);
	return nbits_load(lo, x, idx, at[last], op_int(lo->op, A_bits));
}

static bool gather_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	struct value *x = lower_in(lo, IN_DATA), *v, *zero;
	struct value *y = lower_in(lo, IN_INDICES);
	unsigned rank = x->type->rank;
	unsigned axis = lower_axis(lo, A_gather_axis, rank);
	unsigned along = lower_axis(lo, A_quantize_axis, rank);
	const struct type *out = lower_type(lo, 0);
	const struct expr *whole[MAX_RANK], *at[MAX_RANK];
	struct nest n = nest_begin(lo, 1, &out);

	number_dims(c, lo->op, x->type, whole);
	for (unsigned i = 0; i < axis; i++)
		at[i] = n.iv[i];
	for (unsigned i = axis + 1; i < rank; i++)
		at[i] = n.iv[i + y->type->rank - 1];
	at[axis] = nest_index_wrap(lo, nest_load(lo, y, n.iv + axis),
				   whole[axis]);
	v = number(lo, x, at);
	at[along] = expr_div(c, at[along],
			     expr_const(c, op_int(lo->op, A_block_size)));
	zero = lower_in(lo, IN_ZERO);
	zero = zero ? number(lo, zero, at)
		    : s_int(lo, DT_I32,
			    INT64_C(1) << (op_int(lo->op, A_bits) - 1));
	v = s_cast(lo, DT_F32, s_sub(lo, v, zero));
	v = s_mul(lo, v, load_as(lo, DT_F32, lower_in(lo, IN_SCALES), at));
	v = s_cast(lo, out->dtype, v);
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(GatherBlockQuantized, .domain = "com.microsoft", .since = 1,
	.in = { { "data", T(U8) }, { "indices", T_INDEX }, { "scales", T_REAL },
		{ "zero_points", T(U8) | P_OPTIONAL } },
	.out = { { "output", T_REAL } },
	.attr = {
		ATTR(bits, AT_INT, .i = 4),
		ATTR(block_size, AT_INT, .i = 128),
		ATTR(gather_axis, AT_INT, .i = 0),
		ATTR(quantize_axis, AT_INT, .i = 1),
	},
	.infer = gather_infer,
	.lower = gather_lower);
