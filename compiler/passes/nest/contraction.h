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

/*
 * Of a sum of integers: the fold's last variable counts the products that one
 * instruction adds (struct dot), which A reads from consecutive elements.  Of
 * decoded weights: the numbers that a lane of 32 bits holds.  The panel is 0
 * where `inside`, over the fold's variables, is negative.
 */
struct group {
	unsigned size;			/* 1: there is no such variable */
	const struct expr *inside;	/* NULL: everywhere */
};

/* False when the statement is no contraction. */
bool contraction_match(struct ctx *c, struct op *compute,
		       struct contraction *con);
/* How a kernel multiplies the operands of a sum of integers; NULL for other
 * sums, and where the target cannot. */
const struct dot *contraction_dot(struct ctx *c,
				  const struct contraction *con);
/*
 * Which factor of the product is the row operand of the contraction that the
 * statement is, or that pass split will make it; -1 where it is none.
 */
int contraction_row_factor(struct ctx *c, struct op *compute);
/* Has the target a kernel for operands of these types? */
bool contraction_fits(struct ctx *c, const struct contraction *con);
/* Is the panel packed in the call for a single row?  That takes longer than to
 * read the columns where they are. */
bool contraction_reads_once(const struct contraction *con);
/* What kernels read in rows and in panels; the types of half floats and bytes
 * may be narrower than that of the sum. */
enum dtype contraction_row_dtype(struct ctx *c, const struct contraction *con);
/*
 * Splits a variable of the fold into quads or pairs, as the target's
 * instruction has them; the statement is then to be matched again.
 */
void contraction_group(struct ctx *c, struct contraction *con,
		       struct group *g);
/* Where no kernel is made after all: loads ask for no element outside. */
void contraction_guard_group(struct ctx *c, const struct contraction *con,
			     const struct group *g);
/* The last index of a load with a variable of the fold that moves no window:
 * channels; -1 without one. */
int contraction_channel(const struct contraction *con);
/* The variable of the fold there, as a position; -1 without one. */
int contraction_channel_variable(const struct contraction *con);
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
bool contraction_copy_rows(struct ctx *c, struct contraction *con,
			   const struct group *g);
/* Is the row operand one that a kernel cannot read? */
bool contraction_needs_copy(struct ctx *c, const struct contraction *con);

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
