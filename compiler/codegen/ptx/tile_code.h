/* SPDX-License-Identifier: Apache-2.0 */
/* A kern.tile as it is printed: see cuda_tile.c. */
#ifndef CODEGEN_PTX_TILE_CODE_H
#define CODEGEN_PTX_TILE_CODE_H

#include "codegen/ptx/cu.h"

enum {
	SQUARE = 4,		/* places of a thread that are neighbours */
	STAGES = 3,		/* of copies, of which one is multiplied */
	PAD = 4,		/* elements, or words, behind a row */
	WORD = 4,		/* bytes */
	MMA_WORDS = 8,		/* of k in one mma */
	WARP = 32,
	LINE = 128,		/* bytes side by side in a stage */
	COLUMN = 64,		/* rows side by side of a factor not along k */
	MAX_BOX = 256,		/* elements along a dim */
};

struct tile_code {
	struct cu *k;
	struct op *op;
	int64_t mr, nr, kr;
	enum dtype in[2], sum;	/* of the factors; of the sum */
	enum fp32_form fp32;
	bool mma;
	unsigned threads;
	/* By the thread: squares down and across; of a warp: mma tiles. */
	unsigned down, across;
	unsigned warps_n;	/* of mma: warps side by side */
	long long vector[2];	/* elements that are loaded at once */
	bool whole;		/* no step of k is cut */
	unsigned stages;	/* of asynchronous copies; 0: by registers */
	bool turned[2];		/* a stage has the factor's columns of rows */
	bool wgmma;		/* where the GPU has it */
};

struct tile_code tile_describe(struct cu *k, struct op *op);
/* "dl_mma_f16": the prelude's function for these types. */
const char *tile_mma_name(const struct tile_code *t);
/* The same of wgmma, and what makes a factor's descriptor. */
const char *tile_wgmma_name(const struct tile_code *t);
const char *tile_descriptor_name(const struct tile_code *t, unsigned i);
/* Says how results are stored; before the loops of tile_places(). */
void tile_pairs(struct tile_code *t);
/* The loops over what a thread of a warp has of mma tiles, `rows` by `cols`,
 * with m, n and the sum; the last one is open. */
void tile_places(struct tile_code *t, unsigned rows, unsigned cols,
		 const char *m, const char *n, const char *sum);
/* What comes of the sum at a place; closes the loops. */
void tile_result(struct tile_code *t);

/* ---- cuda_tile_load.c ----------------------------------------------- */

/* "a" or "b" */
const char *tile_factor(unsigned i);
/* "0x80808080u", four of the bytes that are there where a guard fails; NULL:
 * zeros are. */
const char *tile_border(struct tile_code *t, unsigned i);
/* The ops of a region, with its two variables named; NULL: it has but one. */
void tile_region(struct tile_code *t, unsigned i, const char *first,
		 const char *second);
/* Elements and words from one row of k to the next, for tensor cores.  A factor
 * that is turned has columns; it takes as much room. */
long long tile_row_elements(const struct tile_code *t, unsigned i);
long long tile_row_words(const struct tile_code *t);
/* Elements of a factor in shared memory, for one step. */
long long tile_shared_elements(const struct tile_code *t, unsigned i);
/* The shared memory of both factors: shared_a, or all_a of stages. */
void tile_shared(struct tile_code *t);
/* It, and load_a(), load_b(): by registers, as load_a(k0), or to a stage on the
 * side, as load_a(k0, stage). */
void tile_loads(struct tile_code *t);
/* Registers to shared memory. */
void tile_share(struct tile_code *t);

/* ---- cuda_map.c ----------------------------------------------------- */

/* A tensor and where in it the box of a step begins; NULL along k: where the
 * step does. */
struct tile_map {
	struct gpu_map map;
	const struct expr *at[MAX_MAP_RANK];
};

/* What a factor is loaded from; false when it is no tensor that boxes can be
 * copied of. */
bool tile_map(struct tile_code *t, unsigned i, struct tile_map *map);

#endif
