/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three statements that are one kernel: attention.
 *
 *	s[b, q, k] = f(sum over d of Q[b, q, d] * K[b, k, d])
 *	p[b, q, k] = exp(s - max over k of s) * c(sum over k of exp(s - max))
 *	y[b, q, e] = g(sum over k of p[b, q, k] * V[b, k, e])
 */
#ifndef PASSES_LOOP_ATTEND_H
#define PASSES_LOOP_ATTEND_H

#include "passes/loop/tile.h"

struct attend {
	struct gemm y, s;
	struct op *probs;
	/* Factors: of y the probabilities and V, of s what the key says. */
	unsigned p, v, q, k;
	struct op *p_load;		/* in y's fold */
	struct op *s_load;		/* at the point of probs */
	struct op *top, *total;		/* folds of probs */
	struct value *score;		/* at its point */
	struct value *exp, *prob;	/* prob: before it is rounded */
	unsigned p_key, s_key;		/* variables that count keys */
	bool halves;			/* all factors are the same half float,
					 * and */
	bool half;			/* multiplied as such */
	/* Of a symbolic number of queries at most so many, for calls that have
	 * no more; 0: all. */
	int64_t some;
	/* Of the keys, each walked over by a block of its own. */
	int64_t parts;
	const struct expr *size;	/* keys of a part */
	const struct expr *part;	/* the kernel's variable */
	/* What comes of a part at [part, point], of the maximum and the total
	 * without columns. */
	struct value *sums, *tops, *totals;
};

/* Is a->y.compute the last of such statements, of which nothing else is read?
 * Sets all of *a but sizes. */
bool attend_match(struct attend *a);
/* Says what the variables of probs and scores are at a point of y, of which
 * the cloner knows the variables. */
void attend_bind_scores(struct attend *a);

/* ---- lower_attend.c ------------------------------------------------- */

/* Is the statement the last of three that are worth a kernel?  Sets *a. */
bool attend_find(struct attend *a, struct ctx *c, struct op *op);

/* ---- attend_choose.c ------------------------------------------------ */

/* Are queries so few, and known to be, that lanes share keys? */
bool attend_few(const struct attend *a);
/* Sets rows, columns, sizes and parts; false when one kernel, or two, would be
 * no faster than three. */
bool attend_choose(struct attend *a);
/* Of a symbolic number of queries: should calls with few of them have kernels
 * of their own?  Sets their sizes. */
bool attend_choose_some(struct attend *a);

/* ---- attend_join.c -------------------------------------------------- */

/* The buffers for what comes of the parts. */
void attend_buffers(struct attend *a);
/* Stores v, of the part at hand, there; `columns`: at the point's column. */
void attend_store_part(struct attend *a, struct value *v, struct value *to,
		       bool columns, const struct expr *guard);
/* What y's sum of probabilities times values is: v, but 0 of no keys. */
struct value *attend_unless_empty(const struct attend *a, struct builder *b,
				  struct value *v);
/* The statement y as one that joins parts. */
void attend_join(struct attend *a);

#endif
