/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Barriers of the block.
 *
 * The aligned forms want all lanes of the warp at the same instruction.
 * Threads that have exited do not count: a barrier that they leave short is
 * reported as a deadlock.
 */
#include "emu.h"
#include "ptx.h"

#include <string.h>

/* op: result, id, count, vote; kind: of a reduction; size: arrive only. */
static struct bar *bar_of(struct warp *w, const struct insn *in, uint32_t m)
{
	int l = __builtin_ctz(m);
	uint32_t id = ((uint32_t *)reg(w, in->op[1]))[l], expected, count;
	struct bar *b;

	if (id + !in->cluster >= N_BARS)
		fault(w, in, l, EMU_ILLEGAL_INSTRUCTION, "barrier %u", id);
	b = &w->blk->bar[id];
	expected = w->blk->n_threads;
	if (in->op[2]) {
		count = ((uint32_t *)reg(w, in->op[2]))[l];
		if (!count || count % LANES)
			fault(w, in, l, EMU_ILLEGAL_INSTRUCTION,
			      "a barrier for %u threads", count);
		expected = count;
	}
	if (b->arrived && b->expected != expected)
		fault(w, in, l, EMU_LAUNCH_FAILED,
		      "barrier %u for %u threads, by others for %u", id,
		      expected, b->expected);
	b->expected = expected;
	b->line = in->line;
	return b;
}

static void merge(uint32_t *into, const uint32_t *from)
{
	for (int i = 0; i < MAX_WARPS; i++)
		if (from[i] > into[i])
			into[i] = from[i];
}

static void give_results(struct bar *b)
{
	for (uint32_t i = 0; i < b->n_results; i++) {
		struct bar_result *r = &b->result[i];
		bool yes = r->kind == BAR_AND ? b->votes == b->voters
					      : b->votes > 0;

		if (r->kind != BAR_POPC) {
			*r->reg = (*r->reg & ~r->mask) | (yes ? r->mask : 0);
			continue;
		}
		for (int l = 0; l < LANES; l++)
			if (r->mask >> l & 1)
				r->reg[l] = b->votes;
	}
}

static void release(struct block *blk, int id)
{
	struct bar *b = &blk->bar[id];

	give_results(b);
	for (uint32_t i = 0; i < blk->n_warps; i++) {
		struct warp *w = &blk->warps[i];

		if (!w->live || !warp_wake(w, id))
			continue;
		merge(w->clock, b->clock);
	}
	memset(b, 0, sizeof(*b));
	blk->progress = true;
}

static void vote(struct warp *w, const struct insn *in, uint32_t m,
		 struct bar *b)
{
	uint32_t p = pred(w, in->op[3]);

	p = in->flags ? ~p : p;
	b->votes += (uint32_t)__builtin_popcount(p & m);
	b->voters += (uint32_t)__builtin_popcount(m);
	if (b->n_results < 2 * MAX_WARPS)
		b->result[b->n_results++] =
			(struct bar_result){ reg(w, in->op[0]), m, in->kind };
}

static void bar(struct warp *w, const struct insn *in, uint32_t m)
{
	struct block *blk = w->blk;
	struct bar *b;
	int id;

	if (in->count && !gather_lanes(w, m, w->live))
		return;
	b = bar_of(w, in, m);
	id = (int)(b - blk->bar);
	warp_sync(w);
	merge(b->clock, w->clock);
	if (in->kind)
		vote(w, in, m, b);
	/* With a count whole warps are counted. */
	b->arrived += in->count && in->op[2] ? LANES
					     : (uint32_t)__builtin_popcount(m);
	if (b->arrived > b->expected)
		fault(w, in, __builtin_ctz(m), EMU_LAUNCH_FAILED,
		      "%u threads at barrier %d for %u", b->arrived, id,
		      b->expected);
	if (!in->size)
		warp_wait(w, m, id);
	if (b->arrived == b->expected)
		release(blk, id);
}

static bool bar_operand(struct parser *p, const struct stmt *st, int i,
			struct insn *in, int op)
{
	return i >= st->n || opnd_get(p, &st->o[i], 'w', &in->op[op]);
}

static bool decode_red(struct parser *p, const struct stmt *st, struct mods *m,
		       struct insn *in)
{
	struct opnd v = st->o[st->n - 1];

	in->kind = mods_take(m, "popc")  ? BAR_POPC
		   : mods_take(m, "and") ? BAR_AND
		   : mods_take(m, "or")  ? BAR_OR
					 : 0;
	if (!in->kind || st->n < 3)
		return false;
	mods_take(m, "u32");
	mods_take(m, "pred");
	in->flags = v.is_not;
	v.is_not = false;
	return mods_done(m) && opnd_get(p, &v, 'p', &in->op[3]) &&
	       opnd_get(p, &st->o[0], in->kind == BAR_POPC ? 'w' : 'p',
			&in->op[0]) &&
	       bar_operand(p, st, 1, in, 1) &&
	       (st->n == 3 || bar_operand(p, st, 2, in, 2));
}

static void nothing(struct warp *w, const struct insn *in, uint32_t m)
{
	(void)w;
	(void)in;
	(void)m;
}

static void bar_warp(struct warp *w, const struct insn *in, uint32_t m)
{
	uint32_t need = ((uint32_t *)reg(w, in->op[0]))[__builtin_ctz(m)];

	if (gather_lanes(w, m, need))
		warp_sync(w);
}

/* Clusters are of one block: arrive does nothing and wait is a barrier. */
static bool decode_cluster(struct parser *p, const struct stmt *st,
			   struct mods *m, struct insn *in)
{
	take_hints(m);
	in->count = mods_take(m, "aligned");
	in->cluster = true;
	in->op[1] = const_get(p, N_BARS - 1, 'w');
	in->fn = mods_take(m, "arrive") ? nothing : bar;
	if (in->fn == bar && !mods_take(m, "wait"))
		return false;
	return mods_done(m) && !st->n;
}

static bool decode_bar(struct parser *p, const struct stmt *st, struct mods *m,
		       struct insn *in)
{
	if (mods_take(m, "warp")) {
		in->fn = bar_warp;
		return mods_take(m, "sync") && mods_done(m) &&
		       bar_operand(p, st, 0, in, 0);
	}
	if (mods_take(m, "cluster"))
		return decode_cluster(p, st, m, in);
	mods_take(m, "cta");
	in->fn = bar;
	in->count = !strcmp(m->part[0], "bar") || mods_take(m, "aligned");
	if (mods_take(m, "red"))
		return decode_red(p, st, m, in);
	in->size = mods_take(m, "arrive");
	if (!in->size && !mods_take(m, "sync"))
		return false;
	mods_take(m, "aligned");
	return mods_done(m) && st->n >= 1 + in->size && st->n <= 2 &&
	       bar_operand(p, st, 0, in, 1) && bar_operand(p, st, 1, in, 2);
}

const struct special specials_bar[] = {
	{ "bar", decode_bar },
	{ "barrier", decode_bar },
	{ 0 },
};
