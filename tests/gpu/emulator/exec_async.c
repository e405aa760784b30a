/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cp.async: the destination is poison from the issue until the wait that the
 * copy's group needs, so that reading it early shows.
 */
#include "lanes.h"
#include "ptx.h"

#include <stdlib.h>
#include <string.h>

static void add_copy(struct warp *w, const struct copy *c)
{
	if (w->n_copies == w->cap_copies) {
		w->cap_copies = w->cap_copies ? 2 * w->cap_copies : 256;
		w->copies =
			realloc(w->copies, w->cap_copies * sizeof(*w->copies));
	}
	w->copies[w->n_copies++] = *c;
}

/* op: destination, source, bytes of the source, no source; size: bytes;
 * imm: offset of the destination, target: that of the source */
static void cp_async(struct warp *w, const struct insn *in, uint32_t m)
{
	uint64_t dst[LANES], src[LANES];
	struct insn from = *in;

	from.imm = *(const int64_t *)in->targets;
	from.addr = in->width;
	addresses(w, in, in->op[0], dst);
	addresses(w, &from, in->op[1], src);
	if (w->blk->banks)
		banks_count(w, in, m, dst, in->size);
	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);
		struct copy c = { .lane = (uint8_t)l,
				  .size = in->size,
				  .group = w->open_group[l] };
		uint32_t n = in->size;
		unsigned char *d;

		if (in->op[2])
			n = ((u32 *)reg(w, in->op[2]))[l];
		if (in->op[3] && pred(w, in->op[3]) >> l & 1)
			n = 0;
		if (n > in->size)
			fault(w, in, l, EMU_ILLEGAL_INSTRUCTION,
			      "a copy of %u bytes to %u", n, in->size);
		if (src[l] & (in->size - 1u))
			fault(w, in, l, EMU_MISALIGNED,
			      "source 0x%llx of a copy of %u bytes",
			      (unsigned long long)src[l], in->size);
		for (uint32_t k = 0; k < n; k++)
			c.data[k] = *(unsigned char *)mem_at(
				w, in, l, src[l] + k, 1, SP_GLOBAL, false);
		d = mem_at(w, in, l, dst[l], in->size, SP_SHARED, true);
		memset(d, 0xff, in->size);
		c.dst = (uint32_t)(d - w->blk->shared);
		race_flight(w, c.dst, c.size, true);
		add_copy(w, &c);
	}
}

static void commit(struct warp *w, const struct insn *in, uint32_t m)
{
	(void)in;
	EACH_LANE(m, w->open_group[l]++);
}

/* All but the last `imm` groups of a lane arrive; all, if it is negative. */
void exec_wait_copies(struct warp *w, const struct insn *in, uint32_t m);
void exec_wait_copies(struct warp *w, const struct insn *in, uint32_t m)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < w->n_copies; i++) {
		struct copy *c = &w->copies[i];
		uint32_t open = w->open_group[c->lane];

		if (!(m >> c->lane & 1) ||
		    (in->imm >= 0 && c->group + (uint64_t)in->imm >= open)) {
			w->copies[kept++] = *c;
			continue;
		}
		memcpy(w->blk->shared + c->dst, c->data, c->size);
		race_flight(w, c->dst, c->size, false);
	}
	w->n_copies = kept;
}

static bool decode_copy(struct parser *p, const struct stmt *st,
			struct insn *in)
{
	struct insn src = { 0 };
	int64_t *off = mod_alloc(p->mod, sizeof(*off));
	const struct opnd *last = &st->o[st->n - 1];
	int n = st->n;

	in->fn = cp_async;
	if (n < 3 || n > 5 || st->o[2].kind != O_INT)
		return false;
	in->size = (uint8_t)st->o[2].bits;
	if (in->size != 4 && in->size != 8 && in->size != 16)
		return false;
	if (last->kind == O_REG && last->width == 'p') {
		if (!opnd_get(p, last, 'p', &in->op[3]))
			return false;
		n--;
	} else if (last->kind == O_REG && last->width == 'q') {
		/* A cache policy. */
		n--;
	}
	if (!address_get(p, &st->o[1], &src, 1))
		return false;
	*off = src.imm;
	in->targets = (uint32_t *)off;
	in->width = src.addr;
	in->op[1] = src.op[1];
	return (n == 3 || opnd_get(p, &st->o[3], 'w', &in->op[2])) &&
	       address_get(p, &st->o[0], in, 0) && !in->frame && !src.frame;
}

bool decode_bulk(struct parser *p, const struct stmt *st, struct mods *m,
		 struct insn *in);

static bool decode_cp(struct parser *p, const struct stmt *st, struct mods *m,
		      struct insn *in)
{
	if (!mods_take(m, "async"))
		return false;
	if (m->n > 2 &&
	    (!strcmp(m->part[2], "bulk") || !strcmp(m->part[2], "mbarrier")))
		return decode_bulk(p, st, m, in);
	if (mods_take(m, "commit_group")) {
		in->fn = commit;
		return mods_done(m) && !st->n;
	}
	if (mods_take(m, "wait_all")) {
		in->fn = exec_wait_copies;
		in->imm = -1;
		return mods_done(m) && !st->n;
	}
	if (mods_take(m, "wait_group")) {
		in->fn = exec_wait_copies;
		in->imm = (int64_t)st->o[0].bits;
		return mods_done(m) && st->n == 1 && st->o[0].kind == O_INT;
	}
	if (!mods_take(m, "ca") && !mods_take(m, "cg"))
		return false;
	if (!mods_take(m, "shared") && !mods_take(m, "shared::cta"))
		return false;
	take_hints(m);
	return mods_take(m, "global") && mods_done(m) && decode_copy(p, st, in);
}

const struct special specials_async[] = { { "cp", decode_cp }, { 0 } };
