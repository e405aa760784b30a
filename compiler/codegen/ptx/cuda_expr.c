/* SPDX-License-Identifier: Apache-2.0 */
/* Index expressions as C. */
#include <inttypes.h>
#include <string.h>

#include "codegen/ptx/cu.h"

static const char *atom_text(struct cu *k, const struct op *op,
			     const struct atom *a)
{
	struct arena *temp = &k->c->temp;
	const char *x, *y, *name;
	int64_t d;

	switch (a->kind) {
	case ATOM_ARG:
		x = cu_val(k, op->in[a->id].val);
		return k->wide ? x : arena_fmt(temp, "(int)%s", x);
	case ATOM_IV: case ATOM_SYM: case ATOM_DIM:
		name = map_get(&k->atoms, a->serial);
		if (!name)
			bug(&k->c->diag, "no value for '%s' in a kernel",
			    a->kind == ATOM_SYM ? a->name : "a variable");
		return name;
	case ATOM_MIN: case ATOM_MAX:
		return arena_fmt(temp, "dl_%s(%s, %s)",
				 a->kind == ATOM_MIN ? "imin" : "imax",
				 cu_expr(k, op, a->a), cu_expr(k, op, a->b));
	default: break;
	}
	x = cu_expr(k, op, a->a);
	y = cu_expr(k, op, a->b);
	name = a->kind == ATOM_MOD ? "mod" : "div";
	/* A divisor that is only known when the model runs could be zero where
	 * the result is not used. */
	if (!expr_is_const(a->b, &d))
		y = arena_fmt(temp, "dl_imax(%s, %s1)", y,
			      k->wide ? "(i64)" : "");
	if (expr_ge0(k->c, a->a))
		return arena_fmt(temp, "(%s)((%s)(%s) %c (%s)(%s))",
				 k->wide ? "i64" : "int",
				 k->wide ? "u64" : "u32", x,
				 a->kind == ATOM_MOD ? '%' : '/',
				 k->wide ? "u64" : "u32", y);
	return arena_fmt(temp, "dl_floor_%s(%s, %s)", name, x, y);
}

const char *cu_expr(struct cu *k, const struct op *op, const struct expr *e)
{
	struct arena *temp = &k->c->temp;
	const char *sum = NULL;

	for (uint32_t i = e->n; i-- > 0;) {
		const struct term *t = &e->term[i];
		const char *p = NULL;

		for (uint32_t j = 0; j < t->n; j++) {
			const char *a = atom_text(k, op, t->atom[j]);

			p = p ? arena_fmt(temp, "%s * %s", p, a) : a;
		}
		if (!p)
			p = arena_fmt(temp, k->wide ? "(i64)%" PRId64
						    : "%" PRId64, t->coef);
		else if (t->coef != 1)
			p = arena_fmt(temp, "%s * %s%" PRId64, p,
				      k->wide ? "(i64)" : "", t->coef);
		sum = sum ? arena_fmt(temp, "%s + %s", sum, p) : p;
	}
	if (!sum)
		return k->wide ? "(i64)0" : "0";
	/* It may get a cast or a division around it. */
	return expr_atom(e) || (e->n == 1 && !e->term[0].n)
		       ? sum
		       : arena_fmt(temp, "(%s)", sum);
}

/* ---- 32 bits -------------------------------------------------------- */

/* The most that any step of computing e comes to, or -1. */
static int64_t most(struct ctx *c, const struct expr *e)
{
	int64_t sum = 0;

	for (uint32_t i = 0; i < e->n; i++) {
		const struct term *t = &e->term[i];
		int64_t p = t->coef < 0 ? -t->coef : t->coef;

		if (t->coef == INT64_MIN || p > INT32_MAX)
			return -1;
		for (uint32_t j = 0; j < t->n; j++) {
			const struct atom *a = t->atom[j];
			int64_t x, y;

			switch (a->kind) {
			case ATOM_IV:
				if (!expr_is_const(a->a, &x))
					return -1;
				break;
			case ATOM_ARG:
				if (!a->a || !expr_is_const(a->a, &x))
					return -1;
				break;
			case ATOM_DIV: case ATOM_MOD: case ATOM_MIN:
			case ATOM_MAX:
				x = most(c, a->a);
				y = most(c, a->b);
				if (x < 0 || y < 0)
					return -1;
				x = x > y ? x : y;
				break;
			default: return -1;
			}
			p = x > INT32_MAX ? x : p * (x < 1 ? 1 : x);
			if (p > INT32_MAX)
				return -1;
		}
		sum += p;
	}
	return sum > INT32_MAX ? -1 : sum;
}

struct fits {
	struct ctx *c;
	bool yes;
};

static void fits_ivs(struct fits *f, const struct block *b)
{
	for (unsigned i = 0; i < b->n_iv; i++)
		f->yes = f->yes && most(f->c, expr_atom(b->iv[i])->a) >= 0;
}

static void fits_op(void *arg, struct op *op)
{
	struct fits *f = arg;

	for (unsigned i = 0; i < op->n_attr && f->yes; i++)
		if (op->attr[i].val->kind == AT_EXPRS &&
		    op->attr[i].name != A_extent)
			for (size_t j = 0; j < op->attr[i].val->n; j++)
				f->yes = f->yes &&
					 most(f->c,
					      op->attr[i].val->exprs[j]) >= 0;
	for (unsigned r = 0; r < op->n_region; r++)
		fits_ivs(f, op->region[r].block);
}

bool cu_fits_int(struct ctx *c, struct op *kernel,
		 const struct kernel_args *args)
{
	struct fits f = { c, true };
	int64_t n;

	/* Blocks and threads count beyond the last point. */
	if (!expr_is_const(kernel_points(c, kernel), &n) || n > INT32_MAX / 2)
		return false;
	for (size_t i = 0; i < args->bufs.n; i++)
		if (!expr_is_const(type_elems(c, args->bufs.v[i]->type), &n) ||
		    n > INT32_MAX / 8)
			return false;
	fits_ivs(&f, op_body(kernel));
	block_walk(op_body(kernel), fits_op, &f);
	return f.yes;
}
