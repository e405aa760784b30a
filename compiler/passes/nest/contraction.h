/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A statement seen as a contraction
 *
 *	out[batch, m, n] = f(sum over k of A[batch, m, k] * B[batch, n, k])
 *
 * recognised from index maps alone: variables that only A uses are rows,
 * those that only B uses are columns, those that both use are batch.
 */
#ifndef PASSES_NEST_CONTRACTION_H
#define PASSES_NEST_CONTRACTION_H

#include "ir/op.h"

struct contraction {
	struct op *compute, *fold;
	struct op *a, *b;		/* loads; b is the operand to pack */
	uint32_t rows, cols, batch;	/* bits of the statement's variables */
	unsigned col;			/* the column that runs in lanes */
	uint32_t window;		/* bits of fold variables that A mixes
					 * with a row in one index */
};

/* False when the statement is no contraction worth a kernel. */
bool contraction_match(struct ctx *c, struct op *compute,
		       struct contraction *con);
#endif
