/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements that read one another are computed strip by strip:
 *
 *	%v = nest.compute {strip = [1, 0, 4]} [i < 14, ...] { ... }
 *	%y = nest.compute {strip = [0, 0, 8]} [i < 28, ...] { ... v[i div 2] }
 * ->
 *	%y = mem.alloc
 *	loop.seq [s < 3] {
 *	  %v = ...	rows 4*s to 4*s + 3
 *	  ...		rows 8*s to 8*s + 7 of %y
 *	}
 *	%v = ...	the last two rows
 *	...		the last four rows of %y
 *
 * so that what is between them stays in cache.  The dims after `strip` are
 * split one inside of the other.  What is left over is a strip of its own size,
 * so that all sizes stay constants.
 */
#include <string.h>

#include "ir/op.h"
#include "passes/loop/lower.h"

struct chain {
	struct ctx *ctx;
	struct builder b;
	unsigned n, n_pair;
	struct value *out;		/* of the last statement */
};

/* A part of each statement: where it starts, by pair. */
struct part {
	struct op *op[MAX_CHAIN];
	const struct expr *from[MAX_CHAIN][MAX_RANK];
};

static int64_t pair(const struct op *op, unsigned pair, unsigned i)
{
	size_t n;

	return op_ints(op, A_strip, &n)[1 + 2 * pair + i];
}

/* ---- which statements ----------------------------------------------- */

struct search {
	const struct op *reader;
	int64_t left;
	struct op *found;
};

static void look(void *arg, struct op *op)
{
	struct search *s = arg;
	struct op *p = op->code == OP_nest_load
			       ? def_of(op->in[0].val, OP_nest_compute)
			       : NULL;
	size_t n;

	if (p && p->parent == s->reader->parent && op_has(p, A_strip) &&
	    op_ints(p, A_strip, &n)[0] == s->left)
		s->found = p;
}

static bool read_only_by(const struct value *v, const struct op *reader)
{
	for (const struct use *u = v->uses; u; u = u->next) {
		const struct op *op = u->user;

		while (op && op->code != OP_nest_compute)
			op = op_parent(op);
		if (op != reader || u->user->code != OP_nest_load)
			return false;
	}
	return true;
}

static bool well_formed(const struct op *op, size_t want)
{
	size_t n;
	const int64_t *v = op_ints(op, A_strip, &n);

	if (n < 3 || n % 2 == 0 || n / 2 > MAX_RANK || (want && n != want) ||
	    op->n_out != 1 || op_has(op, A_idx))
		return false;
	for (size_t i = 1; i < n; i += 2)
		if (v[i] < 0 || v[i] >= op_body(op)->n_iv || v[i + 1] < 1)
			return false;
	return true;
}

unsigned strip_chain(struct op *last, struct op **chain)
{
	struct search s = { .reader = last };
	unsigned n = 1;
	size_t want = 0;

	if (!op_has(last, A_strip) || !well_formed(last, 0))
		return 0;
	op_ints(last, A_strip, &want);
	if (op_ints(last, A_strip, &want)[0] != 0)
		return 0;
	chain[MAX_CHAIN - 1] = last;
	for (; n < MAX_CHAIN; n++) {
		s.left = n;
		s.found = NULL;
		block_walk(op_body(s.reader), look, &s);
		if (!s.found || !well_formed(s.found, want) ||
		    !read_only_by(&s.found->out[0], s.reader))
			break;
		chain[MAX_CHAIN - 1 - n] = s.found;
		s.reader = s.found;
	}
	memmove(chain, chain + MAX_CHAIN - n, n * sizeof(*chain));
	return n > 1 ? n : 0;
}

bool strip_later(struct op *op)
{
	struct op *last = op, *chain[MAX_CHAIN];

	/* Forward to the end of the chain that would take it in. */
	for (unsigned i = 0; i < MAX_CHAIN; i++) {
		size_t n;

		if (!op_has(last, A_strip))
			return false;
		if (op_ints(last, A_strip, &n)[0] == 0)
			break;
		struct op *next = last->out[0].uses
					  ? last->out[0].uses->user
					  : NULL;

		while (next && next->code != OP_nest_compute)
			next = op_parent(next);
		if (!next || next->parent != op->parent)
			return false;
		last = next;
	}
	for (unsigned i = strip_chain(last, chain); i-- > 0;)
		if (chain[i] == op)
			return op != last;
	return false;
}

/* ---- parts ---------------------------------------------------------- */

struct shift {
	struct ctx *ctx;
	const struct value *of;
	unsigned dim;
	const struct expr *by;
};

static void shift_load(void *arg, struct op *op)
{
	struct shift *s = arg;
	const struct expr *e[MAX_RANK];
	size_t n;

	if (op->code != OP_nest_load || op->in[0].val != s->of)
		return;
	memcpy(e, op_exprs(op, A_idx, &n), op->in[0].val->type->rank *
						   sizeof(*e));
	e[s->dim] = expr_sub(s->ctx, e[s->dim], s->by);
	op_set_exprs(s->ctx, op, A_idx, n, e);
}

/* The points from..from+extent of a dim as a statement of their own; cl maps
 * the statement before it to its part. */
static struct op *take_part(struct chain *ch, struct cloner *cl,
			    const struct op *op, unsigned dim,
			    const struct expr *from,
			    const struct expr *extent)
{
	struct ctx *c = ch->ctx;
	const struct type *t = op->out[0].type;
	const struct expr *dims[MAX_RANK];

	memcpy(dims, t->dim, t->rank * sizeof(*dims));
	dims[dim] = extent;
	t = type_tensor(c, t->dtype, t->rank, dims);
	struct op *part = build(&ch->b, &(struct op_spec){
						.code = OP_nest_compute,
						.n_out = 1, .out = &t,
						.n_attr = op->n_attr,
						.attr = op->attr,
						.n_region = 1 });
	struct block *to = op_body(part), *body = op_body(op);
	struct builder in = { c, to, NULL, op->loc };

	for (uint32_t i = 0; i < body->n_iv; i++) {
		const struct expr *iv = block_add_iv(c, to, dims[i]);

		clone_iv(cl, body->iv[i],
			 i == dim ? expr_add(c, iv, from) : iv);
	}
	clone_op(cl, &in, clone_body(cl, &in, body));
	part->out[0].layout = op->out[0].layout;
	part->loc = op->loc;
	clone_value(cl, &op->out[0], &part->out[0]);
	return part;
}

/* One strip of every statement. */
static struct part take_strip(struct chain *ch, const struct part *whole,
			      unsigned level, const struct expr *number,
			      bool rest)
{
	struct ctx *c = ch->ctx;
	struct cloner cl = { .ctx = c };
	struct part p = *whole;
	struct shift s = { .ctx = c };

	for (unsigned i = 0; i < ch->n; i++) {
		const struct op *op = whole->op[i];
		unsigned dim = (unsigned)pair(op, level, 0);
		int64_t size = pair(op, level, 1);
		const struct expr *from = expr_scale(c, number, size);
		const struct expr *all = op->out[0].type->dim[dim];

		p.op[i] = take_part(ch, &cl, op, dim, from,
				    rest ? expr_sub(c, all, from)
					 : expr_const(c, size));
		p.from[i][level] = from;
		if (s.of)
			block_walk(op_body(p.op[i]), shift_load, &s);
		s.of = &p.op[i]->out[0];
		s.dim = dim;
		s.by = from;
	}
	cloner_free(&cl);
	return p;
}

/* ---- emission ------------------------------------------------------- */

/* The part of the last statement is lowered to a buffer of its own, whose
 * stores then go to their place in the whole. */
static void lower_last(struct chain *ch, struct part *p)
{
	struct ctx *c = ch->ctx;
	unsigned last = ch->n - 1;
	struct op *op = p->op[last];
	const struct expr *from[MAX_RANK];
	struct value *part = new_buffer(&ch->b, &op->out[0]);
	struct op *alloc = part->def;
	unsigned rank = part->type->rank;

	for (unsigned i = 0; i < rank; i++)
		from[i] = expr_const(c, 0);
	for (unsigned i = 0; i < ch->n_pair; i++)
		if (p->from[last][i])
			from[pair(op, i, 0)] = p->from[last][i];
	lower_statement(c, op, part);
	for (struct use *u = part->uses, *next; u; u = next) {
		const struct expr *e[MAX_RANK];
		size_t n;
		const struct expr *const *idx = op_exprs(u->user, A_idx, &n);

		next = u->next;
		for (size_t i = 0; i < n; i++)
			e[i] = expr_add(c, idx[i], from[i]);
		op_set_exprs(c, u->user, A_idx, n, e);
		op_set_in(u->user, 1, ch->out);
	}
	op_erase(alloc);
}

static void lower_part(struct chain *ch, struct part *p, unsigned level)
{
	struct ctx *c = ch->ctx;
	unsigned last = ch->n - 1;

	if (level == ch->n_pair) {
		for (unsigned i = 0; i < last; i++)
			lower_statement(c, p->op[i], NULL);
		lower_last(ch, p);
		return;
	}
	const struct op *op = p->op[last];
	const struct expr *all =
		op->out[0].type->dim[pair(op, level, 0)];
	const struct expr *size = expr_const(c, pair(op, level, 1));
	const struct expr *whole = expr_div(c, all, size), *iv;
	struct builder saved = ch->b;
	struct part strip;

	if (!expr_is(whole, 0)) {
		struct op *seq = build(&ch->b, &(struct op_spec){
						       .code = OP_loop_seq,
						       .n_region = 1 });

		iv = block_add_iv(c, op_body(seq), whole);
		ch->b.block = op_body(seq);
		ch->b.before = build(
			&(struct builder){ c, op_body(seq), NULL, op->loc },
			&(struct op_spec){ .code = OP_loop_yield });
		strip = take_strip(ch, p, level, iv, false);
		lower_part(ch, &strip, level + 1);
		ch->b = saved;
	}
	if (expr_is(expr_mod(c, all, size), 0))
		goto erase;
	strip = take_strip(ch, p, level, whole, true);
	lower_part(ch, &strip, level + 1);
erase:
	/* The parts of the level above are only patterns. */
	for (unsigned i = ch->n; i-- > 0 && level;)
		op_erase(p->op[i]);
}

bool lower_strips(struct ctx *c, struct op *last)
{
	struct chain ch = { .ctx = c,
			    .b = { c, last->parent, last, last->loc } };
	struct part whole = { .op = { NULL } };
	size_t n;

	ch.n = strip_chain(last, whole.op);
	if (!ch.n)
		return false;
	op_ints(last, A_strip, &n);
	ch.n_pair = (unsigned)n / 2;
	ch.out = new_buffer(&ch.b, &last->out[0]);
	lower_part(&ch, &whole, 0);
	value_replace(&last->out[0], ch.out);
	for (unsigned i = ch.n; i-- > 0;)
		op_erase(whole.op[i]);
	return true;
}
