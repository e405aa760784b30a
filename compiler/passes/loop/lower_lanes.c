/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folds on a GPU that are long where their points are too few, or too small,
 * for tiles: products with few rows, sums and extremes of rows.
 *
 *	%y = nest.compute [i < 3, j < N] { f(sum k < K: x[i, k] * w[j, k]) }
 * ->
 *	loop.kernel [s < ceil(N / 2)] {
 *	  loop.for [k < K] {width = 32} (6 sums) {
 *	    x[0, k], x[1, k], x[2, k], w[2*s, k], w[2*s + 1, k]; 6 products
 *	  }
 *	  f(sum), stored where 2*s + 1 < N, six times
 *	}
 *
 * A vector of 32 lanes is a warp, one of more a block.  The fold's variables
 * are counted as one, along which the lanes lie.  Points that read the same are
 * taken together ("jammed"), so that it is loaded once: all of the few rows of a
 * product and some of its columns.  A constant that does not lie along the fold
 * is turned.  Where what is read does, and is none, lies along the points, a
 * thread has a point of each row and the loop has no lanes.
 */
#include <string.h>

#include "ir/layout.h"
#include "ir/target.h"
#include "passes/loop/lower.h"
#include "passes/loop/schedule.h"
#include "passes/nest/body.h"

enum {
	WARP = 32,		/* lanes */
	MOST_ROWS = 8,		/* of them at once */
	MOST_COLUMNS = 4,	/* of any other variable */
	MOST_SUMS = 32,		/* that a thread carries */
	WARPS = 8,		/* on a multiprocessor, to keep it busy */
	LONG_FOLD = 1024,	/* that a block is worth */
	THREADS = 32,		/* the same, of threads with many points */
	FLIGHT = 4,		/* loads under way */
};

struct lanes {
	struct ctx *ctx;
	struct op *compute, *fold;
	int64_t steps;			/* of the fold, or a guess */
	unsigned width;			/* of its loop; 1: a thread's own */
	bool cut;			/* there will be as many parts as
					 * keep the GPU busy */
	/* Variables that are counted as one, by the number of the innermost:
	 * of their points there are MOST_FEW at most, in calls that come
	 * here. */
	uint32_t few;
	unsigned last;			/* that one; MAX_RANK: there is none */
	uint8_t order[MAX_RANK];	/* the statement's variables in memory */
	int64_t jam[MAX_RANK];		/* points of each, together */
	unsigned n_place;
	struct builder b;
	struct cloner place[MOST_SUMS];
	const struct expr *group[MAX_RANK];	/* the kernel's variables */
	struct value *out;
};

/* ---- recognition ---------------------------------------------------- */

static bool is_plain(const struct op *fold)
{
	const struct block *b = op_body(fold);

	for (const struct op *op = b->first; op; op = op->next)
		if (op->n_region)
			return false;
	return b->n_iv > 0;
}

/* What a load's offset steps by when the variable does; NULL: by nothing that
 * is the same everywhere. */
static const struct expr *step_of(struct ctx *c, const struct op *load,
				  const struct expr *iv)
{
	const struct expr *step, *rest;
	size_t n;

	return expr_linear(c,
			   layout_offset(c, load->in[0].val,
					 op_exprs(load, A_idx, &n)),
			   expr_atom(iv), &step, &rest)
		       ? step
		       : NULL;
}

enum way {
	STILL,		/* the same element */
	ALONG,		/* the next one in memory */
	ACROSS,		/* one elsewhere */
};

/* Where the fold's next step reads.  A window's few taps are a short way. */
static enum way way_of_fold(struct lanes *l, const struct op *load)
{
	const struct block *b = op_body(l->fold);
	int64_t run = 1;

	if (!op_uses_ivs(load, b))
		return STILL;
	for (unsigned i = b->n_iv; i-- > 0;) {
		int64_t n = extent_or(b->iv[i], LONG_FOLD);
		const struct expr *step = step_of(l->ctx, load, b->iv[i]);

		if (n == 1)
			continue;
		if (!step || !expr_is(step, run))
			break;
		run = work_times(run, n);
	}
	return run >= WARP || run >= l->steps ? ALONG : ACROSS;
}

/* The last variable that counts, by its number; n_iv when there is none. */
static unsigned unit_variable(const struct lanes *l)
{
	const struct block *b = op_body(l->compute);

	for (unsigned n = b->n_iv; n-- > 0;)
		if (extent_or(b->iv[l->order[n]], 2) != 1)
			return l->order[n];
	return b->n_iv;
}

/* Where the points' next one in the result's memory reads.  A few side by side
 * fill no warp. */
static enum way way_of_points(struct lanes *l, const struct op *load)
{
	const struct block *b = op_body(l->compute);
	unsigned unit = unit_variable(l);
	int64_t run = 1;

	if (unit == b->n_iv)
		return ACROSS;
	for (unsigned i = b->n_iv; i-- > 0;) {
		const struct expr *iv = b->iv[l->order[i]];
		const struct expr *step = step_of(l->ctx, load, iv);
		int64_t n = extent_or(iv, LONG_FOLD);

		if (n == 1)
			continue;
		if (l->order[i] == unit && step && expr_is(step, 0))
			return STILL;
		if (!step || !expr_is(step, run))
			break;
		run = work_times(run, n);
	}
	return run >= WARP / 2 ? ALONG : ACROSS;
}

/* Do the lanes go along the fold, constants turned where they are not? */
static bool goes_along(struct lanes *l)
{
	unsigned across_fold = 0, across_points = 0, along = 0;
	const struct block *b = op_body(l->fold);

	if (l->steps < WARP)
		return false;
	for (const struct op *op = b->first; op; op = op->next) {
		if (op->code != OP_nest_load)
			continue;
		enum way way = way_of_fold(l, op);

		if (way == ACROSS && !can_turn_constant(l->fold, op))
			across_fold++;
		along += way == ALONG;
		across_points += way_of_points(l, op) == ACROSS &&
				 way != STILL;
	}
	if (across_fold == across_points && across_fold)
		return l->steps >= LONG_FOLD;
	return across_fold < across_points || (!across_fold && along);
}

/* ---- which points are taken together -------------------------------- */

/* Elements that a step loads for all points of a variable. */
static unsigned shared_loads(const struct lanes *l, unsigned iv)
{
	uint32_t bits = iv == l->last ? l->few : 1u << iv;
	unsigned n = 0;

	for (const struct op *op = op_body(l->fold)->first; op; op = op->next)
		n += op->code == OP_nest_load &&
		     !(op_uses_ivs(op, op_body(l->compute)) & bits);
	return n;
}

/* Points of a variable, or of all that are counted by it: then the others have
 * one. */
static const struct expr *points(const struct lanes *l, unsigned iv)
{
	const struct block *b = op_body(l->compute);
	const struct expr *n = expr_const(l->ctx, 1);

	if (!(l->few >> iv & 1))
		return expr_atom(b->iv[iv])->a;
	for (unsigned i = 0; i < b->n_iv && iv == l->last; i++)
		if (l->few >> i & 1)
			n = expr_mul(l->ctx, n, expr_atom(b->iv[i])->a);
	return n;
}

static int64_t points_or(const struct lanes *l, unsigned iv, int64_t unknown)
{
	int64_t n;

	if (expr_is_const(points(l, iv), &n))
		return n;
	return iv == l->last ? MOST_FEW : unknown;
}

static int64_t kernel_groups(const struct lanes *l)
{
	const struct block *b = op_body(l->compute);
	int64_t n = 1;

	for (unsigned i = 0; i < b->n_iv; i++)
		n = work_times(n, (points_or(l, i, LONG_FOLD) + l->jam[i] - 1) /
					  l->jam[i]);
	return n;
}

/* All of a variable with few points, or in equal parts. */
static void jam_rows(struct lanes *l)
{
	const struct block *b = op_body(l->compute);
	int64_t best = 1;
	unsigned at = 0;

	for (unsigned i = 0; i < b->n_iv; i++) {
		int64_t n = points_or(l, i, MOST_FEW + 1);

		if (n <= MOST_FEW && n > best && shared_loads(l, i)) {
			best = n;
			at = i;
		}
	}
	if (best == 1)
		return;
	int64_t parts = (best + MOST_ROWS - 1) / MOST_ROWS;

	l->jam[at] = at == l->last ? FEW_ROWS : (best + parts - 1) / parts;
}

/* Some of the one with most points, while there are enough. */
static void jam_columns(struct lanes *l)
{
	const struct block *b = op_body(l->compute);
	int64_t busy = l->ctx->target->gpu[0]->n_sm * WARPS, rows = 1;
	int64_t most = 0;
	unsigned at = 0;

	for (unsigned i = 0; i < b->n_iv; i++) {
		int64_t n;

		rows *= l->jam[i];
		if (l->jam[i] == 1 && shared_loads(l, i) &&
		    expr_is_const(points(l, i), &n) && n > most) {
			most = n;
			at = i;
		}
	}
	if (most < 2)
		return;
	for (int64_t n = MOST_COLUMNS; n > 1; n /= 2) {
		l->jam[at] = n;
		if (rows * n * l->fold->n_in <= MOST_SUMS && n <= most &&
		    kernel_groups(l) >= busy)
			return;
	}
	l->jam[at] = 1;
}

/* A thread's own columns are as many as it loads at once. */
static void jam_neighbours(struct lanes *l)
{
	enum { WIDEST = 128 };		/* bits of one load */
	const struct block *b = op_body(l->compute);
	unsigned unit = unit_variable(l), bits = 0;
	int64_t extent, rows = l->fold->n_in, n;

	if (unit == b->n_iv || !expr_is_const(expr_atom(b->iv[unit])->a,
					      &extent) || l->jam[unit] > 1)
		return;
	for (const struct op *op = op_body(l->fold)->first; op; op = op->next) {
		if (op->code != OP_nest_load ||
		    way_of_points(l, op) != ALONG)
			continue;
		unsigned own = dtype_info[op->out[0].type->dtype].bits;

		bits = own > bits ? own : bits;
	}
	if (!bits)
		return;
	for (unsigned i = 0; i < b->n_iv; i++)
		rows *= l->jam[i];
	for (n = WIDEST / bits; n > 1; n /= 2) {
		l->jam[unit] = n;
		if (extent % n == 0 && rows * n <= MOST_SUMS &&
		    (l->cut || kernel_groups(l) >=
				       l->ctx->target->gpu[0]->n_sm * THREADS))
			return;
	}
	l->jam[unit] = 1;
}

static void choose_places(struct lanes *l)
{
	const struct block *b = op_body(l->compute);

	for (unsigned i = 0; i < b->n_iv; i++)
		l->jam[i] = 1;
	if (l->fold->n_in <= MOST_SUMS / MOST_ROWS)
		jam_rows(l);
	if (l->width > 1)
		jam_columns(l);
	else
		jam_neighbours(l);
	l->n_place = 1;
	for (unsigned i = 0; i < b->n_iv; i++)
		l->n_place *= (unsigned)l->jam[i];
}

/* A warp for a place, or a block where these are few. */
static void choose_width(struct lanes *l)
{
	unsigned block = target_lanes(l->ctx->target, 32);

	l->width = WARP;
	if (l->steps >= LONG_FOLD &&
	    kernel_groups(l) < l->ctx->target->gpu[0]->n_sm * WARPS)
		l->width = block;
}

/* ---- emission ------------------------------------------------------- */

/* Which of the points a place is, along a variable. */
static int64_t digit(const struct lanes *l, unsigned place, unsigned iv)
{
	const struct block *b = op_body(l->compute);

	for (unsigned i = b->n_iv; i-- > iv + 1;)
		place /= (unsigned)l->jam[i];
	return place % l->jam[iv];
}

/* The first place that differs only in variables that are not among these. */
static unsigned first_like(const struct lanes *l, unsigned place,
			   uint32_t bits)
{
	const struct block *b = op_body(l->compute);
	unsigned first = 0;

	if (bits & l->few)
		bits |= 1u << l->last;
	for (unsigned i = 0; i < b->n_iv; i++)
		first = first * (unsigned)l->jam[i] +
			(bits >> i & 1 ? (unsigned)digit(l, place, i) : 0);
	return first;
}

/* The point that a place is, along a variable or those that it counts. */
static const struct expr *point_of(struct lanes *l, unsigned place,
				   unsigned i)
{
	struct ctx *c = l->ctx;

	return expr_addc(c, expr_scale(c, l->group[i], l->jam[i]),
			 digit(l, place, i));
}

/* Is the last group along a variable cut? */
static bool is_cut(const struct lanes *l, unsigned i)
{
	int64_t n;

	return l->jam[i] > 1 &&
	       (!expr_is_const(points(l, i), &n) || n % l->jam[i]);
}

/* A variable, and what it counts, at a point. */
static void bind_point(struct lanes *l, struct cloner *cl, unsigned iv,
		       const struct expr *at)
{
	struct ctx *c = l->ctx;
	const struct block *b = op_body(l->compute);
	uint32_t left = l->few;

	if (iv != l->last) {
		if (!(l->few >> iv & 1))
			clone_iv(cl, b->iv[iv], at);
		return;
	}
	for (unsigned k = b->n_iv; k-- > 0;) {
		unsigned i = l->order[k];
		const struct expr *n = expr_atom(b->iv[i])->a;

		if (!(left >> i & 1))
			continue;
		left &= ~(1u << i);
		clone_iv(cl, b->iv[i], left ? expr_mod(c, at, n) : at);
		at = left ? expr_div(c, at, n) : at;
	}
}

/* Places beyond the last point compute that once more; they do not store. */
static void bind_places(struct lanes *l)
{
	struct ctx *c = l->ctx;
	const struct block *b = op_body(l->compute);

	for (unsigned p = 0; p < l->n_place; p++) {
		l->place[p] = (struct cloner){ .ctx = c };
		for (unsigned i = 0; i < b->n_iv; i++) {
			const struct expr *at = point_of(l, p, i);

			if (is_cut(l, i))
				at = expr_min(c, at, expr_addc(c, points(l, i),
							       -1));
			bind_point(l, &l->place[p], i, at);
		}
	}
}

/* Is the value made of what the fold carries, or yields? */
static bool follows_fold(const struct lanes *l, const struct value *v)
{
	if (v->type->kind != TY_SCALAR)
		return false;
	if (!v->def || v->def == l->fold)
		return true;
	for (unsigned i = 0; i < v->def->n_in; i++)
		if (follows_fold(l, v->def->in[i].val))
			return true;
	return false;
}

/* An op for each place, or for those between which it differs. */
static void emit_op(struct lanes *l, struct op *op)
{
	uint32_t bits = op_uses_ivs(op, op_body(l->compute));

	for (unsigned i = 0; i < op->n_in; i++)
		if (follows_fold(l, op->in[i].val))
			bits = UINT32_MAX;
	for (unsigned p = 0; p < l->n_place; p++) {
		unsigned first = first_like(l, p, bits);
		struct cloner *cl = &l->place[p];

		if (first != p)
			for (unsigned i = 0; i < op->n_out; i++)
				clone_value(cl, &op->out[i],
					    cloned(&l->place[first],
						   &op->out[i]));
		else if (op->code == OP_nest_load)
			lower_load(cl, &l->b, op, NULL);
		else
			clone_op(cl, &l->b, op);
	}
}

/* Enough loads under way, while the registers hold them. */
static unsigned unrolled(const struct lanes *l)
{
	if (l->width == 1)
		return 2 * FLIGHT;
	return l->n_place >= 2 * FLIGHT ? 1 : l->n_place > FLIGHT / 2 ? 2 : FLIGHT / l->n_place;
}

static void emit_fold(struct lanes *l)
{
	struct block *body = op_body(l->fold);
	unsigned n = l->fold->n_in, all = n * l->n_place;
	const struct expr *extent = expr_const(l->ctx, 1), *k;
	struct value *v[MOST_SUMS];

	for (unsigned i = 0; i < body->n_iv; i++)
		extent = expr_mul(l->ctx, extent, expr_atom(body->iv[i])->a);
	extent = clone_expr(&l->place[0], extent);
	for (unsigned i = 0; i < all; i++)
		v[i] = cloned(&l->place[i / n], l->fold->in[i % n].val);
	struct op *loop = build_for(&l->b, extent, l->width, unrolled(l), all,
				    v, &k);

	for (unsigned i = 0; i < l->n_place; i++)
		clone_digits(&l->place[i], body->n_iv, body->iv, k);
	for (unsigned i = 0; i < all; i++)
		clone_value(&l->place[i / n], body->arg[i % n],
			    op_body(loop)->arg[i]);
	for (struct op *op = body->first; op != body->last; op = op->next)
		emit_op(l, op);
	for (unsigned i = 0; i < all; i++)
		v[i] = cloned(&l->place[i / n], body->last->in[i % n].val);
	build_for_end(&l->b, loop, all, v);
	for (unsigned i = 0; i < all; i++)
		clone_value(&l->place[i / n], &l->fold->out[i % n],
			    &loop->out[i]);
}

static void emit_store(struct lanes *l, unsigned place)
{
	struct ctx *c = l->ctx;
	const struct block *b = op_body(l->compute);
	const struct expr *idx[MAX_RANK], *guard[MAX_RANK];
	struct cloner cl = { .ctx = c };
	struct value *in[] = { cloned(&l->place[place], b->last->in[0].val),
			       l->out };
	unsigned rank = l->out->type->rank, n = 0;

	for (unsigned i = 0; i < b->n_iv; i++) {
		const struct expr *at = point_of(l, place, i);

		bind_point(l, &cl, i, at);
		if (is_cut(l, i))
			guard[n++] = expr_addc(
				c, expr_sub(c, points(l, i), at), -1);
	}
	for (unsigned i = 0; i < rank; i++)
		idx[i] = clone_expr(&cl, point_index(l->compute)[i]);
	struct named_attr attr[] = { { A_idx, attr_exprs(c, rank, idx) },
				     { A_guard, attr_exprs(c, n, guard) } };

	build(&l->b, &(struct op_spec){ .code = OP_mem_store, .n_in = 2,
					.in = in, .n_attr = n ? 2 : 1,
					.attr = attr });
	cloner_free(&cl);
}

static struct op *emit_kernel(struct lanes *l)
{
	struct ctx *c = l->ctx;
	const struct block *body = op_body(l->compute);
	struct op *k = build(&l->b, &(struct op_spec){ .code = OP_loop_kernel,
						       .n_region = 1 });

	op_set_int(c, k, A_grain, 1);
	for (unsigned i = 0; i < body->n_iv; i++) {
		unsigned at = l->order[i];
		const struct expr *n = expr_ceildiv(
			c, points(l, at), expr_const(c, l->jam[at]));

		l->group[at] = expr_is(n, 1)
				       ? expr_const(c, 0)
				       : block_add_iv(c, op_body(k), n);
	}
	l->b.block = op_body(k);
	l->b.before = NULL;
	bind_places(l);
	for (struct op *op = body->first; op != body->last; op = op->next)
		if (op == l->fold)
			emit_fold(l);
		else
			emit_op(l, op);
	for (unsigned p = 0; p < l->n_place; p++) {
		emit_store(l, p);
		cloner_free(&l->place[p]);
	}
	return k;
}

/* ---- the statement -------------------------------------------------- */

static void turn_constants(struct lanes *l)
{
	for (struct op *op = op_body(l->fold)->first; op; op = op->next)
		if (op->code == OP_nest_load && way_of_fold(l, op) == ACROSS)
			turn_constant(l->ctx, l->compute, l->fold, op);
}

/* Threads with a point each, which share what their rows read. */
static bool goes_down(struct lanes *l)
{
	l->width = 1;
	if (l->steps < WARP || op_body(l->fold)->n_iv > 1)
		return false;
	choose_places(l);
	return l->n_place > 1;
}

static bool begin(struct lanes *l)
{
	const struct block *b = op_body(l->fold);

	if (!is_plain(l->fold) || no_points(b) || l->fold->n_in > MOST_SUMS)
		return false;
	l->steps = 1;
	for (unsigned i = 0; i < b->n_iv; i++)
		l->steps = work_times(l->steps,
				      extent_or(b->iv[i], LONG_FOLD));
	memory_order(l->ctx, l->compute, &l->compute->out[0], l->order);
	l->last = MAX_RANK;
	for (unsigned i = 0; i < op_body(l->compute)->n_iv; i++)
		if (l->few >> l->order[i] & 1)
			l->last = l->order[i];
	return true;
}

/* Groups of threads, when the fold's points are all there are. */
static int64_t own_groups(struct lanes *l)
{
	const struct block *b = op_body(l->compute);
	uint32_t own = op_uses_ivs(l->fold, b);

	for (unsigned i = 0; i < b->n_iv; i++)
		if (!(own >> i & 1))
			l->jam[i] = INT64_MAX / 4;
	return kernel_groups(l);
}

int64_t lanes_parts(struct ctx *c, struct op *op, struct op *fold,
		    bool *lanes)
{
	enum {
		PART = 2048,		/* steps of a part in lanes */
		SHORT = 32,		/* of one that is a thread's own */
		MOST_PARTS = 32,	/* that a thread folds */
		LONG_SYMBOL = 1 << 18,	/* for an extent that is a symbol */
	};
	struct lanes l = { .ctx = c, .compute = op, .fold = fold,
			   .cut = true };
	int64_t busy = c->target->gpu[0]->n_sm, groups, parts, most;

	if (!begin(&l) || !fold_in_lanes(c, fold))
		return 1;
	*lanes = goes_along(&l);
	l.width = *lanes ? WARP : 1;
	choose_places(&l);
	groups = own_groups(&l);
	busy *= *lanes ? WARPS : 4 * THREADS;
	most = 1;
	for (unsigned i = 0; i < op_body(fold)->n_iv; i++)
		most = work_times(most, extent_or(op_body(fold)->iv[i],
						  LONG_SYMBOL));
	most /= *lanes ? PART : SHORT;
	if (!*lanes && most > MOST_PARTS)
		most = MOST_PARTS;
	if (groups * 4 > busy || most < 4)
		return 1;
	parts = (busy + groups - 1) / groups;
	return parts < most ? parts : most;
}

/* Has each point a fold of its own?  Rows that have one are schedule.c's. */
static bool has_own_fold(const struct lanes *l)
{
	struct block *b = op_body(l->compute);

	return !(block_real_ivs(b) & ~op_uses_ivs(l->fold, b));
}

/* Chooses the form; false when there is none. */
static bool choose_form(struct lanes *l)
{
	struct op *op = l->compute;

	if (!l->ctx->target->gpu[0] || op->n_out != 1 ||
	    no_points(op_body(op)) ||
	    dtype_is_packed(op->out[0].type->dtype))
		return false;
	l->fold = body_fold(op_body(op));
	if (!l->fold || !begin(l) || !has_own_fold(l))
		return false;
	if (!fold_in_lanes(l->ctx, l->fold) || !goes_along(l))
		return goes_down(l);
	l->width = WARP;
	turn_constants(l);
	choose_places(l);
	choose_width(l);
	return true;
}

bool lanes_beside(struct ctx *c, struct op *op, struct value *into,
		  uint32_t few, const struct expr *when)
{
	struct lanes l = { .ctx = c, .compute = op, .few = few, .out = into,
			   .b = { c, op->parent, op, op->loc } };

	if (!choose_form(&l))
		return false;
	op_set_exprs(c, emit_kernel(&l), A_when, 1, &when);
	return true;
}

bool lower_lanes(struct ctx *c, struct op *op, struct value *into)
{
	struct lanes l = { .ctx = c, .compute = op,
			   .b = { c, op->parent, op, op->loc } };

	if (!choose_form(&l))
		return false;
	l.out = into ? into : new_buffer(&l.b, &op->out[0]);
	emit_kernel(&l);
	value_replace(&op->out[0], l.out);
	op_erase(op);
	return true;
}
