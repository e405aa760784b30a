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

struct target;

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
/* Panel width: the tile whose padded columns and rows cost least.  rows < 0:
 * not known; cols 0: not known; cold: the panels come from memory. */
int64_t contraction_width(const struct target *target, enum dtype t,
			  int64_t rows, int64_t cols, bool cold);
/* The columns go innermost in memory. */
void contraction_set_layout(struct ctx *c, const struct contraction *con);
/*
 * Copies the row operand where a kernel could not read it: one dim for each of
 * its indices, as long as the index's values reach, guards and all.  The copy
 * holds half floats widened: the kernel spreads each element over the lanes of
 * a vector.  False where that cannot be done.
 */
bool contraction_copy_rows(struct ctx *c, struct contraction *con);

/* Substitutes variables in a copied load; expr_subst() calls expr_renamed(). */
struct rename {
	const struct expr *from[4 * MAX_RANK], *to[4 * MAX_RANK];
	unsigned n;
};
const struct expr *expr_renamed(void *arg, const struct atom *a);
/* The factor reads another tensor, which may hold the widened values. */
void contraction_replace_load(struct ctx *c, struct op *load,
			      struct value *tensor, unsigned n,
			      const struct expr *const *idx);
/* Does the value leave its block, so that it has to be row-major? */
bool value_is_returned(const struct value *v);

#endif
