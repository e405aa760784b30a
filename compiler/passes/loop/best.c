/* SPDX-License-Identifier: Apache-2.0 */
/*
 * best: on a GPU a fold that finds where the best of its elements is becomes
 * two that may be folded in lanes, and in parts.
 *
 *	%v, %i = nest.reduce(%v0, %i0) [k < K] (%a, %b) {
 *	  %c = arith.gt(%x, %a)
 *	  nest.yield(arith.select(%c, %x, %a), arith.select(%c, k, %b))
 *	}
 * ->
 *	%m = the largest of %v0 and all %x > %v0
 *	%j = the least k with %x > %v0 and %x == %m, or K
 *	%i = %j < K ? %j : %i0
 *
 * Where the comparison holds for equal elements, too, the last one is found.  A
 * NaN is never better, as before.  The elements are read twice; what lies across
 * the fold, a result for each of many points, stays as it is.
 */
#include "ir/layout.h"
#include "ir/target.h"
#include "passes/loop/schedule.h"
#include "passes/nest/body.h"
#include "passes/pass.h"

enum {
	LONG_FOLD = 128,
	FEW_POINTS = 64,	/* on a multiprocessor */
};

struct best {
	struct ctx *ctx;
	struct op *fold, *compare;
	bool swapped;			/* the element is operand 1 */
	struct value *x;		/* the element */
};

static bool is_comparison(const struct op *op)
{
	return op && (op->code == OP_arith_gt || op->code == OP_arith_ge ||
		      op->code == OP_arith_lt || op->code == OP_arith_le);
}

static bool depends_on(const struct value *v, const struct block *args)
{
	if (v->type->kind != TY_SCALAR)
		return false;
	if (!v->def)
		return v->block == args;
	for (unsigned i = 0; i < v->def->n_in; i++)
		if (depends_on(v->def->in[i].val, args))
			return true;
	return false;
}

static bool find_best(struct best *b)
{
	const struct block *body = op_body(b->fold);
	const struct op *s[2], *at;
	size_t n;

	if (b->fold->n_in != 2 || body->n_iv != 1 || b->fold->out[0].uses)
		return false;
	for (int i = 0; i < 2; i++) {
		s[i] = def_of(body->last->in[i].val, OP_arith_select);
		if (!s[i] || s[i]->in[2].val != body->arg[i] ||
		    s[i]->in[0].val != s[0]->in[0].val)
			return false;
	}
	b->compare = s[0]->in[0].val->def;
	b->x = s[0]->in[1].val;
	at = def_of(s[1]->in[1].val, OP_nest_value);
	if (!is_comparison(b->compare) || !at ||
	    op_exprs(at, A_idx, &n)[0] != body->iv[0] ||
	    depends_on(b->x, body))
		return false;
	b->swapped = b->compare->in[1].val == b->x;
	return b->compare->in[!b->swapped].val == body->arg[0] &&
	       b->compare->in[b->swapped].val == b->x;
}

/* Does the fold find the largest, or the least?  The first, or the last? */
static bool finds_largest(const struct best *b)
{
	bool greater = b->compare->code == OP_arith_gt ||
		       b->compare->code == OP_arith_ge;

	return greater != b->swapped;
}

static bool finds_last(const struct best *b)
{
	return b->compare->code == OP_arith_ge ||
	       b->compare->code == OP_arith_le;
}

/* ---- is it worth it ------------------------------------------------- */

static bool lies_along(const struct best *b)
{
	const struct block *body = op_body(b->fold);
	const struct expr *step, *rest;
	size_t n;

	for (const struct op *op = body->first; op; op = op->next)
		if (op->code == OP_nest_load &&
		    expr_linear(b->ctx,
				layout_offset(b->ctx, op->in[0].val,
					      op_exprs(op, A_idx, &n)),
				expr_atom(body->iv[0]), &step, &rest) &&
		    expr_is(step, 1))
			return true;
	return false;
}

static bool pays(const struct best *b, const struct op *compute)
{
	const struct block *body = op_body(compute);
	int64_t points = 1, few = b->ctx->target->gpu[0]->n_sm * FEW_POINTS;

	for (unsigned i = 0; i < body->n_iv && points <= few; i++)
		points *= extent_or(body->iv[i], few);
	return extent_or(op_body(b->fold)->iv[0], LONG_FOLD) >= LONG_FOLD &&
	       (points <= few || lies_along(b));
}

/* ---- the two folds -------------------------------------------------- */

/* A copy of what the block computes of the scalar, at the builder. */
static struct value *clone_inside(struct cloner *cl, struct builder *b,
				  struct value *v, const struct block *of)
{
	struct value *to = cloned(cl, v);

	if (to != v || !v->def || v->def->parent != of)
		return to;
	for (unsigned i = 0; i < v->def->n_in; i++)
		clone_inside(cl, b, v->def->in[i].val, of);
	return &clone_op(cl, b, v->def)->out[v->index];
}

/* The element in a fold that is open, and whether it is better than %v0. */
static struct value *element(struct best *b, struct lower *lo,
			     const struct reduce *r, struct value **better)
{
	const struct block *body = op_body(b->fold);
	struct cloner cl = { .ctx = b->ctx };
	struct value *v0 = b->fold->in[0].val, *x;

	clone_iv(&cl, body->iv[0], r->iv[0]);
	x = clone_inside(&cl, &lo->b, b->x, body);
	*better = b->swapped ? s_op2(lo, b->compare->code, v0, x)
			     : s_op2(lo, b->compare->code, x, v0);
	cloner_free(&cl);
	return x;
}

static struct value *fold_best(struct best *b, struct lower *lo)
{
	const struct expr *extent = expr_atom(op_body(b->fold)->iv[0])->a;
	struct value *v0 = b->fold->in[0].val, *x, *better;
	struct reduce r = nest_reduce_begin(lo, 1, &extent, 1, &v0);

	x = element(b, lo, &r, &better);
	x = s_op2(lo, finds_largest(b) ? OP_arith_max : OP_arith_min, r.acc[0],
		  s_select(lo, better, x, v0));
	nest_reduce_end(lo, &r, &x, &x);
	return x;
}

static struct value *fold_place(struct best *b, struct lower *lo,
				struct value *best)
{
	const struct expr *extent = expr_atom(op_body(b->fold)->iv[0])->a;
	enum dtype t = b->fold->out[1].type->dtype;
	bool last = finds_last(b);
	struct value *none = last ? s_int(lo, t, -1) : s_cast(lo, t, nest_value(lo, extent));
	struct reduce r = nest_reduce_begin(lo, 1, &extent, 1, &none);
	struct value *x, *better, *at;

	x = element(b, lo, &r, &better);
	better = s_op2(lo, OP_arith_and, better,
		       s_op2(lo, OP_arith_eq, x, best));
	at = s_select(lo, better, s_cast(lo, t, nest_value(lo, r.iv[0])),
		      none);
	at = s_op2(lo, last ? OP_arith_max : OP_arith_min, r.acc[0], at);
	nest_reduce_end(lo, &r, &at, &at);
	return s_select(lo, s_op2(lo, OP_arith_eq, at, none),
			b->fold->in[1].val, at);
}

static void split_statement(struct ctx *c, struct op *op)
{
	for (struct op *fold = op_body(op)->first, *next; fold; fold = next) {
		struct best b = { .ctx = c, .fold = fold };
		struct lower lo = { .b = { c, fold->parent, fold,
					   fold->loc } };

		next = fold->next;
		if (fold->code != OP_nest_reduce || !find_best(&b) ||
		    !pays(&b, op))
			continue;
		value_replace(&fold->out[1],
			      fold_place(&b, &lo, fold_best(&b, &lo)));
		op_erase(fold);
	}
}

static bool best_run(struct module *m, const struct pass_args *args)
{
	(void)args;
	if (m->ctx->target && m->ctx->target->gpu[0])
		each_statement(m->ctx, op_body(m->func), split_statement);
	return true;
}

PASS(best,
	.summary = "Find where the best element is in two free folds, for a "
		   "GPU",
	.needs = LEVEL_NEST,
	.run = best_run);
