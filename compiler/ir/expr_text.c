/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions as text.  Terms, factors and the operands of min and max are
 * printed in an order that depends on their structure only, never on the
 * order in which atoms were made, so that text read back prints the same.
 */
#include <stdlib.h>
#include <string.h>

#include "ir/ir.h"

static uint32_t number_of(const struct expr_names *n, const struct atom *a)
{
	if (n)
		return n->number(n->arg, a);
	return a->kind == ATOM_VAL ? a->val->id : a->id;
}

static int cmp_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int cmp_expr(struct ctx *c, const struct expr_names *n,
		    const struct expr *a, const struct expr *b);

static int cmp_atom(struct ctx *c, const struct expr_names *n,
		    const struct atom *a, const struct atom *b)
{
	int r = 0;

	if (a == b)
		return 0;
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	switch (a->kind) {
	case ATOM_SYM:
		r = strcmp(a->name, b->name);
		return r ? r : cmp_u64(a->id, b->id);
	case ATOM_IV: case ATOM_VAL:
		r = cmp_u64(number_of(n, a), number_of(n, b));
		break;
	case ATOM_ARG:
		r = cmp_u64(a->id, b->id);
		break;
	case ATOM_DIM:
		/* The text makes them in the order in which they were made. */
		return cmp_u64(a->serial, b->serial);
	case ATOM_DIV: case ATOM_MOD: case ATOM_MIN: case ATOM_MAX:
	case ATOM_POISON:
		break;
	}
	if (!r && a->a && b->a)
		r = cmp_expr(c, n, a->a, b->a);
	if (!r && a->b && b->b)
		r = cmp_expr(c, n, a->b, b->b);
	return r ? r : cmp_u64(a->a != NULL, b->a != NULL);
}

static int cmp_term(struct ctx *c, const struct expr_names *n,
		    const struct term *a, const struct term *b)
{
	/* The constant comes last: "i1 + 4*N - 2". */
	if (!a->n != !b->n)
		return a->n ? -1 : 1;
	if (a->n != b->n)
		return a->n < b->n ? -1 : 1;
	for (uint32_t i = 0; i < a->n; i++) {
		int r = cmp_atom(c, n, a->atom[i], b->atom[i]);

		if (r)
			return r;
	}
	return 0;
}

/* A copy of e's terms in printing order, in the temp arena. */
static struct term *sorted(struct ctx *c, const struct expr_names *n,
			   const struct expr *e)
{
	struct term *t = arena_copy(&c->temp, e->term, e->n * sizeof(*t));

	for (uint32_t i = 0; i < e->n; i++) {
		const struct atom **f = arena_copy(
			&c->temp, t[i].atom, t[i].n * sizeof(*t[i].atom));

		for (uint32_t j = 1; j < t[i].n; j++)
			for (uint32_t k = j;
			     k && cmp_atom(c, n, f[k - 1], f[k]) > 0; k--) {
				const struct atom *x = f[k];

				f[k] = f[k - 1];
				f[k - 1] = x;
			}
		t[i].atom = f;
	}
	for (uint32_t i = 1; i < e->n; i++)
		for (uint32_t k = i; k && cmp_term(c, n, &t[k - 1], &t[k]) > 0;
		     k--) {
			struct term x = t[k];

			t[k] = t[k - 1];
			t[k - 1] = x;
		}
	return t;
}

static int cmp_expr(struct ctx *c, const struct expr_names *n,
		    const struct expr *a, const struct expr *b)
{
	if (a == b)
		return 0;
	const struct term *s = sorted(c, n, a), *t = sorted(c, n, b);

	for (uint32_t i = 0; i < a->n && i < b->n; i++) {
		int r = cmp_term(c, n, &s[i], &t[i]);

		if (r)
			return r;
		if (s[i].coef != t[i].coef)
			return s[i].coef < t[i].coef ? -1 : 1;
	}
	return cmp_u64(a->n, b->n);
}

/* Would the parser read the name as a symbol? */
static bool is_plain_name(const char *s)
{
	static const char *const taken[] = { "div", "mod", "min", "max",
					     "poison" };
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";
	static const char digits[] = "0123456789";

	if (!*s || !strchr(letters, *s))
		return false;
	for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++)
		if (!strcmp(s, taken[i]))
			return false;
	/* "i7" is an iteration variable. */
	if (*s == 'i' && s[1] && strspn(s + 1, digits) == strlen(s + 1))
		return false;
	for (; *s; s++)
		if (!strchr(letters, *s) && !strchr(digits, *s))
			return false;
	return true;
}

const char *str_quoted(struct ctx *c, const char *s, size_t len)
{
	char *out = arena_alloc(&c->temp, 4 * len + 3), *p = out;
	static const char hex[] = "0123456789abcdef";

	*p++ = '"';
	for (size_t i = 0; i < len; i++) {
		unsigned char ch = (unsigned char)s[i];

		if (ch == '"' || ch == '\\') {
			*p++ = '\\';
			*p++ = (char)ch;
		} else if (ch < 0x20 || ch == 0x7f) {
			*p++ = '\\';
			*p++ = 'x';
			*p++ = hex[ch >> 4];
			*p++ = hex[ch & 15];
		} else {
			*p++ = (char)ch;
		}
	}
	*p++ = '"';
	return out;
}

const char *name_text(struct ctx *c, const char *s)
{
	return is_plain_name(s) ? s : str_quoted(c, s, strlen(s));
}

static const char *with_extent(struct ctx *c, const struct expr_names *n,
			       const struct atom *a, const char *s)
{
	return a->a ? arena_fmt(&c->temp, "%s<%s>", s, expr_text(c, a->a, n))
		    : s;
}

static void visit_dim(void *arg, const struct atom *a)
{
	*(bool *)arg |= a->kind == ATOM_DIM;
}

/* In a message it is its definition, when that is made of plain symbols. */
static const char *dim_text(struct ctx *c, const struct atom *a,
			    const struct expr_names *n)
{
	bool deep = false;

	if (n)
		return arena_fmt(&c->temp, "#%u", number_of(n, a));
	expr_visit(a->a, visit_dim, &deep);
	return deep ? "?" : arena_fmt(&c->temp, "(%s)", expr_str(c, a->a));
}

static const char *atom_text(struct ctx *c, const struct atom *a,
			     const struct expr_names *n)
{
	static const char *const fn[] = { [ATOM_DIV] = "div",
					  [ATOM_MOD] = "mod",
					  [ATOM_MIN] = "min",
					  [ATOM_MAX] = "max" };
	const struct expr *x = a->a, *y = a->b;

	switch (a->kind) {
	case ATOM_SYM:
		return arena_fmt(&c->temp, "%s%s", a->id ? "~" : "",
				 name_text(c, a->name));
	case ATOM_IV:
		return arena_fmt(&c->temp, "i%u", number_of(n, a));
	case ATOM_ARG:
		return with_extent(c, n, a,
				   arena_fmt(&c->temp, "$%u", a->id));
	case ATOM_VAL:
		return with_extent(c, n, a,
				   arena_fmt(&c->temp, "%%%u",
					     number_of(n, a)));
	case ATOM_DIM:
		return dim_text(c, a, n);
	case ATOM_POISON:
		return "poison";
	case ATOM_MIN: case ATOM_MAX:
		if (cmp_expr(c, n, x, y) > 0) {
			x = a->b;
			y = a->a;
		}
		break;
	case ATOM_DIV: case ATOM_MOD:
		break;
	}
	return arena_fmt(&c->temp, "%s(%s, %s)", fn[a->kind],
			 expr_text(c, x, n), expr_text(c, y, n));
}

const char *expr_text(struct ctx *c, const struct expr *e,
		      const struct expr_names *n)
{
	const struct term *t = sorted(c, n, e);
	const char *s = "";

	if (!e->n)
		return "0";
	for (uint32_t i = 0; i < e->n; i++, t++) {
		uint64_t mag = t->coef < 0 ? 0 - (uint64_t)t->coef
					   : (uint64_t)t->coef;

		if (*s)
			s = arena_fmt(&c->temp, "%s %c ", s,
				      t->coef < 0 ? '-' : '+');
		else if (t->coef < 0)
			s = "-";
		if (mag != 1 || !t->n)
			s = arena_fmt(&c->temp, "%s%llu%s", s,
				      (unsigned long long)mag, t->n ? "*" : "");
		for (uint32_t j = 0; j < t->n; j++)
			s = arena_fmt(&c->temp, "%s%s%s", s, j ? "*" : "",
				      atom_text(c, t->atom[j], n));
	}
	return s;
}

const char *expr_str(struct ctx *c, const struct expr *e)
{
	return expr_text(c, e, NULL);
}
