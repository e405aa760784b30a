/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds races on shared memory.
 *
 * Each warp has a clock that goes on at every synchronization; w->clock[v] is
 * the clock of warp v before which all that v did is ordered before w (a
 * vector clock, as in FastTrack).  Lanes of one warp are ordered by any
 * warp-wide synchronization between them.  Each word remembers who wrote it
 * last and the last read of each warp.
 */
#include "emu.h"

#include <string.h>

static void conflict(struct warp *w, const struct insn *in, int lane,
		     uint32_t off, const char *what, int warp, int other,
		     uint32_t line) __attribute__((noreturn, cold));
static void conflict(struct warp *w, const struct insn *in, int lane,
		     uint32_t off, const char *what, int warp, int other,
		     uint32_t line)
{
	if (line)
		fault(w, in, lane, EMU_LAUNCH_FAILED,
		      "race on shared memory at %u: %s warp %d lane %d, "
		      "ptx line %u, with no barrier between",
		      off, what, warp, other, line);
	fault(w, in, lane, EMU_LAUNCH_FAILED,
	      "race on shared memory at %u: %s warp %d lane %d, with no "
	      "barrier between",
	      off, what, warp, other);
}

/* Whether the last write is ordered before what the lane does now. */
static bool write_seen(const struct warp *w, const struct shadow *s, int lane)
{
	if (s->warp == w->id && s->lane == lane)
		return true;
	return s->clock < w->clock[s->warp];
}

/* The halves of word `i` that an access touches.  Single bytes are not
 * followed: neighbours in a word may belong to others. */
static uint32_t halves_of(uint32_t off, uint32_t size)
{
	return size >= 4 ? 3 : size == 2 ? 1u << (off >> 1 & 1) : 0;
}

static void check_write(struct warp *w, const struct insn *in, int lane,
			uint32_t off, uint32_t halves, bool is_atomic)
{
	const struct shadow *s = &w->blk->shadow[off / 4];

	if (s->clock < w->blk->clock_base)
		return;
	if (s->in_flight)
		fault(w, in, lane, EMU_LAUNCH_FAILED,
		      "shared memory at %u is the target of a copy under way",
		      off);
	if (s->halves & halves && !write_seen(w, s, lane) &&
	    !(is_atomic && s->is_atomic))
		conflict(w, in, lane, off, "written by", s->warp, s->lane,
			 s->line);
}

void race_read(struct warp *w, const struct insn *in, int lane, uint32_t off,
	       uint32_t size)
{
	struct block *b = w->blk;
	uint32_t clock = w->clock[w->id], halves = halves_of(off, size);

	if (!b->races)
		return;
	for (uint32_t i = off / 4; i <= (off + size - 1) / 4; i++) {
		struct reader *r =
			&b->readers[(size_t)i * b->n_warps + (uint32_t)w->id];

		check_write(w, in, lane, 4 * i, halves, false);
		if (r->clock != clock) {
			r->clock = clock;
			r->lanes[0] = r->lanes[1] = 0;
		}
		r->lanes[0] |= (halves & 1) << lane;
		r->lanes[1] |= (halves >> 1) << lane;
	}
}

/* Neighbours often read the same words: each then counts once for all. */
void race_read_words(struct warp *w, const struct insn *in, uint32_t m,
		     const uint64_t off[LANES], uint32_t n)
{
	struct block *b = w->blk;
	uint32_t clock = w->clock[w->id];

	while (m) {
		int l = __builtin_ctz(m);
		uint32_t first = (uint32_t)off[l] / 4, same = 0;

		do {
			same |= m & -m;
			m &= m - 1;
		} while (m && off[__builtin_ctz(m)] == off[l]);
		for (uint32_t i = first; i < first + n; i++) {
			const struct shadow *s = &b->shadow[i];
			struct reader *r = &b->readers[(size_t)i * b->n_warps +
						       (uint32_t)w->id];

			if (s->in_flight || s->clock >= w->clock[s->warp])
				for (uint32_t k = same; k; k &= k - 1)
					check_write(w, in, __builtin_ctz(k),
						    4 * i, 3, false);
			if (r->clock != clock) {
				r->clock = clock;
				r->lanes[0] = r->lanes[1] = 0;
			}
			r->lanes[0] |= same;
			r->lanes[1] |= same;
		}
	}
}

/* The lanes of a warp whose reading the write would race with. */
static uint32_t other_readers(const struct reader *r, uint32_t halves)
{
	return (halves & 1 ? r->lanes[0] : 0) | (halves & 2 ? r->lanes[1] : 0);
}

static void check_readers(struct warp *w, const struct insn *in, int lane,
			  uint32_t word, uint32_t halves)
{
	struct block *b = w->blk;
	const struct reader *r = &b->readers[(size_t)word * b->n_warps];
	uint32_t bad = 0;

	for (uint32_t v = 0; v < b->n_warps; v++)
		bad |= (uint32_t)(r[v].clock >= w->clock[v]) << v;
	for (; bad; bad &= bad - 1) {
		int v = __builtin_ctz(bad);
		uint32_t lanes = other_readers(&r[v], halves);

		if (v == w->id)
			lanes &= ~(1u << lane);
		if (lanes)
			conflict(w, in, lane, 4 * word, "read by", v,
				 __builtin_ctz(lanes), 0);
	}
}

void race_write(struct warp *w, const struct insn *in, int lane, uint32_t off,
		uint32_t size, bool is_atomic)
{
	struct block *b = w->blk;
	uint32_t halves = halves_of(off, size);

	if (!b->races)
		return;
	for (uint32_t i = off / 4; i <= (off + size - 1) / 4; i++) {
		struct shadow *s = &b->shadow[i];

		check_write(w, in, lane, 4 * i, halves, is_atomic);
		check_readers(w, in, lane, i, halves);
		s->clock = w->clock[w->id];
		s->warp = (uint8_t)w->id;
		s->lane = (uint8_t)lane;
		s->is_atomic = is_atomic;
		s->in_flight = false;
		s->halves = (uint8_t)halves;
		s->line = in->line;
	}
}

/* What has arrived was written by the warp before this clock. */
void race_stamp(struct warp *w, uint32_t off, uint32_t size, uint32_t clock)
{
	struct block *b = w->blk;

	if (!b->races)
		return;
	for (uint32_t i = off / 4; i <= (off + size - 1) / 4; i++) {
		b->shadow[i].clock = clock;
		b->shadow[i].warp = (uint8_t)w->id;
		b->shadow[i].halves = 3;
	}
}

/* A copy to shared memory is under way, or has arrived. */
void race_flight(struct warp *w, uint32_t off, uint32_t size, bool in_flight)
{
	struct block *b = w->blk;

	if (!b->races)
		return;
	for (uint32_t i = off / 4; i <= (off + size - 1) / 4; i++) {
		b->shadow[i].in_flight = in_flight;
		b->shadow[i].clock = w->clock[w->id];
	}
}
