/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the loops of a statement are arranged: their order, the one that runs in
 * lanes, and which are the kernel's own, whose points are tasks.
 */
#include "passes/loop/schedule.h"

#include <string.h>

#include "ir/target.h"
#include "passes/loop/lower.h"
#include "passes/nest/body.h"

enum {
	CHUNK = 4096,		/* elements of a one-loop statement's task */
	COLUMNS = 64,		/* of a task that goes down columns */
	LONG_COLUMN = 64,	/* worth more registers */
	SHORT_BODY = 8,		/* steps, of which registers hold several */
	MAX_LANES = 64,
};

/* ---- analysis ------------------------------------------------------- */

struct expr_level {
	const struct schedule *s;
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

static unsigned block_level(const struct schedule *s, const struct block *b);

static unsigned op_level(const struct schedule *s, const struct op *op)
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

static unsigned block_level(const struct schedule *s, const struct block *b)
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
static void order_loops(struct schedule *s)
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
			/* A single point is everyone's. */
			own = op_uses_ivs(op, body) | ~real;
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
static void find_levels(struct schedule *s)
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

/* ---- which loop runs in lanes --------------------------------------- */

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
static struct op *deepest_fold(const struct schedule *s)
{
	struct op *best = NULL;

	for (struct op *op = op_body(s->op)->first; op; op = op->next)
		if (op->code == OP_nest_reduce &&
		    (!best || s->level[op->out[0].slot] >=
				      s->level[best->out[0].slot]))
			best = op;
	return best;
}

int64_t extent_or(const struct expr *iv, int64_t unknown)
{
	int64_t n;

	return expr_is_const(expr_atom(iv)->a, &n) ? n : unknown;
}

bool no_points(const struct block *b)
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

/* Sums of floats round as they are grouped. */
bool fold_in_lanes(const struct ctx *c, const struct op *fold)
{
	for (unsigned i = 0; c->strict_qdq && i < fold->n_in; i++) {
		const struct op *k = fold_combiner(fold, i);

		if (k && (k->code == OP_arith_add || k->code == OP_arith_mul) &&
		    dtype_is_float(k->out[0].type->dtype))
			return false;
	}
	return fold_is_free(fold);
}

static int64_t fold_extent(const struct op *fold)
{
	const struct block *b = op_body(fold);
	int64_t n = 1;

	for (unsigned i = 0; i < b->n_iv; i++)
		n = work_times(n, extent_or(b->iv[i], LONG_COLUMN));
	return n;
}

/*
 * A fold that goes down columns takes several vectors of them at once: more of
 * each line of memory is used before the next one is read, and there are as
 * many independent sums.
 */
static void widen_columns(struct schedule *s, const struct op *fold)
{
	const struct expr *iv = s->iv[s->unit];
	struct access_count n = { s->ctx, expr_atom(iv), 0, 0 };
	int64_t lanes = s->lanes * 4, extent = extent_or(iv, 0);

	block_walk(op_body(fold), count_access, &n);
	if (lanes > MAX_LANES)
		lanes = MAX_LANES;
	if (!n.unit || n.strided || fold_extent(fold) < LONG_COLUMN ||
	    body_work(op_body(fold)) > SHORT_BODY || extent < lanes)
		return;
	/* What is left of a vector runs one by one without masks. */
	if (s->ctx->target->isa->masked || extent % lanes == 0)
		s->lanes = (unsigned)lanes;
}

static void choose_vector(struct schedule *s)
{
	struct block *body = op_body(s->op);
	struct op *fold = deepest_fold(s);
	unsigned bits = widest_bits(body);

	/* Half floats are computed in f32. */
	if (bits == 16 && s->op->n_out)
		bits = dtype_is_float(s->op->out[0].type->dtype) ? 32 : 16;
	s->lanes = target_lanes(s->ctx->target, bits < 32 ? 32 : bits);
	s->vec_loop = -1;
	s->vec_reduce = fold && fold_in_lanes(s->ctx, fold);
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
	if (inner_fold && !s->ctx->target->gpu[0])
		widen_columns(s, fold);
}

/* ---- which loops are the kernel's own ------------------------------- */

int64_t work_times(int64_t a, int64_t b)
{
	int64_t r;

	return __builtin_mul_overflow(a, b, &r) || r > INT64_MAX / 4
		       ? INT64_MAX / 4
		       : r;
}

static int64_t op_work(const struct op *op)
{
	int64_t k = 1;

	if (op->code != OP_nest_reduce)
		return 1;
	const struct block *r = op_body(op);

	k = body_work(r);
	for (unsigned i = 0; i < r->n_iv; i++)
		k = work_times(k, extent_or(r->iv[i], 64));
	return k;
}

int64_t body_work(const struct block *b)
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
static bool repeats_folds(const struct schedule *s, unsigned n, int64_t chunk)
{
	const struct block *body = op_body(s->op);
	int64_t points = chunk ? chunk : 1, repeated = 0, own = 1;

	for (unsigned k = n + (chunk != 0); k < s->n_loop; k++)
		points = work_times(points, extent_or(s->iv[k], 64));
	for (const struct op *op = body->first; op != body->last;
	     op = op->next) {
		unsigned level = s->level[op->out[0].slot];

		if (level >= n + (chunk != 0))
			own += op_work(op);
		else if (op->code == OP_nest_reduce)
			repeated += op_work(op);
	}
	return repeated > work_times(points, own);
}

/* All loops but the innermost; one in lanes is cut when it is the only one or
 * others run inside of it. */
static void choose_tasks(struct schedule *s)
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

/* ---- on a GPU ------------------------------------------------------- */

enum {
	SHORT_ROW = 32,		/* elements that a thread takes by itself */
	LONG_FOLD = 128,	/* that are worth a block of threads */
	WARP = 32,
	WARP_ROW = 1024,	/* words that a warp holds in registers, */
	BLOCK_ROW = 4096,	/* a block of 128, and so on */
	MOST_LANES = 512,
	WARPS = 8,		/* on a multiprocessor, to keep it busy */
};

/*
 * Threads for each row of so many elements.  A warp needs no barriers; more
 * threads where there are few rows, or one would hold too much of it.
 */
static unsigned row_lanes(const struct schedule *s, int64_t row)
{
	unsigned bits = widest_bits(op_body(s->op)), lanes = s->lanes;
	int64_t rows = 1, busy = s->ctx->target->gpu[0]->n_sm * WARPS;

	for (unsigned k = 0; k < s->n_par; k++)
		rows = work_times(rows, extent_or(s->iv[k], busy));
	if (bits > 32)
		row = work_times(row, bits / 32);
	if (row <= WARP_ROW && rows >= busy)
		return WARP;
	for (int64_t most = BLOCK_ROW; row > most && lanes < MOST_LANES;
	     most *= 2)
		lanes *= 2;
	return lanes;
}

/*
 * A thread for each point, next to its neighbours in memory, unless many points
 * need the same fold, or there is a long one that runs along memory: then the
 * lanes of a vector are the threads of a block, for which the choice of the CPU
 * stands.
 */
static void choose_threads(struct schedule *s)
{
	struct op *fold = deepest_fold(s);
	unsigned n = s->n_loop;
	int64_t row = 1;
	bool known = true;

	while (n && extent_or(s->iv[n - 1], 2) == 1)
		n--;
	bool rows = repeats_folds(s, n, 0);

	if (!rows && fold && s->vec_loop < 0 && s->vec_reduce &&
	    fold_extent(fold) >= LONG_FOLD) {
		/* A block for each: it takes no chunks of them. */
		s->n_par = s->n_loop;
		s->chunk = 0;
		return;
	}
	if (rows) {
		/* A thread goes down each column. */
		if (s->vec_loop >= 0 && s->vec_loop + 1 < (int)s->n_loop) {
			s->n_par = (unsigned)s->vec_loop + 1;
			s->chunk = 0;
			s->vec_loop = -1;
			s->lanes = 1;
			return;
		}
		for (unsigned k = s->n_par; k < s->n_loop; k++) {
			row = work_times(row, extent_or(s->iv[k], LONG_FOLD));
			known &= extent_or(s->iv[k], -1) >= 0;
		}
		if (row > SHORT_ROW && (s->vec_loop >= 0 || s->vec_reduce)) {
			if (s->chunk)
				s->chunk = s->lanes;
			else if (known)
				s->lanes = row_lanes(s, row);
			return;
		}
	} else {
		s->n_par = s->n_loop;
	}
	s->chunk = 0;
	s->vec_loop = -1;
	s->lanes = 1;
}

struct schedule schedule_make(struct ctx *c, struct op *op)
{
	struct schedule s = { .ctx = c, .op = op };

	order_loops(&s);
	find_levels(&s);
	choose_vector(&s);
	choose_tasks(&s);
	if (c->target->gpu[0])
		choose_threads(&s);
	return s;
}
