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
	bool half;		/* all factors are the same half float */
};

/* Is a->y.compute the last of such statements, of which nothing else is read?
 * Sets all of *a but sizes. */
bool attend_match(struct attend *a);

#endif
