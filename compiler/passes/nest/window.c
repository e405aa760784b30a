/* SPDX-License-Identifier: Apache-2.0 */
/*
 * window: neighbouring windows are computed at once, so that what they share is
 * loaded, and widened, once.
 *
 *	%y = nest.compute [c < C, i < M, j < N] {
 *	  sum over h < 3, w < 3 of x[c, i + h, j + w] * k[c, h, w]
 *	}
 * ->
 *	the same with {jam = [1, 1, 8]}, which lower_loops writes out
 *
 * That is for sums of few terms which stay as they are stated: depthwise
 * convolutions and pooling, of any type.  Lanes run along the dim that is
 * innermost in memory; the jammed one is the next in which windows overlap.
 * Each sum keeps the order of its terms.  On a GPU a thread takes these points,
 * while there are threads enough and its registers hold what they read.
 */
#include "ir/target.h"
#include "passes/nest/body.h"

enum {
	MAX_TAPS = 49,		/* 7 x 7 */
	MAX_JAM = 8,
	MAX_TERMS = 128,	/* written out; more compile slowly */
	/* On a GPU, where registers hold all that is loaded: */
	GPU_JAM = 4,
	GPU_TERMS = 48,
	THREADS = 256,		/* on a multiprocessor, to keep it busy */
	CHUNK_BITS = 128,	/* that each takes of the innermost dim */
};

/* The only fold, a sum over few points of known number, *taps of them. */
static struct op *window_fold(const struct op *compute, int64_t *taps)
{
	struct op *fold = body_fold(op_body(compute));
	int64_t n;

	if (!fold || fold->n_in != 1)
		return NULL;
	const struct block *kb = op_body(fold);
	const struct op *add = fold_combiner(fold, 0);

	if (!add || add->code != OP_arith_add)
		return NULL;
	for (uint32_t i = 0; i < kb->n_iv; i++)
		if (!expr_is_const(expr_atom(kb->iv[i])->a, &n) || n < 1 ||
		    n > MAX_TAPS || (*taps *= n) > MAX_TAPS)
			return NULL;
	return *taps > 1 ? fold : NULL;
}

/* Do the windows of neighbours in variable iv overlap in a load? */
static bool overlaps(struct ctx *c, const struct op *load,
		     const struct block *kb, const struct expr *iv)
{
	size_t n;
	const struct expr *const *idx = op_exprs(load, A_idx, &n);

	for (size_t i = 0; i < n; i++) {
		const struct expr *a, *b, *rest;
		int64_t step, tap, extent;

		if (!expr_linear(c, idx[i], expr_atom(iv), &a, &rest) ||
		    !expr_is_const(a, &step) || step < 1)
			continue;
		for (uint32_t k = 0; k < kb->n_iv; k++)
			if (expr_linear(c, rest, expr_atom(kb->iv[k]), &b,
					&rest) &&
			    expr_is_const(b, &tap) && tap > 0 &&
			    expr_is_const(expr_atom(kb->iv[k])->a, &extent) &&
			    (extent - 1) * tap >= step)
				return true;
	}
	return false;
}

/* Do neighbours in the variable read the same elements? */
static bool shares_loads(struct ctx *c, const struct op *fold,
			 const struct expr *iv)
{
	const struct block *kb = op_body(fold);

	for (const struct op *op = kb->first; op; op = op->next)
		if (op->code == OP_nest_load && overlaps(c, op, kb, iv))
			return true;
	return false;
}

/* How many points of a dim are computed at once: all of them in as many, if
 * there is such a number. */
static int64_t points(int64_t extent, int64_t taps)
{
	int64_t most = taps * MAX_JAM <= MAX_TERMS ? MAX_JAM : MAX_JAM / 2;

	if (extent <= most)
		return extent;
	for (int64_t n = most; n > most / 2; n--)
		if (extent % n == 0)
			return n;
	return most;
}

/* The same on a GPU, where threads take so many neighbours in the innermost dim
 * as well and there have to be enough of them; 1: there are not. */
static int64_t gpu_points(const struct ctx *c, const struct op *compute,
			  int64_t extent, int64_t taps)
{
	const struct block *b = op_body(compute);
	int64_t all = 1, n, busy = c->target->gpu[0]->n_sm * THREADS;

	busy *= CHUNK_BITS / dtype_info[compute->out[0].type->dtype].bits;
	for (uint32_t i = 0; i < b->n_iv; i++)
		if (expr_is_const(expr_atom(b->iv[i])->a, &n) &&
		    __builtin_mul_overflow(all, n, &all))
			return 1;
	for (n = GPU_JAM; n > 1; n--)
		if (n <= extent && taps * n <= GPU_TERMS && all / n >= busy &&
		    (extent % n == 0 || n == 2))
			return n;
	return 1;
}

/* Not where the order of float operations is that of the evaluator. */
static bool may_jam(const struct ctx *c, const struct op *compute)
{
	return compute->n_out == 1 && !op_has(compute, A_idx) &&
	       !op_has(compute, A_panel) && !op_has(compute, A_jam) &&
	       !op_has(compute, A_strip) && !c->strict_qdq;
}

static void window_statement(struct ctx *c, struct op *compute)
{
	const struct block *b = op_body(compute);
	int64_t jam[MAX_RANK], extent, taps = 1;
	uint8_t order[MAX_RANK];
	struct op *fold = may_jam(c, compute) ? window_fold(compute, &taps)
					      : NULL;

	if (!fold)
		return;
	unsigned n = memory_order(c, compute, &compute->out[0], order);

	/* The innermost one runs in lanes. */
	for (unsigned i = n; i-- > 1;) {
		const struct expr *iv = b->iv[order[i - 1]];

		if (!expr_is_const(expr_atom(iv)->a, &extent) || extent < 2 ||
		    !shares_loads(c, fold, iv))
			continue;
		extent = c->target && c->target->gpu[0]
				 ? gpu_points(c, compute, extent, taps)
				 : points(extent, taps);
		if (extent < 2)
			return;
		for (uint32_t k = 0; k < b->n_iv; k++)
			jam[k] = k == order[i - 1] ? extent : 1;
		op_set_attr(c, compute, A_jam, attr_ints(c, b->n_iv, jam));
		return;
	}
}

static bool window_run(struct module *m, const struct pass_args *args)
{
	(void)args;
	each_statement(m->ctx, op_body(m->func), window_statement);
	return true;
}

PASS(window,
	.summary = "Compute neighbouring windows at once",
	.needs = LEVEL_NEST, .leaves = LEVEL_NEST,
	.run = window_run);
