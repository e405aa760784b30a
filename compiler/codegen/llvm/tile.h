/* SPDX-License-Identifier: Apache-2.0 */
/* The register tile of a contraction, as its parts see it; see contract.c. */
#ifndef CODEGEN_LLVM_TILE_H
#define CODEGEN_LLVM_TILE_H

#include "codegen/llvm/cg.h"

/* One loop over k: what a step moves in A and in the panel. */
struct k_loop {
	const struct atom *iv;
	const struct expr *extent;
	const struct expr *a_step, *b_step, *s_step;
};

/*
 * Weights that are decoded: scales and zero points, panels of their own, which
 * are loaded when the loops that move them have moved.  The steps of a block
 * are summed without them where the registers allow that (`apart`):
 *
 *	sum a * (q - z) * s = s * (sum a * q - z * sum a)
 *
 * With registers for twice as many sums, every other number of a group goes to
 * the second half of them: few sums wait for themselves.
 */
struct decoding {
	bool on, apart, zero;
	enum dtype to;			/* what they are rounded to */
	const struct expr *off;
	unsigned depth;			/* loops that move them */
	unsigned n_set;			/* of sums, 1 or 2 */
	LLVMValueRef scale[MAX_VECS], shift[MAX_VECS];
	LLVMValueRef step;		/* of A within a group */
};

struct kern {
	struct cg *g;
	struct op *op;
	unsigned mr, nv, lanes, nr;
	enum dtype dt, rows, panel;	/* of sums, rows, and the panel */
	unsigned group;			/* products of a lane and step */
	LLVMTypeRef elem, vec, row_elem, panel_elem;
	const struct expr *a_off, *b_off;	/* at row m0, column n0, k 0 */
	struct decoding d;
	LLVMValueRef row_off[MAX_ROWS];		/* in elements */
	int64_t row_const[MAX_ROWS];
	bool rows_const;
	struct k_loop k[MAX_RANK];
	unsigned n_k;
	LLVMValueRef sum[MAX_SUMS + MAX_ROWS];	/* then those of rows alone */
	unsigned n_sum;			/* of all sets */
	const struct dot *dot;		/* of integers */
	bool fits;			/* the panel, see cg_dot() */
	bool chains;			/* the panel is given as chains */
};

/* ---- tile_step.c ---------------------------------------------------- */

/* Element k behind base. */
LLVMValueRef tile_element(struct kern *kn, LLVMTypeRef elem, LLVMValueRef base,
			  int64_t k);
/* What row r has there, as that type. */
LLVMValueRef tile_load_row(struct kern *kn, LLVMTypeRef as, LLVMValueRef pa,
			   unsigned r, int64_t ahead);
/* Row r's element, or the numbers of a group, in every lane. */
LLVMValueRef tile_row(struct kern *kn, LLVMValueRef pa, unsigned r,
		      int64_t ahead);
/* Vector v of the panel in the type of the sums. */
LLVMValueRef tile_columns(struct kern *kn, LLVMValueRef pb, unsigned v,
			  int64_t ahead);
/* Brings so many bytes behind p near, once for each line of the cache. */
void tile_prefetch(struct cg *g, LLVMValueRef p, int64_t size);
/* The same for the panel's vectors of a later step. */
void tile_read_ahead(struct kern *kn, LLVMValueRef pb, int64_t ahead);
/* One step of the innermost loop, that many elements ahead. */
void tile_step(struct kern *kn, LLVMValueRef pa, LLVMValueRef pb,
	       int64_t a_ahead, int64_t b_ahead);

/* ---- tile_pair.c ---------------------------------------------------- */

/* How many registers have the sums of a tile whose rows are paired. */
unsigned pair_sums(const struct kern *kn);
/* tile_step() of pairs of rows by pairs of columns. */
void pair_step(struct kern *kn, LLVMValueRef pa, LLVMValueRef pb,
	       int64_t a_ahead, int64_t b_ahead);
/* The sums in order of rows, as all others are. */
void pair_rows(struct kern *kn);

/* ---- tile_chain.c --------------------------------------------------- */

/* The sums along the panel of that number; rows begin at pa. */
void chain_sums(struct kern *kn, LLVMValueRef pa, LLVMValueRef panel);

/* ---- tile_decode.c -------------------------------------------------- */

/* Whether the steps of a block have sums of their own; sets n_sum. */
void decode_plan(struct kern *kn);
/* Loads the scales and zero points at element `at` of their panels. */
void decode_scales(struct kern *kn, LLVMValueRef at);
/* outer + s * (sum of a * q - z * sum of a) of row r and vector v. */
LLVMValueRef decode_block(struct kern *kn, unsigned r, unsigned v,
			  LLVMValueRef outer);
/* tile_step() of decoded weights. */
void decode_step(struct kern *kn, LLVMValueRef pa, LLVMValueRef pb,
		 int64_t a_ahead, int64_t b_ahead);

/* ---- tile_epilogue.c ------------------------------------------------ */

/* Runs the op's body on the sums, for the columns that there are. */
void tile_epilogue(struct kern *kn);

#endif
