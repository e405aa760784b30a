/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernels of a GPU that walk tiles of a contraction share: see
 * lower_tile.c. */
#ifndef PASSES_LOOP_TILE_H
#define PASSES_LOOP_TILE_H

#include "ir/target.h"
#include "passes/loop/lower.h"

enum {
	UNKNOWN = 128,		/* for an extent that is a symbol */
	BATCH = 8,		/* for one around the tiles */
	MIN_SIDE = MOST_FEW + 1,	/* that are worth a tile */
};

/* Variables counted as one: their product, or one symbol. */
struct side {
	const struct expr *iv[MAX_RANK];	/* of the statement */
	unsigned n;
	const struct expr *extent;
	int64_t guess;
};

struct gemm {
	struct ctx *ctx;
	struct op *compute, *fold, *mul;
	struct value *factor[2];
	struct side rows, cols, sum;
	uint32_t tiled;			/* variables of both sides */
	int64_t mr, nr, kr;
	enum fp32_form fp32;
	struct builder b;
	struct cloner cl;
	const struct expr *row, *col;	/* the first of the tile */
	const struct expr *left;	/* rows or columns that are left; what
					 * is below 1 is outside */
	struct value *out;
};

/* The variables around the tile, in its kernel. */
struct around {
	const struct expr *from[MAX_RANK], *to[MAX_RANK];
	unsigned n;
};

/* ---- recognition ---------------------------------------------------- */

/* Bits of the statement's variables that v depends on. */
uint32_t gemm_uses(const struct gemm *t, const struct value *v);
/* Is t->compute a contraction?  Sets fold, mul and factors. */
bool gemm_match(struct gemm *t);
/* Of the variables `own` those of known extent together, or the first symbol
 * that is alone larger; `order` is that of the result's memory. */
void gemm_side(struct gemm *t, struct side *s, uint32_t own,
	       const uint8_t *order, unsigned n);
/* The same, or all of them together where that is as cheap. */
void gemm_whole_side(struct gemm *t, struct side *s, uint32_t own,
		     const uint8_t *order, unsigned n);
void gemm_side_add(struct gemm *t, struct side *s, const struct expr *iv);
/* Are known extents of the side MIN_SIDE, or is there no symbol? */
bool gemm_never_few(const struct side *s);
uint32_t gemm_side_bits(const struct gemm *t, const struct side *s);

/* ---- emission ------------------------------------------------------- */

/* Copies what makes v, where it is not there yet. */
struct value *gemm_emit(struct gemm *t, struct value *v);
/* The variables of a side from the number that counts them, last one first. */
void gemm_count(struct gemm *t, const struct side *s,
		const struct expr *number);
/* What is left of a side at a place in the tile; NULL: all places are. */
const struct expr *gemm_left(struct gemm *t, const struct side *s,
			     const struct expr *first, int64_t size,
			     const struct expr *at);
/* Region i of the op is built from here on, with nothing copied yet. */
struct block *gemm_region(struct gemm *t, struct op *op, unsigned i);
void gemm_around(struct gemm *t, const struct around *a);
/* Stores v at the statement's point. */
void gemm_store(struct gemm *t, struct value *v, unsigned n,
		const struct expr *const *guard);

/* ---- loads ---------------------------------------------------------- */

/* Are neighbours along the variable neighbours in memory? */
bool steps_by_one(struct ctx *c, const struct op *load, const struct expr *iv);
/*
 * Elements of 16 bytes along the variable that are loaded together: all that is
 * added to it is a multiple, its extent is one, and the guards do not mention
 * it.  1: none.
 */
int64_t load_vector(struct ctx *c, const struct op *load,
		    const struct expr *iv);

#endif
