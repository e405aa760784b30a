/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounds of expressions.  They are proved by replacing each iteration
 * variable, to which the polynomial is linear, by the end of its range that
 * makes it smallest, and looking at the signs of what is left (symbols are
 * >= 0).
 */
#include "ir/expr.h"

#include "ir/ir.h"

enum {
	MAX_DEPTH = 24,
	MAX_STEPS = 4000,
	MAX_OPEN = 32,	/* terms in which a definition is put */
};

/* Claims split in two at every min or max: the steps bound the work. */
struct proof {
	struct ctx *c;
	int steps;
};

static bool nonneg(struct proof *p, const struct expr *e, int depth);

/* Is every atom of the term known to be >= 0? */
static bool atom_nonneg(struct proof *p, const struct atom *a, int depth)
{
	switch (a->kind) {
	case ATOM_SYM:
		return !a->id;
	case ATOM_IV: case ATOM_MOD: case ATOM_DIM:
		return true;
	case ATOM_ARG: case ATOM_VAL:
		return a->a;
	case ATOM_DIV:
		return nonneg(p, a->a, depth - 1);
	case ATOM_MIN:
		return nonneg(p, a->a, depth - 1) &&
		       nonneg(p, a->b, depth - 1);
	case ATOM_MAX:
		return nonneg(p, a->a, depth - 1) ||
		       nonneg(p, a->b, depth - 1);
	case ATOM_POISON:
		break;
	}
	return false;
}

static bool signs_nonneg(struct proof *p, const struct expr *e, int depth)
{
	for (uint32_t i = 0; i < e->n; i++) {
		if (e->term[i].coef < 0)
			return false;
		for (uint32_t j = 0; j < e->term[i].n; j++)
			if (!atom_nonneg(p, e->term[i].atom[j], depth))
				return false;
	}
	return true;
}

/* An iteration variable (preferably), div, mod, min or max in e. */
static const struct atom *pick_bounded(const struct expr *e)
{
	const struct atom *best = NULL;

	for (uint32_t i = 0; i < e->n; i++)
		for (uint32_t j = 0; j < e->term[i].n; j++) {
			const struct atom *a = e->term[i].atom[j];

			if (a->kind >= ATOM_DIV ||
			    (a->kind != ATOM_SYM && a->kind != ATOM_DIM &&
			     a->a))
				if (!best || a->serial > best->serial)
					best = a;
		}
	return best;
}

/* The computed dim in e that was made last; all others may be part of it. */
static const struct atom *last_dim(const struct expr *e)
{
	const struct atom *best = NULL;

	for (uint32_t i = 0; i < e->n; i++)
		for (uint32_t j = 0; j < e->term[i].n; j++) {
			const struct atom *a = e->term[i].atom[j];

			if (a->kind == ATOM_DIM &&
			    (!best || a->serial > best->serial))
				best = a;
		}
	return best;
}

static const struct expr *definition(void *arg, const struct atom *a)
{
	return a == arg ? a->a : NULL;
}

/*
 * e = coef * a + rest with a in [lo, hi].  Replacing a by the end that makes
 * e smallest and proving the remainder proves e.  A div or mod atom whose
 * operand uses the same variables is only weakened by this, never unsound.
 */
static bool nonneg(struct proof *p, const struct expr *e, int depth)
{
	struct ctx *c = p->c;

	if (expr_is_poison(e))
		return false;
	if (signs_nonneg(p, e, depth))
		return true;
	if (depth <= 0 || --p->steps < 0)
		return false;
	const struct atom *a = pick_bounded(e);
	const struct expr *k, *rest, *lo = NULL, *hi = NULL, *alt = NULL;

	/* What a dim is computed from matters only when nothing else helps. */
	if (!a && (a = last_dim(e)))
		return e->n <= MAX_OPEN &&
		       nonneg(p, expr_subst(c, e, definition, (void *)a),
			      depth - MAX_DEPTH / 4);
	if (!a || a->kind == ATOM_POISON)
		return false;
	if (!expr_linear(c, e, a, &k, &rest))
		return false;
	bool up = nonneg(p, k, depth - 2);

	if (!up && !nonneg(p, expr_scale(c, k, -1), depth - 2))
		return false;
	switch (a->kind) {
	case ATOM_IV: case ATOM_ARG: case ATOM_VAL:
		lo = expr_const(c, 0);
		hi = expr_addc(c, a->a, -1);
		break;
	case ATOM_MOD:
		lo = expr_const(c, 0);
		hi = expr_addc(c, a->b, -1);
		if (nonneg(p, a->a, depth - 2))
			alt = a->a; /* x mod b <= x */
		break;
	case ATOM_DIV:
		/* The model may not mean a division by an empty dim. */
		if (!nonneg(p, expr_addc(c, a->b, -1), depth - 2))
			return false;
		/* b > 0: multiply the whole claim by it. */
		rest = expr_mul(c, rest, a->b);
		if (expr_is(k, 1))
			hi = a->a;
		else if (expr_is(k, -1))
			/* r >= floor(x/b) says the same as b*r + b - 1 >= x. */
			hi = expr_sub(c, expr_addc(c, a->b, -1), a->a);
		else
			/* (x + 1 - b)/b <= floor(x/b) <= x/b */
			hi = expr_mul(c, k,
				      up ? expr_sub(c, expr_addc(c, a->a, 1),
						    a->b)
					 : a->a);
		return nonneg(p, expr_add(c, rest, hi), depth - 1);
	case ATOM_MIN:
		if (up)
			return nonneg(p,
				      expr_add(c, rest, expr_mul(c, k, a->a)),
				      depth - 1) &&
			       nonneg(p,
				      expr_add(c, rest, expr_mul(c, k, a->b)),
				      depth - 1);
		hi = a->a;
		alt = a->b;
		break;
	case ATOM_MAX:
		if (!up)
			return nonneg(p,
				      expr_add(c, rest, expr_mul(c, k, a->a)),
				      depth - 1) &&
			       nonneg(p,
				      expr_add(c, rest, expr_mul(c, k, a->b)),
				      depth - 1);
		if (nonneg(p, expr_add(c, rest, expr_mul(c, k, a->b)),
			   depth - 1))
			return true;
		lo = a->a;
		break;
	case ATOM_SYM: case ATOM_DIM: case ATOM_POISON:
		return false;
	}
	if (up)
		return nonneg(p, expr_add(c, rest, expr_mul(c, k, lo)),
			      depth - 1);
	if (alt && nonneg(p, expr_add(c, rest, expr_mul(c, k, alt)), depth - 1))
		return true;
	return nonneg(p, expr_add(c, rest, expr_mul(c, k, hi)), depth - 1);
}

bool expr_ge0(struct ctx *c, const struct expr *e)
{
	struct proof p = { c, MAX_STEPS };

	return nonneg(&p, e, MAX_DEPTH);
}

bool expr_upper(struct ctx *c, const struct expr *e, int64_t *hi)
{
	const int64_t limit = INT64_C(1) << 40;
	int64_t good = 0, bad = -1;

	if (expr_is_const(e, hi))
		return true;
	/* Exponential, then binary search for the least provable bound. */
	if (expr_ge0(c, expr_scale(c, e, -1))) {
		while (expr_ge0(c, expr_sub(c, expr_const(c, bad), e))) {
			good = bad;
			if (bad < -limit)
				break;
			bad *= 4;
		}
	} else {
		bad = 0;
		for (good = 1; !expr_ge0(c, expr_sub(c, expr_const(c, good),
						     e)); good *= 4) {
			if (good > limit)
				return false;
			bad = good;
		}
	}
	while (good - bad > 1) {
		int64_t mid = bad + (good - bad) / 2;

		if (expr_ge0(c, expr_sub(c, expr_const(c, mid), e)))
			good = mid;
		else
			bad = mid;
	}
	*hi = good;
	return true;
}

bool expr_lower(struct ctx *c, const struct expr *e, int64_t *lo)
{
	int64_t hi;

	if (expr_is_const(e, lo))
		return true;
	if (!expr_upper(c, expr_scale(c, e, -1), &hi))
		return false;
	*lo = -hi;
	return true;
}
