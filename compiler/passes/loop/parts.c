/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parts: on a GPU a long fold of few points becomes folds of its parts, for
 * which there are enough multiprocessors, and one over what comes of them.
 *
 *	%y = nest.compute [i < M, j < N] { f(sum k < 4608: a[i, k] * b[j, k]) }
 * ->
 *	%p = nest.compute [s < 16, i < M, j < N] {
 *	  sum k < 288: a[i, 288*s + k] * b[j, 288*s + k]
 *	}
 *	%y = nest.compute [i < M, j < N] { f(sum s < 16: %p[s, i, j]) }
 *
 * Both have one order, so that results stay the same from call to call.  A fold
 * that all points of a row need becomes a statement of its own; the points then
 * are independent.  How many parts pay is for those to say that lower the
 * statement (lower_tile.c, lower_lanes.c).  Only folds that may be folded in
 * lanes are cut.
 *
 * Of a symbolic extent there is a fixed number of parts, whose size the call
 * computes; where it is short the last ones are empty:
 *
 *	sum k < max(0, min(64*#0, N - 64*#0*s))		#0 = ceil(N / 64 / 16)
 *
 * A fold that only part of the points need stays whole, then: the kernels that
 * this takes would cost more than they save where the extent is small.
 */
#include "ir/layout.h"
#include "ir/op.h"
#include "ir/target.h"
#include "passes/loop/lower.h"
#include "passes/loop/schedule.h"
#include "passes/nest/body.h"
#include "passes/nest/quantized.h"
#include "passes/pass.h"

enum {
	MULTIPLE = 64,		/* steps that parts are multiples of */
	FEW = 8,		/* of short parts */
};

struct cut {
	struct ctx *ctx;
	struct op *compute, *fold;
	uint32_t own;			/* variables that the fold has */
	bool lanes;			/* it goes along memory */
	bool flat;			/* parts of all its variables */
	unsigned at;			/* else of this one */
	int64_t parts;
	const struct expr *extent, *size;	/* of what is cut, of a part */
	bool ragged;			/* not all parts have that size */
};

/* The outermost symbol is cut. */
static bool choose_symbolic_cut(struct cut *k)
{
	const struct block *body = op_body(k->compute), *b = op_body(k->fold);
	struct ctx *c = k->ctx;
	int64_t unit = 1;

	if (k->own != block_real_ivs(body) || body_fold(body) != k->fold)
		return false;
	k->at = 0;
	while (extent_or(b->iv[k->at], 0))
		k->at++;
	if (k->at + 1 == b->n_iv)
		unit = k->lanes ? MULTIPLE : FEW;
	k->flat = false;
	k->ragged = true;
	k->extent = expr_atom(b->iv[k->at])->a;
	k->size = expr_scale(c, expr_ceildiv(c, k->extent,
					     expr_const(c, unit * k->parts)),
			     unit);
	return true;
}

/* What is cut, and where: parts of equal size when there are such.  These begin
 * at multiples, for loads of many elements. */
static bool choose_cut(struct cut *k)
{
	const struct block *b = op_body(k->fold);
	int64_t most = 0, all = 1, unit, extent, size;

	for (unsigned i = 0; i < b->n_iv; i++) {
		int64_t n;

		if (!expr_is_const(expr_atom(b->iv[i])->a, &n))
			return choose_symbolic_cut(k);
		all = work_times(all, n);
		/* The outermost that has enough. */
		if (n > most && most < k->parts) {
			most = n;
			k->at = i;
		}
	}
	if (b->n_iv == 1)
		k->flat = false;
	extent = k->flat ? all : most;
	if (k->parts > extent)
		k->parts = extent;
	unit = extent / k->parts;
	unit = unit >= MULTIPLE ? MULTIPLE : unit >= FEW ? FEW : 1;
	for (int64_t n = k->parts; n > k->parts / 2 && n > 1; n--)
		if (extent % (n * unit) == 0) {
			k->parts = n;
			break;
		}
	size = (extent + k->parts - 1) / k->parts;
	if (extent % (k->parts * unit) && size > unit)
		size = (size + unit - 1) / unit * unit;
	k->parts = (extent + size - 1) / size;
	k->ragged = extent % size;
	k->extent = expr_const(k->ctx, extent);
	k->size = expr_const(k->ctx, size);
	return k->parts > 1;
}

static bool find_cut(struct cut *k)
{
	const struct block *body = op_body(k->compute);
	enum dtype t = k->fold->out[0].type->dtype;

	k->own = op_uses_ivs(k->fold, body) & block_real_ivs(body);
	if (k->fold->n_in != 1 || dtype_is_packed(t) || t == DT_BOOL ||
	    !fold_in_lanes(k->ctx, k->fold))
		return false;
	k->parts = k->compute->n_out == 1 && body_fold(body) == k->fold
			   ? tile_parts(k->ctx, k->compute)
			   : 0;
	if (!k->parts)
		k->parts = lanes_parts(k->ctx, k->compute, k->fold,
				       &k->lanes);
	k->flat = k->lanes;
	return k->parts > 1 && choose_cut(k);
}

/* What a part begins with: it changes nothing that is folded twice. */
static struct value *start(struct cut *k, struct lower *lo, struct cloner *cl)
{
	enum dtype t = k->fold->out[0].type->dtype;

	switch ((int)fold_combiner(k->fold, 0)->code) {
	case OP_arith_add: return s_const(lo, t, 0);
	case OP_arith_mul: return s_const(lo, t, 1);
	default: return cloned(cl, k->fold->in[0].val);
	}
}

/* The fold of part s, with its variables as places in the whole. */
static struct value *fold_part(struct cut *k, struct lower *lo,
			       struct cloner *cl, const struct expr *s)
{
	struct ctx *c = k->ctx;
	const struct block *b = op_body(k->fold);
	const struct expr *first = expr_mul(c, s, k->size);
	const struct expr *size = k->size, *extent[MAX_RANK];
	struct value *init = start(k, lo, cl), *v;
	unsigned n = k->flat ? 1 : b->n_iv, at = k->flat ? 0 : k->at;

	if (k->ragged)
		size = expr_max(c, expr_const(c, 0),
				expr_min(c, size,
					 expr_sub(c, k->extent, first)));
	for (unsigned i = 0; i < n; i++)
		extent[i] = i == at ? size : expr_atom(b->iv[i])->a;
	struct reduce r = nest_reduce_begin(lo, n, extent, 1, &init);
	const struct expr *number = expr_add(c, first, r.iv[at]);

	for (unsigned i = b->n_iv; i-- > 0;) {
		const struct expr *e = expr_atom(b->iv[i])->a;

		if (!k->flat) {
			clone_iv(cl, b->iv[i], i == at ? number : r.iv[i]);
			continue;
		}
		clone_iv(cl, b->iv[i], i ? expr_mod(c, number, e) : number);
		number = expr_div(c, number, e);
	}
	clone_value(cl, b->arg[0], r.acc[0]);
	const struct op *y = clone_body(cl, &lo->b, b);

	v = cloned(cl, y->in[0].val);
	nest_reduce_end(lo, &r, &v, &v);
	return v;
}

/* The points of each part lie as those of the statement's result do. */
static const struct layout *parts_layout(struct cut *k, const struct type *t)
{
	const struct value *y = &k->compute->out[0];
	uint8_t perm[MAX_RANK] = { 0 };
	unsigned n = 1;

	if (k->lanes || !y->layout || op_has(k->compute, A_idx))
		return NULL;
	for (unsigned i = 0; i < y->type->rank; i++) {
		unsigned d = layout_dim(y, i);

		if (k->own >> d & 1)
			perm[n++] = (uint8_t)(1 + __builtin_popcount(
				k->own & ((1u << d) - 1)));
	}
	return layout_make(k->ctx, t, perm);
}

/*
 * %p: a result for each part and each point of the fold.  Where the points are
 * so few that lanes fold the parts, too, these lie side by side, else the
 * points do.
 */
static struct value *put_parts(struct cut *k)
{
	struct ctx *c = k->ctx;
	struct op *op = k->compute;
	const struct block *body = op_body(op);
	const struct expr *dim[MAX_RANK + 1];
	struct lower lo = { .b = { c, op->parent, op, k->fold->loc } };
	struct cloner cl = { .ctx = c };
	unsigned rank = !k->lanes, last;

	for (unsigned i = 0; i < body->n_iv; i++)
		if (k->own >> i & 1)
			dim[rank++] = expr_atom(body->iv[i])->a;
	last = k->lanes ? rank++ : 0;
	dim[last] = expr_const(c, k->parts);
	const struct type *t = type_tensor(c, k->fold->out[0].type->dtype,
					   rank, dim);
	struct nest n = nest_begin(&lo, 1, &t);

	rank = !k->lanes;
	for (unsigned i = 0; i < body->n_iv; i++)
		clone_iv(&cl, body->iv[i],
			 k->own >> i & 1 ? n.iv[rank++] : expr_const(c, 0));
	for (struct op *o = body->first; o != k->fold; o = o->next)
		clone_op(&cl, &lo.b, o);
	struct value *v = fold_part(k, &lo, &cl, n.iv[last]), *p;

	nest_end(&lo, &n, 1, &v, &p);
	p->layout = parts_layout(k, t);
	erase_dead(op_body(n.op));
	cloner_free(&cl);
	return p;
}

/* The fold of the parts, at lo: `at` are the fold's points. */
static struct value *fold_parts(struct cut *k, struct lower *lo,
				struct value *p, struct value *init,
				const struct expr *const *at)
{
	const struct expr *extent = expr_const(k->ctx, k->parts);
	const struct expr *idx[MAX_RANK];
	struct reduce r = nest_reduce_begin(lo, 1, &extent, 1, &init);
	unsigned points = p->type->rank - 1;

	for (unsigned i = 0; i < points; i++)
		idx[i + !k->lanes] = at[i];
	idx[k->lanes ? points : 0] = r.iv[0];
	struct value *v = s_op2(lo, fold_combiner(k->fold, 0)->code, r.acc[0],
				nest_load(lo, p, idx));

	nest_reduce_end(lo, &r, &v, &v);
	return v;
}

/* The variables of the statement that the fold has. */
static void own_points(const struct cut *k, const struct expr **at)
{
	const struct block *body = op_body(k->compute);

	for (unsigned i = 0; i < body->n_iv; i++)
		if (k->own >> i & 1)
			*at++ = body->iv[i];
}

/* A statement of its own, whose element every point then loads. */
static struct value *put_whole(struct cut *k, struct value *p)
{
	struct ctx *c = k->ctx;
	struct op *op = k->compute;
	struct lower lo = { .b = { c, op->parent, op, k->fold->loc } };
	const struct type *t = type_tensor(c, p->type->dtype,
					   p->type->rank - 1,
					   p->type->dim + !k->lanes);
	struct nest n = nest_begin(&lo, 1, &t);
	struct cloner cl = { .ctx = c };
	struct value *v = fold_parts(k, &lo, p,
				     clone_scalar(&cl, &lo.b,
						  k->fold->in[0].val), n.iv);

	nest_end(&lo, &n, 1, &v, &p);
	cloner_free(&cl);
	return p;
}

static void cut_fold(struct cut *k)
{
	struct op *fold = k->fold, *op = k->compute;
	const struct block *body = op_body(op);
	const struct expr *at[MAX_RANK];
	struct lower lo = { .b = { k->ctx, fold->parent, fold, fold->loc } };
	struct value *p = put_parts(k), *v;

	own_points(k, at);
	/* Another fold would do this one again for each of its parts. */
	if (k->own == block_real_ivs(body) && body_fold(body) == fold)
		v = fold_parts(k, &lo, p, fold->in[0].val, at);
	else
		v = nest_load(&lo, put_whole(k, p), at);
	value_replace(&fold->out[0], v);
	op_erase(fold);
	erase_dead(op_body(op));
}

/* The statement with the first read of this one's result, or NULL. */
static struct op *reader(const struct op *op)
{
	struct op *user = op->out[0].uses ? op->out[0].uses->user : NULL;

	while (user && user->code != OP_nest_compute)
		user = op_parent(user);
	return user;
}

/* Attention is one kernel of three statements. */
static bool is_attention(struct ctx *c, struct op *op)
{
	struct op *last = op;

	for (int i = 0; i < 3 && last; i++, last = reader(last))
		if (attend_holds(c, last, op))
			return true;
	return false;
}

static void cut_statement(struct ctx *c, struct op *op)
{
	if (no_points(op_body(op)) || is_attention(c, op))
		return;
	for (struct op *fold = op_body(op)->first, *next; fold; fold = next) {
		struct cut k = { .ctx = c, .compute = op, .fold = fold };

		next = fold->next;
		if (fold->code == OP_nest_reduce && find_cut(&k))
			cut_fold(&k);
	}
}

static bool parts_run(struct module *m, const struct pass_args *args)
{
	(void)args;
	if (m->ctx->target && m->ctx->target->gpu[0])
		each_statement(m->ctx, op_body(m->func), cut_statement);
	return true;
}

PASS(parts,
	.summary = "Cut long folds of few points into parts, for a GPU",
	.needs = LEVEL_NEST,
	.run = parts_run);
