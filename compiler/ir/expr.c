/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Polynomials over atoms, interned.  Products of sums are expanded, equal
 * monomials merged, terms sorted by the serial numbers of their atoms, so two
 * expressions with the same expansion are one object.
 */
#include "ir/expr.h"

#include <stdlib.h>
#include <string.h>

#include "ir/ir.h"

enum { MAX_TERMS = 256, MAX_DIM_DEPTH = 4000 };

/* ---- atoms ---------------------------------------------------------- */

static int atom_eq(const void *obj, const void *key)
{
	const struct atom *a = obj, *b = key;

	return a->kind == b->kind && a->id == b->id && a->name == b->name &&
	       a->a == b->a && a->b == b->b && a->val == b->val;
}

static const struct atom *intern_atom(struct ctx *c, struct atom key)
{
	uint64_t f[] = { (uint64_t)key.kind, key.id, key.a ? key.a->serial : 0,
			 key.b ? key.b->serial : 0,
			 key.val ? key.val->id : 0 };
	uint64_t h = hash_bytes(HASH_INIT, f, sizeof(f));

	if (key.name)
		h = hash_bytes(h, key.name, strlen(key.name));
	struct atom *a = intern_find(&c->atoms, h, atom_eq, &key);

	if (!a) {
		a = NEW(&c->perm, struct atom);
		*a = key;
		a->serial = ++c->n_atoms;
		intern_add(&c->atoms, h, a);
	}
	return a;
}

/* ---- expressions ---------------------------------------------------- */

static int expr_eq(const void *obj, const void *key)
{
	const struct expr *x = obj, *y = key;

	if (x->n != y->n)
		return 0;
	for (uint32_t i = 0; i < x->n; i++) {
		const struct term *s = &x->term[i], *t = &y->term[i];

		if (s->coef != t->coef || s->n != t->n ||
		    (s->n && memcmp(s->atom, t->atom, s->n * sizeof(*s->atom))))
			return 0;
	}
	return 1;
}

static const struct expr *intern_expr(struct ctx *c, uint32_t n,
				      struct term *term)
{
	struct expr key = { 0, n, term };
	uint64_t h = HASH_INIT;

	for (uint32_t i = 0; i < n; i++) {
		h = hash_bytes(h, &term[i].coef, sizeof(int64_t));
		for (uint32_t j = 0; j < term[i].n; j++)
			h = hash_bytes(h, &term[i].atom[j]->serial, 4);
	}
	struct expr *e = intern_find(&c->exprs, h, expr_eq, &key);

	if (e)
		return e;
	e = NEW(&c->perm, struct expr);
	e->serial = ++c->n_exprs;
	e->n = n;
	e->term = NEW_ARRAY(&c->perm, n, struct term);
	for (uint32_t i = 0; i < n; i++) {
		e->term[i] = term[i];
		if (term[i].n)
			e->term[i].atom = arena_copy(
				&c->perm, term[i].atom,
				term[i].n * sizeof(*term[i].atom));
	}
	intern_add(&c->exprs, h, e);
	return e;
}

const struct expr *expr_of_atom(struct ctx *c, const struct atom *a)
{
	struct term t = { 1, 1, &a };

	return intern_expr(c, 1, &t);
}

static const struct expr *poison(struct ctx *c)
{
	return expr_of_atom(
		c, intern_atom(c, (struct atom){ .kind = ATOM_POISON }));
}

bool expr_is_poison(const struct expr *e)
{
	return e->n == 1 && e->term[0].n == 1 &&
	       e->term[0].atom[0]->kind == ATOM_POISON;
}

const struct expr *expr_const(struct ctx *c, int64_t k)
{
	struct term t = { k, 0, NULL };

	return intern_expr(c, k != 0, &t);
}

const struct expr *expr_sym(struct ctx *c, const char *name)
{
	name = ctx_intern(c, name, strlen(name));
	return expr_of_atom(c, intern_atom(c, (struct atom){ .kind = ATOM_SYM,
							.name = name }));
}

const struct expr *expr_sym_signed(struct ctx *c, const char *name)
{
	name = ctx_intern(c, name, strlen(name));
	return expr_of_atom(c, intern_atom(c, (struct atom){ .kind = ATOM_SYM,
							.id = 1,
							.name = name }));
}

static void visit_late(void *arg, const struct atom *a)
{
	*(bool *)arg |= (a->kind == ATOM_SYM || a->kind == ATOM_DIM) && a->id;
}

bool expr_is_late(const struct expr *e)
{
	bool found = false;

	expr_visit(e, visit_late, &found);
	return found;
}

static void visit_local(void *arg, const struct atom *a)
{
	*(bool *)arg |= a->kind == ATOM_IV || a->kind == ATOM_ARG ||
			a->kind == ATOM_VAL;
}

bool expr_is_closed(const struct expr *e)
{
	bool found = false;

	expr_visit(e, visit_local, &found);
	return !found;
}

static void visit_depth(void *arg, const struct atom *a)
{
	uint32_t *depth = arg;

	if (a->kind == ATOM_DIM && a->depth > *depth)
		*depth = a->depth;
}

const struct expr *expr_dim(struct ctx *c, const struct expr *e)
{
	const struct expr *def = expr_max(c, e, expr_const(c, 0));
	const struct atom *a = expr_atom(def);
	int64_t k;

	if (expr_is_poison(def) || expr_is_const(def, &k) ||
	    !expr_is_closed(def) ||
	    (a && (a->kind == ATOM_SYM || a->kind == ATOM_DIM)))
		return def;
	struct atom key = { .kind = ATOM_DIM, .id = expr_is_late(def),
			    .a = def };

	expr_visit(def, visit_depth, &key.depth);
	if (++key.depth > MAX_DIM_DEPTH)
		return poison(c);
	return expr_of_atom(c, intern_atom(c, key));
}

const struct expr *expr_iv(struct ctx *c, const struct expr *extent)
{
	return expr_of_atom(c, intern_atom(c, (struct atom){ .kind = ATOM_IV,
							.id = ++c->n_ivs,
							.a = extent }));
}

const struct expr *expr_arg(struct ctx *c, unsigned index,
			    const struct expr *extent)
{
	return expr_of_atom(c, intern_atom(c, (struct atom){ .kind = ATOM_ARG,
							.id = index,
							.a = extent }));
}

const struct expr *expr_val(struct ctx *c, struct value *v,
			    const struct expr *extent)
{
	return expr_of_atom(c, intern_atom(c, (struct atom){ .kind = ATOM_VAL,
							.a = extent,
							.val = v }));
}

static int term_cmp(const void *pa, const void *pb)
{
	const struct term *a = pa, *b = pb;

	if (a->n != b->n)
		return a->n < b->n ? -1 : 1;
	for (uint32_t i = 0; i < a->n; i++)
		if (a->atom[i] != b->atom[i])
			return a->atom[i]->serial < b->atom[i]->serial ? -1 : 1;
	return 0;
}

/* The term without its j-th atom, times k. */
static const struct expr *without(struct ctx *c, const struct term *t,
				  uint32_t j, int64_t k)
{
	const struct atom **left = NEW_ARRAY(&c->temp, t->n + 1,
					     const struct atom *);
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->n; i++)
		if (i != j)
			left[n++] = t->atom[i];
	struct term r = { k, n, left };

	return intern_expr(c, 1, &r);
}

/* div(x, b), as expr_div() would write it where x is a quotient. */
static const struct expr *quotient(struct ctx *c, const struct expr *x,
				   const struct expr *b)
{
	const struct atom *d = expr_atom(x);
	int64_t y, z;

	if (d && d->kind == ATOM_DIV && expr_is_const(d->b, &y) &&
	    expr_is_const(b, &z) && y > 0 && z > 0) {
		x = d->a;
		b = expr_scale(c, d->b, z);
	}
	return expr_of_atom(c, intern_atom(c, (struct atom){
						      .kind = ATOM_DIV,
						      .a = x, .b = b }));
}

/* r*b*div(x, b) + r*mod(x, b) = r*x: walking two dims as one. */
static const struct expr *join_div_mod(struct ctx *c, const struct expr *e)
{
	for (uint32_t i = 0; i < e->n; i++)
		for (uint32_t j = 0; j < e->term[i].n; j++) {
			const struct atom *m = e->term[i].atom[j];
			const struct expr *r, *want, *div;

			if (m->kind != ATOM_MOD)
				continue;
			r = without(c, &e->term[i], j, e->term[i].coef);
			div = quotient(c, m->a, m->b);
			want = expr_mul(c, expr_mul(c, r, m->b), div);
			if (want->n != 1)
				continue;
			for (uint32_t k = 0; k < e->n; k++) {
				const struct term *t = &e->term[k];

				if (k == i || t->coef != want->term[0].coef ||
				    term_cmp(t, &want->term[0]))
					continue;
				/* One at a time: their sum would join. */
				const struct expr *rest = expr_sub(
					c, expr_sub(c, e, want),
					expr_mul(c, r, expr_of_atom(c, m)));

				return expr_add(c, rest,
						expr_mul(c, r, m->a));
			}
		}
	return NULL;
}

/* Sorts, merges and drops zero terms; poison on overflow or excess. */
static const struct expr *normalize(struct ctx *c, struct term *t, uint32_t n)
{
	uint32_t m = 0;

	qsort(t, n, sizeof(*t), term_cmp);
	for (uint32_t i = 0; i < n; i++) {
		if (m && !term_cmp(&t[m - 1], &t[i])) {
			if (__builtin_add_overflow(t[m - 1].coef, t[i].coef,
						   &t[m - 1].coef))
				return poison(c);
			if (!t[m - 1].coef)
				m--;
		} else if (t[i].coef) {
			t[m++] = t[i];
		}
	}
	for (uint32_t i = 0; i < m; i++)
		for (uint32_t j = 0; j < t[i].n; j++)
			if (t[i].atom[j]->kind == ATOM_POISON)
				return poison(c);
	if (m > MAX_TERMS)
		return poison(c);
	const struct expr *e = intern_expr(c, m, t);
	const struct expr *joined = join_div_mod(c, e);

	return joined ? joined : e;
}

const struct expr *expr_add(struct ctx *c, const struct expr *a,
			    const struct expr *b)
{
	if (!a->n)
		return b;
	if (!b->n)
		return a;
	struct term t[2 * MAX_TERMS];

	memcpy(t, a->term, a->n * sizeof(*t));
	memcpy(t + a->n, b->term, b->n * sizeof(*t));
	return normalize(c, t, a->n + b->n);
}

const struct expr *expr_scale(struct ctx *c, const struct expr *a, int64_t k)
{
	return expr_mul(c, a, expr_const(c, k));
}

const struct expr *expr_sub(struct ctx *c, const struct expr *a,
			    const struct expr *b)
{
	return expr_add(c, a, expr_scale(c, b, -1));
}

const struct expr *expr_addc(struct ctx *c, const struct expr *a, int64_t k)
{
	return expr_add(c, a, expr_const(c, k));
}

const struct expr *expr_mul(struct ctx *c, const struct expr *a,
			    const struct expr *b)
{
	uint32_t n = 0, cap = a->n * b->n;

	if (cap > 4 * MAX_TERMS)
		return poison(c);
	struct term *t = xrealloc(NULL, cap, sizeof(*t));
	struct arena tmp = { 0 };
	bool over = false;

	for (uint32_t i = 0; i < a->n; i++)
		for (uint32_t j = 0; j < b->n; j++) {
			const struct term *x = &a->term[i], *y = &b->term[j];
			struct term z = { 0, x->n + y->n, NULL };
			uint32_t p = 0, q = 0;

			over |= __builtin_mul_overflow(x->coef, y->coef,
						       &z.coef);
			if (z.n)
				z.atom = NEW_ARRAY(&tmp, z.n,
						   const struct atom *);
			for (uint32_t k = 0; k < z.n; k++)
				z.atom[k] = q >= y->n ||
						    (p < x->n &&
						     x->atom[p]->serial <=
							     y->atom[q]->serial)
						    ? x->atom[p++]
						    : y->atom[q++];
			t[n++] = z;
		}
	const struct expr *r = over ? poison(c) : normalize(c, t, n);

	free(t);
	arena_free(&tmp);
	return r;
}

bool expr_is_const(const struct expr *e, int64_t *k)
{
	if (e->n > 1 || (e->n == 1 && e->term[0].n))
		return false;
	*k = e->n ? e->term[0].coef : 0;
	return true;
}

bool expr_is(const struct expr *e, int64_t k)
{
	int64_t v;

	return expr_is_const(e, &v) && v == k;
}

const struct atom *expr_atom(const struct expr *e)
{
	return e->n == 1 && e->term[0].n == 1 && e->term[0].coef == 1
		       ? e->term[0].atom[0]
		       : NULL;
}

bool expr_linear(struct ctx *c, const struct expr *e, const struct atom *a,
		 const struct expr **coef, const struct expr **rest)
{
	const struct expr *k = expr_const(c, 0), *r = k;

	for (uint32_t i = 0; i < e->n; i++) {
		struct term t = e->term[i];
		uint32_t hits = 0;

		for (uint32_t j = 0; j < t.n; j++)
			hits += t.atom[j] == a;
		if (hits > 1)
			return false;
		if (!hits) {
			r = expr_add(c, r, intern_expr(c, 1, &t));
			continue;
		}
		const struct atom *left[MAX_RANK * 2];
		uint32_t n = 0;

		if (t.n > MAX_RANK * 2)
			return false;
		for (uint32_t j = 0; j < t.n; j++)
			if (t.atom[j] != a)
				left[n++] = t.atom[j];
		t.n = n;
		t.atom = left;
		k = expr_add(c, k, intern_expr(c, 1, &t));
	}
	if (expr_uses(k, a) || expr_uses(r, a))
		return false;
	*coef = k;
	*rest = r;
	return true;
}

/* ---- division ------------------------------------------------------- */

/* t / d for single terms; false when it is not exact. */
static bool term_div(struct ctx *c, const struct term *t, const struct term *d,
		     struct term *q)
{
	const struct atom **left = NEW_ARRAY(&c->temp, t->n + 1,
					     const struct atom *);
	uint32_t n = 0, j = 0;

	/* INT64_MIN / -1 has no result. */
	if ((d->coef == -1 && t->coef == INT64_MIN) || t->coef % d->coef)
		return false;
	for (uint32_t i = 0; i < t->n; i++) {
		if (j < d->n && t->atom[i] == d->atom[j])
			j++;
		else
			left[n++] = t->atom[i];
	}
	*q = (struct term){ t->coef / d->coef, n, left };
	return j == d->n;
}

const struct expr *expr_exact_div(struct ctx *c, const struct expr *a,
				  const struct expr *b)
{
	const struct expr *q = expr_const(c, 0), *r = a;

	if (!b->n)
		return NULL;
	/* Long division by the leading (last) term of b. */
	for (int steps = 0; r->n; steps++) {
		struct term t;

		if (steps > MAX_TERMS || expr_is_poison(r) ||
		    !term_div(c, &r->term[r->n - 1], &b->term[b->n - 1], &t))
			return NULL;
		const struct expr *x = intern_expr(c, 1, &t);

		q = expr_add(c, q, x);
		r = expr_sub(c, r, expr_mul(c, x, b));
	}
	return q;
}

/* a = b * quot + rest, where 0 <= rest < b is tried to be proved. */
static bool split(struct ctx *c, const struct expr *a, const struct expr *b,
		  const struct expr **quot, const struct expr **rest)
{
	const struct expr *q = expr_const(c, 0), *r = q;

	if (b->n != 1)
		return false;
	for (uint32_t i = 0; i < a->n; i++) {
		struct term t;
		int64_t k = b->term[0].coef, ck = a->term[i].coef;

		if (term_div(c, &a->term[i], &b->term[0], &t)) {
			q = expr_add(c, q, intern_expr(c, 1, &t));
		} else if (!a->term[i].n && !b->term[0].n && k > 0) {
			/* The constant term keeps a remainder in [0, k). */
			int64_t m = ck % k + (ck % k < 0 ? k : 0);

			q = expr_addc(c, q, ck / k - (ck % k < 0));
			r = expr_addc(c, r, m);
		} else {
			r = expr_add(c, r, intern_expr(c, 1, &a->term[i]));
		}
	}
	*quot = q;
	*rest = r;
	return true;
}

static bool in_range(struct ctx *c, const struct expr *r, const struct expr *b)
{
	return expr_ge0(c, r) &&
	       expr_ge0(c, expr_addc(c, expr_sub(c, b, r), -1));
}

const struct expr *expr_div(struct ctx *c, const struct expr *a,
			    const struct expr *b)
{
	const struct expr *q, *r, *exact;
	int64_t x, y;

	if (expr_is_poison(a) || expr_is_poison(b) ||
	    expr_is(b, 0) || expr_is(b, INT64_MIN))
		return poison(c);
	if (expr_is_const(b, &y) && y < 0)
		return expr_div(c, expr_scale(c, a, -1), expr_const(c, -y));
	if (expr_is(b, 1))
		return a;
	if (expr_is_const(a, &x) && expr_is_const(b, &y))
		return expr_const(c, x / y - (x % y < 0));
	if ((exact = expr_exact_div(c, a, b)))
		return exact;
	if (split(c, a, b, &q, &r)) {
		if (in_range(c, r, b))
			return q;
		const struct atom *d = expr_atom(r);
		int64_t z;

		/* floor(floor(x / y) / z) = floor(x / (y z)) */
		if (d && d->kind == ATOM_DIV && expr_is_const(d->b, &x) &&
		    expr_is_const(b, &z))
			return expr_add(c, q,
					expr_div(c, d->a,
						 expr_scale(c, d->b, z)));
		if (q->n)
			return expr_add(c, q, expr_div(c, r, b));
	}
	return expr_of_atom(c, intern_atom(c, (struct atom){ .kind = ATOM_DIV,
							.a = a, .b = b }));
}

const struct expr *expr_mod(struct ctx *c, const struct expr *a,
			    const struct expr *b)
{
	const struct expr *q, *r;
	int64_t x, y;

	if (expr_is_poison(a) || expr_is_poison(b) ||
	    expr_is(b, 0) || expr_is(b, INT64_MIN))
		return poison(c);
	if (expr_is_const(b, &y) && y < 0)
		return expr_scale(c, expr_mod(c, expr_scale(c, a, -1),
					      expr_const(c, -y)), -1);
	if (expr_is(b, 1) || expr_exact_div(c, a, b))
		return expr_const(c, 0);
	if (expr_is_const(a, &x) && expr_is_const(b, &y))
		return expr_const(c, x % y + (x % y < 0 ? y : 0));
	if (split(c, a, b, &q, &r)) {
		if (in_range(c, r, b))
			return r;
		if (q->n)
			return expr_mod(c, r, b);
		const struct atom *m = expr_atom(r);

		/* (x mod k b) mod b = x mod b */
		if (m && m->kind == ATOM_MOD && expr_exact_div(c, m->b, b))
			return expr_mod(c, m->a, b);
	}
	return expr_of_atom(c, intern_atom(c, (struct atom){ .kind = ATOM_MOD,
							.a = a, .b = b }));
}

const struct expr *expr_ceildiv(struct ctx *c, const struct expr *a,
				const struct expr *b)
{
	return expr_div(c, expr_add(c, a, expr_addc(c, b, -1)), b);
}

static const struct expr *minmax(struct ctx *c, enum atom_kind kind,
				 const struct expr *a, const struct expr *b)
{
	if (expr_is_poison(a) || expr_is_poison(b))
		return poison(c);
	if (expr_ge0(c, expr_sub(c, a, b)))
		return kind == ATOM_MIN ? b : a;
	if (expr_ge0(c, expr_sub(c, b, a)))
		return kind == ATOM_MIN ? a : b;
	if (a->serial > b->serial) {
		const struct expr *t = a;

		a = b;
		b = t;
	}
	return expr_of_atom(c, intern_atom(c, (struct atom){ .kind = kind,
							.a = a, .b = b }));
}

const struct expr *expr_min(struct ctx *c, const struct expr *a,
			    const struct expr *b)
{
	return minmax(c, ATOM_MIN, a, b);
}

const struct expr *expr_max(struct ctx *c, const struct expr *a,
			    const struct expr *b)
{
	return minmax(c, ATOM_MAX, a, b);
}

const struct expr *expr_is_pos(struct ctx *c, const struct expr *e)
{
	const struct expr *zero = expr_const(c, 0), *one = expr_const(c, 1);

	return expr_min(c, expr_max(c, e, zero), one);
}

const struct expr *expr_is_neg(struct ctx *c, const struct expr *e)
{
	return expr_is_pos(c, expr_scale(c, e, -1));
}

const struct expr *expr_is_zero(struct ctx *c, const struct expr *e)
{
	return expr_sub(c, expr_const(c, 1),
			expr_add(c, expr_is_pos(c, e), expr_is_neg(c, e)));
}

const struct expr *expr_small_is_zero(struct ctx *c, const struct expr *e,
				      int64_t bound)
{
	const struct expr *m = expr_const(c, bound + 1);

	/* floor((e + m) / m) is 1 for e >= 0 and 0 below. */
	return expr_sub(c, expr_div(c, expr_addc(c, e, bound + 1), m),
			expr_div(c, expr_addc(c, e, bound), m));
}
