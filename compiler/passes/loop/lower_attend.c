/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attention on a GPU as one kernel: a block of threads takes some queries and
 * walks over the keys, so that neither scores nor probabilities are ever in
 * memory.
 *
 *	loop.kernel [b < B, s < ceil(M / mr)] {
 *	  kern.attend {mr, nr}
 *	    [m < mr, d < D] { Q }
 *	    [n < N, d < D] { K }
 *	    [m < mr, n < N] (sum) { the score that comes of the product }
 *	    [n < N, e < E] { V }
 *	    [m < mr, e < E] (sum, total) { the result, stored }
 *	}
 *
 * with N keys.  What the softmax multiplies its exponentials by is the same
 * for all keys: it multiplies their sum instead.  The roundings of
 * probabilities, which have no place any more, are left out.
 *
 * Dao et al., "FlashAttention: Fast and memory-efficient exact attention with
 * IO-awareness"; the maximum and the sum in one walk: Milakov and Gimelshein,
 * "Online normalizer calculation for softmax".
 */
#include <math.h>
#include <string.h>

#include "ir/target.h"
#include "passes/loop/attend.h"
#include "passes/loop/schedule.h"
#include "passes/nest/body.h"
#include "passes/nest/quantized.h"

/* ---- emission ------------------------------------------------------- */

/* Opens region i over two variables, one of which counts keys. */
static struct block *open(struct attend *a, struct op *op, unsigned i,
			  const struct around *around,
			  const struct expr *const *extent,
			  const struct expr **iv)
{
	struct block *b = gemm_region(&a->y, op, i);

	for (unsigned k = 0; k < 2; k++)
		iv[k] = block_add_iv(a->y.ctx, b, extent[k]);
	gemm_around(&a->y, around);
	a->y.left = NULL;
	return b;
}

static void yield(struct gemm *y, struct value *v)
{
	build(&y->b, &(struct op_spec){ .code = OP_loop_yield, .n_in = 1,
					.in = &v });
}

/* What goes to shared memory: of half floats the half float. */
static void yield_factor(struct attend *a, struct value *v)
{
	yield(&a->y, gemm_emit(&a->y, a->half ? v->def->in[0].val : v));
}

static void bind_query(struct attend *a, const struct expr *m)
{
	struct gemm *y = &a->y;

	gemm_count(y, &y->rows, expr_add(y->ctx, y->row, m));
	y->left = gemm_left(y, &y->rows, y->row, y->mr, m);
}

/* Q, or K, by the statement of the scores. */
static void emit_score_factor(struct attend *a, struct op *op, unsigned i,
			      const struct around *around)
{
	struct gemm *y = &a->y;
	const struct expr *extent[] = {
		i ? y->sum.extent : expr_const(y->ctx, y->mr),
		a->s.sum.extent,
	};
	const struct expr *iv[2];

	open(a, op, i, around, extent, iv);
	if (i)
		clone_iv(&y->cl, y->sum.iv[0], iv[0]);
	else
		bind_query(a, iv[0]);
	attend_bind_scores(a);
	gemm_count(y, &a->s.sum, iv[1]);
	yield_factor(a, a->s.factor[i ? a->k : a->q]);
}

static bool is_float(const struct value *v)
{
	return v->type->kind == TY_SCALAR && dtype_is_float(v->type->dtype);
}

/*
 * How many keys some query of the tile sees, where a score v is -inf unless an
 * expression is >= 0 that falls with the key n and does not with the query m:
 * causal masks.  NULL: all.
 */
static const struct expr *seen(struct attend *a, const struct value *v,
			       const struct expr *const *iv)
{
	struct ctx *c = a->y.ctx;
	const struct op *op = v->def, *ge, *at;
	const struct expr *step, *rest, *found = NULL;
	union scalar s;
	int64_t k;
	size_t n;

	if (!op)
		return NULL;
	/* -inf and another number make -inf. */
	if (op->code == OP_arith_cast || op->code == OP_arith_add)
		for (unsigned i = 0; i < op->n_in && !found; i++)
			found = is_float(op->in[i].val)
					? seen(a, op->in[i].val, iv)
					: NULL;
	ge = op->code == OP_arith_select ? def_of(op->in[0].val, OP_arith_ge)
					 : NULL;
	at = ge ? def_of(ge->in[0].val, OP_nest_value) : NULL;
	if (!at || !scalar_const(op->in[2].val, &s) ||
	    s.d != -(double)INFINITY || !scalar_const(ge->in[1].val, &s) ||
	    s.i != 0 ||
	    !expr_linear(c, op_exprs(at, A_idx, &n)[0], expr_atom(iv[1]),
			 &step, &rest) || !expr_is(step, -1) ||
	    !expr_linear(c, rest, expr_atom(iv[0]), &step, &rest) ||
	    !expr_is_const(step, &k) || k < 0)
		return found;
	return expr_addc(c, rest, k * (a->y.mr - 1) + 1);
}

/* The keys of the part: where it begins; where they, or those that are seen,
 * end. */
static const struct expr *put_part(struct attend *a, struct op *op,
				   const struct expr *last)
{
	struct ctx *c = a->y.ctx;
	const struct expr *first = expr_mul(c, a->part, a->size);
	const struct expr *end = expr_add(c, first, a->size);

	op_set_exprs(c, op, A_first, 1, &first);
	return last ? expr_min(c, last, end) : end;
}

static void emit_score(struct attend *a, struct op *op,
		       const struct around *around)
{
	struct gemm *y = &a->y;
	const struct expr *extent[] = { expr_const(y->ctx, y->mr),
					y->sum.extent };
	const struct expr *iv[2], *last;
	struct block *b = open(a, op, 2, around, extent, iv);
	struct value *score;
	struct value *sum = block_add_arg(y->ctx, b, a->s.fold->out[0].type,
					  NULL);

	bind_query(a, iv[0]);
	clone_iv(&y->cl, y->sum.iv[0], iv[1]);
	attend_bind_scores(a);
	clone_value(&y->cl, &a->s.fold->out[0], sum);
	clone_value(&y->cl, &a->s_load->out[0],
		    gemm_emit(y, op_body(a->s.compute)->last->in[0].val));
	score = gemm_emit(y, a->score);
	last = seen(a, score, iv);
	if (a->part)
		last = put_part(a, op, last);
	if (last)
		op_set_exprs(y->ctx, op, A_seen, 1, &last);
	yield(y, score);
}

static void emit_values(struct attend *a, struct op *op,
			const struct around *around)
{
	struct gemm *y = &a->y;
	const struct expr *extent[] = { y->sum.extent, y->cols.extent };
	const struct expr *iv[2];

	open(a, op, 3, around, extent, iv);
	clone_iv(&y->cl, y->sum.iv[0], iv[0]);
	gemm_count(y, &y->cols, iv[1]);
	yield_factor(a, y->factor[a->v]);
}

static void emit_result(struct attend *a, struct op *op,
			const struct around *around)
{
	struct gemm *y = &a->y;
	const struct type *f32 = type_scalar(y->ctx, DT_F32);
	const struct expr *extent[] = { expr_const(y->ctx, y->mr),
					y->cols.extent };
	const struct expr *iv[2], *guard;
	struct block *b = open(a, op, 4, around, extent, iv);
	struct value *sum = block_add_arg(y->ctx, b, f32, NULL), *v;
	struct value *total = block_add_arg(y->ctx, b, f32, NULL);

	bind_query(a, iv[0]);
	gemm_count(y, &y->cols, iv[1]);
	guard = y->left ? expr_addc(y->ctx, y->left, -1) : NULL;
	if (a->part) {
		attend_store_part(a, sum, a->sums, true, guard);
	} else {
		attend_bind_scores(a);
		clone_value(&y->cl, &a->total->out[0], total);
		clone_value(&y->cl, a->exp, sum);
		v = attend_unless_empty(a, &y->b, gemm_emit(y, a->prob));
		clone_value(&y->cl, &y->fold->out[0], v);
		v = op_body(y->compute)->last->in[0].val;
		gemm_store(y, gemm_emit(y, v), guard != NULL, &guard);
	}
	build(&y->b, &(struct op_spec){ .code = OP_loop_yield });
}

/* The maximum and the total of a part. */
static void emit_part(struct attend *a, struct op *op,
		      const struct around *around)
{
	struct gemm *y = &a->y;
	const struct type *f32 = type_scalar(y->ctx, DT_F32);
	struct block *b = gemm_region(y, op, 5);
	const struct expr *m = block_add_iv(y->ctx, b,
					    expr_const(y->ctx, y->mr));
	const struct expr *guard;
	struct value *top = block_add_arg(y->ctx, b, f32, NULL);
	struct value *total = block_add_arg(y->ctx, b, f32, NULL);

	gemm_around(y, around);
	bind_query(a, m);
	guard = y->left ? expr_addc(y->ctx, y->left, -1) : NULL;
	attend_store_part(a, top, a->tops, false, guard);
	attend_store_part(a, total, a->totals, false, guard);
	build(&y->b, &(struct op_spec){ .code = OP_loop_yield });
}

/* ---- how factors are loaded ----------------------------------------- */

/* Neighbours of a region: along its second variable or along its first. */
static void set_loads(struct ctx *c, struct op *op)
{
	static const unsigned region[] = { 0, 1, 3 };
	int64_t along[3], width[3];

	for (unsigned i = 0; i < 3; i++) {
		struct block *b = op->region[region[i]].block;
		struct op *only = def_of(b->last->in[0].val, OP_mem_load);
		struct value *v = b->last->in[0].val;

		while (v->def && v->def->code != OP_mem_load && v->def->n_in)
			v = v->def->in[0].val;
		along[i] = !v->def || v->def->code != OP_mem_load ||
			   steps_by_one(c, v->def, b->iv[1]) ||
			   !steps_by_one(c, v->def, b->iv[0]);
		width[i] = only ? load_vector(c, only, b->iv[along[i]]) : 1;
	}
	op_set_attr(c, op, A_along, attr_ints(c, 3, along));
	op_set_attr(c, op, A_vector, attr_ints(c, 3, width));
}

/* ---- together ------------------------------------------------------- */

/* The kernel, at the builder. */
static struct op *emit_kernel(struct attend *a)
{
	struct gemm *y = &a->y;
	struct builder after = y->b;
	struct ctx *c = y->ctx;
	const struct block *body = op_body(y->compute);
	struct around around = { .n = 0 };
	struct op *k = build(&y->b, &(struct op_spec){ .code = OP_loop_kernel,
						       .n_region = 1 });
	struct block *kb = op_body(k);

	for (unsigned i = 0; i < body->n_iv; i++) {
		if (y->tiled >> i & 1)
			continue;
		around.from[around.n] = body->iv[i];
		around.to[around.n++] =
			block_add_iv(c, kb, expr_atom(body->iv[i])->a);
	}
	y->row = expr_const(c, 0);
	if (!a->some)
		y->row = expr_scale(c, block_add_iv(c, kb, expr_ceildiv(
						c, y->rows.extent,
						expr_const(c, y->mr))), y->mr);
	if (a->parts > 1)
		a->part = block_add_iv(c, kb, expr_const(c, a->parts));
	y->b.block = kb;
	y->b.before = NULL;
	struct named_attr attr[] = { { A_mr, attr_int(c, y->mr) },
				     { A_nr, attr_int(c, y->nr) },
				     { A_fp32, attr_int(c, y->fp32) } };
	struct op *op = build(&y->b, &(struct op_spec){
					     .code = OP_kern_attend,
					     .n_attr = ARRAY_SIZE(attr),
					     .attr = attr,
					     .n_region = a->part ? 6 : 5 });

	emit_score_factor(a, op, 0, &around);
	emit_score_factor(a, op, 1, &around);
	emit_score(a, op, &around);
	emit_values(a, op, &around);
	emit_result(a, op, &around);
	if (a->part)
		emit_part(a, op, &around);
	set_loads(c, op);
	cloner_free(&y->cl);
	y->b = after;
	return k;
}

static bool empty(const struct op *compute)
{
	const struct op *fold = body_fold(op_body(compute));

	return no_points(op_body(compute)) || no_points(op_body(fold));
}

bool attend_find(struct attend *a, struct ctx *c, struct op *op)
{
	*a = (struct attend){
		.y = { .ctx = c, .compute = op,
		       .b = { c, op->parent, op, op->loc },
		       .cl = { .ctx = c } },
		.s = { .ctx = c },
	};
	return c->target->gpu[0] && attend_match(a) && !empty(op) &&
	       !empty(a->s.compute) && attend_choose(a) &&
	       op_body(op)->n_iv + 1 <= MAX_RANK;
}

bool attend_holds(struct ctx *c, struct op *last, const struct op *op)
{
	struct attend a;

	return attend_find(&a, c, last) &&
	       (op == last || op == a.probs || op == a.s.compute);
}

/* The kernels from this op on, up to another one, run only in calls where that
 * is not negative. */
static void add_when(struct ctx *c, struct op *op, const struct op *end,
		     const struct expr *when)
{
	for (; op != end; op = op->next) {
		const struct expr *all[MAX_RANK];
		size_t n;
		const struct expr *const *own = op_exprs(op, A_when, &n);

		if (op->code != OP_loop_kernel)
			continue;
		memcpy(all, own, n * sizeof(*all));
		all[n] = when;
		op_set_exprs(c, op, A_when, n + 1, all);
	}
}

/*
 * Beside the kernel for many queries those for some: a walk over parts of the
 * keys, and y as a statement that joins them, which becomes the next kernel.
 * The number of queries tells in each call which of them run.
 */
static void emit_some(struct attend *a, struct op *many)
{
	struct ctx *c = a->y.ctx;
	struct op *op = a->y.compute, *next = op->next;
	const struct expr *n = a->y.rows.extent;

	add_when(c, many, many->next, expr_addc(c, n, -1 - a->some));
	attend_buffers(a);
	emit_kernel(a);
	attend_join(a);
	lower_statement(c, op, a->y.out);
	add_when(c, many->next, next,
		 expr_addc(c, expr_scale(c, n, -1), a->some));
}

bool lower_attend(struct ctx *c, struct op *op)
{
	struct op *kernel;
	struct attend a;

	if (!attend_find(&a, c, op))
		return false;
	if (a.parts > 1) {
		attend_buffers(&a);
		emit_kernel(&a);
		attend_join(&a);
	} else {
		a.y.out = new_buffer(&a.y.b, &op->out[0]);
		kernel = emit_kernel(&a);
		if (attend_choose_some(&a)) {
			emit_some(&a, kernel);
		} else {
			value_replace(&op->out[0], a.y.out);
			op_erase(op);
		}
	}
	op_erase(a.probs);
	op_erase(a.s.compute);
	return true;
}
