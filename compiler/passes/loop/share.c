/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share: on a GPU heads of few queries that share a head of keys become rows
 * of one tile, for which each key is read once.
 *
 *	%y = nest.compute [h < 32, e < E] {
 *	  sum n: %p[h, n] * v[div(h, 4), n, e]
 *	}
 * ->
 *	%y = nest.compute [g < 8, r < 4, e < E] {
 *	  sum n: %p[4*g + r, n] * v[g, n, e]
 *	} with idx = [4*g + r, e]
 *
 * in the last statement of attention, where keys know of h no more than values
 * do.  Many queries are rows enough by themselves.
 */
#include "ir/target.h"
#include "passes/loop/attend.h"
#include "passes/nest/body.h"

/* Calls fn for the indices, at a point of y, of what makes v. */
static void each_index(struct attend *a, const struct value *v,
		       void (*fn)(void *arg, const struct expr *e), void *arg)
{
	const struct op *op = v->def;
	size_t n;

	if (!op || v->type->kind != TY_SCALAR)
		return;
	for (unsigned i = 0; i < op->n_in; i++)
		each_index(a, op->in[i].val, fn, arg);
	if (op->code != OP_nest_load)
		return;
	const struct expr *const *idx = op_exprs(op, A_idx, &n);

	for (size_t i = 0; i < n; i++)
		fn(arg, clone_expr(&a->y.cl, idx[i]));
}

static void note_digit(void *arg, const struct expr *e)
{
	expr_visit(e, find_divisor, arg);
}

/* Is the last digit of the variable in none of the indices? */
struct shared {
	struct cloner cl;
	const struct atom *last;
	bool yes;
};

static void check_index(void *arg, const struct expr *e)
{
	struct shared *s = arg;

	s->yes = s->yes && !expr_uses(clone_expr(&s->cl, e), s->last);
}

static bool is_shared(struct attend *a, const struct digit *d,
		      const struct op *made)
{
	struct ctx *c = a->y.ctx;
	const struct expr *const *iv = op_body(made)->iv;
	struct shared s = { .cl = { .ctx = c }, .yes = true,
			    .last = expr_atom(iv[d->iv + 1]) };

	clone_iv(&s.cl, d->of->iv[d->iv],
		 expr_add(c, expr_scale(c, iv[d->iv], d->by),
			  iv[d->iv + 1]));
	each_index(a, a->y.factor[a->v], check_index, &s);
	each_index(a, a->s.factor[a->k], check_index, &s);
	cloner_free(&s.cl);
	return s.yes;
}

/* The statement or what took its place. */
static struct op *share_heads(struct ctx *c, struct op *op)
{
	struct digit d = { .of = op_body(op) };
	struct op *made = NULL;
	struct attend a;

	if (op->code != OP_nest_compute || !attend_find(&a, c, op) ||
	    !attend_few(&a) || d.of->n_iv + 2 > MAX_RANK)
		return op;
	a.y.cl = (struct cloner){ .ctx = c };
	attend_bind_scores(&a);
	each_index(&a, a.y.factor[a.v], note_digit, &d);
	if (d.by > 1) {
		made = with_digits(c, op, &d);
		if (!is_shared(&a, &d, made)) {
			op_erase(made);
			made = NULL;
		}
	}
	cloner_free(&a.y.cl);
	if (!made)
		return op;
	value_replace(&op->out[0], &made->out[0]);
	op_erase(op);
	return made;
}

static void share_block(struct ctx *c, struct block *b)
{
	for (struct op *op = b->first; op; op = op->next) {
		if (op->code == OP_core_scan)
			share_block(c, op_body(op));
		else
			op = share_heads(c, op);
	}
}

static bool share_run(struct module *m, const struct pass_args *args)
{
	(void)args;
	if (m->ctx->target && m->ctx->target->gpu[0])
		share_block(m->ctx, op_body(m->func));
	return true;
}

PASS(share,
	.summary = "Make heads that share keys rows of one tile, for a GPU",
	.needs = LEVEL_NEST,
	.run = share_run);
