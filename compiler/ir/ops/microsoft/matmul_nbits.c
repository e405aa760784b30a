/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MatMulNBits: A times a matrix of 2 to 8 bits, [N, K], in blocks along K
 * with a scale and a zero point each.  The weights are decoded where they are
 * read, so that they stay small.
 *
 * Numbers fill bytes from the low bits on and may cross them.  Without zero
 * points these are 2^(bits - 1).  accuracy_level lets a kernel round A, which
 * we do not.
 */
#include "ir/ops/microsoft/packed.h"
#include "ir/ops/onnx/fold.h"

enum { IN_A, IN_B, IN_SCALES, IN_ZERO, IN_GROUP, IN_BIAS };

struct form {
	int64_t n, k, bits, block;
	int64_t blocks;		/* along K */
	int64_t bytes;		/* of a block */
	int64_t zeros;		/* bytes of the zero points of a row */
};

static void read_form(const struct op *op, struct form *f)
{
	f->n = op_int(op, A_N);
	f->k = op_int(op, A_K);
	f->bits = op_int(op, A_bits);
	f->block = op_int(op, A_block_size);
}

static bool check_form(struct infer *in, struct form *f)
{
	if (!packed_product_infer(in))
		return false;
	read_form(in->op, f);
	if (f->bits < 2 || f->bits > 8)
		return infer_error(in, "bits is %lld, expected 2 to 8",
				   (long long)f->bits);
	if (f->block < 1 || f->block > PACKED_MOST || f->block * f->bits % 8)
		return infer_error(in, "block_size is %lld for %lld bits",
				   (long long)f->block, (long long)f->bits);
	return true;
}

static void derive(struct form *f)
{
	f->blocks = (f->k + f->block - 1) / f->block;
	f->bytes = f->block * f->bits / 8;
	f->zeros = (f->blocks * f->bits + 7) / 8;
}

/* Operand i has the dims n, a, b, the last ones perhaps as one, or all. */
static bool grid_infer(struct infer *in, unsigned i, int64_t n, int64_t a,
		       int64_t b)
{
	const struct type *t = infer_type(in, i);
	const char *name = op_def(in->op)->in[i].name;
	int64_t want[3] = { n, a, b };

	if (!t)
		return true;
	if (t->rank == 2)
		want[1] = a * b;
	if (t->rank == 1)
		want[0] = n * a * b;
	if (!t->rank || t->rank > 3)
		return infer_error(in, "input '%s' is %s", name,
				   type_str(in->ctx, t));
	for (unsigned k = 0; k < t->rank; k++)
		if (!infer_dims_agree(in, t->dim[k],
				      expr_const(in->ctx, want[k]), name))
			return false;
	return true;
}

static bool zero_infer(struct infer *in, const struct form *f)
{
	const struct type *t = infer_type(in, IN_ZERO);
	bool packed = t && t->dtype == DT_U8;

	/* The bytes of a row follow each other in the last dim. */
	if (packed && t->rank > 2)
		return infer_error(in, "input 'zero_points' is %s, expected "
				   "one row of bytes for each of N",
				   type_str(in->ctx, t));
	return grid_infer(in, IN_ZERO, f->n, packed ? f->zeros : f->blocks, 1);
}

static bool nbits_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	struct form f;

	if (!check_form(in, &f))
		return false;
	derive(&f);
	const struct expr *k = expr_const(c, f.k), *n = expr_const(c, f.n);

	return grid_infer(in, IN_B, f.n, f.blocks, f.bytes) &&
	       grid_infer(in, IN_SCALES, f.n, f.blocks, 1) &&
	       zero_infer(in, &f) && infer_dims(in, IN_GROUP, 1, &k) &&
	       infer_dims(in, IN_BIAS, 1, &n);
}

/* The index of element `last` of group `at` of row n; each group has `size`,
 * each row `groups`. */
static void grid_index(struct ctx *c, const struct value *x,
		       const struct expr *n, const struct expr *at,
		       const struct expr *last, int64_t groups, int64_t size,
		       const struct expr **idx)
{
	const struct expr *flat = expr_add(c, expr_scale(c, at, size), last);

	idx[0] = n;
	idx[1] = x->type->rank == 2 ? flat : at;
	idx[2] = last;
	if (x->type->rank == 1)
		idx[0] = expr_add(c, expr_scale(c, n, groups * size), flat);
}

static struct value *zero_point(struct lower *lo, const struct form *f,
				const struct expr *n, const struct expr *at)
{
	struct ctx *c = lo->b.ctx;
	struct value *z = lower_in(lo, IN_ZERO);
	const struct expr *idx[3], *first = expr_const(c, 0);

	if (!z)
		return s_const(lo, DT_F32, (double)(1 << (f->bits - 1)));
	if (z->type->dtype != DT_U8) {
		grid_index(c, z, n, at, first, f->blocks, 1, idx);
		return load_as(lo, DT_F32, z, idx);
	}
	grid_index(c, z, n, first, first, f->zeros, 1, idx);
	return s_cast(lo, DT_F32, nbits_load(lo, z, idx, at, f->bits));
}

/* Weight `at` of block `ko` of row n; k is its position in the row. */
static struct value *weight(struct lower *lo, const struct form *f,
			    const struct expr *n, const struct expr *ko,
			    const struct expr *at, const struct expr *k)
{
	struct ctx *c = lo->b.ctx;
	struct value *b = lower_in(lo, IN_B), *scales = lower_in(lo, IN_SCALES);
	struct value *group = lower_in(lo, IN_GROUP), *v;
	const struct expr *idx[3], *zero = expr_const(c, 0);

	grid_index(c, b, n, ko, zero, f->blocks, f->bytes, idx);
	v = s_cast(lo, DT_F32, nbits_load(lo, b, idx, at, f->bits));
	if (group)
		ko = nest_index(lo, nest_load(lo, group, &k),
				expr_const(c, f->blocks));
	grid_index(c, scales, n, ko, zero, f->blocks, 1, idx);
	v = s_sub(lo, v, zero_point(lo, f, n, ko));
	return s_mul(lo, v, load_as(lo, DT_F32, scales, idx));
}

static bool nbits_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	struct value *a = lower_in(lo, IN_A), *v;
	const struct type *out = lower_type(lo, 0);
	unsigned last = out->rank - 1;
	const struct expr *ko, *ki, *at[MAX_RANK];
	struct form f;

	read_form(lo->op, &f);
	derive(&f);
	const struct expr *block = expr_const(c, f.block);
	const struct expr *nested[] = { expr_const(c, f.blocks), block };
	/* A last block that is not whole needs one variable for all. */
	bool whole = f.k % f.block == 0;
	struct nest n = nest_begin(lo, 1, &out);

	v = s_const(lo, DT_F32, 0);
	struct fold fold = fold_begin(lo, 1 + whole,
				      whole ? nested : &a->type->dim[last], 1,
				      &v);

	for (unsigned i = 0; i < last; i++)
		at[i] = n.iv[i];
	at[last] = fold.iv[0];
	ko = expr_div(c, fold.iv[0], block);
	ki = expr_mod(c, fold.iv[0], block);
	if (whole) {
		ko = fold.iv[0];
		ki = fold.iv[1];
		at[last] = expr_add(c, expr_scale(c, ko, f.block), ki);
	}
	v = s_mul(lo, load_as(lo, DT_F32, a, at),
		  weight(lo, &f, n.iv[last], ko, ki, at[last]));
	v = s_add(lo, fold.acc[0], v);
	fold_end(lo, &fold, &v, &v);
	if (lower_in(lo, IN_BIAS))
		v = s_add(lo, v, load_as(lo, DT_F32, lower_in(lo, IN_BIAS),
					 &n.iv[last]));
	v = s_cast(lo, out->dtype, v);
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(MatMulNBits, .domain = "com.microsoft", .since = 1,
	.in = { { "A", T_REAL }, { "B", T(U8) }, { "scales", T_REAL },
		{ "zero_points", T(U8) | T_REAL | P_OPTIONAL },
		{ "g_idx", T(I32) | P_OPTIONAL },
		{ "bias", T_REAL | P_OPTIONAL } },
	.out = { { "Y", T_REAL } },
	.attr = {
		ATTR(K, AT_INT, .required = true),
		ATTR(N, AT_INT, .required = true),
		ATTR(accuracy_level, AT_INT),
		ATTR(bits, AT_INT, .i = 4),
		ATTR(block_size, AT_INT, .required = true),
		ATTR(weight_prepacked, AT_INT),
	},
	.infer = nbits_infer,
	.lower = nbits_lower);
