/* SPDX-License-Identifier: Apache-2.0 */
/*
 * narrow: what follows a narrow number moves from its maker to its readers.
 *
 *	%a = nest.compute [i] { (f32(i32(u8(...))) - z) * s }
 *	%b = nest.compute [i] { load %a[i] + load %c[i] }
 * ->
 *	%a = nest.compute [i] { u8(...) }
 *	%b = nest.compute [i] { (f32(i32(load %a[i])) - z) * s + load %c[i] }
 *
 * Fusion takes a dequantization into the statement that quantizes; the four
 * times as many bytes would go through memory.  The steps behind the narrow
 * number have constants as their other operands.
 *
 * What is read in a fold, or with a guard, stays, since the steps would be
 * repeated there.  With `casts` a half float that is only widened is read
 * anywhere: tensor cores multiply it as it is.
 *
 * A maximum or minimum over such elements (a pooling window) is taken of the
 * narrow numbers when the steps keep their order.
 */
#include <math.h>

#include "base/vec.h"
#include "passes/nest/body.h"
#include "passes/nest/quantized.h"

enum { MAX_STEPS = 8 };

/* step[0] is applied last; its operand `from` is made by the others. */
struct chain {
	struct op *step[MAX_STEPS];
	unsigned at[MAX_STEPS];		/* the operand that is no constant */
	unsigned n;
	struct value *from;
};

/* ---- the steps ------------------------------------------------------ */

/* The operand of a step that is no constant; false when there are more. */
static bool only_operand(const struct op *op, unsigned *k)
{
	union scalar s;
	bool found = false;

	switch ((int)op->code) {
	case OP_arith_cast: case OP_arith_add: case OP_arith_sub:
	case OP_arith_mul: case OP_arith_max: case OP_arith_min:
		break;
	default: return false;
	}
	for (unsigned i = 0; i < op->n_in; i++) {
		if (scalar_const(op->in[i].val, &s))
			continue;
		if (found)
			return false;
		found = true;
		*k = i;
	}
	return found;
}

/* From the yielded value back to the narrowest one. */
static bool find_chain(const struct block *body, struct chain *ch)
{
	struct value *v = body->last->in[0].val;
	size_t size = dtype_size(v->type->dtype);
	unsigned steps = 0, k;

	*ch = (struct chain){ 0 };
	while (steps < MAX_STEPS && v->def && v->def->parent == body &&
	       only_operand(v->def, &k)) {
		ch->step[steps] = v->def;
		ch->at[steps++] = k;
		v = v->def->in[k].val;
		if (dtype_size(v->type->dtype) < size) {
			size = dtype_size(v->type->dtype);
			ch->from = v;
			ch->n = steps;
		}
	}
	return ch->from && ch->from->type->dtype != DT_BOOL;
}

/* The steps again, on another number. */
static struct value *apply(struct lower *lo, const struct chain *ch,
			   struct value *v)
{
	struct cloner cl = { .ctx = lo->b.ctx };

	clone_value(&cl, ch->from, v);
	v = clone_scalar(&cl, &lo->b, &ch->step[0]->out[0]);
	cloner_free(&cl);
	return v;
}

/* Does a larger number stay the larger, or an equal, one? */
static bool keeps_order(const struct chain *ch)
{
	for (unsigned i = 0; i < ch->n; i++) {
		const struct op *op = ch->step[i];
		const struct value *v = op->in[ch->at[i]].val;
		union scalar s;

		switch ((int)op->code) {
		case OP_arith_cast:
			/* Wrapping is none; to a wider type all are kept. */
			if (dtype_info[v->type->dtype].bits >=
				    dtype_info[op->out[0].type->dtype].bits &&
			    !dtype_is_float(op->out[0].type->dtype))
				return false;
			break;
		case OP_arith_sub:
			if (ch->at[i] != 0)
				return false;
			break;
		case OP_arith_mul:
			scalar_const(op->in[1 - ch->at[i]].val, &s);
			if (!dtype_is_float(v->type->dtype) || !(s.d > 0) ||
			    isinf(s.d))
				return false;
			break;
		case OP_arith_add: case OP_arith_max: case OP_arith_min:
			break;
		default: return false;
		}
		/* Sums of i32 near its ends would wrap. */
		if (!dtype_is_float(v->type->dtype) &&
		    op->code != OP_arith_cast &&
		    (dtype_info[v->type->dtype].bits < 32 ||
		     dtype_info[ch->from->type->dtype].bits > 16))
			return false;
	}
	return true;
}

/* ---- windows -------------------------------------------------------- */

/* The one variable of the block that the expression uses, or -1. */
static int only_variable(const struct expr *e, const struct block *b)
{
	int found = -1;

	for (uint32_t i = 0; i < b->n_iv; i++)
		if (expr_uses(e, expr_atom(b->iv[i]))) {
			if (found >= 0)
				return -1;
			found = (int)i;
		}
	return found;
}

/* A guard as a number: point * x + step * y + rest. */
struct line {
	int o, k;		/* variables of the statement and the fold */
	int64_t point, step, rest;
};

static bool line_of(struct ctx *c, const struct expr *g, const struct block *b,
		    const struct block *kb, struct line *l)
{
	const struct expr *x, *y, *r, *rest;

	l->o = only_variable(g, b);
	l->k = only_variable(g, kb);
	return l->o >= 0 && l->k >= 0 &&
	       expr_linear(c, g, expr_atom(b->iv[l->o]), &x, &r) &&
	       expr_linear(c, r, expr_atom(kb->iv[l->k]), &y, &rest) &&
	       expr_is_const(x, &l->point) && expr_is_const(y, &l->step) &&
	       expr_is_const(rest, &l->rest);
}

/* Is there a step in [0, nk) where all of these are met, for every point? */
static bool always_met(const struct line *l, size_t n, int64_t no, int64_t nk)
{
	for (int64_t x = 0; x < no; x++) {
		bool met = false;

		for (int64_t y = 0; y < nk && !met; y++) {
			met = true;
			for (size_t i = 0; i < n && met; i++)
				met = l[i].point * x + l[i].step * y +
					      l[i].rest >= 0;
		}
		if (!met)
			return false;
	}
	return true;
}

/* Is every guard of the load met for some step of the fold, wherever the
 * statement is?  Numbers answer that, dim by dim. */
static bool never_empty(struct ctx *c, const struct op *load,
			const struct block *b, const struct block *kb)
{
	enum { MANY = 1 << 16 };
	struct line l[2 * MAX_RANK], some[2 * MAX_RANK];
	size_t n;
	const struct expr *const *g = op_exprs(load, A_guard, &n);

	if (n > 2 * MAX_RANK)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!line_of(c, g[i], b, kb, &l[i]))
			return false;
	for (size_t i = 0; i < n; i++) {
		int64_t no, nk;
		size_t m = 0;

		for (size_t j = 0; j < n; j++) {
			if (l[j].k != l[i].k)
				continue;
			if (l[j].o != l[i].o)
				return false;
			some[m++] = l[j];
		}
		if (!expr_is_const(expr_atom(b->iv[l[i].o])->a, &no) ||
		    !expr_is_const(expr_atom(kb->iv[l[i].k])->a, &nk) ||
		    no > MANY || nk > MANY || !always_met(some, m, no, nk))
			return false;
	}
	return true;
}

/* The least or the greatest number of the type, as an integer. */
static int64_t extreme(enum dtype t, bool least)
{
	unsigned bits = dtype_info[t].bits;

	if (dtype_is_signed(t))
		return least ? -(INT64_C(1) << (bits - 1))
			     : (INT64_C(1) << (bits - 1)) - 1;
	return least ? 0 : (INT64_C(1) << bits) - 1;
}

/* The fold that takes the maximum or minimum of just this load. */
static struct op *window_of(struct op *load, bool *is_max)
{
	struct op *fold = op_parent(load), *best;
	const struct block *kb;
	union scalar s;

	if (fold->code != OP_nest_reduce || fold->n_in != 1)
		return NULL;
	kb = op_body(fold);
	best = def_of(kb->last->in[0].val, OP_arith_max);
	*is_max = best;
	if (!best)
		best = def_of(kb->last->in[0].val, OP_arith_min);
	if (!best || best->parent != kb || load->parent != kb ||
	    load->next != best || best->next != kb->last)
		return NULL;
	for (unsigned i = 0; i < 2; i++)
		if (best->in[i].val == kb->arg[0] &&
		    best->in[1 - i].val == &load->out[0])
			return scalar_const(fold->in[0].val, &s) &&
					       isinf(s.d) &&
					       (s.d < 0) == *is_max &&
					       (load->n_in == 1 ||
						(scalar_const(load->in[1].val,
							      &s) &&
						 isinf(s.d) &&
						 (s.d < 0) == *is_max))
				       ? fold
				       : NULL;
	return NULL;
}

static bool is_window(struct ctx *c, struct op *load)
{
	struct op *fold, *s;
	bool is_max;

	if (load->n_in > 2)
		return false;
	fold = window_of(load, &is_max);
	s = fold ? op_parent(fold) : NULL;
	return s && s->code == OP_nest_compute &&
	       never_empty(c, load, op_body(s), op_body(fold));
}

/* The window of narrow numbers, then the steps. */
static void move_behind_window(struct ctx *c, const struct chain *ch,
			       struct op *load, struct value *tensor)
{
	bool is_max;
	struct op *old = window_of(load, &is_max);
	const struct block *kb = op_body(old);
	struct lower lo = { .b = { c, old->parent, old, old->loc } };
	enum dtype t = tensor->type->dtype;
	struct value *v = s_int(&lo, t, extreme(t, is_max)), *end = v;
	const struct expr *extent[MAX_RANK], *e[MAX_RANK], *g[4 * MAX_RANK];
	struct cloner cl = { .ctx = c };
	size_t n, n_guard;
	const struct expr *const *idx = op_exprs(load, A_idx, &n);
	const struct expr *const *guard = op_exprs(load, A_guard, &n_guard);

	for (uint32_t i = 0; i < kb->n_iv; i++)
		extent[i] = expr_atom(kb->iv[i])->a;
	struct reduce r = nest_reduce_begin(&lo, kb->n_iv, extent, 1, &v);

	for (uint32_t i = 0; i < kb->n_iv; i++)
		clone_iv(&cl, kb->iv[i], r.iv[i]);
	for (size_t i = 0; i < n; i++)
		e[i] = clone_expr(&cl, idx[i]);
	for (size_t i = 0; i < n_guard; i++)
		g[i] = clone_expr(&cl, guard[i]);
	v = nest_load_guarded(&lo, tensor, e, (unsigned)n_guard, g,
			      n_guard ? end : NULL);
	v = s_op2(&lo, is_max ? OP_arith_max : OP_arith_min, r.acc[0], v);
	nest_reduce_end(&lo, &r, &v, &v);
	cloner_free(&cl);
	value_replace(&old->out[0], apply(&lo, ch, v));
	op_erase(old);
}

/* ---- statements ----------------------------------------------------- */

struct readers {
	struct ctx *ctx;
	bool casts;			/* may move into folds */
	VEC(struct op *) v;
};

/* Is a half float widened, and nothing else? */
static bool only_widens(const struct chain *ch)
{
	return ch->n == 1 && ch->step[0]->code == OP_arith_cast &&
	       dtype_is_half(ch->from->type->dtype) &&
	       ch->step[0]->out[0].type->dtype == DT_F32;
}

/* What a load has where a guard fails, when that is such a half float. */
static bool fits_other(const struct op *load, const struct chain *ch,
		       union scalar *s)
{
	if (load->n_in != 2 || !scalar_const(load->in[1].val, s))
		return false;
	union scalar w = scalar_wrap(ch->from->type->dtype, *s);

	return w.d == s->d;
}

/* Can each reader do the steps itself, about once for each element? */
static bool find_readers(struct readers *r, const struct chain *ch,
			 const struct value *v)
{
	bool anywhere = r->casts && only_widens(ch);
	union scalar s;
	size_t n;

	for (const struct use *u = v->uses; u; u = u->next) {
		struct op *load = u->user;

		if (load->code != OP_nest_load || u != &load->in[0])
			return false;
		op_exprs(load, A_guard, &n);
		if (anywhere && n && !fits_other(load, ch, &s))
			return false;
		if (!anywhere && op_parent(load)->code == OP_nest_reduce) {
			if (!keeps_order(ch) || !is_window(r->ctx, load))
				return false;
		} else if (!anywhere && n) {
			return false;
		}
		vec_push(&r->v, load);
	}
	return r->v.n;
}

static void move(struct ctx *c, const struct chain *ch, struct op *load,
		 struct value *tensor, bool anywhere)
{
	struct lower lo = { .b = { c, load->parent, load, load->loc } };
	enum dtype t = tensor->type->dtype;
	union scalar other;
	size_t n;

	if (!anywhere && op_parent(load)->code == OP_nest_reduce) {
		move_behind_window(c, ch, load, tensor);
		return;
	}
	struct value *end = (op_exprs(load, A_guard, &n), n) &&
					    fits_other(load, ch, &other)
				    ? s_const(&lo, t, other.d)
				    : NULL;
	struct cloner cl = { .ctx = c };
	struct op *copy = clone_op(&cl, &lo.b, load);

	cloner_free(&cl);
	op_set_in(copy, 0, tensor);
	if (end)
		op_set_in(copy, 1, end);
	copy->out[0].type = type_scalar(c, t);
	value_replace(&load->out[0], apply(&lo, ch, &copy->out[0]));
	op_erase(load);
}

static void narrow_result(struct ctx *c, struct op *s, bool casts)
{
	struct readers r = { .ctx = c, .casts = casts };
	struct chain ch;

	if (s->n_out == 1 && find_chain(op_body(s), &ch) &&
	    find_readers(&r, &ch, &s->out[0])) {
		const struct type *t = s->out[0].type;
		bool anywhere = casts && only_widens(&ch);

		op_set_in(op_body(s)->last, 0, ch.from);
		s->out[0].type = type_tensor(c, ch.from->type->dtype, t->rank,
					     t->dim);
		for (size_t i = 0; i < r.v.n; i++)
			move(c, &ch, r.v.v[i], &s->out[0], anywhere);
		erase_dead(op_body(s));
	}
	vec_free(&r.v);
}

static void narrow_statement(struct ctx *c, struct op *s)
{
	narrow_result(c, s, false);
}

static void narrow_any(struct ctx *c, struct op *s)
{
	narrow_result(c, s, true);
}

static bool narrow_run(struct module *m, const struct pass_args *args)
{
	if (!m->ctx->strict_qdq)
		each_statement(m->ctx, op_body(m->func),
			       args->param[0] ? narrow_any : narrow_statement);
	erase_dead(op_body(m->func));
	return true;
}

PASS(narrow,
	.summary = "Move what widens a result to the statements that read it",
	.needs = LEVEL_NEST, .leaves = LEVEL_NEST,
	.param = { { "casts", 0, "1: half floats are widened in folds, too" } },
	.run = narrow_run);
