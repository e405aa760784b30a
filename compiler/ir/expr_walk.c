/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks over expressions: visits, substitution, evaluation.  Definitions of
 * computed dims mention other computed dims, so what enters them keeps what it
 * found for each: the work stays linear in what there is, whatever its depth.
 */
#include "ir/expr.h"

#include <stdlib.h>

#include "base/vec.h"
#include "ir/ir.h"

void expr_visit(const struct expr *e, expr_visit_fn *fn, void *arg)
{
	for (uint32_t i = 0; i < e->n; i++)
		for (uint32_t j = 0; j < e->term[i].n; j++) {
			const struct atom *a = e->term[i].atom[j];

			fn(arg, a);
			if (a->kind >= ATOM_DIV && a->a) {
				expr_visit(a->a, fn, arg);
				expr_visit(a->b, fn, arg);
			}
		}
}

struct visit_all {
	expr_visit_fn *fn;
	void *arg;
	struct map *seen;
};

static void enter_definition(void *arg, const struct atom *a)
{
	struct visit_all *v = arg;

	if (a->kind != ATOM_DIM) {
		v->fn(v->arg, a);
		return;
	}
	if (map_get(v->seen, a->serial))
		return;
	map_put(v->seen, a->serial, (void *)a);
	v->fn(v->arg, a);
	expr_visit(a->a, enter_definition, v);
}

void expr_visit_all(const struct expr *e, expr_visit_fn *fn, void *arg,
		    struct map *seen)
{
	struct visit_all v = { fn, arg, seen };

	expr_visit(e, enter_definition, &v);
}

struct find_atom {
	const struct atom *want;
	bool found;
};

static void find_visit(void *arg, const struct atom *a)
{
	struct find_atom *f = arg;

	f->found |= a == f->want;
}

bool expr_uses(const struct expr *e, const struct atom *a)
{
	struct find_atom f = { a, false };
	struct map seen = { 0 };

	/* Definitions are made of symbols. */
	if (a->kind == ATOM_SYM || a->kind == ATOM_DIM)
		expr_visit_all(e, find_visit, &f, &seen);
	else
		expr_visit(e, find_visit, &f);
	map_free(&seen);
	return f.found;
}

/* ---- substitution --------------------------------------------------- */

struct subst {
	struct ctx *c;
	expr_subst_fn *fn;
	void *arg;
	bool all;
	struct map dims;	/* serial -> what replaces the computed dim */
};

static const struct expr *subst(struct subst *s, const struct expr *e);

static const struct expr *subst_dim(struct subst *s, const struct atom *a)
{
	const struct expr *r = map_get(&s->dims, a->serial);

	if (!r) {
		r = subst(s, a->a);
		r = r == a->a ? expr_of_atom(s->c, a) : expr_dim(s->c, r);
		map_put(&s->dims, a->serial, (void *)r);
	}
	return r;
}

static const struct expr *subst_atom(struct subst *s, const struct atom *a)
{
	const struct expr *r = s->fn(s->arg, a), *x, *y;

	if (r)
		return r;
	if (a->kind == ATOM_DIM && s->all)
		return subst_dim(s, a);
	if (a->kind < ATOM_DIV || a->kind == ATOM_POISON)
		return expr_of_atom(s->c, a);
	x = subst(s, a->a);
	y = subst(s, a->b);
	if (a->kind == ATOM_DIV)
		return expr_div(s->c, x, y);
	if (a->kind == ATOM_MOD)
		return expr_mod(s->c, x, y);
	return a->kind == ATOM_MIN ? expr_min(s->c, x, y)
				   : expr_max(s->c, x, y);
}

static const struct expr *subst(struct subst *s, const struct expr *e)
{
	const struct expr *sum = expr_const(s->c, 0);

	for (uint32_t i = 0; i < e->n; i++) {
		const struct expr *p = expr_const(s->c, e->term[i].coef);

		for (uint32_t j = 0; j < e->term[i].n; j++)
			p = expr_mul(s->c, p,
				     subst_atom(s, e->term[i].atom[j]));
		sum = expr_add(s->c, sum, p);
	}
	return sum;
}

const struct expr *expr_subst(struct ctx *c, const struct expr *e,
			      expr_subst_fn *fn, void *arg)
{
	struct subst s = { .c = c, .fn = fn, .arg = arg };

	return subst(&s, e);
}

const struct expr *expr_subst_all(struct ctx *c, const struct expr *e,
				  expr_subst_fn *fn, void *arg)
{
	struct subst s = { .c = c, .fn = fn, .arg = arg, .all = true };
	const struct expr *r = subst(&s, e);

	map_free(&s.dims);
	return r;
}

/* ---- evaluation ----------------------------------------------------- */

struct dim_value {
	int64_t v;
	bool ok;
};

struct values {
	expr_value_fn *fn;
	void *arg;
	struct map at;		/* serial of a computed dim -> 1 + index */
	VEC(struct dim_value) dim;
};

static bool value(struct values *x, const struct expr *e, int64_t *v);

static bool dim_value(struct values *x, const struct atom *a, int64_t *v)
{
	size_t at = (size_t)(uintptr_t)map_get(&x->at, a->serial);

	if (!at) {
		struct dim_value d = { 0 };

		d.ok = value(x, a->a, &d.v);
		vec_push(&x->dim, d);
		at = x->dim.n;
		map_put(&x->at, a->serial, (void *)(uintptr_t)at);
	}
	*v = x->dim.v[at - 1].v;
	return x->dim.v[at - 1].ok;
}

static bool atom_value(struct values *x, const struct atom *a, int64_t *v)
{
	int64_t p, q;

	if (a->kind == ATOM_DIM)
		return dim_value(x, a, v);
	if (a->kind < ATOM_DIV)
		return x->fn(x->arg, a, v);
	if (a->kind == ATOM_POISON || !value(x, a->a, &p) ||
	    !value(x, a->b, &q))
		return false;
	if (a->kind == ATOM_MIN)
		*v = p < q ? p : q;
	else if (a->kind == ATOM_MAX)
		*v = p > q ? p : q;
	else if (q <= 0)
		return false;
	else if (a->kind == ATOM_DIV)
		*v = p / q - (p % q < 0);
	else
		*v = p % q + (p % q < 0 ? q : 0);
	return true;
}

static bool value(struct values *x, const struct expr *e, int64_t *v)
{
	int64_t sum = 0;

	for (uint32_t i = 0; i < e->n; i++) {
		int64_t p = e->term[i].coef, f;

		for (uint32_t j = 0; j < e->term[i].n; j++)
			if (!atom_value(x, e->term[i].atom[j], &f) ||
			    __builtin_mul_overflow(p, f, &p))
				return false;
		if (__builtin_add_overflow(sum, p, &sum))
			return false;
	}
	*v = sum;
	return true;
}

bool expr_eval(const struct expr *e, expr_value_fn *fn, void *arg, int64_t *v)
{
	struct values x = { .fn = fn, .arg = arg };
	bool ok = value(&x, e, v);

	map_free(&x.at);
	vec_free(&x.dim);
	return ok;
}
