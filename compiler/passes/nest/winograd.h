/* SPDX-License-Identifier: Apache-2.0 */
/* What recognition, choice and weights of pass winograd share. */
#ifndef PASSES_NEST_WINOGRAD_H
#define PASSES_NEST_WINOGRAD_H

#include "passes/nest/body.h"
#include "passes/nest/contraction.h"
#include "passes/nest/quantized.h"

enum { MAX_TAPS = 6 };

/*
 * F(m x m, 3 x 3) for n = m + 2: y = A'((G w G') . (B' x B))A, with B' = s r
 * and A' = p q as sparse factors.  All of a form with a scale are integers, and
 * what comes out is the result times the scale, in each of the two dims.
 */
struct winograd {
	unsigned m;
	unsigned scale;		/* 0: of floats */
	double g[MAX_TAPS][3];
	double s[MAX_TAPS][MAX_TAPS], r[MAX_TAPS][MAX_TAPS];	/* n x n */
	double p[MAX_TAPS][MAX_TAPS];				/* m x n */
	double q[MAX_TAPS][MAX_TAPS];				/* n x n */
};

/* The numbers from least to most. */
struct range {
	int64_t least, most;
};

/* A contraction over windows of 3 x 3 and one channel. */
struct windows {
	struct contraction con;
	unsigned row[2];	/* the statement's variables that move them */
	unsigned tap[2], channel;	/* the fold's variables */
	unsigned index[2];	/* the row operand's indices */
	int64_t size[2], c_in, c_out;
	/* The weight of c_out, c_in, tap 0, tap 1 in the constant. */
	int64_t step[4], base;
	const struct dot *dot;	/* of the products, NULL: of floats */
	enum dtype elem, sum;	/* of v and u, of z */
	struct range rows;	/* of integers: the numbers of the rows */
	const struct winograd *f;
	int64_t tiles;		/* to compute at once */
};

/* m = 2 or 4; of integers only where it is exact: NULL elsewhere. */
const struct winograd *winograd_form(const struct windows *wn, int m);
/* Is a form of integers exact for these numbers?  See winograd_exact.c. */
bool winograd_is_exact(const struct winograd *f, const struct windows *wn);
/* The numbers that the rows may hold; false where they are not known to be few
 * enough. */
bool winograd_row_range(const struct contraction *con, struct range *rows);
/* The number that follows from the scaled one, modulo 2^32. */
struct value *winograd_unscaled(struct lower *lo, const struct winograd *f,
				struct value *v);
/* The taps of c_in and c_out. */
void winograd_taps(const struct windows *wn, const char *data, int64_t ci,
		   int64_t co, double w[3][3]);
/* The cheapest form on this target whose weights are not larger than that; NULL
 * where the windows are best left. */
const struct winograd *winograd_choose(struct ctx *c, const struct windows *wn,
				       int64_t most_bytes);
/* Size of the transformed weights. */
int64_t winograd_bytes(const struct winograd *f, const struct windows *wn);
/* G w G' as a constant in panels of that width: [n, n, panel, c_in, column], or
 * [n, n, panel, c_in / group, column, group] where an instruction adds so many
 * products. */
struct value *winograd_weights(struct builder *b, const struct windows *wn,
			       int64_t width);
/* Tiles whose intermediate tensors suit the caches. */
int64_t winograd_tiles(const struct ctx *c, const struct windows *wn);
/* Images and lines of tiles in a strip, each 0 where all are in one; the tiles
 * of a strip. */
int64_t winograd_strip(const struct windows *wn, int images_dim,
		       int64_t *images, int64_t *lines);

#endif
