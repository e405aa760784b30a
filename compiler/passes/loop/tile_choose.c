/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How large the tiles of a contraction on a GPU are, and in how many parts its
 * sum is: an estimate in cycles.
 *
 * A multiprocessor works on its tiles one after the other, at a rate that falls
 * with their size because shared memory has to bring more; a tile that is alone
 * there waits for each step of k.  Parts make more tiles of the same size; what
 * they cost is a buffer that is written and read again, and a second kernel.
 */
#include <math.h>

#include "passes/loop/lower.h"

enum {
	LAUNCH = 3000,		/* cycles from one kernel to the next */
	STEP_WAIT = 500,	/* of a step of k that nothing hides */
	TOGETHER = 4,		/* tiles at once, which do that in turn */
	STEP = 64,		/* bytes of k in a step */
	LEAST = 512,		/* bytes of k in a part */
	WGMMA_ROWS = 64,	/* of a tile that it multiplies */
	RING = 8,		/* steps on their way where boxes are copied */
	RING_START = 2,		/* steps that it takes to begin that */
};

/* Of the products that threads could do, in lanes. */
#define LANES_RATE 0.3

/* Parts have to be that much better, by so rough an estimate. */
#define MARGIN 1.25

static const struct {
	int64_t size;
	double rate;		/* of what the arithmetic could do */
} sizes[] = { { 128, 0.8 }, { 64, 0.55 }, { 32, 0.3 } };

/* Products of a cycle; mma.sync, for small tiles, has half of what wgmma
 * has. */
static double rate_of(const struct gpu *gpu, const struct tile_problem *p,
		      int64_t size)
{
	double half = gpu->boxes && size < WGMMA_ROWS ? 0.5 : 1;

	if (!p->tensor_cores)
		return p->type == DT_F64 ? gpu->products / 2.0
					 : gpu->products;
	return half * gpu->half_products * 2.0 / p->bytes;
}

/* For what `each` tiles of a multiprocessor load. */
static double waits(const struct gpu *gpu, const struct tile_problem *p,
		    int64_t size, double each, double steps)
{
	if (gpu->boxes && p->boxes && size >= WGMMA_ROWS)
		return (RING_START + each * steps / RING) * STEP_WAIT;
	return ceil(each / TOGETHER) * steps * STEP_WAIT;
}

static double cycles(const struct gpu *gpu, const struct tile_problem *p,
		     size_t i, int64_t parts)
{
	double size = (double)sizes[i].size;
	double tiles = ceil((double)p->rows / size) *
		       ceil((double)p->cols / size) * (double)p->batch;
	double k = ceil((double)p->sum / (double)parts);
	double each = ceil(tiles * (double)parts / gpu->n_sm);
	double busy = each * k * size * size /
		      (rate_of(gpu, p, sizes[i].size) * sizes[i].rate);
	double wait = waits(gpu, p, sizes[i].size, each, k * p->bytes / STEP);
	double sums = (double)p->rows * (double)p->cols * (double)p->batch *
		      (double)parts * (double)dtype_size(p->type) * 2;
	/* Neither hides all of the other. */
	double time = busy > wait ? busy + wait / 4 : wait + busy / 4;

	return parts == 1 ? time : time + LAUNCH + sums / gpu->dram_bytes;
}

/* To read the second factor so many times. */
static double reads(const struct gpu *gpu, const struct tile_problem *p,
		    double times)
{
	return times * (double)p->cols * (double)p->sum * (double)p->batch *
	       p->bytes / gpu->dram_bytes;
}

/* Of rows in lanes: all that are taken together are computed. */
static double lanes_cycles(const struct gpu *gpu, const struct tile_problem *p)
{
	double times = ceil((double)p->rows / FEW_ROWS);
	double busy = times * FEW_ROWS * (double)p->cols * (double)p->sum *
		      (double)p->batch /
		      ((double)gpu->n_sm * gpu->products * LANES_RATE);

	return fmax(busy, reads(gpu, p, times));
}

int64_t tile_few_rows(const struct gpu *gpu, const struct tile_problem *p,
		      struct tile_choice tile)
{
	struct tile_problem q = *p;
	size_t i = 0;

	while (i + 1 < ARRAY_SIZE(sizes) && sizes[i].size > tile.mr)
		i++;
	for (q.rows = MOST_FEW; q.rows > FEW_ROWS; q.rows--)
		if (lanes_cycles(gpu, &q) <=
		    fmax(cycles(gpu, &q, i, 1), reads(gpu, &q, 1)))
			break;
	return q.rows;
}

struct tile_choice tile_choose(const struct gpu *gpu,
			       const struct tile_problem *p,
			       int64_t most_parts)
{
	struct tile_choice best = { 0 };
	double least = 0;

	for (size_t i = p->type == DT_F64; i < ARRAY_SIZE(sizes); i++) {
		for (int64_t parts = 1; parts <= most_parts; parts++) {
			if (parts > 1 && p->sum / parts * p->bytes < LEAST)
				break;
			double t = cycles(gpu, p, i, parts) *
				   (parts > 1 ? MARGIN : 1);

			if (best.mr && t >= least)
				continue;
			least = t;
			best = (struct tile_choice){ sizes[i].size,
						     sizes[i].size, parts };
		}
	}
	return best;
}
