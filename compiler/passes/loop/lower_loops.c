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
#include "passes/nest/body.h"
#include "passes/pass.h"

enum {
	MIN_TASK = 16384,	/* scalar steps worth a task of the pool */
	CHUNK = 4096,		/* elements of a one-loop statement's task */
	COLUMNS = 64,		/* of a task that goes down columns */
	VECTOR_UNROLL = 4,	/* independent accumulators of a fold */
	MAX_STRAIGHT = 32,	/* steps of a small fold without a loop */
};

struct sched {
	struct ctx *ctx;
	struct op *op;			/* the nest.compute */
	struct builder b;
	struct cloner cl;
	unsigned n_loop, n_par;		/* the kernel's own come first */
	const struct expr *iv[MAX_RANK];	/* of op, in loop order */
	unsigned unit;			/* the loop along the result's memory */
	uint32_t *level;		/* by value->slot: loops it needs */
	int64_t chunk;			/* of the loop after these; 0: not cut */
	int vec_loop;			/* loop that runs in lanes, or -1 */
	bool vec_reduce;		/* folds run in lanes instead */
	unsigned lanes;
	const struct expr *hoisted;	/* extent of a loop yet to be opened
					 * and maybe empty, or NULL */
	struct value *out[MAX_OUTS * 2];
};

/* ---- analysis --------------------------------------------------------- */

struct expr_level {
	const struct sched *s;
	const struct block *own;	/* its variables do not count */
	unsigned level;
};

static void visit_iv(void *arg, const struct atom *a)
{
	struct expr_level *l = arg;

	for (unsigned i = 0; i < l->s->n_loop; i++)
		if (expr_atom(l->s->iv[i]) == a && i + 1 > l->level)
			l->level = i + 1;
}

static unsigned block_level(const struct sched *s, const struct block *b);

static unsigned op_level(const struct sched *s, const struct op *op)
{
	struct expr_level l = { s, NULL, 0 };

	for (unsigned i = 0; i < op->n_in; i++) {
		const struct value *v = op->in[i].val;

		if (v->type->kind == TY_SCALAR && s->level[v->slot] > l.level)
			l.level = s->level[v->slot];
	}
	for (unsigned i = 0; i < op->n_attr; i++) {
		const struct attr *a = op->attr[i].val;

		if (a->kind == AT_EXPRS)
			for (size_t k = 0; k < a->n; k++)
				expr_visit(a->exprs[k], visit_iv, &l);
	}
	for (unsigned i = 0; i < op->n_region; i++) {
		unsigned inner = block_level(s, op->region[i].block);

		if (inner > l.level)
			l.level = inner;
	}
	return l.level;
}

static unsigned block_level(const struct sched *s, const struct block *b)
{
	struct expr_level l = { s, b, 0 };

	for (unsigned i = 0; i < b->n_iv; i++)
		expr_visit(expr_atom(b->iv[i])->a, visit_iv, &l);
	for (const struct op *op = b->first; op; op = op->next) {
		unsigned k = op_level(s, op);

		if (k > l.level)
			l.level = k;
	}
	return l.level;
}

/*
 * Loops follow the memory order of the result, except that those which folds
 * depend on go around all others: then each fold runs once for what it is a
 * fold of.
 */
static void order_loops(struct sched *s)
{
	struct block *body = op_body(s->op);
	uint8_t order[MAX_RANK], sorted[MAX_RANK], innermost;
	unsigned n = memory_order(s->ctx, s->op, &s->op->out[0], order);
	uint32_t real = block_real_ivs(body);

	innermost = n ? order[n - 1] : 0;
	/* Folds of fewer variables come last and so win. */
	for (unsigned most = n; most-- > 0;)
		for (struct op *op = body->first; op; op = op->next) {
			uint32_t own;
			unsigned k = 0;

			if (op->code != OP_nest_reduce)
				continue;
			own = op_uses_ivs(op, body);
			if ((unsigned)__builtin_popcount(own & real) != most)
				continue;
			for (unsigned pass = 0; pass < 2; pass++)
				for (unsigned i = 0; i < n; i++)
					if ((own >> order[i] & 1) == !pass)
						sorted[k++] = order[i];
			memcpy(order, sorted, n);
		}
	s->n_loop = n;
	for (unsigned i = 0; i < n; i++) {
		s->iv[i] = body->iv[order[i]];
		if (order[i] == innermost)
			s->unit = i;
	}
}

/* Gives each scalar of the body its level; those of a fold's own body keep 0:
 * the fold's level covers them. */
static void find_levels(struct sched *s)
{
	uint32_t n = 0;
	struct block *body = op_body(s->op);

	block_number(body, &n);
	s->level = NEW_ARRAY(&s->ctx->temp, n + 1u, uint32_t);
	for (struct op *op = body->first; op; op = op->next) {
		unsigned k = op_level(s, op);

		for (unsigned i = 0; i < op->n_out; i++)
			s->level[op->out[i].slot] = k;
	}
}

/* ---- which loop runs in lanes ----------------------------------------- */

struct access_count {
	struct ctx *ctx;
	const struct atom *iv;
	int unit, strided;
};

int access_class(struct ctx *c, const struct value *buf,
		 const struct expr *const *idx, const struct atom *iv)
{
	unsigned r = buf->type->rank;

	for (unsigned i = 0; i < r; i++) {
		const struct expr *k, *rest;

		if (!expr_uses(idx[i], iv))
			continue;
		unsigned inner = buf->layout ? buf->layout->perm[r - 1]
					     : r - 1;

		/* Trailing dims of extent 1 do not count. */
		if (!buf->layout)
			while (inner > i && expr_is(buf->type->dim[inner], 1))
				inner--;
		if (i != inner || !expr_linear(c, idx[i], iv, &k, &rest) ||
		    (!expr_is(k, 1) && !broadcast_is_step(k)))
			return 2;
		for (unsigned j = i + 1; j < r; j++)
			if (expr_uses(idx[j], iv))
				return 2;
		return 1;
	}
	return 0;
}

static void count_access(void *arg, struct op *op)
{
	struct access_count *n = arg;
	size_t k;

	if (op->code != OP_nest_load)
		return;
	switch (access_class(n->ctx, op->in[0].val, op_exprs(op, A_idx, &k),
			     n->iv)) {
	case 1: n->unit++; break;
	case 2: n->strided++; break;
	default: break;
	}
}

/* The fold of greatest level whose innermost variable has the most work. */
static struct op *deepest_fold(const struct sched *s)
{
	struct op *best = NULL;

	for (struct op *op = op_body(s->op)->first; op; op = op->next)
		if (op->code == OP_nest_reduce &&
		    (!best || s->level[op->out[0].slot] >=
				      s->level[best->out[0].slot]))
			best = op;
	return best;
}

/* The op that combines the carried value, when the fold is one of the
 * reorderable kinds with a single carried value. */
static bool is_reorderable(const struct op *fold)
{
	const struct block *b = op_body(fold);
	const struct op *y = b->last, *k;

	if (fold->n_in != 1)
		return false;
	k = y->in[0].val->def;
	if (!k || k->parent != b || !value_has_one_use(b->arg[0]))
		return false;
	switch (k->code) {
	case OP_arith_add: case OP_arith_mul: case OP_arith_min:
	case OP_arith_max: case OP_arith_and: case OP_arith_or:
		return k->in[0].val == b->arg[0] || k->in[1].val == b->arg[0];
	default:
		return false;
	}
}

static int64_t extent_or(const struct expr *iv, int64_t unknown)
{
	int64_t n;

	return expr_is_const(expr_atom(iv)->a, &n) ? n : unknown;
}

/* A block that never runs; its indices may divide by an extent that is 0. */
static bool no_points(const struct block *b)
{
	for (unsigned i = 0; i < b->n_iv; i++)
		if (extent_or(b->iv[i], 1) <= 0)
			return true;
	return false;
}

static unsigned widest_bits(struct block *b)
{
	unsigned bits = 8;

	for (struct op *op = b->first; op; op = op->next) {
		for (unsigned i = 0; i < op->n_out; i++) {
			unsigned n = dtype_info[op->out[i].type->dtype].bits;

			/* Booleans and indices do not set the pace. */
			if (op->code != OP_nest_value &&
			    op->code != OP_nest_index && n > bits)
				bits = n;
		}
		for (unsigned i = 0; i < op->n_region; i++) {
			unsigned n = widest_bits(op->region[i].block);

			bits = n > bits ? n : bits;
		}
	}
	return bits;
}

static void choose_vector(struct sched *s)
{
	struct block *body = op_body(s->op);
	struct op *fold = deepest_fold(s);
	unsigned bits = widest_bits(body);

	/* Half floats are computed in f32. */
	if (bits == 16 && s->op->n_out)
		bits = dtype_is_float(s->op->out[0].type->dtype) ? 32 : 16;
	s->lanes = target_lanes(s->ctx->target, bits < 32 ? 32 : bits);
	s->vec_loop = -1;
	s->vec_reduce = fold && is_reorderable(fold);
	if (!s->n_loop)
		return;
	struct access_count out = { s->ctx, expr_atom(s->iv[s->unit]), 0, 0 };

	block_walk(body, count_access, &out);
	bool inner_fold = fold && s->level[fold->out[0].slot] > s->unit;

	if (extent_or(s->iv[s->unit], 1000) < 4)
		return;
	if (inner_fold && s->vec_reduce) {
		const struct block *fb = op_body(fold);
		const struct expr *red_iv = fb->iv[fb->n_iv - 1];
		struct access_count red = { s->ctx, expr_atom(red_iv), 0, 0 };

		block_walk(op_body(fold), count_access, &red);
		/* A window's few taps fill no vector. */
		bool few = extent_or(red_iv, s->lanes) < (int64_t)s->lanes;

		if (red.strided < out.strided ||
		    (red.strided == out.strided && red.unit > out.unit &&
		     !(few && !out.strided)))
			return;
	}
	s->vec_loop = (int)s->unit;
}

/* ---- which loops are the kernel's own ---------------------------------- */

/* a * b for estimates: huge is huge. */
static int64_t times(int64_t a, int64_t b)
{
	int64_t r;

	return __builtin_mul_overflow(a, b, &r) || r > INT64_MAX / 4
		       ? INT64_MAX / 4
		       : r;
}

/* Scalar steps of the body for one point; a guess for symbolic extents. */
static int64_t work(const struct block *b);

static int64_t op_work(const struct op *op)
{
	int64_t k = 1;

	if (op->code != OP_nest_reduce)
		return 1;
	const struct block *r = op_body(op);

	k = work(r);
	for (unsigned i = 0; i < r->n_iv; i++)
		k = times(k, extent_or(r->iv[i], 64));
	return k;
}

static int64_t work(const struct block *b)
{
	int64_t n = 0;

	for (const struct op *op = b->first; op; op = op->next)
		n = n > INT64_MAX / 4 ? n : n + op_work(op);
	return n;
}

/*
 * Tasks are points of the first n loops, and of chunks of the next one.  Do
 * they compute folds again that need fewer loops, at a price that shows?
 */
static bool repeats_folds(const struct sched *s, unsigned n, int64_t chunk)
{
	const struct block *body = op_body(s->op);
	int64_t points = chunk ? chunk : 1, repeated = 0, own = 1;

	for (unsigned k = n + (chunk != 0); k < s->n_loop; k++)
		points = times(points, extent_or(s->iv[k], 64));
	for (const struct op *op = body->first; op != body->last;
	     op = op->next) {
		unsigned level = s->level[op->out[0].slot];

		if (level >= n + (chunk != 0))
			own += op_work(op);
		else if (op->code == OP_nest_reduce)
			repeated += op_work(op);
	}
	return repeated > times(points, own);
}

/* All loops but the innermost; one in lanes is cut when it is the only one or
 * others run inside of it. */
static void choose_tasks(struct sched *s)
{
	bool columns = s->vec_loop >= 0 && s->vec_loop + 1 < (int)s->n_loop;

	s->n_par = s->n_loop ? s->n_loop - 1 : 0;
	if (columns)
		s->n_par = (unsigned)s->vec_loop;
	while (s->n_par && repeats_folds(s, s->n_par, 0)) {
		s->n_par--;
		columns = false;
	}
	if (!columns && s->n_loop != 1)
		return;
	s->chunk = columns ? COLUMNS : CHUNK;
	if (extent_or(s->iv[s->n_par], INT64_MAX) <= s->chunk ||
	    repeats_folds(s, s->n_par, s->chunk))
		s->chunk = 0;
}

/* ---- emission --------------------------------------------------------- */

static struct op *open_loop(struct sched *s, const struct expr *extent,
			    unsigned width, unsigned unroll, unsigned n_acc,
			    struct value *const *init, const struct expr **iv)
{
	struct ctx *c = s->ctx;
	const struct type *t[MAX_RANK];
	struct named_attr attr[] = { { A_width, attr_int(c, width) },
				     { A_unroll, attr_int(c, unroll) } };

	for (unsigned i = 0; i < n_acc; i++)
		t[i] = init[i]->type;
	struct op *loop = build(&s->b, &(struct op_spec){
						.code = OP_loop_for,
						.n_in = n_acc, .in = init,
						.n_out = n_acc, .out = t,
						.n_attr = 2, .attr = attr,
						.n_region = 1 });

	*iv = block_add_iv(c, op_body(loop), extent);
	for (unsigned i = 0; i < n_acc; i++)
		block_add_arg(c, op_body(loop), t[i], NULL);
	s->b.block = op_body(loop);
	s->b.before = NULL;
	return loop;
}

static void close_loop(struct sched *s, struct op *loop, unsigned n,
		       struct value *const *next)
{
	build(&s->b, &(struct op_spec){ .code = OP_loop_yield, .n_in = n,
					.in = next });
	s->b.block = loop->parent;
	s->b.before = NULL;
}

static void emit_op(struct sched *s, struct op *op, bool lanes);

/* A fold becomes a nest of loops that carry its values. */
static void emit_fold(struct sched *s, struct op *op, bool lanes)
{
	struct block *body = op_body(op);
	struct op *loops[MAX_RANK];
	struct value *acc[MAX_RANK], *next[MAX_RANK];
	unsigned n_acc = op->n_in;
	bool vec = lanes && is_reorderable(op);

	int64_t steps = 1;

	for (unsigned k = 0; k < body->n_iv && steps <= MAX_STRAIGHT; k++)
		steps *= extent_or(body->iv[k], MAX_STRAIGHT + 1);
	for (unsigned i = 0; i < n_acc; i++)
		acc[i] = cloned(&s->cl, op->in[i].val);
	if (no_points(body)) {
		for (unsigned i = 0; i < n_acc; i++)
			clone_value(&s->cl, &op->out[i], acc[i]);
		return;
	}
	for (unsigned k = 0; k < body->n_iv; k++) {
		const struct expr *iv, *ext;
		bool last = k + 1 == body->n_iv;
		bool wide = vec && last &&
			    extent_or(body->iv[k], 1000) >=
				    (int64_t)s->lanes;

		ext = clone_expr(&s->cl, expr_atom(body->iv[k])->a);
		/* A window's few taps are written out. */
		int64_t out = steps <= MAX_STRAIGHT
				      ? extent_or(body->iv[k], 1)
				      : 1;

		loops[k] = open_loop(s, ext, wide ? s->lanes : 1,
				     wide ? VECTOR_UNROLL
					  : (unsigned)(out > 1 ? out : 1),
				     n_acc, acc, &iv);
		clone_iv(&s->cl, body->iv[k], iv);
		for (unsigned i = 0; i < n_acc; i++)
			acc[i] = op_body(loops[k])->arg[i];
	}
	for (unsigned i = 0; i < n_acc; i++)
		clone_value(&s->cl, body->arg[i], acc[i]);
	for (struct op *o = body->first; o != body->last; o = o->next)
		emit_op(s, o, lanes);
	for (unsigned i = 0; i < n_acc; i++)
		next[i] = cloned(&s->cl, body->last->in[i].val);
	for (unsigned k = body->n_iv; k-- > 0;) {
		close_loop(s, loops[k], n_acc, next);
		for (unsigned i = 0; i < n_acc; i++)
			next[i] = &loops[k]->out[i];
	}
	for (unsigned i = 0; i < n_acc; i++)
		clone_value(&s->cl, &op->out[i], next[i]);
}

static void emit_op(struct sched *s, struct op *op, bool lanes)
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
static const struct expr *empty_loops(const struct sched *s, unsigned level)
{
	unsigned own = s->n_par + (s->chunk != 0);
	const struct expr *least = NULL;

	for (unsigned k = level > own ? level : own; k < s->n_loop; k++) {
		const struct expr *n = expr_atom(s->iv[k])->a;

		least = least ? expr_min(s->ctx, least, n) : n;
	}
	return least;
}

static void emit_level(struct sched *s, unsigned level)
{
	struct block *body = op_body(s->op);
	/* Folds run in lanes outside of a loop that does. */
	bool lanes = s->vec_loop < 0 || level <= (unsigned)s->vec_loop;

	s->hoisted = empty_loops(s, level);
	for (struct op *op = body->first; op != body->last; op = op->next)
		if (s->level[op->out[0].slot] == level)
			emit_op(s, op, lanes);
	if (level < s->n_loop)
		return;
	for (unsigned i = 0; i < s->op->n_out; i++) {
		const struct expr *idx[MAX_RANK];
		struct value *in[] = { cloned(&s->cl, body->last->in[i].val),
				       s->out[i] };

		unsigned rank = s->out[i]->type->rank;

		for (unsigned k = 0; k < rank; k++)
			idx[k] = clone_expr(&s->cl, point_index(s->op)[k]);
		struct named_attr attr = { A_idx, attr_exprs(s->ctx, rank,
							     idx) };

		build(&s->b, &(struct op_spec){ .code = OP_mem_store,
						.n_in = 2, .in = in,
						.n_attr = 1, .attr = &attr });
	}
}

static void emit_inner(struct sched *s, unsigned from)
{
	struct op *loops[MAX_RANK];

	emit_level(s, from);
	for (unsigned k = from; k < s->n_loop; k++) {
		const struct expr *iv, *ext;
		bool wide = s->vec_loop == (int)k;

		ext = clone_expr(&s->cl, expr_atom(s->iv[k])->a);
		loops[k] = open_loop(s, ext, wide ? s->lanes : 1, 1, 0, NULL,
				     &iv);
		clone_iv(&s->cl, s->iv[k], iv);
		emit_level(s, k + 1);
	}
	for (unsigned k = s->n_loop; k-- > from;)
		close_loop(s, loops[k], 0, NULL);
}

/* The first loop that is not the kernel's, over one chunk; the kernel's last
 * variable counts these. */
static struct op *open_chunk(struct sched *s, const struct expr *number)
{
	struct ctx *c = s->ctx;
	const struct expr *all = s->iv[s->n_par], *iv;
	const struct expr *lo = expr_scale(c, number, s->chunk);
	const struct expr *left = expr_sub(c, expr_atom(all)->a, lo);
	struct op *loop = open_loop(
		s, expr_min(c, expr_const(c, s->chunk), left),
		s->vec_loop == (int)s->n_par ? s->lanes : 1, 1, 0, NULL, &iv);

	clone_iv(&s->cl, all, expr_add(c, lo, iv));
	return loop;
}

static void emit_kernel(struct sched *s)
{
	struct ctx *c = s->ctx;
	int64_t per_point = work(op_body(s->op)), grain;
	struct op *k = build(&s->b, &(struct op_spec){ .code = OP_loop_kernel,
						       .n_region = 1 });
	struct block *kb = op_body(k);
	unsigned own = s->n_par + (s->chunk != 0);
	const struct expr *number = NULL;
	struct op *loop = NULL;

	s->b.block = kb;
	s->b.before = NULL;
	for (unsigned i = 0; i < s->n_par; i++)
		clone_iv(&s->cl, s->iv[i],
			 block_add_iv(c, kb, expr_atom(s->iv[i])->a));
	if (s->chunk)
		number = block_add_iv(
			c, kb,
			expr_ceildiv(c, expr_atom(s->iv[s->n_par])->a,
				     expr_const(c, s->chunk)));
	for (unsigned i = 0; i < own; i++)
		emit_level(s, i);
	if (s->chunk)
		loop = open_chunk(s, number);
	emit_inner(s, own);
	if (loop)
		close_loop(s, loop, 0, NULL);
	for (unsigned i = own; i < s->n_loop; i++)
		per_point = times(per_point, extent_or(s->iv[i], 256));
	per_point = times(per_point, s->chunk ? s->chunk : 1);
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
	struct sched s = { .ctx = c, .op = op,
			   .b = { c, op->parent, op, op->loc },
			   .cl = { .ctx = c } };

	for (unsigned i = 0; i < op->n_out; i++)
		s.out[i] = into && into[i] ? into[i]
					   : new_buffer(&s.b, &op->out[i]);
	if (!no_points(op_body(op))) {
		order_loops(&s);
		find_levels(&s);
		choose_vector(&s);
		choose_tasks(&s);
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
	    (!lower_contraction(c, op, into) && !lower_jam(c, op, into)))
		lower_compute(c, op, into ? &into : NULL);
}

/* ---- recurrences -------------------------------------------------------------- */

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
