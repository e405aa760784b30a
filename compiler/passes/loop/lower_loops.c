/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_loops: statements become kernels of loops over buffers.
 *
 *	%y = nest.compute [i < M, j < N] { ... }
 * ->
 *	%y = mem.alloc
 *	loop.kernel [i < M] {
 *	  ... what does not depend on j ...
 *	  loop.for [j < N] {width = 16} { ...; mem.store }
 *	}
 *
 * Each scalar op is placed in the outermost loop that defines what it needs,
 * so the folds of a softmax run once per row although the statement mentions
 * them per element.  Loops follow the memory order of the result.
 */
#include <string.h>

#include "ir/op.h"
#include "ir/target.h"
#include "passes/loop/lower.h"
#include "passes/loop/schedule.h"
#include "passes/nest/body.h"
#include "passes/pass.h"

enum {
	MIN_TASK = 16384,	/* scalar steps worth a task of the pool */
	VECTOR_UNROLL = 4,	/* independent accumulators of a fold */
	MAX_STRAIGHT = 32,	/* steps of a small fold without a loop */
};

struct emitter {
	struct schedule plan;
	struct builder b;
	struct cloner cl;
	const struct expr *hoisted;	/* extent of a loop yet to be opened
					 * and maybe empty, or NULL */
	struct value *out[MAX_OUTS * 2];
};

static void emit_op(struct emitter *s, struct op *op, bool lanes);

void clone_digits(struct cloner *cl, unsigned n, const struct expr *const *iv,
		  const struct expr *number)
{
	struct ctx *c = cl->ctx;

	for (unsigned i = n; i-- > 0;) {
		const struct expr *e = clone_expr(cl, expr_atom(iv[i])->a);

		clone_iv(cl, iv[i], i ? expr_mod(c, number, e) : number);
		number = expr_div(c, number, e);
	}
}

static const struct expr *all_points(struct emitter *s, unsigned n,
				     const struct expr *const *iv)
{
	struct ctx *c = s->plan.ctx;
	const struct expr *all = expr_const(c, 1);

	for (unsigned i = 0; i < n; i++)
		all = expr_mul(c, all, expr_atom(iv[i])->a);
	return clone_expr(&s->cl, all);
}

/* The loops of a fold; how many.  Threads that share it count its variables as
 * one. */
static unsigned open_fold(struct emitter *s, struct op *op, bool vec,
			  struct value **acc, struct op **loops)
{
	struct block *body = op_body(op);
	unsigned n = body->n_iv, lanes = s->plan.lanes;
	bool one = vec && n > 1 && s->plan.ctx->target->gpu[0];
	int64_t steps = 1, all = 1;

	for (unsigned k = 0; k < n && steps <= MAX_STRAIGHT; k++)
		steps *= extent_or(body->iv[k], MAX_STRAIGHT + 1);
	for (unsigned k = 0; k < n; k++)
		all = work_times(all, extent_or(body->iv[k], 1000));
	one = one && lanes > 1 && all >= (int64_t)lanes;
	if (one)
		n = 1;
	for (unsigned k = 0; k < n; k++) {
		const struct expr *iv, *ext;
		bool wide = vec && k + 1 == n &&
			    (one || extent_or(body->iv[k], 1000) >=
					    (int64_t)lanes);
		/* A window's few taps are written out. */
		int64_t out = steps <= MAX_STRAIGHT
				      ? extent_or(body->iv[k], 1)
				      : 1;

		ext = all_points(s, one ? body->n_iv : 1, body->iv + k);
		loops[k] = build_for(&s->b, ext, wide ? lanes : 1,
				     wide && (lanes > 1 || out <= 1)
					     ? VECTOR_UNROLL
					     : (unsigned)(out > 1 ? out : 1),
				     op->n_in, acc, &iv);
		clone_digits(&s->cl, one ? body->n_iv : 1, body->iv + k, iv);
		for (unsigned i = 0; i < op->n_in; i++)
			acc[i] = op_body(loops[k])->arg[i];
	}
	return n;
}

/* A fold becomes a nest of loops that carry its values. */
static void emit_fold(struct emitter *s, struct op *op, bool lanes)
{
	struct block *body = op_body(op);
	struct op *loops[MAX_RANK];
	struct value *acc[MAX_RANK], *next[MAX_RANK];
	unsigned n_acc = op->n_in, n;
	bool vec = lanes && fold_in_lanes(s->plan.ctx, op);

	for (unsigned i = 0; i < n_acc; i++)
		acc[i] = cloned(&s->cl, op->in[i].val);
	if (no_points(body)) {
		for (unsigned i = 0; i < n_acc; i++)
			clone_value(&s->cl, &op->out[i], acc[i]);
		return;
	}
	n = open_fold(s, op, vec, acc, loops);
	for (unsigned i = 0; i < n_acc; i++)
		clone_value(&s->cl, body->arg[i], acc[i]);
	for (struct op *o = body->first; o != body->last; o = o->next)
		emit_op(s, o, lanes);
	for (unsigned i = 0; i < n_acc; i++)
		next[i] = cloned(&s->cl, body->last->in[i].val);
	for (unsigned k = n; k-- > 0;) {
		build_for_end(&s->b, loops[k], n_acc, next);
		for (unsigned i = 0; i < n_acc; i++)
			next[i] = &loops[k]->out[i];
	}
	for (unsigned i = 0; i < n_acc; i++)
		clone_value(&s->cl, &op->out[i], next[i]);
}

static void emit_op(struct emitter *s, struct op *op, bool lanes)
{
	if (op->code == OP_nest_reduce) {
		emit_fold(s, op, lanes);
		return;
	}
	if (op->code == OP_nest_load)
		lower_load(&s->cl, &s->b, op, s->hoisted);
	else
		clone_op(&s->cl, &s->b, op);
}

/*
 * The least extent of the loops that are yet to be opened and may have no
 * points, or NULL.  The kernel's own are around this or have none.
 */
static const struct expr *empty_loops(const struct emitter *s, unsigned level)
{
	unsigned own = s->plan.n_par + (s->plan.chunk != 0);
	const struct expr *least = NULL;

	for (unsigned k = level > own ? level : own; k < s->plan.n_loop; k++) {
		const struct expr *n = expr_atom(s->plan.iv[k])->a;

		least = least ? expr_min(s->plan.ctx, least, n) : n;
	}
	return least;
}

static void emit_level(struct emitter *s, unsigned level)
{
	struct block *body = op_body(s->plan.op);
	/* Folds run in lanes outside of a loop that does. */
	bool lanes =
		s->plan.vec_loop < 0 || level <= (unsigned)s->plan.vec_loop;

	s->hoisted = empty_loops(s, level);
	for (struct op *op = body->first; op != body->last; op = op->next)
		if (s->plan.level[op->out[0].slot] == level)
			emit_op(s, op, lanes);
	if (level < s->plan.n_loop)
		return;
	for (unsigned i = 0; i < s->plan.op->n_out; i++) {
		const struct expr *idx[MAX_RANK];
		struct value *in[] = { cloned(&s->cl, body->last->in[i].val),
				       s->out[i] };

		unsigned rank = s->out[i]->type->rank;

		for (unsigned k = 0; k < rank; k++)
			idx[k] = clone_expr(&s->cl, point_index(s->plan.op)[k]);
		struct named_attr attr = { A_idx, attr_exprs(s->plan.ctx, rank,
							     idx) };

		build(&s->b, &(struct op_spec){ .code = OP_mem_store,
						.n_in = 2, .in = in,
						.n_attr = 1, .attr = &attr });
	}
}

/* Are the loops from there on one for the threads that share them, since
 * nothing is between them? */
static bool are_one(const struct emitter *s, unsigned from)
{
	const struct block *body = op_body(s->plan.op);

	if (!s->plan.ctx->target->gpu[0] || s->plan.chunk ||
	    s->plan.vec_loop < (int)from ||
	    s->plan.unit + 1 != s->plan.n_loop || s->plan.n_loop < from + 2)
		return false;
	for (const struct op *op = body->first; op != body->last;
	     op = op->next) {
		unsigned level = s->plan.level[op->out[0].slot];

		if ((level > from && level < s->plan.n_loop) ||
		    (level > from && op->code == OP_nest_reduce))
			return false;
	}
	return true;
}

static void emit_inner(struct emitter *s, unsigned from)
{
	struct op *loops[MAX_RANK];

	emit_level(s, from);
	if (are_one(s, from)) {
		unsigned n = s->plan.n_loop - from;
		const struct expr *iv;

		loops[0] = build_for(&s->b,
				     all_points(s, n, s->plan.iv + from),
				     s->plan.lanes, 1, 0, NULL, &iv);
		clone_digits(&s->cl, n, s->plan.iv + from, iv);
		emit_level(s, s->plan.n_loop);
		build_for_end(&s->b, loops[0], 0, NULL);
		return;
	}
	for (unsigned k = from; k < s->plan.n_loop; k++) {
		const struct expr *iv, *ext;
		bool wide = s->plan.vec_loop == (int)k;

		ext = clone_expr(&s->cl, expr_atom(s->plan.iv[k])->a);
		loops[k] = build_for(&s->b, ext, wide ? s->plan.lanes : 1, 1, 0,
				     NULL, &iv);
		clone_iv(&s->cl, s->plan.iv[k], iv);
		emit_level(s, k + 1);
	}
	for (unsigned k = s->plan.n_loop; k-- > from;)
		build_for_end(&s->b, loops[k], 0, NULL);
}

/* The first loop that is not the kernel's, over one chunk; the kernel's last
 * variable counts these. */
static struct op *open_chunk(struct emitter *s, const struct expr *number)
{
	struct ctx *c = s->plan.ctx;
	const struct expr *all = s->plan.iv[s->plan.n_par], *iv;
	const struct expr *lo = expr_scale(c, number, s->plan.chunk);
	const struct expr *left = expr_sub(c, expr_atom(all)->a, lo);
	struct op *loop = build_for(
		&s->b, expr_min(c, expr_const(c, s->plan.chunk), left),
		s->plan.vec_loop == (int)s->plan.n_par ? s->plan.lanes : 1, 1,
		0, NULL, &iv);

	clone_iv(&s->cl, all, expr_add(c, lo, iv));
	return loop;
}

static void emit_kernel(struct emitter *s)
{
	struct ctx *c = s->plan.ctx;
	int64_t per_point = body_work(op_body(s->plan.op)), grain;
	struct op *k = build(&s->b, &(struct op_spec){ .code = OP_loop_kernel,
						       .n_region = 1 });
	struct block *kb = op_body(k);
	unsigned own = s->plan.n_par + (s->plan.chunk != 0);
	const struct expr *number = NULL;
	struct op *loop = NULL;

	s->b.block = kb;
	s->b.before = NULL;
	for (unsigned i = 0; i < s->plan.n_par; i++)
		clone_iv(&s->cl, s->plan.iv[i],
			 block_add_iv(c, kb, expr_atom(s->plan.iv[i])->a));
	if (s->plan.chunk)
		number = block_add_iv(
			c, kb,
			expr_ceildiv(c, expr_atom(s->plan.iv[s->plan.n_par])->a,
				     expr_const(c, s->plan.chunk)));
	for (unsigned i = 0; i < own; i++)
		emit_level(s, i);
	if (s->plan.chunk)
		loop = open_chunk(s, number);
	emit_inner(s, own);
	if (loop)
		build_for_end(&s->b, loop, 0, NULL);
	for (unsigned i = own; i < s->plan.n_loop; i++)
		per_point =
			work_times(per_point, extent_or(s->plan.iv[i], 256));
	per_point = work_times(per_point, s->plan.chunk ? s->plan.chunk : 1);
	grain = MIN_TASK / (per_point < 1 ? 1 : per_point);
	op_set_int(c, k, A_grain, grain < 1 ? 1 : grain);
	s->b.block = k->parent;
	s->b.before = k->next;
}

struct value *new_buffer(struct builder *b, const struct value *like)
{
	struct op *op = build(b, &(struct op_spec){ .code = OP_mem_alloc,
						    .n_out = 1,
						    .out = &like->type });

	op->out[0].layout = like->layout;
	op->out[0].name = like->name;
	return &op->out[0];
}

static void lower_compute(struct ctx *c, struct op *op,
			  struct value *const *into)
{
	struct emitter s = { .b = { c, op->parent, op, op->loc },
			     .cl = { .ctx = c } };

	for (unsigned i = 0; i < op->n_out; i++)
		s.out[i] = into && into[i] ? into[i]
					   : new_buffer(&s.b, &op->out[i]);
	if (!no_points(op_body(op))) {
		s.plan = schedule_make(c, op);
		emit_kernel(&s);
	}
	for (unsigned i = 0; i < op->n_out; i++)
		value_replace(&op->out[i], s.out[i]);
	cloner_free(&s.cl);
	op_erase(op);
}

void lower_statement(struct ctx *c, struct op *op, struct value *into)
{
	if (no_points(op_body(op)) ||
	    (!lower_contraction(c, op, into) && !lower_tile(c, op, into) &&
	     !lower_jam(c, op, into) && !lower_lanes(c, op, into)))
		lower_compute(c, op, into ? &into : NULL);
}

/* ---- recurrences ---------------------------------------------------- */

static void lower_block(struct ctx *c, struct block *b);

/* dst[i..] = src[i..], or one slice of it at `at`; one of both may have one
 * leading dim more. */
static void copy_tensor(struct builder *b, struct value *src,
			struct value *dst, const struct expr *at)
{
	struct ctx *c = b->ctx;
	struct lower lo = { .b = *b };
	const struct type *t = src->type;
	struct nest s = nest_begin(&lo, 1, &t);
	struct value *v = nest_load(&lo, src, s.iv), *y;

	nest_end(&lo, &s, 1, &v, &y);
	if (!at) {
		lower_compute(c, s.op, &dst);
		return;
	}
	/* The slice is a buffer of the same shape: its stores get an index
	 * more. */
	struct value *into = new_buffer(b, y);
	struct op *alloc = into->def;

	lower_compute(c, s.op, &into);
	for (struct use *u = into->uses, *next; u; u = next) {
		const struct expr *idx[MAX_RANK + 1] = { at };
		size_t n;
		const struct expr *const *old = op_exprs(u->user, A_idx, &n);

		next = u->next;
		memcpy(idx + 1, old, n * sizeof(*idx));
		op_set_exprs(c, u->user, A_idx, n + 1, idx);
		op_set_in(u->user, 1, dst);
	}
	op_erase(alloc);
}

/*
 * A recurrence becomes a loop of kernels.  The states live in buffers of
 * their own; the next states are computed beside them and copied over when
 * all are there, because a step may read any old state.
 */
static void lower_scan(struct ctx *c, struct op *op)
{
	struct builder b = { c, op->parent, op, op->loc };
	struct block *body = op_body(op);
	unsigned n_state = body->n_arg;
	struct value **out = NEW_ARRAY(&c->temp, op->n_out + 1u,
				       struct value *);
	struct cloner cl = { .ctx = c };

	for (unsigned i = 0; i < op->n_out; i++) {
		out[i] = new_buffer(&b, &op->out[i]);
		if (i < n_state)
			copy_tensor(&b, op->in[i].val, out[i], NULL);
	}
	struct op *seq = build(&b, &(struct op_spec){ .code = OP_loop_seq,
						      .n_region = 1 });
	struct builder in = { c, op_body(seq), NULL, op->loc };
	const struct expr *t = block_add_iv(
		c, op_body(seq), clone_expr(&cl, expr_atom(body->iv[0])->a));

	clone_iv(&cl, body->iv[0], t);
	for (unsigned i = 0; i < n_state; i++)
		clone_value(&cl, body->arg[i], out[i]);
	const struct op *y = clone_body(&cl, &in, body);
	struct value **next = NEW_ARRAY(&c->temp, op->n_out + 1u,
					struct value *);

	for (unsigned i = 0; i < op->n_out; i++)
		next[i] = cloned(&cl, y->in[i].val);
	/* A statement's results change when it is lowered: keep them in an
	 * op that is told. */
	struct op *hold = build(&in, &(struct op_spec){ .code = OP_loop_yield,
							.n_in = op->n_out,
							.in = next });

	lower_block(c, op_body(seq));
	in.before = hold;
	for (unsigned i = n_state; i < op->n_out; i++)
		copy_tensor(&in, hold->in[i].val, out[i], t);
	for (unsigned i = 0; i < n_state; i++) {
		struct value *v = hold->in[i].val;

		/* A state that becomes another one must not be overwritten
		 * first. */
		if (v->def && v->def->code == OP_mem_alloc &&
		    v->def->parent == op_body(seq))
			continue;
		struct value *beside = new_buffer(&in, v);

		copy_tensor(&in, v, beside, NULL);
		op_set_in(hold, i, beside);
	}
	for (unsigned i = 0; i < n_state; i++)
		copy_tensor(&in, hold->in[i].val, out[i], NULL);
	op_erase(hold);
	build(&(struct builder){ c, op_body(seq), NULL, op->loc },
	      &(struct op_spec){ .code = OP_loop_yield });
	for (unsigned i = 0; i < op->n_out; i++)
		value_replace(&op->out[i], out[i]);
	cloner_free(&cl);
	op_erase(op);
}

static void lower_block(struct ctx *c, struct block *b)
{
	/* Before what these read is lowered by itself. */
	for (struct op *op = b->first, *next; op; op = next) {
		next = op->next;
		if (op->code == OP_nest_compute)
			lower_attend(c, op);
	}
	for (struct op *op = b->first, *next; op; op = next) {
		next = op->next;
		if (op->code == OP_core_scan)
			lower_scan(c, op);
		else if (op->code == OP_nest_compute && !strip_later(op) &&
			 !lower_strips(c, op))
			lower_statement(c, op, NULL);
	}
}

static bool lower_loops_run(struct module *m, const struct pass_args *args)
{
	(void)args;
	lower_block(m->ctx, op_body(m->func));
	return true;
}

PASS(lower_loops,
	.summary = "Turn statements into kernels of loops over buffers",
	.needs = LEVEL_NEST, .leaves = LEVEL_LOOP,
	.run = lower_loops_run);
