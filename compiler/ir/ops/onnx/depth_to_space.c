/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DepthToSpace and SpaceToDepth: blocks of b x b pixels are channels.  The
 * channel of an element is (row * b + column) * C + c in the order DCR, and
 * c * b * b + row * b + column in the order CRD.
 */
#include <string.h>

#include "ir/ops/onnx/movement.h"

/* The rank and the block size; no b * b that overflows. */
static bool block_infer(struct infer *in)
{
	int64_t b = op_int(in->op, A_blocksize);

	if (infer_type(in, 0)->rank != 4)
		return infer_error(in, "input must have four dims, is %s",
				   type_str(in->ctx, infer_type(in, 0)));
	if (b < 1 || b > 1 << 24)
		return infer_error(in, "blocksize %lld", (long long)b);
	return true;
}

/* dim / k, which must be exact. */
static bool divided(struct infer *in, const struct expr *dim, int64_t k,
		    const struct expr **out)
{
	struct ctx *c = in->ctx;
	const struct expr *by = expr_const(c, k);
	int64_t n;

	if (expr_is_const(dim, &n) && n % k)
		return infer_error(in, "dim %lld is no multiple of %lld",
				   (long long)n, (long long)k);
	*out = expr_div(c, dim, by);
	infer_require_eq(in, expr_mul(c, *out, by), dim);
	return true;
}

static bool depth_to_space_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, 0);
	const char *mode = op_str(in->op, A_mode);
	int64_t b = op_int(in->op, A_blocksize);

	if (strcmp(mode, "DCR") && strcmp(mode, "CRD"))
		return infer_error(in, "mode must be DCR or CRD");
	if (!block_infer(in))
		return false;
	const struct expr *dim[4] = { x->dim[0], NULL,
				      expr_scale(c, x->dim[2], b),
				      expr_scale(c, x->dim[3], b) };

	if (!divided(in, x->dim[1], b * b, &dim[1]))
		return false;
	infer_set(in, 0, x->dtype, 4, dim);
	return true;
}

static bool depth_to_space_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	const struct type *t = lower_type(lo, 0);
	int64_t b = op_int(lo->op, A_blocksize);
	const struct expr *by = expr_const(c, b);
	struct nest n = nest_begin(lo, 1, &t);
	const struct expr *cell = expr_add(
		c, expr_scale(c, expr_mod(c, n.iv[2], by), b),
		expr_mod(c, n.iv[3], by));
	bool crd = !strcmp(op_str(lo->op, A_mode), "CRD");
	const struct expr *channel =
		crd ? expr_add(c, expr_scale(c, n.iv[1], b * b), cell)
		    : expr_add(c, expr_mul(c, cell, t->dim[1]), n.iv[1]);
	const struct expr *idx[4] = { n.iv[0], channel,
				      expr_div(c, n.iv[2], by),
				      expr_div(c, n.iv[3], by) };
	struct value *v = nest_load(lo, lower_in(lo, 0), idx);

	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

static bool space_to_depth_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, 0);
	int64_t b = op_int(in->op, A_blocksize);

	if (!block_infer(in))
		return false;
	const struct expr *dim[4] = { x->dim[0],
				      expr_scale(c, x->dim[1], b * b) };

	if (!divided(in, x->dim[2], b, &dim[2]) ||
	    !divided(in, x->dim[3], b, &dim[3]))
		return false;
	infer_set(in, 0, x->dtype, 4, dim);
	return true;
}

static bool space_to_depth_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	struct value *x = lower_in(lo, 0);
	const struct type *t = lower_type(lo, 0);
	int64_t b = op_int(lo->op, A_blocksize);
	const struct expr *by = expr_const(c, b), *depth = x->type->dim[1];
	struct nest n = nest_begin(lo, 1, &t);
	const struct expr *zero = expr_const(c, 0), *cell = zero, *at = zero;

	if (!expr_is(depth, 0)) {
		cell = expr_div(c, n.iv[1], depth);
		at = expr_mod(c, n.iv[1], depth);
	}
	const struct expr *idx[4] = {
		n.iv[0], at,
		expr_add(c, expr_scale(c, n.iv[2], b), expr_div(c, cell, by)),
		expr_add(c, expr_scale(c, n.iv[3], b), expr_mod(c, cell, by)),
	};
	struct value *v = nest_load(lo, x, idx);

	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(DepthToSpace, .domain = "", .since = 13,
	.in = { { "input", T_ANY } },
	.out = { { "output", T_ANY } },
	.attr = {
		ATTR(blocksize, AT_INT, .required = true),
		ATTR(mode, AT_STR, .s = "DCR"),
	},
	.infer = depth_to_space_infer,
	.lower = depth_to_space_lower);
OP(SpaceToDepth, .domain = "", .since = 13,
	.in = { { "input", T_ANY } },
	.out = { { "output", T_ANY } },
	.attr = {
		ATTR(blocksize, AT_INT, .required = true),
	},
	.infer = space_to_depth_infer,
	.lower = space_to_depth_lower);
