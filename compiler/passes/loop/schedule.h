/* SPDX-License-Identifier: Apache-2.0 */
/* The schedule of a statement that is neither a contraction nor jammed. */
#ifndef PASSES_LOOP_SCHEDULE_H
#define PASSES_LOOP_SCHEDULE_H

#include "ir/op.h"

struct schedule {
	struct ctx *ctx;
	struct op *op;			/* the nest.compute */
	unsigned n_loop, n_par;		/* the kernel's own come first */
	const struct expr *iv[MAX_RANK];	/* of op, in loop order */
	unsigned unit;			/* the loop along the result's memory */
	uint32_t *level;		/* by value->slot: loops it needs */
	int64_t chunk;			/* of the next loop; 0: not cut */
	int vec_loop;			/* loop that runs in lanes, or -1 */
	bool vec_reduce;		/* folds run in lanes instead */
	unsigned lanes;
};

/* Numbers the scalars of the statement's body (value->slot). */
struct schedule schedule_make(struct ctx *c, struct op *op);

/* ---- what estimates are made of ------------------------------------- */

/* Scalar steps of the body for one point; a guess for symbolic extents. */
int64_t body_work(const struct block *b);
/* a * b for estimates: huge is huge. */
int64_t work_times(int64_t a, int64_t b);
/* May each lane, and each of several accumulators, fold a part? */
bool fold_in_lanes(const struct ctx *c, const struct op *fold);
int64_t extent_or(const struct expr *iv, int64_t unknown);
/* A block that never runs; its indices may divide by an extent that is 0. */
bool no_points(const struct block *b);

#endif
