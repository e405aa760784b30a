/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numpy-style broadcasting of dims that are only known at run time.
 *
 * Dims a and b fit when they are equal or one of them is 1.  Where that is
 * not known a core.check says so, and the result's dim is the computed dim
 *	max(a, b) * min(a, b, 1)
 * which is b where a is 1, a where b is 1 (0 included), else both.  An operand
 * whose dim may be 1 is read at iv * step, where step is another computed dim:
 * 0 where the operand's is 1, else 1.
 */
#include <string.h>

#include "ir/op.h"

/* Can it not be 1?  Then the result has this dim. */
static bool is_not_one(struct ctx *c, const struct expr *e)
{
	int64_t k;

	return expr_is_const(e, &k) ? k != 1
				    : expr_ge0(c, expr_addc(c, e, -2));
}

/* x in min(x, k) with k > 1, such as rows of a table up to a length: the one is
 * 1 where the other is. */
static const struct expr *unclipped(struct ctx *c, const struct expr *e)
{
	const struct atom *a = expr_atom(e);

	if (!a || a->kind != ATOM_MIN)
		return e;
	if (expr_ge0(c, expr_addc(c, a->b, -2)))
		return unclipped(c, a->a);
	return expr_ge0(c, expr_addc(c, a->a, -2)) ? unclipped(c, a->b) : e;
}

static const struct expr *distance(struct ctx *c, const struct expr *a,
				   const struct expr *b)
{
	return expr_max(c, expr_sub(c, a, b), expr_sub(c, b, a));
}

const struct expr *broadcast_misfit(struct ctx *c, const struct expr *a,
				    const struct expr *b)
{
	const struct expr *one = expr_const(c, 1);
	const struct expr *apart = distance(c, a, b);
	const struct expr *a1 = is_not_one(c, a) ? apart : distance(c, a, one);
	const struct expr *b1 = is_not_one(c, b) ? apart : distance(c, b, one);

	return expr_min(c, apart, expr_min(c, a1, b1));
}

static const struct expr *joined(struct ctx *c, const struct expr *a,
				 const struct expr *b)
{
	const struct expr *one = expr_const(c, 1);

	return expr_dim(c, expr_mul(c, expr_max(c, a, b),
				    expr_min(c, expr_min(c, a, b), one)));
}

/* Is e min(min(x, y), 1) as the algebra writes it? */
static bool is_least(const struct atom *e, const struct expr *x,
		     const struct expr *y)
{
	const struct atom *in;

	if (e->kind != ATOM_MIN)
		return false;
	in = expr_atom(expr_is(e->a, 1) ? e->b : e->a);
	return (expr_is(e->a, 1) || expr_is(e->b, 1)) && in &&
	       in->kind == ATOM_MIN &&
	       ((in->a == x && in->b == y) || (in->a == y && in->b == x));
}

bool broadcast_parts(const struct expr *r, const struct expr *part[2])
{
	const struct atom *a = expr_atom(r);
	const struct term *t = a && a->kind == ATOM_DIM && a->a->n == 1
				       ? &a->a->term[0]
				       : NULL;

	if (!t || t->n != 2 || t->coef != 1)
		return false;
	for (uint32_t i = 0; i < 2; i++) {
		const struct atom *max = t->atom[i];

		part[0] = max->a;
		part[1] = max->b;
		if (max->kind == ATOM_MAX &&
		    is_least(t->atom[1 - i], max->a, max->b))
			return true;
	}
	return false;
}

bool broadcast_covers(const struct expr *r, const struct expr *e)
{
	const struct expr *part[2];

	return r == e || expr_is(e, 1) ||
	       (broadcast_parts(r, part) &&
		(broadcast_covers(part[0], e) ||
		 broadcast_covers(part[1], e)));
}

const struct expr *broadcast_step(struct ctx *c, const struct expr *dim)
{
	return expr_dim(c, expr_is_pos(c, expr_addc(c, dim, -1)));
}

bool broadcast_is_step(const struct expr *e)
{
	const struct atom *a = expr_atom(e), *m;

	if (!a || a->kind != ATOM_DIM || !(m = expr_atom(a->a)))
		return false;
	return m->kind == ATOM_MIN && (expr_is(m->a, 1) || expr_is(m->b, 1));
}

const struct expr *broadcast_index(struct ctx *c, const struct expr *dim,
				   const struct expr *iv)
{
	const struct atom *a = expr_atom(iv);
	const struct expr *extent = a && a->kind == ATOM_IV ? a->a : NULL;

	if (expr_is(dim, 1) || (extent && expr_is(extent, 1)))
		return expr_const(c, 0);
	if (is_not_one(c, dim) ||
	    (extent && unclipped(c, extent) == unclipped(c, dim)))
		return iv;
	return expr_mul(c, iv, broadcast_step(c, dim));
}

/* ---- inference ------------------------------------------------------ */

static bool mismatch(struct infer *in, const struct type *t, unsigned i,
		     const struct expr *d)
{
	return infer_error(in, "dim %u of %s does not broadcast against %s", i,
			   type_str(in->ctx, t), expr_str(in->ctx, d));
}

bool infer_broadcast_dim(struct infer *in, const struct expr **d,
			 const struct expr *e)
{
	struct ctx *c = in->ctx;
	int64_t x, y;

	if (broadcast_covers(*d, e))
		return true;
	if (broadcast_covers(e, *d)) {
		*d = e;
		return true;
	}
	if (expr_is_const(*d, &x) && expr_is_const(e, &y))
		return false;
	if (unclipped(c, *d) == unclipped(c, e)) {
		infer_require_eq(in, *d, e);
		return true;
	}
	infer_require_eq(in, broadcast_misfit(c, *d, e), expr_const(c, 0));
	if (is_not_one(c, e))
		*d = e;
	else if (!is_not_one(c, *d))
		*d = joined(c, *d, e);
	return true;
}

bool infer_broadcast(struct infer *in, unsigned *rank, const struct expr **dim,
		     const struct type *t)
{
	if (t->rank > *rank) {
		unsigned shift = t->rank - *rank;

		memmove(dim + shift, dim, *rank * sizeof(*dim));
		for (unsigned i = 0; i < shift; i++)
			dim[i] = expr_const(in->ctx, 1);
		*rank = t->rank;
	}
	for (unsigned i = 0; i < t->rank; i++) {
		const struct expr **d = &dim[*rank - t->rank + i];

		if (!infer_broadcast_dim(in, d, t->dim[i]))
			return mismatch(in, t, i, *d);
	}
	return true;
}

bool infer_broadcast_into(struct infer *in, unsigned rank,
			  const struct expr *const *dim, const struct type *t)
{
	struct ctx *c = in->ctx;
	unsigned lead = rank - t->rank;

	if (t->rank > rank)
		return infer_error(in, "%s has more than %u dims",
				   type_str(c, t), rank);
	for (unsigned i = 0; i < t->rank; i++) {
		const struct expr *d = dim[lead + i], *e = t->dim[i], *fact;
		int64_t x, y;

		if (d == e || expr_is(e, 1))
			continue;
		if (expr_is_const(d, &x) && expr_is_const(e, &y))
			return mismatch(in, t, i, d);
		fact = distance(c, d, e);
		if (!is_not_one(c, e))
			fact = expr_min(c, fact,
					distance(c, e, expr_const(c, 1)));
		infer_require_eq(in, fact, expr_const(c, 0));
	}
	return true;
}
