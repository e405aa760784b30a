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

/*
 * The most that any step of computing e comes to, as an expression over symbols
 * and the variables around the kernel; NULL when nothing bounds it.
 */
static const struct expr *most(struct ctx *c, const struct expr *e)
{
	const struct expr *sum = expr_const(c, 0);

	for (uint32_t i = 0; i < e->n; i++) {
		const struct term *t = &e->term[i];
		const struct expr *p;

		if (t->coef == INT64_MIN)
			return NULL;
		p = expr_const(c, t->coef < 0 ? -t->coef : t->coef);
		for (uint32_t j = 0; j < t->n; j++) {
			const struct atom *a = t->atom[j];
			const struct expr *x = NULL, *y;

			switch (a->kind) {
			case ATOM_SYM:
				x = a->id == 1 ? NULL : expr_of_atom(c, a);
				break;
			case ATOM_DIM: x = expr_of_atom(c, a); break;
			case ATOM_IV: x = most(c, a->a); break;
			case ATOM_ARG: x = a->a ? most(c, a->a) : NULL; break;
			case ATOM_DIV: case ATOM_MOD: case ATOM_MIN:
			case ATOM_MAX:
				x = most(c, a->a);
				y = most(c, a->b);
				x = x && y ? expr_max(c, x, y) : NULL;
				break;
			default: break;
			}
			if (!x)
				return NULL;
			p = expr_mul(c, p, x);
		}
		sum = expr_add(c, sum, p);
	}
	return sum;
}

struct bound {
	struct ctx *c;
	const struct expr *most;	/* NULL: none */
};

static void bound_add(struct bound *b, const struct expr *e)
{
	const struct expr *m = b->most && e ? most(b->c, e) : NULL;

	b->most = m ? expr_max(b->c, b->most, m) : NULL;
}

static void bound_ivs(struct bound *b, const struct block *block)
{
	for (unsigned i = 0; i < block->n_iv; i++)
		bound_add(b, expr_atom(block->iv[i])->a);
}

static void bound_op(void *arg, struct op *op)
{
	struct bound *b = arg;

	for (unsigned i = 0; i < op->n_attr; i++)
		if (op->attr[i].val->kind == AT_EXPRS &&
		    op->attr[i].name != A_extent)
			for (size_t j = 0; j < op->attr[i].val->n; j++)
				bound_add(b, op->attr[i].val->exprs[j]);
	for (unsigned r = 0; r < op->n_region; r++)
		bound_ivs(b, op->region[r].block);
}

const struct expr *cu_int_bound(struct ctx *c, struct op *kernel,
				const struct kernel_args *args)
{
	enum { BEYOND = 8 };
	struct bound b = { c, expr_const(c, 0) };

	/* Threads count beyond the last point; rows are padded. */
	bound_add(&b, expr_scale(c, kernel_points(c, kernel), BEYOND));
	for (size_t i = 0; i < args->bufs.n; i++)
		bound_add(&b, expr_scale(c, type_elems(c,
						       args->bufs.v[i]->type),
					 BEYOND));
	bound_ivs(&b, op_body(kernel));
	block_walk(op_body(kernel), bound_op, &b);
	if (!b.most || expr_is_poison(b.most) ||
	    expr_ge0(c, expr_addc(c, b.most, -1 - (int64_t)INT32_MAX)))
		return NULL;
	return b.most;
}
