/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mbarrier: the object is in its 8 bytes of shared memory, as a phase bit, the
 * transactions awaited, the count to start with and the arrivals awaited.
 */
#include "hopper.h"
#include "ptx.h"

#include <string.h>

static struct mbar_info infos[MAX_MBARS];
static uint32_t n_infos;

/* Bits 0-19 pending, 20-39 count, 40-61 transactions, 63 phase. */
struct state {
	uint32_t pending, count;
	int32_t tx;
	bool phase;
};

void hopper_block_start(struct block *blk);
void hopper_block_start(struct block *blk)
{
	n_infos = 0;
	bulk_deliver(blk, true);
	for (uint32_t i = 0; i < MAX_WARPS; i++) {
		struct warp_hopper *h = blk->warps[i].hopper;

		if (!h)
			continue;
		h->n_stores = h->n_wgmmas = h->wgmma_group = 0;
		memset(h->group, 0, sizeof(h->group));
	}
}

/* Nothing else can go on: a copy arrives. */
bool hopper_block_step(struct block *blk);
bool hopper_block_step(struct block *blk)
{
	return bulk_deliver(blk, false);
}

static struct mbar_info *info_of(uint32_t off)
{
	for (uint32_t i = 0; i < n_infos; i++)
		if (infos[i].off == off)
			return &infos[i];
	return NULL;
}

static struct state get(const struct block *blk, uint32_t off)
{
	uint64_t v;

	memcpy(&v, blk->shared + off, 8);
	return (struct state){ v & 0xfffff, v >> 20 & 0xfffff,
			       (int32_t)((int64_t)(v << 2) >> 42), v >> 63 };
}

static void put(struct block *blk, uint32_t off, struct state s)
{
	uint64_t v;

	if (!s.pending && !s.tx) {
		s.phase = !s.phase;
		s.pending = s.count;
		blk->progress = true;
	}
	v = s.pending | (uint64_t)s.count << 20 |
	    ((uint64_t)(uint32_t)s.tx & 0x3fffff) << 40 |
	    (uint64_t)s.phase << 63;
	memcpy(blk->shared + off, &v, 8);
}

/* The offset of a barrier that has been initialised. */
uint32_t mbar_offset(struct warp *w, const struct insn *in, int lane,
		     uint64_t addr)
{
	uint32_t off = (uint32_t)addr;

	if ((addr & WIN_MASK) == SHARED_WIN)
		addr &= ~WIN_MASK;
	if (addr % 8)
		fault(w, in, lane, EMU_MISALIGNED, "mbarrier at 0x%llx",
		      (unsigned long long)addr);
	if (addr + 8 > w->blk->shared_size)
		fault(w, in, lane, EMU_ILLEGAL_ADDRESS,
		      "mbarrier at 0x%llx of %u bytes of shared memory",
		      (unsigned long long)addr, w->blk->shared_size);
	if (!info_of(off))
		fault(w, in, lane, EMU_LAUNCH_FAILED,
		      "mbarrier at %u is not initialised", off);
	return off;
}

static void merge(uint32_t *into, const uint32_t *from)
{
	for (int i = 0; i < MAX_WARPS; i++)
		if (from[i] > into[i])
			into[i] = from[i];
}

/* Bytes of a copy have arrived, issued by a warp before its clock. */
void mbar_complete(struct block *blk, struct warp *w, const struct insn *in,
		   uint32_t off, uint32_t bytes, uint32_t warp, uint32_t clock)
{
	struct mbar_info *f = info_of(off);
	struct state s = get(blk, off);

	(void)w;
	(void)in;
	if (f && f->clock[warp] < clock + 1)
		f->clock[warp] = clock + 1;
	s.tx -= (int32_t)bytes;
	put(blk, off, s);
}

static uint32_t operand(const struct warp *w, uint32_t op, int l, uint32_t none)
{
	return op ? ((uint32_t *)reg(w, op))[l] : none;
}

static void init(struct warp *w, const struct insn *in, uint32_t m)
{
	uint64_t a[LANES];

	addresses(w, in, in->op[1], a);
	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);
		uint32_t off = (uint32_t)a[l];
		uint32_t n = operand(w, in->op[2], l, 1);

		if (!n || n >= 1 << 20)
			fault(w, in, l, EMU_ILLEGAL_INSTRUCTION,
			      "an mbarrier for %u", n);
		if (!info_of(off) && n_infos < MAX_MBARS)
			memset(&infos[n_infos++], 0, sizeof(infos[0])),
				infos[n_infos - 1].off = off;
		mbar_offset(w, in, l, a[l]);
		put(w->blk, off, (struct state){ n, n, 0, false });
	}
}

static void inval(struct warp *w, const struct insn *in, uint32_t m)
{
	uint64_t a[LANES];

	addresses(w, in, in->op[1], a);
	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);
		struct mbar_info *f;

		f = info_of(mbar_offset(w, in, l, a[l]));
		*f = infos[--n_infos];
		memset(w->blk->shared + (uint32_t)a[l], 0xff, 8);
	}
}

static void arrive_one(struct warp *w, const struct insn *in, int l,
		       uint32_t off, uint32_t n, struct state *s)
{
	if (n > s->pending)
		fault(w, in, l, EMU_LAUNCH_FAILED,
		      "%u arrivals at the mbarrier at %u, which waits for %u",
		      n, off, s->pending);
	s->pending -= n;
	merge(info_of(off)->clock, w->clock);
}

enum { M_ARRIVE = 1, M_EXPECT = 2, M_DROP = 4, M_COMPLETE = 8 };

/* op: state, address, count or bytes; kind: what it does */
static void arrive(struct warp *w, const struct insn *in, uint32_t m)
{
	uint64_t a[LANES];

	addresses(w, in, in->op[1], a);
	warp_sync(w);
	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);
		uint32_t off = mbar_offset(w, in, l, a[l]);
		uint32_t v = operand(w, in->op[2], l, 1);
		struct state s = get(w->blk, off);

		if (in->op[0])
			((uint64_t *)reg(w, in->op[0]))[l] = (uint64_t)s.phase
							     << 63;
		if (in->kind & M_EXPECT)
			s.tx += (int32_t)v;
		if (in->kind & M_COMPLETE)
			s.tx -= (int32_t)v;
		if (in->kind & M_DROP)
			s.count -= in->kind & M_EXPECT ? 1 : v;
		if (in->kind & (M_ARRIVE | M_DROP))
			arrive_one(w, in, l, off, in->kind & M_EXPECT ? 1 : v,
				   &s);
		put(w->blk, off, s);
	}
}

/* The arrival of cp.async, after the copies of the lane. */
void async_arrive(struct warp *w, const struct insn *in, int lane, uint32_t off)
{
	struct state s = get(w->blk, off);

	arrive_one(w, in, lane, off, 1, &s);
	put(w->blk, off, s);
}

/*
 * op: predicate, address, state or parity.  kind: parity; kind2: may return
 * false.  Whoever must wait stands back here until something has happened.
 */
static void wait(struct warp *w, const struct insn *in, uint32_t m)
{
	uint64_t a[LANES];
	uint32_t *p = reg(w, in->op[0]), done = 0;

	addresses(w, in, in->op[1], a);
	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);
		uint32_t off = mbar_offset(w, in, l, a[l]);
		bool phase = in->kind
				     ? ((uint32_t *)reg(w, in->op[2]))[l] & 1
				     : ((uint64_t *)reg(w, in->op[2]))[l] >> 63;

		if (get(w->blk, off).phase == phase)
			continue;
		done |= 1u << l;
		merge(w->clock, info_of(off)->clock);
	}
	if (done)
		warp_sync(w);
	*p = (*p & ~m) | done;
	if (m & ~done)
		warp_spin(w, m & ~done, in->kind2);
}

static bool decode_wait(struct parser *p, const struct stmt *st, struct mods *m,
			struct insn *in)
{
	in->fn = wait;
	in->kind = mods_take(m, "parity");
	return mods_done(m) && st->n >= 3 && st->n <= 4 &&
	       opnd_get(p, &st->o[0], 'p', &in->op[0]) &&
	       address_get(p, &st->o[1], in, 1) &&
	       opnd_get(p, &st->o[2], in->kind ? 'w' : 'q', &in->op[2]);
}

static bool decode_arrive(struct parser *p, const struct stmt *st,
			  struct mods *m, struct insn *in, uint8_t kind)
{
	int i = st->o[0].kind != O_MEM;

	in->fn = arrive;
	in->kind = kind;
	mods_take(m, "noComplete");
	if (mods_take(m, "expect_tx"))
		in->kind |= M_EXPECT;
	if (i && st->o[0].kind != O_SINK &&
	    !opnd_get(p, &st->o[0], 'q', &in->op[0]))
		return false;
	return mods_done(m) && st->n > i && st->n <= i + 2 &&
	       address_get(p, &st->o[i], in, 1) &&
	       (st->n == i + 1 || opnd_get(p, &st->o[i + 1], 'w', &in->op[2]));
}

static bool decode_mbarrier(struct parser *p, const struct stmt *st,
			    struct mods *m, struct insn *in)
{
	const char *what = m->n > 1 ? m->part[1] : "";

	m->used |= 2;
	take_space(m, in);
	take_hints(m);
	if (!mods_take(m, "b64"))
		return false;
	if (!strcmp(what, "init")) {
		in->fn = init;
		return mods_done(m) && st->n == 2 &&
		       address_get(p, &st->o[0], in, 1) &&
		       opnd_get(p, &st->o[1], 'w', &in->op[2]);
	}
	if (!strcmp(what, "inval")) {
		in->fn = inval;
		return mods_done(m) && st->n == 1 &&
		       address_get(p, &st->o[0], in, 1);
	}
	in->kind2 = !strcmp(what, "test_wait");
	if (in->kind2 || !strcmp(what, "try_wait"))
		return decode_wait(p, st, m, in);
	if (!strcmp(what, "arrive"))
		return decode_arrive(p, st, m, in, M_ARRIVE);
	if (!strcmp(what, "arrive_drop"))
		return decode_arrive(p, st, m, in, M_DROP);
	if (!strcmp(what, "expect_tx"))
		return decode_arrive(p, st, m, in, M_EXPECT);
	if (!strcmp(what, "complete_tx"))
		return decode_arrive(p, st, m, in, M_COMPLETE);
	return false;
}

const struct special specials_hopper[] = {
	{ "mbarrier", decode_mbarrier },
	{ 0 },
};
