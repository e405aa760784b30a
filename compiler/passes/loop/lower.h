/* SPDX-License-Identifier: Apache-2.0 */
/* What lowering of plain statements and of contractions share. */
#ifndef PASSES_LOOP_LOWER_H
#define PASSES_LOOP_LOWER_H

#include "ir/target.h"
#include "passes/nest/contraction.h"
#include "passes/pass.h"

/* A mem.alloc for a statement's result. */
struct value *new_buffer(struct builder *b, const struct value *like);
/*
 * A nest.load of a statement, as a mem.load at b.  It stands outside of a loop
 * of the extent `hoisted` (NULL: of none) which the statement has around it.
 */
void lower_load(struct cloner *cl, struct builder *b, struct op *op,
		const struct expr *hoisted);
/* Makes variables the digits of a number, the last one the lowest. */
void clone_digits(struct cloner *cl, unsigned n, const struct expr *const *iv,
		  const struct expr *number);
/* A contraction whose columns are packed, as tiles; false when the statement
 * is none. */
bool lower_contraction(struct ctx *c, struct op *op, struct value *into);
/* A contraction on a GPU, as tiles of blocks of threads; false when it is none
 * or too small. */
bool lower_tile(struct ctx *c, struct op *op, struct value *into);
/* In how many parts such a sum should be; 0: no such contraction. */
int64_t tile_parts(struct ctx *c, struct op *op);
/*
 * A long fold on a GPU, in the lanes of a warp or a block, or one whose points
 * share what they read; false when the statement has none.
 */
bool lower_lanes(struct ctx *c, struct op *op, struct value *into);
/*
 * The same beside another kernel, for the calls in which `when` is not negative
 * and the variables `few`, counted as one, have no more than MOST_FEW points.
 * The statement stays, with constants turned.  False when there is no such
 * form.
 */
bool lanes_beside(struct ctx *c, struct op *op, struct value *into,
		  uint32_t few, const struct expr *when);
/*
 * In how many parts one of a statement's folds, over the variables that it
 * depends on, should be for the GPU to be busy; *lanes where these lie along
 * its variables, counted as one.
 */
int64_t lanes_parts(struct ctx *c, struct op *op, struct op *fold,
		    bool *lanes);
/* The last of three statements that are attention on a GPU, and the others with
 * it; false when it is not. */
bool lower_attend(struct ctx *c, struct op *op);
/* Is op one of those statements, of which that is the last? */
bool attend_holds(struct ctx *c, struct op *last, const struct op *op);
enum {
	MOST_FEW = 11,		/* rows or columns that are not worth a tile */
	FEW_ROWS = 4,		/* in lanes at once, where their number is not
				 * known */
};
/* What lower_tile() will multiply: loads that go to shared memory as they are,
 * or NULL, and how many rows and columns there are, about. */
struct tile_form {
	struct op *fold, *load[2];
	int64_t side[2];
	bool tensor_cores;
};
/* False when the statement will be no tile. */
bool tile_form(struct ctx *c, struct op *op, struct tile_form *f);
/* A statement with `jam`, a block of points at a time; false when it cannot be
 * written out. */
bool lower_jam(struct ctx *c, struct op *op, struct value *into);
/* Any statement with one result. */
void lower_statement(struct ctx *c, struct op *op, struct value *into);

/* ---- tile_choose.c -------------------------------------------------- */

/* Estimates of symbolic extents. */
struct tile_problem {
	int64_t rows, cols, batch, sum;
	enum dtype type;		/* of the sum */
	unsigned bytes;			/* of an element of a factor */
	bool tensor_cores;
	bool boxes;			/* can be copied as such */
};

struct tile_choice {
	int64_t mr, nr;
	int64_t parts;			/* of the sum */
};

/* What takes least time on the GPU, in at most that many parts. */
struct tile_choice tile_choose(const struct gpu *gpu,
			       const struct tile_problem *p,
			       int64_t most_parts);
/*
 * Up to how many rows take less time in lanes, FEW_ROWS at once, than as one
 * row of such tiles; the problem's own number of them does not count.
 */
int64_t tile_few_rows(const struct gpu *gpu, const struct tile_problem *p,
		      struct tile_choice tile);

/* ---- turn.c --------------------------------------------------------- */

/* Could the constant that a fold loads lie as the fold walks it? */
bool can_turn_constant(const struct op *fold, const struct op *load);
/* Makes it so; false when it cannot, or it is so already. */
bool turn_constant(struct ctx *c, struct op *compute, struct op *fold,
		   struct op *load);

/* ---- lower_strips.c ------------------------------------------------- */

enum { MAX_CHAIN = 4 };

/* The statements that end with this one and are computed in strips, in their
 * order, and how many; 0 when there are none. */
unsigned strip_chain(struct op *last, struct op **chain);
/* Is the statement lowered when the last of its chain is? */
bool strip_later(struct op *op);
/* The chain that ends with this statement; false when there is none. */
bool lower_strips(struct ctx *c, struct op *last);

/* ---- shared --------------------------------------------------------- */

/* How far a step of iv moves an access in memory: 0, 1 or more (2).  A dim
 * that may broadcast is taken for one that does not. */
int access_class(struct ctx *c, const struct value *buf,
		 const struct expr *const *idx, const struct atom *iv);

#endif
