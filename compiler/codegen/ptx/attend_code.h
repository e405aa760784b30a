/* SPDX-License-Identifier: Apache-2.0 */
/* A kern.attend as it is printed: see cuda_attend.c. */
#ifndef CODEGEN_PTX_ATTEND_CODE_H
#define CODEGEN_PTX_ATTEND_CODE_H

#include "codegen/ptx/tile_code.h"

enum { Q, K, V, N_FACTORS };

struct factor {
	const char *name;	/* "q", "k", "v" */
	unsigned region;
	enum dtype type;
	int64_t rows, cols;	/* in shared memory at a time */
	int64_t depth;		/* columns in all */
	int64_t stride;		/* elements from row to row */
	bool along;		/* neighbours in memory are columns */
	int64_t vector;		/* elements that are loaded at once */
	bool copies;		/* on the side */
};

struct attend_code {
	struct cu *k;
	struct op *op;
	unsigned threads;
	int64_t mr, nr, depth, width;	/* width: columns of the result */
	enum fp32_form fp32;
	bool mma;
	bool few;		/* queries, for which lanes share keys */
	unsigned lanes;
	bool part;		/* of the keys alone, from `first` on */
	struct factor f[N_FACTORS];
	/* Type of an index; how many keys; the first one that is walked over,
	 * and the one behind the last. */
	const char *index, *keys, *first, *limit;
	/* By the thread: rows, and runs of columns side by side. */
	int64_t rows, run, runs;
};

/* ---- cuda_attend.c -------------------------------------------------- */

/* "for (int VAR = 0; VAR < N; VAR++)", unrolled, and a brace behind it. */
void attend_loop(struct cu *k, const char *var, int64_t n, bool brace);
void attend_end(struct cu *k);
/* load_k(row0, col0): to registers, or to shared memory on the side. */
void attend_load(struct attend_code *a, const struct factor *f);
/* reg[e] = the element, or the vector of them, at row and col; zeros where
 * there is none. */
void attend_element(struct attend_code *a, const struct factor *f);
/* The ops of a region, its variables named so; NULL: it has but one. */
void attend_region(struct attend_code *a, unsigned i, const char *first,
		   const char *second);
/* The registers to shared memory, from column `first` (" + d0") on. */
void attend_share(struct attend_code *a, const struct factor *f,
		  const char *first);
/* score = what the region makes of a sum at m and n; -inf for keys that are not
 * there. */
void attend_score(struct attend_code *a, const char *sum);
/* What takes the larger of two scores. */
const char *attend_max(const struct attend_code *a);
/* next, base and scale of a row, from the maximum `most` and its scores, which
 * the caller has compared with; the row is of `lanes` threads. */
void attend_rescale(struct attend_code *a, const char *most, unsigned lanes);
/* What the region makes of the sums at m and e, where that is a column. */
void attend_result(struct attend_code *a, const char *sum, const char *total,
		   const char *most);
/* Of a part of the keys: its maximum and total at m, stored by the threads for
 * which `own` is true. */
void attend_part(struct attend_code *a, const char *own, const char *total,
		 const char *most);

/* ---- on tensor cores, thread by thread, and by lanes ---------------- */

void attend_mma_describe(struct attend_code *a);
void attend_mma(struct attend_code *a);
void attend_squares_describe(struct attend_code *a);
void attend_squares(struct attend_code *a);
void attend_lanes_describe(struct attend_code *a);
void attend_lanes(struct attend_code *a);

#endif
