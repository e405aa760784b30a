/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attention of which each block has walked over a part of the keys: what came
 * of the parts, and the statement that joins them.
 *
 *	%y = nest.compute [i < M, e < E] {
 *	  top = max p < P: %tops[p, i]
 *	  sum, total = sum p < P: exp(%tops[p, i] - top) *
 *	                          (%sums[p, i, e], %totals[p, i])
 *	  f(sum / total)
 *	}
 *
 * It is lowered as any other.  Of a part without keys that are seen the maximum
 * is -inf: its exponential is 0, and NaN where no part has any, as it is to be.
 */
#include <math.h>

#include "passes/loop/attend.h"
#include "passes/nest/body.h"
#include "passes/nest/quantized.h"

/* The statement's variables that count columns. */
static uint32_t column_bits(const struct attend *a)
{
	return gemm_side_bits(&a->y, &a->y.cols);
}

static struct value *buffer(struct attend *a, bool columns)
{
	const struct block *y = op_body(a->y.compute);
	const struct expr *dim[MAX_RANK] = { expr_const(a->y.ctx, a->parts) };
	unsigned rank = 1;

	for (unsigned i = 0; i < y->n_iv; i++)
		if (columns || !(column_bits(a) >> i & 1))
			dim[rank++] = a->some && y->iv[i] == a->y.rows.iv[0]
					      ? expr_const(a->y.ctx, a->some)
					      : expr_atom(y->iv[i])->a;
	const struct type *t = type_tensor(a->y.ctx, DT_F32, rank, dim);

	return &build(&a->y.b, &(struct op_spec){ .code = OP_mem_alloc,
						  .n_out = 1,
						  .out = &t })->out[0];
}

void attend_buffers(struct attend *a)
{
	a->sums = buffer(a, true);
	a->tops = buffer(a, false);
	a->totals = buffer(a, false);
}

/* Where a point of a part is in its buffer: idx; returns the rank. */
static unsigned place(const struct attend *a, const struct expr *part,
		      bool columns, const struct expr **idx)
{
	const struct block *y = op_body(a->y.compute);
	unsigned rank = 0;

	idx[rank++] = part;
	for (unsigned i = 0; i < y->n_iv; i++)
		if (columns || !(column_bits(a) >> i & 1))
			idx[rank++] = clone_expr(&a->y.cl, y->iv[i]);
	return rank;
}

void attend_store_part(struct attend *a, struct value *v, struct value *to,
		       bool columns, const struct expr *guard)
{
	struct ctx *c = a->y.ctx;
	const struct expr *idx[MAX_RANK];
	unsigned rank = place(a, a->part, columns, idx);
	struct named_attr attr[] = { { A_idx, attr_exprs(c, rank, idx) },
				     { A_guard, attr_exprs(c, 1, &guard) } };

	build(&a->y.b, &(struct op_spec){ .code = OP_mem_store, .n_in = 2,
					  .in = (struct value *[]){ v, to },
					  .n_attr = guard ? 2 : 1,
					  .attr = attr });
}

struct value *attend_unless_empty(const struct attend *a, struct builder *b,
				  struct value *v)
{
	struct lower lo = { .b = *b };
	const struct expr *n = a->y.sum.extent;
	struct value *none;

	if (expr_ge0(a->y.ctx, expr_addc(a->y.ctx, n, -1)))
		return v;
	/* Nothing is 0 then, not 0 by a total of 0. */
	none = s_op2(&lo, OP_arith_eq, nest_value(&lo, n),
		     s_int(&lo, DT_I64, 0));
	return s_select(&lo, none, s_const(&lo, DT_F32, 0), v);
}

/* ---- the statement -------------------------------------------------- */

static struct value *load_part(struct attend *a, struct lower *lo,
			       struct value *from, const struct expr *part)
{
	const struct expr *idx[MAX_RANK];

	place(a, part, from == a->sums, idx);
	return nest_load(lo, from, idx);
}

/* The largest of the maxima. */
static struct value *fold_tops(struct attend *a, struct lower *lo)
{
	const struct expr *extent = expr_const(a->y.ctx, a->parts);
	struct value *v = s_const(lo, DT_F32, -(double)INFINITY);
	struct reduce r = nest_reduce_begin(lo, 1, &extent, 1, &v);

	v = s_op2(lo, OP_arith_max, r.acc[0],
		  load_part(a, lo, a->tops, r.iv[0]));
	nest_reduce_end(lo, &r, &v, &v);
	return v;
}

/* Sum and total, each part's times the exponential.  They are one fold: a
 * thread for each point takes less time than one for each row, which would
 * have the total to itself. */
static void fold_sums(struct attend *a, struct lower *lo, struct value *top,
		      struct value *v[2])
{
	struct value *const from[] = { a->sums, a->totals };
	const struct expr *extent = expr_const(a->y.ctx, a->parts);
	struct value *e;

	v[0] = v[1] = s_const(lo, DT_F32, 0);
	struct reduce r = nest_reduce_begin(lo, 1, &extent, 2, v);

	e = s_op(lo, OP_math_exp,
		 s_sub(lo, load_part(a, lo, a->tops, r.iv[0]), top));
	for (unsigned i = 0; i < 2; i++)
		v[i] = s_add(lo, r.acc[i],
			     s_mul(lo, e, load_part(a, lo, from[i], r.iv[0])));
	nest_reduce_end(lo, &r, v, v);
}

void attend_join(struct attend *a)
{
	struct op *fold = a->y.fold;
	struct lower lo = { .b = { a->y.ctx, fold->parent, fold, fold->loc } };
	struct cloner *cl = &a->y.cl;
	struct value *sums[2], *v;

	*cl = (struct cloner){ .ctx = a->y.ctx };
	/* Others are not there, nor asked for. */
	if (a->some)
		clone_iv(cl, a->y.rows.iv[0],
			 expr_min(a->y.ctx, a->y.rows.iv[0],
				  expr_const(a->y.ctx, a->some - 1)));
	fold_sums(a, &lo, fold_tops(a, &lo), sums);
	cloner_free(cl);
	*cl = (struct cloner){ .ctx = a->y.ctx };
	attend_bind_scores(a);
	clone_value(cl, a->exp, sums[0]);
	clone_value(cl, &a->total->out[0], sums[1]);
	v = attend_unless_empty(a, &lo.b, clone_scalar(cl, &lo.b, a->prob));
	value_replace(&fold->out[0], v);
	cloner_free(cl);
	op_erase(fold);
	erase_dead(op_body(a->y.compute));
}
