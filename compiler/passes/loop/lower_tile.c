/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contractions on a GPU: a block of threads computes a tile of rows by columns,
 * whose operands pass through shared memory in steps of k.
 *
 *	%y = nest.compute [b < B, i < M, j < N] { f(sum over k of A * B) }
 * ->
 *	loop.kernel [b < B, s < ceil(M / mr), t < ceil(N / nr)] {
 *	  kern.tile {mr, nr, kr}
 *	    [m < mr, k < K] { A at row mr*s + m }
 *	    [n < nr, k < K] { B at column nr*t + n }
 *	    [m < mr, n < nr] (sum) { f(sum), stored where it is inside }
 *	}
 *
 * Rows are the variables that only the first factor uses, columns those that
 * only the second one does; those of known extent are counted as one, as are
 * the fold's, so that a window is a matrix of which no copy is made (implicit
 * GEMM: Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning",
 * section 3).  A factor is any scalar expression: what precedes the product is
 * computed on the way to shared memory.
 */
#include <string.h>

#include "ir/layout.h"
#include "ir/target.h"
#include "passes/loop/lower.h"
#include "passes/loop/schedule.h"
#include "passes/loop/tile.h"
#include "passes/nest/body.h"
#include "passes/nest/quantized.h"

enum {
	BATCH = 8,		/* such a one around the tiles */
	MIN_SIDE = 12,		/* rows and columns that are worth a tile */
	MIN_SUM = 8,
};

/* ---- recognition ---------------------------------------------------- */

uint32_t gemm_uses(const struct gemm *t, const struct value *v)
{
	const struct block *body = op_body(t->compute);
	uint32_t bits;

	if (!v->def || v->type->kind != TY_SCALAR)
		return 0;
	bits = op_uses_ivs(v->def, body);
	for (unsigned i = 0; i < v->def->n_in; i++)
		bits |= gemm_uses(t, v->def->in[i].val);
	return bits;
}

/* Does v depend on a fold, or on what a fold carries? */
static bool uses_fold(const struct value *v)
{
	if (v->type->kind != TY_SCALAR)
		return false;
	if (!v->def)
		return true;
	if (v->def->code == OP_nest_reduce)
		return true;
	for (unsigned i = 0; i < v->def->n_in; i++)
		if (uses_fold(v->def->in[i].val))
			return true;
	return false;
}

static bool starts_at_zero(const struct op *fold)
{
	union scalar s;

	return scalar_const(fold->in[0].val, &s) &&
	       (dtype_is_float(fold->out[0].type->dtype) ? s.d == 0
							 : s.i == 0);
}

bool gemm_match(struct gemm *t)
{
	enum dtype type;

	t->fold = t->compute->n_out == 1 ? body_fold(op_body(t->compute)) : NULL;
	t->mul = t->fold ? fold_product(t->fold) : NULL;
	if (!t->mul || !starts_at_zero(t->fold))
		return false;
	type = t->fold->out[0].type->dtype;
	for (int i = 0; i < 2; i++) {
		t->factor[i] = t->mul->in[i].val;
		if (uses_fold(t->factor[i]))
			return false;
	}
	return type == DT_F32 || type == DT_F64 || type == DT_I32;
}

/* ---- sides ---------------------------------------------------------- */

static void side_add(struct gemm *t, struct side *s, const struct expr *iv)
{
	const struct expr *n = expr_atom(iv)->a;

	s->iv[s->n++] = iv;
	s->extent = s->n == 1 ? n : expr_mul(t->ctx, s->extent, n);
	s->guess = work_times(s->guess ? s->guess : 1, extent_or(iv, UNKNOWN));
}

/* Those of known extent together, or the innermost symbol, where that is alone
 * larger: a batch of one is common, a sequence of one element is not. */
void gemm_side(struct gemm *t, struct side *s, uint32_t own,
	       const uint8_t *order, unsigned n)
{
	const struct block *body = op_body(t->compute);
	const struct expr *symbol = NULL;
	int64_t k;

	*s = (struct side){ 0 };
	for (unsigned i = 0; i < n; i++) {
		const struct expr *iv = body->iv[order[i]];

		if (!(own >> order[i] & 1))
			continue;
		if (expr_is_const(expr_atom(iv)->a, &k))
			side_add(t, s, iv);
		else
			symbol = iv;
	}
	if (!symbol || s->guess >= UNKNOWN)
		return;
	*s = (struct side){ 0 };
	side_add(t, s, symbol);
}

static bool choose_sum(struct gemm *t)
{
	const struct block *b = op_body(t->fold);

	if (b->n_iv > MAX_RANK)
		return false;
	t->sum = (struct side){ 0 };
	for (unsigned i = 0; i < b->n_iv; i++)
		side_add(t, &t->sum, b->iv[i]);
	return t->sum.n && t->sum.guess >= MIN_SUM;
}

uint32_t gemm_side_bits(const struct gemm *t, const struct side *s)
{
	const struct block *body = op_body(t->compute);
	uint32_t bits = 0;

	for (unsigned i = 0; i < body->n_iv; i++)
		for (unsigned k = 0; k < s->n; k++)
			if (body->iv[i] == s->iv[k])
				bits |= 1u << i;
	return bits;
}

static bool choose_sides(struct gemm *t)
{
	const struct block *body = op_body(t->compute);
	uint32_t real = block_real_ivs(body);
	uint32_t a = gemm_uses(t, t->factor[0]) & real;
	uint32_t b = gemm_uses(t, t->factor[1]) & real;
	uint8_t order[MAX_RANK];
	unsigned n = memory_order(t->ctx, t->compute, &t->compute->out[0],
				  order);

	/* Columns are what lies side by side in the result. */
	for (unsigned i = n; i-- > 0;) {
		uint32_t bit = 1u << order[i];

		if ((a ^ b) & bit & real) {
			if (a & bit) {
				struct value *v = t->factor[0];
				uint32_t bits = a;

				t->factor[0] = t->factor[1];
				t->factor[1] = v;
				a = b;
				b = bits;
			}
			break;
		}
	}
	gemm_side(t, &t->rows, a & ~b, order, n);
	gemm_side(t, &t->cols, b & ~a, order, n);
	t->tiled = gemm_side_bits(t, &t->rows) | gemm_side_bits(t, &t->cols);
	return t->rows.guess >= MIN_SIDE && t->cols.guess >= MIN_SIDE &&
	       choose_sum(t);
}

/* ---- types ---------------------------------------------------------- */

/* Are both factors numbers of a narrower type, widened, that all the GPUs have
 * tensor cores for? */
static bool multiplies_narrow(const struct gemm *t)
{
	const struct op *a = def_of(t->factor[0], OP_arith_cast);
	const struct op *b = def_of(t->factor[1], OP_arith_cast);
	enum dtype sum = t->fold->out[0].type->dtype, ta, tb;
	bool mma = t->ctx->target->gpu[0]->mma;

	if (!a || !b)
		return false;
	ta = a->in[0].val->type->dtype;
	tb = b->in[0].val->type->dtype;
	if (sum == DT_I32)
		return mma && dtype_is_byte(ta) && dtype_is_byte(tb);
	return sum == DT_F32 && ta == tb &&
	       (ta == DT_F16 || (ta == DT_BF16 && mma));
}

/* What goes to shared memory. */
static struct value *stored(const struct gemm *t, unsigned i)
{
	struct value *v = t->factor[i];

	return multiplies_narrow(t) ? v->def->in[0].val : v;
}

/* Does f32 go to the tensor cores, and how? */
static enum fp32_form fp32_form(const struct gemm *t)
{
	if (t->fold->out[0].type->dtype != DT_F32 || multiplies_narrow(t) ||
	    !t->ctx->target->gpu[0]->mma)
		return FP32_IEEE;
	return t->ctx->fp32;
}

/* ---- emission ------------------------------------------------------- */

/* Copies what makes v, where it is not there yet. */
struct value *gemm_emit(struct gemm *t, struct value *v)
{
	struct op *op = v->def;

	if (v->type->kind != TY_SCALAR || cloned(&t->cl, v) != v)
		return cloned(&t->cl, v);
	for (unsigned i = 0; i < op->n_in; i++)
		gemm_emit(t, op->in[i].val);
	if (op->code == OP_nest_load)
		lower_load(&t->cl, &t->b, op, t->left);
	else
		clone_op(&t->cl, &t->b, op);
	return cloned(&t->cl, v);
}

/* The variables of a side from the number that counts them, last one first. */
void gemm_count(struct gemm *t, const struct side *s,
		const struct expr *number)
{
	for (unsigned i = s->n; i-- > 0;) {
		const struct expr *n = clone_expr(&t->cl,
						  expr_atom(s->iv[i])->a);

		clone_iv(&t->cl, s->iv[i],
			 i ? expr_mod(t->ctx, number, n) : number);
		number = expr_div(t->ctx, number, n);
	}
}

/* What is left of a side at a place in the tile; NULL: all places are. */
const struct expr *gemm_left(struct gemm *t, const struct side *s,
			     const struct expr *first, int64_t size,
			     const struct expr *at)
{
	int64_t n;

	if (expr_is_const(s->extent, &n) && n % size == 0)
		return NULL;
	return expr_sub(t->ctx, s->extent, expr_add(t->ctx, first, at));
}

struct block *gemm_region(struct gemm *t, struct op *op, unsigned i)
{
	struct block *b = op->region[i].block;

	cloner_free(&t->cl);
	t->cl = (struct cloner){ .ctx = t->ctx };
	t->b.block = b;
	t->b.before = NULL;
	return b;
}

void gemm_around(struct gemm *t, const struct around *a)
{
	for (unsigned i = 0; i < a->n; i++)
		clone_iv(&t->cl, a->from[i], a->to[i]);
}

static void emit_factor(struct gemm *t, struct op *op, unsigned i,
			const struct around *a)
{
	struct ctx *c = t->ctx;
	const struct side *s = i ? &t->cols : &t->rows;
	const struct expr *first = i ? t->col : t->row;
	int64_t size = i ? t->nr : t->mr;
	struct block *b = gemm_region(t, op, i);
	const struct expr *at = block_add_iv(c, b, expr_const(c, size));
	struct value *v;

	gemm_around(t, a);
	const struct expr *k = block_add_iv(
		c, b, clone_expr(&t->cl, t->sum.extent));

	gemm_count(t, s, expr_add(c, first, at));
	gemm_count(t, &t->sum, k);
	t->left = gemm_left(t, s, first, size, at);
	v = gemm_emit(t, stored(t, i));
	build(&t->b, &(struct op_spec){ .code = OP_loop_yield, .n_in = 1,
					.in = &v });
}

void gemm_store(struct gemm *t, struct value *v, unsigned n,
		const struct expr *const *guard)
{
	struct ctx *c = t->ctx;
	const struct expr *idx[MAX_RANK];
	struct value *in[] = { v, t->out };
	unsigned rank = t->out->type->rank;

	for (unsigned i = 0; i < rank; i++)
		idx[i] = clone_expr(&t->cl, point_index(t->compute)[i]);
	struct named_attr attr[] = { { A_idx, attr_exprs(c, rank, idx) },
				     { A_guard, attr_exprs(c, n, guard) } };

	build(&t->b, &(struct op_spec){ .code = OP_mem_store, .n_in = 2,
					.in = in, .n_attr = n ? 2 : 1,
					.attr = attr });
}

static void emit_result(struct gemm *t, struct op *op, const struct around *a)
{
	struct ctx *c = t->ctx;
	struct block *b = gemm_region(t, op, 2);
	const struct expr *m = block_add_iv(c, b, expr_const(c, t->mr));
	const struct expr *n = block_add_iv(c, b, expr_const(c, t->nr));
	const struct expr *guard[2], *l[2];
	struct block *body = op_body(t->compute);
	unsigned n_guard = 0;

	block_add_arg(c, b, t->fold->out[0].type, NULL);
	gemm_around(t, a);
	gemm_count(t, &t->rows, expr_add(c, t->row, m));
	gemm_count(t, &t->cols, expr_add(c, t->col, n));
	l[0] = gemm_left(t, &t->rows, t->row, t->mr, m);
	l[1] = gemm_left(t, &t->cols, t->col, t->nr, n);
	for (int i = 0; i < 2; i++)
		if (l[i])
			guard[n_guard++] = expr_addc(c, l[i], -1);
	t->left = l[0] && l[1] ? expr_min(c, l[0], l[1])
		  : l[0]       ? l[0]
			       : l[1];
	clone_value(&t->cl, &t->fold->out[0], b->arg[0]);
	gemm_store(t, gemm_emit(t, body->last->in[0].val), n_guard, guard);
	build(&t->b, &(struct op_spec){ .code = OP_loop_yield });
}

bool steps_by_one(struct ctx *c, const struct op *load, const struct expr *iv)
{
	const struct expr *step, *rest;
	size_t n;

	return expr_linear(c, layout_offset(c, load->in[0].val,
					    op_exprs(load, A_idx, &n)),
			   expr_atom(iv), &step, &rest) && expr_is(step, 1);
}

/* Are neighbours in memory those in k rather than those of the side?  A
 * window's few taps are a short way. */
static bool along_sum(struct gemm *t, unsigned i)
{
	enum { SHORT = 8 };
	const struct side *s = i ? &t->cols : &t->rows;
	const struct block *b = op_body(t->fold);
	const struct expr *k = b->iv[b->n_iv - 1];
	struct value *v = t->factor[i];

	while (v->def && v->def->code != OP_nest_load && v->def->n_in)
		v = v->def->in[0].val;
	if (!v->def || v->def->code != OP_nest_load)
		return false;
	return steps_by_one(t->ctx, v->def, k) &&
	       (extent_or(k, UNKNOWN) >= SHORT ||
		!steps_by_one(t->ctx, v->def, s->iv[s->n - 1]));
}

/* ---- loads ---------------------------------------------------------- */

/* The load that the factor is, as it goes to shared memory; NULL when there is
 * more to it. */
static struct op *plain_load(const struct gemm *t, unsigned i)
{
	return def_of(stored(t, i), OP_nest_load);
}

/* Along what neighbours lie: the variable. */
static const struct expr *neighbours(struct gemm *t, unsigned i)
{
	const struct side *s = i ? &t->cols : &t->rows;
	const struct block *b = op_body(t->fold);

	return along_sum(t, i) ? b->iv[b->n_iv - 1] : s->iv[s->n - 1];
}

/* Is the extent a multiple of v, whatever it is? */
static bool is_multiple(const struct expr *e, int64_t v)
{
	for (uint32_t i = 0; i < e->n; i++) {
		const struct term *t = &e->term[i];
		bool ok = t->coef % v == 0;

		for (uint32_t j = 0; j < t->n && !ok; j++) {
			const struct atom *a = t->atom[j];

			ok = (a->kind == ATOM_MIN || a->kind == ATOM_MAX) &&
			     is_multiple(a->a, v) && is_multiple(a->b, v);
		}
		if (!ok)
			return false;
	}
	return true;
}

int64_t load_vector(struct ctx *c, const struct op *load, const struct expr *iv)
{
	const struct atom *a = expr_atom(iv);
	const struct expr *off;
	union scalar other;
	int64_t v;
	size_t count;

	if (!steps_by_one(c, load, iv) || load->n_in > 2 ||
	    dtype_is_packed(load->out[0].type->dtype))
		return 1;
	v = 16 / (int64_t)dtype_size(load->out[0].type->dtype);
	if (!is_multiple(a->a, v))
		return 1;
	off = layout_offset(c, load->in[0].val, op_exprs(load, A_idx, &count));
	for (uint32_t k = 0; k < off->n; k++) {
		const struct term *term = &off->term[k];

		if (!(term->n == 1 && term->atom[0] == a) && term->coef % v)
			return 1;
	}
	const struct expr *const *guard = op_exprs(load, A_guard, &count);

	for (size_t k = 0; k < count; k++)
		if (expr_uses(guard[k], a))
			return 1;
	/* Where a guard fails there are zeros, or equal bytes. */
	if (count && (!scalar_const(load->in[1].val, &other) ||
		      (other.u && !dtype_is_byte(load->out[0].type->dtype))))
		return 1;
	return v;
}

static int64_t vector(struct gemm *t, unsigned i)
{
	const struct op *load = plain_load(t, i);

	return load ? load_vector(t->ctx, load, neighbours(t, i)) : 1;
}

/* A constant whose neighbours are not those in k is turned. */
static void turn_factor(struct gemm *t, unsigned i)
{
	struct op *load = plain_load(t, i);

	if (load && !along_sum(t, i))
		turn_constant(t->ctx, t->compute, t->fold, load);
}

/* ---- sizes ---------------------------------------------------------- */

static struct tile_problem problem(const struct gemm *t)
{
	const struct block *body = op_body(t->compute);
	bool narrow = multiplies_narrow(t);
	struct tile_problem p = {
		.rows = t->rows.guess, .cols = t->cols.guess, .batch = 1,
		.sum = t->sum.guess, .type = t->fold->out[0].type->dtype,
		.bytes = (unsigned)dtype_size(stored(t, 0)->type->dtype),
		.tensor_cores = narrow || t->fp32,
		.boxes = narrow && plain_load(t, 0) && plain_load(t, 1),
	};

	for (unsigned i = 0; i < body->n_iv; i++)
		if (!(t->tiled >> i & 1))
			p.batch = work_times(p.batch,
					     extent_or(body->iv[i], BATCH));
	return p;
}

/* Do copies go to shared memory on the side, as rows of k or, of half floats,
 * as columns of 64 that the tensor cores turn? */
static bool copies(struct gemm *t, int64_t mr, int64_t nr)
{
	enum { COLUMN = 64 };

	if (!multiplies_narrow(t) && !t->fp32)
		return false;
	for (unsigned i = 0; i < 2; i++) {
		bool turned = !t->fp32 && (i ? nr : mr) >= COLUMN &&
			      dtype_size(stored(t, i)->type->dtype) == 2;

		if ((!along_sum(t, i) && !turned) || vector(t, i) == 1)
			return false;
	}
	return t->ctx->target->gpu[0]->mma;
}

/* Tiles that the multiprocessor with most of them has; 0: some have none. */
static int64_t most_tiles(const struct tile_problem *p, int64_t n_sm,
			  int64_t mr, int64_t nr)
{
	int64_t n = work_times(work_times((p->rows + mr - 1) / mr,
					  (p->cols + nr - 1) / nr), p->batch);

	return n < n_sm ? 0 : (n + n_sm - 1) / n_sm;
}

/* Can all the GPUs take 256 columns at once, and is no multiprocessor idle for
 * longer when they do? */
static bool takes_wide(struct gemm *t, const struct tile_problem *p)
{
	const struct gpu *const *gpu = t->ctx->target->gpu;
	int64_t n_sm = gpu[0]->n_sm, n = most_tiles(p, n_sm, 128, 256);

	for (unsigned i = 0; i < MAX_GPUS && gpu[i]; i++)
		if (!gpu[i]->boxes)
			return false;
	return multiplies_narrow(t) && copies(t, 128, 256) && n &&
	       n * 2 <= most_tiles(p, n_sm, 128, 128);
}

static void choose_sizes(struct gemm *t)
{
	struct tile_problem p = problem(t);
	struct tile_choice best = tile_choose(t->ctx->target->gpu[0], &p, 1);

	t->mr = best.mr;
	t->nr = best.nr == 128 && takes_wide(t, &p) ? 256 : best.nr;
}

/* Elements of k in shared memory at once: 128 bytes where copies go there on
 * the side, of 64 by way of registers, of half that where these also
 * hold the address of each element. */
static int64_t steps(struct gemm *t)
{
	int64_t size = (int64_t)dtype_size(stored(t, 0)->type->dtype);
	bool single = false;

	if (!multiplies_narrow(t) && !t->fp32)
		return t->mr == 128 ? 8 : 16;
	for (unsigned i = 0; i < 2; i++)
		single |= vector(t, i) == 1;
	return (copies(t, t->mr, t->nr) ? 128 : single && t->mr > 32 ? 32 : 64) / size;
}

/* ---- the kernel ----------------------------------------------------- */

static void emit_kernel(struct gemm *t)
{
	struct ctx *c = t->ctx;
	const struct block *body = op_body(t->compute);
	struct around a = { .n = 0 };
	struct op *k = build(&t->b, &(struct op_spec){ .code = OP_loop_kernel,
						       .n_region = 1 });
	struct block *kb = op_body(k);
	struct builder after = t->b;

	for (unsigned i = 0; i < body->n_iv; i++) {
		if (t->tiled >> i & 1)
			continue;
		a.from[a.n] = body->iv[i];
		a.to[a.n++] = block_add_iv(c, kb, expr_atom(body->iv[i])->a);
	}
	t->row = expr_scale(c, block_add_iv(c, kb, expr_ceildiv(
					c, t->rows.extent,
					expr_const(c, t->mr))), t->mr);
	t->col = expr_scale(c, block_add_iv(c, kb, expr_ceildiv(
					c, t->cols.extent,
					expr_const(c, t->nr))), t->nr);
	t->b.block = kb;
	t->b.before = NULL;
	struct named_attr attr[] = {
		{ A_mr, attr_int(c, t->mr) },
		{ A_nr, attr_int(c, t->nr) },
		{ A_kr, attr_int(c, t->kr) },
		{ A_a_along_k, attr_int(c, along_sum(t, 0)) },
		{ A_b_along_k, attr_int(c, along_sum(t, 1)) },
		{ A_a_vector, attr_int(c, vector(t, 0)) },
		{ A_b_vector, attr_int(c, vector(t, 1)) },
		{ A_fp32, attr_int(c, t->fp32) },
	};
	struct op *op = build(&t->b, &(struct op_spec){
					     .code = OP_kern_tile,
					     .n_attr = ARRAY_SIZE(attr),
					     .attr = attr, .n_region = 3 });

	emit_factor(t, op, 0, &a);
	emit_factor(t, op, 1, &a);
	emit_result(t, op, &a);
	t->b = after;
	t->b.before = k->next;
}

/* Recognises the statement; false when it is no tile. */
static bool match(struct gemm *t)
{
	const struct block *body = op_body(t->compute);

	if (!t->ctx->target->gpu[0] || no_points(body) || !gemm_match(t) ||
	    !choose_sides(t) || body->n_iv + 2 > MAX_RANK)
		return false;
	t->fp32 = fp32_form(t);
	return true;
}

bool tile_form(struct ctx *c, struct op *op, struct tile_form *f)
{
	struct gemm t = { .ctx = c, .compute = op };

	if (!match(&t))
		return false;
	*f = (struct tile_form){
		.fold = t.fold,
		.load = { plain_load(&t, 0), plain_load(&t, 1) },
		.side = { t.rows.guess, t.cols.guess },
		.tensor_cores = multiplies_narrow(&t) || t.fp32,
	};
	return true;
}

int64_t tile_parts(struct ctx *c, struct op *op)
{
	struct gemm t = { .ctx = c, .compute = op };
	enum { MOST_PARTS = 32 };	/* a thread adds them */

	if (!match(&t))
		return 0;
	struct tile_problem p = problem(&t);

	return tile_choose(c->target->gpu[0], &p, MOST_PARTS).parts;
}

bool lower_tile(struct ctx *c, struct op *op, struct value *into)
{
	struct gemm t = { .ctx = c, .compute = op,
			  .b = { c, op->parent, op, op->loc },
			  .cl = { .ctx = c } };

	if (!match(&t))
		return false;
	/* Tensor cores read rows of k; others read 16 bytes either way. */
	for (unsigned i = 0; i < 2; i++)
		if (multiplies_narrow(&t) || t.fp32 || vector(&t, i) == 1)
			turn_factor(&t, i);
	choose_sizes(&t);
	t.kr = steps(&t);
	t.out = into ? into : new_buffer(&t.b, &op->out[0]);
	emit_kernel(&t);
	value_replace(&op->out[0], t.out);
	cloner_free(&t.cl);
	op_erase(op);
	return true;
}
