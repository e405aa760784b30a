/* SPDX-License-Identifier: Apache-2.0 */
/* What inference states about dims and axes: what is not known when the model
 * is compiled becomes a core.check that each call makes once. */
#include "ir/op.h"

bool infer_too_large(struct infer *in)
{
	return diag_error(&in->ctx->diag, EXIT_LIMIT, in->op->loc,
			  "a dim or an index is too large");
}

/* One check per fact and block is enough. */
static void add_check(struct infer *in, enum attr_name name,
		      const struct expr *e)
{
	struct builder b = { in->ctx, in->op->parent, in->op, in->op->loc };
	struct named_attr attr = { name, attr_exprs(in->ctx, 1, &e) };

	if (!b.block)
		return;
	for (struct op *p = in->op->prev; p; p = p->prev)
		if (p->code == OP_core_check) {
			size_t n;
			const struct expr *const *old = op_exprs(p, name, &n);

			if (n && old[0] == e)
				return;
		}
	build(&b, &(struct op_spec){ .code = OP_core_check, .n_attr = 1,
				     .attr = &attr });
}

void infer_require_eq(struct infer *in, const struct expr *a,
		      const struct expr *b)
{
	const struct expr *d = expr_sub(in->ctx, a, b);

	if (d->n)
		add_check(in, A_zero, d);
}

bool infer_require_ge0(struct infer *in, const struct expr *e,
		       const char *what)
{
	int64_t k;

	if (expr_is_const(e, &k))
		return k >= 0 || infer_error(in, "%s", what);
	if (expr_is_poison(e))
		return infer_too_large(in);
	if (!expr_ge0(in->ctx, e))
		add_check(in, A_nonneg, e);
	return true;
}

bool infer_same_dim(struct infer *in, const struct expr **a,
		    const struct expr *b, const char *what)
{
	int64_t x, y;

	if (*a == b)
		return true;
	bool ka = expr_is_const(*a, &x), kb = expr_is_const(b, &y);

	if (ka && kb)
		return infer_error(in, "%s is %lld, expected %lld", what,
				   (long long)x, (long long)y);
	infer_require_eq(in, *a, b);
	if (kb)
		*a = b;
	return true;
}

bool infer_dims_agree(struct infer *in, const struct expr *a,
		      const struct expr *b, const char *what)
{
	return infer_same_dim(in, &a, b, what);
}

bool infer_dims(struct infer *in, unsigned i, unsigned rank,
		const struct expr *const *dim)
{
	const struct type *t = infer_type(in, i);

	if (!t)
		return true;
	const char *name = op_def(in->op)->in[i].name;

	if (t->rank != rank)
		return infer_error(in, "input '%s' is %s, expected rank %u",
				   name, type_str(in->ctx, t), rank);
	for (unsigned k = 0; k < rank; k++)
		if (dim[k] &&
		    !infer_dims_agree(in, t->dim[k], dim[k],
				      arena_fmt(&in->ctx->temp,
						"dim %u of '%s'", k, name)))
			return false;
	return true;
}

/* ---- axes ----------------------------------------------------------- */

bool infer_axis(struct infer *in, int64_t axis, unsigned rank, unsigned *out)
{
	if (axis < -(int64_t)rank || axis >= (int64_t)rank)
		return infer_error(in, "axis %lld is out of range for rank %u",
				   (long long)axis, rank);
	*out = (unsigned)(axis < 0 ? axis + rank : axis);
	return true;
}

/* Entry of the axes: counted from the front, and inside the rank. */
static bool axis_entry(struct infer *in, const struct expr **e, unsigned rank)
{
	struct ctx *c = in->ctx;
	int64_t k;
	unsigned axis = 0;

	if (expr_is_const(*e, &k)) {
		if (!infer_axis(in, k, rank, &axis))
			return false;
		*e = expr_const(c, axis);
		return true;
	}
	if (!infer_require_ge0(in, expr_addc(c, *e, rank), "axis") ||
	    !infer_require_ge0(in,
			       expr_sub(c, expr_const(c, (int64_t)rank - 1),
					*e),
			       "axis"))
		return false;
	*e = expr_mod(c, *e, expr_const(c, rank));
	return true;
}

bool infer_axes(struct infer *in, unsigned i, unsigned rank, struct axes *a)
{
	struct ctx *c = in->ctx;
	const struct expr **e = infer_elems(in, i, &a->n);

	if (!e)
		return false;
	if (a->n > rank)
		return infer_error(in, "%zu axes for rank %u", a->n, rank);
	for (unsigned d = 0; d < rank; d++)
		a->any[d] = expr_const(c, 0);
	for (size_t k = 0; k < a->n; k++) {
		const struct expr *at = e[k];

		if (!axis_entry(in, &at, rank))
			return false;
		for (unsigned d = 0; d < rank; d++) {
			const struct expr *hit = expr_small_is_zero(
				c, expr_addc(c, at, -(int64_t)d), rank);

			a->hit[k][d] = hit;
			a->any[d] = expr_add(c, a->any[d], hit);
		}
	}
	for (unsigned d = 0; d < rank; d++)
		if (!infer_require_ge0(in,
				       expr_sub(c, expr_const(c, 1), a->any[d]),
				       "an axis is given twice"))
			return false;
	return true;
}
