/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel over its grid, block after block; the warps of a block take turns
 * at barriers, in the order that DLCC_EMU_ORDER names.
 */
#define _GNU_SOURCE
#include "emu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Until a block that goes on polling is given up, in times of 100000 backward
 * branches of each of its warps. */
#define MAX_RESTS 2000u

/* Warps and shared memory are kept for the next launch. */
static struct warp *warps;
static const struct func *warps_of;
static unsigned char *shared;
static struct shadow *shadow;
static struct reader *readers;
static uint32_t shared_cap;
static uint32_t clocks = 1;

enum order { FORWARD, REVERSE, RANDOM };
static enum order order;
static uint32_t seed;

static uint32_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

static void read_order(void)
{
	const char *s = emu_env("DLCC_EMU_ORDER", "forward");

	order = !strncmp(s, "reverse", 7)  ? REVERSE
		: !strncmp(s, "random", 6) ? RANDOM
					   : FORWARD;
	s = strchr(s, ':');
	seed = s ? (uint32_t)strtoul(s + 1, NULL, 0) * 2654435761u + 1 : 1;
	seed = seed ? seed : 1;
}

/* A permutation of n things. */
static void shuffle(uint32_t *v, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		v[i] = order == REVERSE ? n - 1 - i : i;
	for (uint32_t i = n; order == RANDOM && i > 1; i--) {
		uint32_t k = next_random() % i, t = v[k];

		v[k] = v[i - 1];
		v[i - 1] = t;
	}
}

static void free_frames(struct warp *w)
{
	for (struct frame *f = w->frame, *up; f; f = up) {
		up = f->up;
		free(f->regs);
		free(f);
	}
	for (struct frame *f = w->spare, *up; f; f = up) {
		up = f->up;
		free(f->regs);
		free(f);
	}
	w->frame = w->spare = NULL;
}

void launch_forget(const struct module *mod);
void launch_forget(const struct module *mod)
{
	if (!warps || !warps_of || warps_of->mod != mod)
		return;
	for (int i = 0; i < MAX_WARPS; i++)
		free_frames(&warps[i]);
	warps_of = NULL;
}

static uint32_t local_need(const struct func *f)
{
	uint32_t n = 0;

	/* Calls nest; recursion gets what is left. */
	for (const struct func *g = f->mod->funcs; g; g = g->next)
		n += g->is_entry && g != f ? 0 : g->local_bytes + 16;
	return n + (n > f->local_bytes + 16 ? 16384 : 0);
}

static void warps_init(const struct func *f, uint32_t n_warps)
{
	uint32_t local = local_need(f);

	if (!warps)
		warps = aligned_alloc(64, MAX_WARPS * sizeof(*warps)),
		memset(warps, 0, MAX_WARPS * sizeof(*warps));
	for (uint32_t i = 0; i < MAX_WARPS; i++) {
		struct warp *w = &warps[i];

		if (warps_of != f)
			free_frames(w);
		w->lo = w->span = 0;
		if (i < n_warps && w->local_size < local) {
			free(w->local);
			w->local_size = local;
			w->local = malloc((size_t)local * LANES);
		}
	}
	warps_of = f;
}

static void shared_init(struct block *blk)
{
	uint32_t n = blk->shared_size + 64;

	if (n > shared_cap) {
		shared_cap = n;
		free(shared);
		free(shadow);
		free(readers);
		shared = aligned_alloc(64, (n + 63) & ~63u);
		shadow = calloc(n / 4 + 1, sizeof(*shadow));
		readers = calloc((size_t)(n / 4 + 1) * MAX_WARPS,
				 sizeof(*readers));
	}
	blk->shared = shared;
	blk->shadow = shadow;
	blk->readers = readers;
}

static void set_tids(struct warp *w, const struct launch *la)
{
	for (uint32_t l = 0; l < LANES; l++) {
		uint32_t t = (uint32_t)w->id * LANES + l;

		w->tid[0][l] = t % la->dim[0];
		w->tid[1][l] = t / la->dim[0] % la->dim[1];
		w->tid[2][l] = t / la->dim[0] / la->dim[1];
	}
}

/* What comes next is later than all that this block has done. */
static void next_clock(const struct block *blk)
{
	for (uint32_t i = 0; i < blk->n_warps; i++)
		if (blk->warps[i].clock[i] >= clocks)
			clocks = blk->warps[i].clock[i] + 1;
	/* Before the clock wraps all that it was compared with goes. */
	if (clocks > 0xf0000000u) {
		memset(shadow, 0, (shared_cap / 4 + 1) * sizeof(*shadow));
		memset(readers, 0,
		       (size_t)(shared_cap / 4 + 1) * MAX_WARPS *
			       sizeof(*readers));
		clocks = 1;
	}
}

static void explain_deadlock(struct block *blk)
{
	for (uint32_t b = 0; b < N_BARS; b++) {
		const struct bar *bar = &blk->bar[b];

		if (!bar->arrived)
			continue;
		block_fault(
			blk, EMU_LAUNCH_FAILED,
			blk->exited
				? "deadlock: barrier %u (ptx line %u) has %u "
				  "of %u threads, and %u have exited"
				: "deadlock: barrier %u (ptx line %u) has %u "
				  "of %u threads",
			b, bar->line, bar->arrived, bar->expected, blk->exited);
	}
	for (uint32_t i = 0; i < blk->n_warps; i++) {
		struct warp *w = &blk->warps[i];
		struct frame *f = w->frame;

		if (!w->live || !f || !f->n_groups)
			continue;
		if (f->g[0].state == G_SPIN)
			block_fault(blk, EMU_LAUNCH_FAILED,
				    "deadlock: warp %u, lanes %08x wait at "
				    "ptx line %u for an mbarrier",
				    i, f->g[0].mask,
				    f->func->code[f->g[0].pc].line);
		block_fault(blk, EMU_LAUNCH_FAILED,
			    "deadlock: warp %u, lanes %08x wait at ptx line %u "
			    "for lanes %08x",
			    i, f->g[0].mask, f->func->code[f->g[0].pc].line,
			    f->g[0].need);
	}
	block_fault(blk, EMU_LAUNCH_FAILED, "deadlock");
}

void hopper_block_start(struct block *blk);
bool hopper_block_step(struct block *blk);

static void run_block(struct launch *la)
{
	struct block *blk = &la->blk;
	uint32_t seq[MAX_WARPS];
	const struct func *f = la->func;
	bool live = true;

	memset(blk->shared, 0xff, blk->shared_size);
	memset(blk->bar, 0, sizeof(blk->bar));
	blk->exited = blk->n_rests = 0;
	blk->clock_base = ++clocks;
	hopper_block_start(blk);
	for (uint32_t i = 0; i < blk->n_warps; i++) {
		struct warp *w = &warps[i];
		uint32_t n = blk->n_threads - i * LANES;

		w->blk = blk;
		w->id = (int)i;
		set_tids(w, la);
		warp_start(w, f, n >= LANES ? FULL : (1u << n) - 1);
		for (uint32_t k = 0; k < blk->n_warps; k++)
			w->clock[k] = blk->clock_base;
		w->clock[i]++;
	}
	while (live) {
		shuffle(seq, blk->n_warps);
		blk->progress = live = false;
		for (uint32_t i = 0; i < blk->n_warps; i++) {
			struct warp *w = &warps[seq[i]];

			if (!w->live)
				continue;
			warp_run(w);
			live |= w->live != 0;
		}
		/* Copies arrive when nothing else can happen. */
		if (live && !blk->progress && hopper_block_step(blk))
			blk->progress = true;
		if (live && !blk->progress)
			explain_deadlock(blk);
		if (blk->n_rests > MAX_RESTS * blk->n_warps)
			block_fault(blk, EMU_TIMEOUT,
				    "still running after %u backward "
				    "branches of each warp",
				    MAX_RESTS * 100000);
	}
	next_clock(blk);
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
	return b ? gcd(b, a % b) : a;
}

/* The block that comes i-th: in random order by a step that meets all. */
static uint64_t nth_block(uint64_t i, uint64_t n, uint64_t first)
{
	uint64_t step = n / 2 + 1;

	if (order != RANDOM)
		return order == REVERSE ? n - 1 - i : i;
	while (gcd(step, n) != 1)
		step++;
	return (first + i * step) % n;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void report(const struct launch *la, double start)
{
	double t = seconds() - start, n = (double)la->steps * LANES;

	note("%s: %u x %u x %u blocks, %.3g instructions of lanes in %.3g s, "
	     "%.3g M/s",
	     la->func->name, la->grid[0], la->grid[1], la->grid[2], n, t,
	     n / t * 1e-6);
}

int launch_run(const struct func *f, const uint32_t grid[3],
	       const uint32_t dim[3], uint32_t dyn_shared, const void *params)
{
	struct launch la = { .func = f,
			     .params = params,
			     .dyn_shared = dyn_shared };
	uint64_t most = strtoull(emu_env("DLCC_EMU_BLOCKS", "0"), NULL, 0);
	volatile uint64_t n = (uint64_t)grid[0] * grid[1] * grid[2];
	struct block *blk = &la.blk;
	double start = seconds();
	const char *twin = emu_env("DLCC_EMU_TWIN", "");
	uint64_t first;

	memcpy(la.grid, grid, sizeof(la.grid));
	/* Kernels that take one point after the other take fewer blocks. */
	if (most && n > most && grid[1] * grid[2] == 1)
		n = la.grid[0] = (uint32_t)most;
	if (*twin)
		return twin_run(twin, f, la.grid, dim, dyn_shared, params);
	memcpy(la.dim, dim, sizeof(la.dim));
	read_order();
	blk->launch = &la;
	blk->n_threads = dim[0] * dim[1] * dim[2];
	blk->n_warps = (blk->n_threads + LANES - 1) / LANES;
	blk->shared_size = f->shared_bytes + dyn_shared;
	blk->banks = banks_wanted();
	blk->races = *emu_env("DLCC_EMU_RACES", "1") != '0';
	warps_init(f, blk->n_warps);
	blk->warps = warps;
	shared_init(blk);
	first = order == RANDOM ? next_random() % n : 0;
	if (setjmp(la.fault)) {
		next_clock(blk);
		return la.status;
	}
	for (uint64_t i = 0; i < n; i++) {
		uint64_t k = nth_block(i, n, first);

		blk->ctaid[0] = (uint32_t)(k % la.grid[0]);
		blk->ctaid[1] = (uint32_t)(k / la.grid[0] % grid[1]);
		blk->ctaid[2] = (uint32_t)(k / la.grid[0] / grid[1]);
		run_block(&la);
	}
	if (*emu_env("DLCC_EMU_STATS", "0") != '0')
		report(&la, start);
	if (blk->banks)
		banks_report(f);
	return EMU_OK;
}
