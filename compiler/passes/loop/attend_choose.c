/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether attention is worth a kernel of its own, by how many queries a block
 * takes, and into how many parts its keys are cut.
 *
 * Where blocks with all keys would be too few for the GPU, each takes a part of
 * the keys, and a second kernel joins what comes of the parts (Dao et al.,
 * "Flash-Decoding for long-context inference").  How many parts there are is
 * known when the model is compiled; how long they are follows from the number
 * of keys.
 */
#include "ir/target.h"
#include "passes/loop/attend.h"
#include "passes/loop/schedule.h"
#include "passes/nest/body.h"

enum {
	MAX_DEPTH = 256,	/* of heads, for which registers last */
	MAX_MMA = 128,		/* of those on tensor cores */
	MAX_THRICE = 64,	/* as three products of halves */
	FEW_QUERIES = 11,	/* for which lanes share keys */
	MIN_QUERIES = 12,	/* that are worth a tile */
	MOST_ROWS = 8,		/* of few queries, at a time */
	SOME = 4,		/* of a symbol, in case it is so few */
	FEW_KEYS = 16,
	SHORT_WALK = 128,
	LONG_WALK = 512,	/* that is worth a second kernel */
	STEP = 64,		/* keys, of which parts are multiples */
	MOST_PARTS = 64,	/* that a thread joins */
};

/* ---- sides ---------------------------------------------------------- */

/* The statement's variables that the indices of the load use. */
static uint32_t index_uses(const struct op *load, const struct block *b)
{
	size_t n;
	const struct expr *const *idx = op_exprs(load, A_idx, &n);
	uint32_t bits = 0;

	for (uint32_t i = 0; i < b->n_iv; i++)
		for (size_t k = 0; k < n; k++)
			if (expr_uses(idx[k], expr_atom(b->iv[i])))
				bits |= 1u << i;
	return bits;
}

/* Bits of y's variables that what makes v mentions, at a point of y. */
static uint32_t uses_at(struct attend *a, const struct value *v)
{
	const struct block *y = op_body(a->y.compute);
	const struct op *op = v->def;
	uint32_t bits = 0;

	if (!op || v->type->kind != TY_SCALAR)
		return 0;
	for (unsigned i = 0; i < op->n_in; i++)
		bits |= uses_at(a, op->in[i].val);
	for (unsigned i = 0; i < op->n_attr; i++) {
		const struct attr *e = op->attr[i].val;

		for (size_t j = 0; e->kind == AT_EXPRS && j < e->n; j++)
			for (uint32_t k = 0; k < y->n_iv; k++)
				if (expr_uses(clone_expr(&a->y.cl, e->exprs[j]),
					      expr_atom(y->iv[k])))
					bits |= 1u << k;
	}
	return bits;
}

/* Bits of y's variables on which the keys of s depend. */
static uint32_t key_uses(struct attend *a)
{
	uint32_t bits;

	a->y.cl = (struct cloner){ .ctx = a->y.ctx };
	attend_bind_scores(a);
	bits = uses_at(a, a->s.factor[a->k]);
	cloner_free(&a->y.cl);
	return bits;
}

static bool choose_depth(struct attend *a)
{
	const struct block *fold = op_body(a->s.fold);
	uint8_t order[MAX_RANK];
	int64_t n;

	if (fold->n_iv > MAX_RANK)
		return false;
	a->s.sum = (struct side){ 0 };
	for (unsigned i = 0; i < fold->n_iv; i++)
		order[i] = (uint8_t)i;
	struct gemm t = { .ctx = a->y.ctx, .compute = a->s.fold };

	gemm_side(&t, &a->s.sum, (1u << fold->n_iv) - 1, order, fold->n_iv);
	return a->s.sum.n == fold->n_iv &&
	       expr_is_const(a->s.sum.extent, &n) && n > 0 && n <= MAX_DEPTH;
}

/* Queries are what neither key nor value knows of, columns what only the
 * value does. */
static bool choose_sides(struct attend *a)
{
	struct gemm *y = &a->y;
	const struct block *body = op_body(y->compute);
	uint32_t real = block_real_ivs(body);
	uint32_t p = index_uses(a->p_load, body) & real;
	uint32_t v = gemm_uses(y, y->factor[a->v]) & real;
	uint32_t k = key_uses(a) & real;
	uint8_t order[MAX_RANK];
	unsigned n = memory_order(y->ctx, y->compute, &y->compute->out[0],
				  order);
	int64_t e;

	gemm_side(y, &y->rows, p & ~v & ~k, order, n);
	if (!y->rows.n) {
		y->rows.extent = expr_const(y->ctx, 1);
		y->rows.guess = 1;
	}
	gemm_side(y, &y->cols, v & ~p, order, n);
	y->tiled = gemm_side_bits(y, &y->rows) | gemm_side_bits(y, &y->cols);
	y->sum = (struct side){ .n = 1 };
	y->sum.iv[0] = op_body(y->fold)->iv[0];
	y->sum.extent = expr_atom(y->sum.iv[0])->a;
	y->sum.guess = extent_or(y->sum.iv[0], UNKNOWN);
	return y->cols.n && choose_depth(a) &&
	       gemm_side_bits(y, &y->cols) == (v & ~p) &&
	       expr_is_const(y->cols.extent, &e) && e > 0 && e <= MAX_DEPTH;
}

/* ---- sizes ---------------------------------------------------------- */

/* Blocks that walk over keys, when a symbol around them is so many. */
static int64_t walks(const struct attend *a, int64_t mr, int64_t batch)
{
	const struct block *body = op_body(a->y.compute);
	int64_t n = a->some ? 1 : (a->y.rows.guess + mr - 1) / mr;

	for (unsigned i = 0; i < body->n_iv; i++)
		if (!(a->y.tiled >> i & 1))
			n = work_times(n, extent_or(body->iv[i], batch));
	return n;
}

/* What products are of: half floats, tf32, or f32. */
static void choose_form(struct attend *a)
{
	struct gemm *y = &a->y;
	enum dtype t = a->halves ? y->factor[a->v]->def->in[0].val->type->dtype
			       : DT_F32;
	bool mma = y->ctx->target->gpu[0]->mma;
	int64_t most = y->cols.guess > a->s.sum.guess ? y->cols.guess
						      : a->s.sum.guess;

	a->half = most <= MAX_MMA && (t == DT_F16 || (t == DT_BF16 && mma));
	if (mma && !a->half &&
	    most <= (y->ctx->fp32 == FP32_TF32X3 ? MAX_THRICE : MAX_MMA))
		y->fp32 = y->ctx->fp32;
}

bool attend_few(const struct attend *a)
{
	int64_t n;

	return expr_is_const(a->y.rows.extent, &n) && n <= FEW_QUERIES;
}

/* Tiles of about the same size. */
static void choose_few(struct attend *a)
{
	struct gemm *y = &a->y;
	int64_t n = y->rows.guess, tiles = (n + MOST_ROWS - 1) / MOST_ROWS;

	y->mr = (n + tiles - 1) / tiles;
	y->nr = y->mr > MOST_ROWS / 2 ? 2 : 4;
	a->half = a->halves;
}

static void choose_tile(struct attend *a)
{
	struct gemm *y = &a->y;

	choose_form(a);
	y->mr = 64;
	if (y->rows.guess <= 32 ||
	    walks(a, y->mr, BATCH) < y->ctx->target->gpu[0]->n_sm ||
	    y->cols.guess > 128 || a->s.sum.guess > 128)
		y->mr = 32;
	y->nr = y->fp32 ? 32 : a->half ? y->mr : 64;
}

/* A symbol may be many keys, and a batch of one is common. */
static void choose_parts(struct attend *a)
{
	struct gemm *y = &a->y;
	struct ctx *c = y->ctx;
	int64_t keys, most, parts, busy = c->target->gpu[0]->n_sm;
	bool known = expr_is_const(y->sum.extent, &keys);

	a->parts = 1;
	if (known && keys < LONG_WALK)
		return;
	if (y->mr <= MOST_ROWS)
		busy *= 2;
	most = known ? (keys + STEP - 1) / STEP : MOST_PARTS;
	parts = busy / walks(a, y->mr, 1);
	if (parts > most)
		parts = most;
	if (parts > MOST_PARTS)
		parts = MOST_PARTS;
	if (parts < 2 || op_body(y->compute)->n_iv == MAX_RANK)
		return;
	a->size = expr_scale(c, expr_ceildiv(c, y->sum.extent,
					     expr_const(c, parts * STEP)),
			     STEP);
	if (known && expr_is_const(a->size, &most))
		parts = (keys + most - 1) / most;
	a->parts = parts;
}

/*
 * Few keys leave most of a step empty, and queries that are neither few nor
 * enough most of a tile; that does not count where all there is comes to no
 * more than the time of a launch.
 */
bool attend_choose(struct attend *a)
{
	struct gemm *y = &a->y;
	int64_t queries;

	if (!choose_sides(a))
		return false;
	if (attend_few(a))
		choose_few(a);
	else
		choose_tile(a);
	a->parts = 1;
	/* A symbol may be so many that parts cost more than they gain. */
	if (expr_is_const(y->rows.extent, &queries))
		choose_parts(a);
	if (y->sum.guess <= SHORT_WALK &&
	    walks(a, y->mr, BATCH) <= y->ctx->target->gpu[0]->n_sm)
		return true;
	return (attend_few(a) || y->rows.guess >= MIN_QUERIES) &&
	       y->sum.guess >= FEW_KEYS;
}

/* Where there are as many keys as queries, few of these have few keys. */
bool attend_choose_some(struct attend *a)
{
	struct gemm *y = &a->y;
	int64_t n;

	if (expr_is_const(y->rows.extent, &n) ||
	    y->rows.extent == y->sum.extent)
		return false;
	a->some = y->mr = y->nr = SOME;
	a->half = a->halves;
	y->fp32 = FP32_IEEE;
	choose_parts(a);
	return a->parts > 1;
}
