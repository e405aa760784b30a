/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A statement with `jam` is computed for several points at once, written out:
 *
 *	%y = nest.compute {jam = [2, 1]} [i < 8, j < N] { f(i, j) }
 * ->
 *	loop.kernel [i < 4] {
 *	  loop.for [j < N] {width = 16} {
 *	    y[2*i, j] = f(2*i, j); y[2*i + 1, j] = f(2*i + 1, j)
 *	  }
 *	}
 *
 * Folds are sums over a few known points and are written out as well.  Elements
 * of constants become numbers, products with 0 are left out, and what several
 * points have in common is computed once: sums of sums over sparse constant
 * matrices become the few operations of a fast transform, row pass and column
 * pass.  Points beyond the last whole block get blocks of their own size.  On a GPU
 * the points of the kernel are the lanes.
 */
#include "ir/op.h"
#include "ir/target.h"
#include "passes/loop/jam.h"
#include "passes/loop/lower.h"

enum { MIN_TASK = 16384 };	/* scalar steps worth a task of the pool */

static bool can_jam(struct jam *j)
{
	const struct block *b = op_body(j->op);
	size_t n;
	int64_t extent, points = 1;

	j->jam = op_ints(j->op, A_jam, &n);
	if (!n || n != b->n_iv || j->op->n_out != 1 ||
	    op_has(j->op, A_idx))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (j->jam[i] < 1 || j->jam[i] > MAX_POINTS ||
		    (j->jam[i] > 1 &&
		     !expr_is_const(expr_atom(b->iv[i])->a, &extent)))
			return false;
		points *= j->jam[i];
		if (points > MAX_POINTS)
			return false;
	}
	return jam_possible(j);
}

static void find_widest(void *arg, struct op *op)
{
	unsigned *bits = arg;

	for (unsigned i = 0; i < op->n_out; i++)
		if (dtype_info[op->out[i].type->dtype].bits > *bits)
			*bits = dtype_info[op->out[i].type->dtype].bits;
}

/* A vector holds the widest of the scalars, of which there are many. */
static void emit_block(struct jam *j)
{
	struct block *body = op_body(j->op);
	const struct expr *iv;
	struct block *inner = j->b.block;
	unsigned bits = 8;

	/* Threads side by side are the kernel's points. */
	if (j->ctx->target->gpu[0]) {
		jam_points(j);
		erase_dead(inner);
		return;
	}
	block_walk(body, find_widest, &bits);
	struct op *loop = build_for(&j->b, expr_atom(body->iv[j->lane_dim])->a,
				    target_lanes(j->ctx->target, bits), 1, 0,
				    NULL, &iv);

	clone_iv(&j->cl, body->iv[j->lane_dim], iv);
	inner = j->b.block;
	jam_points(j);
	build_for_end(&j->b, loop, 0, NULL);
	erase_dead(inner);
}

/* ---- loops ---------------------------------------------------------- */

/* ---- rows ----------------------------------------------------------- */

/*
 * Where guards ask for the jammed variable its blocks are one row: of the first
 * and the last one the base is a number, and those between are inside.  The
 * guards that ask for other variables fail for few rows, which have code of
 * their own.
 */
struct guards {
	struct jam *j;
	bool jammed;			/* some ask for the jammed variable */
	const struct expr *least;	/* of those of the row; NULL: none */
};

/* The least that a guard of the row is in it. */
static const struct expr *least_guard(struct jam *j, const struct op *load,
				      const struct expr *g)
{
	const struct expr *a, *rest;
	int64_t k;

	for (const struct op *o = op_parent(load); o != j->op;
	     o = op_parent(o)) {
		const struct block *b = op_body(o);

		for (uint32_t i = 0; i < b->n_iv; i++) {
			const struct atom *iv = expr_atom(b->iv[i]);

			expr_linear(j->ctx, g, iv, &a, &rest);
			expr_is_const(a, &k);
			clone_iv(&j->cl, b->iv[i],
				 k < 0 ? expr_addc(j->ctx, iv->a, -1)
				       : expr_const(j->ctx, 0));
		}
	}
	return clone_expr(&j->cl, g);
}

static void look_at_guards(void *arg, struct op *op)
{
	struct guards *s = arg;
	struct jam *j = s->j;
	size_t n;

	if (op->code != OP_nest_load)
		return;
	const struct expr *const *g = op_exprs(op, A_guard, &n);

	for (size_t i = 0; i < n; i++) {
		const struct block *body = op_body(j->op);
		const struct expr *e;

		for (uint32_t d = 0; d < body->n_iv; d++)
			s->jammed |= j->jam[d] > 1 &&
				     expr_uses(g[i], expr_atom(body->iv[d]));
		if (!jam_guards_row(j, op, g[i]))
			continue;
		e = least_guard(j, op, g[i]);
		if (!expr_ge0(j->ctx, e))
			s->least = s->least ? expr_min(j->ctx, s->least, e) : e;
	}
}

static bool has_rows(struct jam *j)
{
	struct guards s = { j, false, NULL };
	unsigned n = 0;

	for (uint32_t i = 0; i < op_body(j->op)->n_iv; i++)
		n += j->jam[i] > 1;
	block_walk(op_body(j->op), look_at_guards, &s);
	return n == 1 && s.jammed;
}

/* n blocks of whole size, the first of which is number `from`. */
static void emit_blocks(struct jam *j, unsigned d, int64_t from, int64_t n)
{
	struct ctx *c = j->ctx;
	const struct expr *iv;

	if (n < 1)
		return;
	struct op *loop = build_for(&j->b, expr_const(c, n), 1, 1, 0, NULL,
				    &iv);

	j->base[d] = expr_scale(c, expr_addc(c, iv, from), j->jam[d]);
	j->size[d] = j->jam[d];
	emit_block(j);
	build_for_end(&j->b, loop, 0, NULL);
}

static void emit_at(struct jam *j, unsigned d, int64_t from, int64_t size)
{
	j->base[d] = expr_const(j->ctx, from);
	j->size[d] = size;
	emit_block(j);
}

/* With `short_code` all blocks have their guards, but there are fewer. */
static void emit_row(struct jam *j, unsigned d, bool short_code)
{
	int64_t extent, m = j->jam[d], n;

	expr_is_const(expr_atom(op_body(j->op)->iv[d])->a, &extent);
	n = (extent + m - 1) / m;
	if (short_code) {
		emit_blocks(j, d, 0, extent / m);
		if (extent % m)
			emit_at(j, d, extent - extent % m, extent % m);
		return;
	}
	emit_at(j, d, 0, extent < m ? extent : m);
	emit_blocks(j, d, 1, n - 2);
	if (n > 1)
		emit_at(j, d, (n - 1) * m, extent - (n - 1) * m);
}

static void emit_rows(struct jam *j)
{
	struct ctx *c = j->ctx;
	struct guards s = { j, false, NULL };
	const struct expr *one = expr_const(c, 1), *inside, *iv;
	struct op *loop;
	unsigned d = 0;

	while (j->jam[d] == 1)
		d++;
	block_walk(op_body(j->op), look_at_guards, &s);
	if (!s.least) {
		emit_row(j, d, false);
		return;
	}
	/* 1 where all guards hold, else 0. */
	inside = expr_min(c, one, expr_max(c, expr_const(c, 0),
					   expr_add(c, s.least, one)));
	loop = build_for(&j->b, inside, 1, 1, 0, NULL, &iv);
	j->inside = true;
	emit_row(j, d, false);
	j->inside = false;
	build_for_end(&j->b, loop, 0, NULL);
	loop = build_for(&j->b, expr_sub(c, one, inside), 1, 1, 0, NULL, &iv);
	emit_row(j, d, true);
	build_for_end(&j->b, loop, 0, NULL);
}

/* ---- blocks --------------------------------------------------------- */

/* Blocks in dims from d on; `at` are the kernel's variables, NULL where a dim
 * has one block. */
static void emit_dims(struct jam *j, unsigned d,
		      const struct expr *const *at)
{
	struct ctx *c = j->ctx;
	const struct block *body = op_body(j->op);
	int64_t extent, m;
	const struct expr *whole, *iv;
	struct op *loop;

	while (d < body->n_iv && j->jam[d] == 1)
		d++;
	if (d == body->n_iv) {
		emit_block(j);
		return;
	}
	m = j->jam[d];
	expr_is_const(expr_atom(body->iv[d])->a, &extent);
	j->base[d] = at[d] ? expr_scale(c, at[d], m) : expr_const(c, 0);
	j->size[d] = extent < m ? extent : m;
	if (extent % m == 0 || extent < m) {
		emit_dims(j, d + 1, at);
		return;
	}
	/* 1 in a whole block, 0 in the last one. */
	whole = expr_min(c, expr_const(c, 1),
			 expr_sub(c, expr_const(c, extent / m), at[d]));
	loop = build_for(&j->b, whole, 1, 1, 0, NULL, &iv);
	emit_dims(j, d + 1, at);
	build_for_end(&j->b, loop, 0, NULL);
	j->base[d] = expr_const(c, extent - extent % m);
	j->size[d] = extent % m;
	loop = build_for(&j->b, expr_sub(c, expr_const(c, 1), whole), 1, 1, 0,
			 NULL, &iv);
	emit_dims(j, d + 1, at);
	build_for_end(&j->b, loop, 0, NULL);
}

struct unit_loads {
	struct jam *j;
	const struct atom *iv;
	unsigned n;
};

static void count_unit(void *arg, struct op *op)
{
	struct unit_loads *u = arg;
	size_t n;

	if (op->code == OP_nest_load)
		u->n += access_class(u->j->ctx, op->in[0].val,
				     op_exprs(op, A_idx, &n), u->iv) == 1;
}

/* The dim that most loads are in order of; the innermost in memory of the
 * result among several. */
static bool choose_lanes(struct jam *j)
{
	struct block *body = op_body(j->op);
	int best = -1;

	for (unsigned i = body->n_iv; i-- > 0;) {
		const struct layout *l = j->op->out[0].layout;
		unsigned d = l ? l->perm[i] : i;
		struct unit_loads u = { j, expr_atom(body->iv[d]), 0 };

		if (j->jam[d] > 1)
			continue;
		block_walk(body, count_unit, &u);
		if ((int)u.n > best) {
			best = (int)u.n;
			j->lane_dim = d;
		}
	}
	return best >= 0;
}

static int64_t clamped(const struct expr *e)
{
	int64_t n;

	if (!expr_is_const(e, &n))
		n = 64;
	return n < 1 ? 1 : n > 1 << 20 ? 1 << 20 : n;
}

bool lower_jam(struct ctx *c, struct op *op, struct value *into)
{
	struct jam j = { .ctx = c, .op = op, .cl = { .ctx = c },
			 .b = { c, op->parent, op, op->loc } };
	const struct expr *at[MAX_RANK] = { NULL }, *n;
	const struct block *body = op_body(op);
	const struct layout *l = op->out[0].layout;
	int64_t per_point = 4;
	bool rows;

	if (!op_has(op, A_jam) || !can_jam(&j) || !choose_lanes(&j))
		return false;
	rows = !c->target->gpu[0] && has_rows(&j);
	j.out = into ? into : new_buffer(&j.b, &op->out[0]);
	struct op *k = build(&j.b, &(struct op_spec){ .code = OP_loop_kernel,
						      .n_region = 1 });

	for (unsigned i = 0; i < body->n_iv; i++) {
		unsigned d = l ? l->perm[i] : i;

		n = expr_atom(body->iv[d])->a;
		if (j.jam[d] > 1 && rows) {
			per_point *= clamped(n);
			continue;
		} else if (j.jam[d] > 1) {
			per_point *= j.jam[d];
			n = expr_ceildiv(c, n, expr_const(c, j.jam[d]));
			if (expr_is(n, 1))
				continue;
		} else if (d == j.lane_dim && !c->target->gpu[0]) {
			per_point *= clamped(n);
			continue;
		}
		at[d] = block_add_iv(c, op_body(k), n);
		if (j.jam[d] == 1)
			clone_iv(&j.cl, body->iv[d], at[d]);
	}
	j.b.block = op_body(k);
	j.b.before = NULL;
	if (rows)
		emit_rows(&j);
	else
		emit_dims(&j, 0, at);
	op_set_int(c, k, A_grain,
		   per_point < MIN_TASK ? MIN_TASK / per_point : 1);
	value_replace(&op->out[0], j.out);
	cloner_free(&j.cl);
	op_erase(op);
	return true;
}
