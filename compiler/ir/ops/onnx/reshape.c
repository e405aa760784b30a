/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reshape and Flatten.
 *
 * In Reshape's shape 0 copies the dim of the input (unless allowzero) and -1
 * is what is left.  An element may be known only at run time; then the two
 * cases become part of what the dim is computed from, and that the numbers of
 * elements agree is checked when the model runs.
 */
#include "ir/ops/onnx/movement.h"

struct reshape_dims {
	struct infer *in;
	const struct type *x;
	const struct expr **elem;
	size_t n;
	bool allowzero;
};

/* What a 0 at position k stands for. */
static const struct expr *zero_dim(const struct reshape_dims *r, size_t k)
{
	return r->allowzero || k >= r->x->rank ? expr_const(r->in->ctx, 0)
					       : r->x->dim[k];
}

/* Can the element only be a plain size? */
static bool is_size(const struct reshape_dims *r, const struct expr *e)
{
	int64_t k;

	return expr_is_const(e, &k) ? k > 0 : expr_ge0(r->in->ctx, e);
}

/* The dim at k when it is not -1; 1 when it is. */
static const struct expr *plain_dim(const struct reshape_dims *r, size_t k)
{
	struct ctx *c = r->in->ctx;
	const struct expr *e = r->elem[k];

	if (is_size(r, e))
		return e;
	if (expr_is(e, 0))
		return zero_dim(r, k);
	if (expr_is(e, -1))
		return expr_const(c, 1);
	const struct expr *copied = expr_mul(c, expr_is_zero(c, e),
					     zero_dim(r, k));

	return infer_dim(
		r->in->ctx,
		expr_max(c, e, expr_add(c, expr_is_neg(c, e), copied)));
}

/* What a -1 at position k stands for: all elements over the other dims. */
static const struct expr *rest_dim(const struct reshape_dims *r, size_t k)
{
	struct ctx *c = r->in->ctx;
	const struct expr *total = type_elems(c, r->x), *q;
	const struct expr *other = expr_const(c, 1);

	for (size_t i = 0; i < r->n; i++)
		if (i != k)
			other = expr_mul(c, other, plain_dim(r, i));
	if (!expr_is(other, 0) && (q = expr_exact_div(c, total, other)))
		return q;
	return infer_dim(r->in->ctx,
			 expr_div(c, total,
				  expr_max(c, other, expr_const(c, 1))));
}

static bool reshape_check(const struct reshape_dims *r)
{
	int64_t k;
	unsigned n_rest = 0;
	bool zero = false;

	for (size_t i = 0; i < r->n; i++) {
		if (!expr_is_const(r->elem[i], &k))
			continue;
		n_rest += k == -1;
		zero |= !k && r->allowzero;
		if (k < -1)
			return infer_error(r->in, "dim %lld in the shape",
					   (long long)k);
		if (!k && !r->allowzero && i >= r->x->rank)
			return infer_error(r->in,
					   "0 at position %zu of the shape "
					   "has no dim to copy in %s",
					   i, type_str(r->in->ctx, r->x));
	}
	if (n_rest > 1)
		return infer_error(r->in, "the shape has more than one -1");
	if (n_rest && zero)
		return infer_error(r->in, "the shape has both 0 and -1");
	return true;
}

/* Is the number of elements the same? */
static bool check_count(struct infer *in, const struct type *x, size_t n,
			const struct expr *const *dim)
{
	struct ctx *c = in->ctx;
	const struct expr *total = type_elems(c, x), *got = expr_const(c, 1);
	int64_t a, b;

	for (size_t i = 0; i < n; i++)
		got = expr_mul(c, got, dim[i]);
	if (expr_is_poison(total) || expr_is_poison(got))
		return infer_too_large(in);
	if (expr_is_const(total, &a) && expr_is_const(got, &b) && a != b)
		return infer_error(in, "%s does not fit the shape, which has "
				       "%lld elements",
				   type_str(c, x), (long long)b);
	infer_require_eq(in, total, got);
	return true;
}

static bool reshape_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	struct reshape_dims r = { .in = in, .x = infer_type(in, 0),
				  .allowzero = op_int(in->op, A_allowzero) };
	const struct expr *dim[MAX_RANK];

	if (infer_type(in, 1)->rank != 1)
		return infer_error(in, "the shape must be a list, is %s",
				   type_str(c, infer_type(in, 1)));
	r.elem = infer_elems(in, 1, &r.n);
	if (!r.elem || !infer_rank(in, r.n) || !reshape_check(&r))
		return false;
	for (size_t k = 0; k < r.n; k++) {
		const struct expr *e = r.elem[k];

		dim[k] = plain_dim(&r, k);
		if (expr_is(e, -1))
			dim[k] = rest_dim(&r, k);
		else if (!is_size(&r, e) && !expr_is(e, 0))
			dim[k] = infer_dim(c, expr_max(
				c, e,
				expr_add(c,
					 expr_mul(c, expr_is_zero(c, e),
						  zero_dim(&r, k)),
					 expr_mul(c, expr_is_neg(c, e),
						  rest_dim(&r, k)))));
	}
	if (!check_count(in, r.x, r.n, dim))
		return false;
	infer_set(in, 0, r.x->dtype, (unsigned)r.n, dim);
	return true;
}

static bool flatten_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, 0);
	const struct expr *dim[2] = { expr_const(c, 1), expr_const(c, 1) };
	int64_t axis = op_int(in->op, A_axis), rank = x->rank;

	if (axis < -rank || axis > rank)
		return infer_error(in, "axis %lld is out of range for rank %u",
				   (long long)axis, x->rank);
	if (axis < 0)
		axis += rank;
	for (int64_t i = 0; i < rank; i++)
		dim[i >= axis] = expr_mul(c, dim[i >= axis], x->dim[i]);
	infer_set(in, 0, x->dtype, 2, dim);
	return true;
}

OP(Reshape, .domain = "", .since = 25,
	.in = { { "data", T_ANY }, { "shape", T(I64) } },
	.out = { { "reshaped", T_ANY } },
	.attr = {
		ATTR(allowzero, AT_INT, .i = 0),
	},
	.infer = reshape_infer,
	.lower = reshape_lower,
	.fold = fold_same_type,
	.keeps_factors = true);
OP(Flatten, .domain = "", .since = 25,
	.in = { { "input", T_ANY } },
	.out = { { "output", T_ANY } },
	.attr = {
		ATTR(axis, AT_INT, .i = 1),
	},
	.infer = flatten_infer,
	.lower = reshape_lower,
	.fold = fold_same_type,
	.keeps_factors = true);
