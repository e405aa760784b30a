/* SPDX-License-Identifier: Apache-2.0 */
/* Statements of which several points are written out at once: lower_jam.c makes
 * the loops, jam_points.c what is inside of them. */
#ifndef PASSES_LOOP_JAM_H
#define PASSES_LOOP_JAM_H

#include "passes/pass.h"

enum {
	MAX_POINTS = 64,	/* of a block */
	MAX_TERMS = 4096,	/* of sums inside of one another */
	MAX_FOLDS = 32,
	MAX_USED = 12,		/* variables that a sum depends on */
};

/* A sum with the variables that change while it is written out. */
struct sum_use {
	const struct op *op;
	unsigned n;
	const struct atom *iv[MAX_USED];
};

struct jam {
	struct ctx *ctx;
	struct op *op;			/* the nest.compute */
	struct builder b;
	struct cloner cl;
	struct map seen;		/* the innermost loop's ops, by content */
	struct map sums;		/* values of sums in that loop */
	struct sum_use use[MAX_FOLDS];	/* by op->slot */
	unsigned n_use;
	struct value *out;
	const int64_t *jam;		/* by dim */
	unsigned lane_dim;		/* runs in lanes, is never jammed */
	/* The block at hand: base[d] + 0 .. size[d]-1 in dim d. */
	const struct expr *base[MAX_RANK];
	int64_t size[MAX_RANK];
	bool inside;		/* guards of the row are known to hold */
};

/* Can the body be written out?  Fills `use`. */
bool jam_possible(struct jam *j);
/* Is the guard of a load the same in all of a row, in lanes and in jammed
 * points, as far as the terms of sums let it? */
bool jam_guards_row(const struct jam *j, const struct op *load,
		    const struct expr *g);
/* The points of the block at hand, each ending in a store. */
void jam_points(struct jam *j);

#endif
