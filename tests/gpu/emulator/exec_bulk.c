/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cp.async.bulk: copies by the block's copy engine.
 *
 * Copies to shared memory read their source at once, leave poison behind, and
 * arrive when no warp can go on without; copies from it read it only when
 * they are waited for.
 */
#define _GNU_SOURCE
#include "hopper.h"
#include "ptx.h"

#include <stdlib.h>
#include <string.h>

static struct bulk *queue;

struct warp_hopper *hopper_of(struct warp *w)
{
	if (!w->hopper)
		w->hopper = calloc(1, sizeof(*w->hopper));
	return w->hopper;
}

void bulk_add(struct block *blk, struct bulk *b)
{
	struct bulk **at = &queue;

	(void)blk;
	while (*at)
		at = &(*at)->next;
	*at = b;
}

/* The first one arrives, or all of them go; whether there was one. */
bool bulk_deliver(struct block *blk, bool all)
{
	bool any = queue != NULL;

	while (queue) {
		struct bulk *b = queue;

		queue = b->next;
		for (uint32_t i = 0; !all && i < b->n_pieces; i++) {
			memcpy(blk->shared + b->pieces[i].dst,
			       b->pieces[i].data, 16);
			race_flight(b->issuer, b->pieces[i].dst, 16, false);
			race_stamp(b->issuer, b->pieces[i].dst, 16, b->clock);
		}
		if (!all)
			mbar_complete(blk, b->issuer, NULL, b->mbar, b->bytes,
				      (uint32_t)b->issuer->id, b->clock);
		free(b->pieces);
		free(b);
		if (!all)
			break;
	}
	return any;
}

/* op: destination, source, size, mbarrier; offsets of addresses in targets */
struct bulk_form {
	struct insn dst, src, bar;
	uint32_t coord[5];
	int rank;
};

static void address_of(struct warp *w, const struct insn *part,
		       uint64_t a[LANES])
{
	addresses(w, part, part->op[0], a);
}

static const struct tensor_map *map_at(struct warp *w, const struct insn *in,
				       int l, uint64_t addr)
{
	const struct tensor_map *map;

	if (addr % 64)
		fault(w, in, l, EMU_MISALIGNED, "a tensor map at 0x%llx",
		      (unsigned long long)addr);
	mem_at(w, in, l, addr + 64, 64, SP_GENERIC, false);
	map = mem_at(w, in, l, addr, 64, SP_GENERIC, false);
	if (map->magic != MAP_MAGIC)
		fault(w, in, l, EMU_ILLEGAL_INSTRUCTION,
		      "there is no tensor map at 0x%llx",
		      (unsigned long long)addr);
	return map;
}

/* Poison and marks where the pieces will be. */
static void begin_flight(struct warp *w, const struct insn *in, int l,
			 struct bulk *b)
{
	for (uint32_t i = 0; i < b->n_pieces; i++) {
		memset(mem_at(w, in, l, b->pieces[i].dst, 16, SP_SHARED, true),
		       0xff, 16);
		race_flight(w, b->pieces[i].dst, 16, true);
	}
	b->issuer = w;
	b->clock = w->clock[w->id];
	bulk_add(w->blk, b);
}

static void plain_load(struct warp *w, const struct insn *in, int l,
		       uint32_t dst, uint64_t src, uint32_t n, struct bulk *b)
{
	if (n % 16 || src % 16)
		fault(w, in, l, EMU_MISALIGNED,
		      "a bulk copy of %u bytes from 0x%llx", n,
		      (unsigned long long)src);
	b->n_pieces = n / 16;
	b->bytes = n;
	b->pieces = malloc(b->n_pieces * sizeof(*b->pieces) + 1);
	for (uint32_t i = 0; i < b->n_pieces; i++) {
		b->pieces[i].dst = dst + 16 * i;
		memcpy(b->pieces[i].data,
		       mem_at(w, in, l, src + 16 * i, 16, SP_GLOBAL, false),
		       16);
	}
}

static void coordinates(const struct warp *w, const struct bulk_form *f, int l,
			int32_t at[5])
{
	for (int i = 0; i < f->rank; i++)
		at[i] = ((int32_t *)reg(w, f->coord[i]))[l];
}

static void load(struct warp *w, const struct insn *in, uint32_t m)
{
	const struct bulk_form *f = (const void *)in->targets;
	uint64_t dst[LANES], src[LANES], bar[LANES];

	address_of(w, &f->dst, dst);
	address_of(w, &f->src, src);
	address_of(w, &f->bar, bar);
	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);
		struct bulk *b = calloc(1, sizeof(*b));
		const struct tensor_map *map;
		int32_t at[5];

		b->mbar = mbar_offset(w, in, l, bar[l]);
		if (dst[l] % (f->rank ? 128 : 16))
			fault(w, in, l, EMU_MISALIGNED,
			      "a bulk copy to 0x%llx of shared memory",
			      (unsigned long long)dst[l]);
		if (f->rank) {
			map = map_at(w, in, l, src[l]);
			if (map->rank != f->rank)
				fault(w, in, l, EMU_ILLEGAL_INSTRUCTION,
				      "a tensor map of rank %d", map->rank);
			coordinates(w, f, l, at);
			tensor_load(w, in, l, map, at, (uint32_t)dst[l], b);
		} else {
			plain_load(w, in, l, (uint32_t)dst[l], src[l],
				   ((uint32_t *)reg(w, in->op[2]))[l], b);
		}
		begin_flight(w, in, l, b);
	}
	warp_sync(w);
}

static void run_store(struct warp *w, const struct insn *in,
		      const struct store *s)
{
	if (s->is_tensor) {
		tensor_store(w, in, s->lane, &s->map, s->at, s->src);
		return;
	}
	for (uint32_t i = 0; i < s->bytes; i += 16)
		memcpy(mem_at(w, in, s->lane, s->dst + i, 16, SP_GLOBAL, true),
		       mem_at(w, in, s->lane, s->src + i, 16, SP_SHARED, false),
		       16);
}

static void store(struct warp *w, const struct insn *in, uint32_t m)
{
	const struct bulk_form *f = (const void *)in->targets;
	struct warp_hopper *h = hopper_of(w);
	uint64_t dst[LANES], src[LANES];

	address_of(w, &f->dst, dst);
	address_of(w, &f->src, src);
	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);
		struct store s = { .src = (uint32_t)src[l],
				   .dst = dst[l],
				   .lane = (uint8_t)l,
				   .group = h->group[l],
				   .is_tensor = f->rank };

		if (s.is_tensor) {
			s.map = *map_at(w, in, l, dst[l]);
			coordinates(w, f, l, s.at);
		} else {
			s.bytes = ((uint32_t *)reg(w, in->op[2]))[l];
			if (s.bytes % 16)
				fault(w, in, l, EMU_MISALIGNED,
				      "a bulk copy of %u bytes", s.bytes);
		}
		if (h->n_stores == h->cap_stores) {
			h->cap_stores = h->cap_stores ? 2 * h->cap_stores : 16;
			h->stores =
				realloc(h->stores, h->cap_stores * sizeof(s));
		}
		h->stores[h->n_stores++] = s;
	}
}

static void commit(struct warp *w, const struct insn *in, uint32_t m)
{
	struct warp_hopper *h = hopper_of(w);

	(void)in;
	for (uint32_t r = m; r; r &= r - 1)
		h->group[__builtin_ctz(r)]++;
}

static void wait(struct warp *w, const struct insn *in, uint32_t m)
{
	struct warp_hopper *h = hopper_of(w);
	uint32_t kept = 0;

	for (uint32_t i = 0; i < h->n_stores; i++) {
		struct store *s = &h->stores[i];

		if (m >> s->lane & 1 &&
		    s->group + (uint64_t)in->imm < h->group[s->lane])
			run_store(w, in, s);
		else
			h->stores[kept++] = *s;
	}
	h->n_stores = kept;
}

/* What a thread leaves behind is written when it exits. */
void stores_finish(struct warp *w)
{
	static const struct insn nowhere;
	struct warp_hopper *h = w->hopper;

	for (uint32_t i = 0; h && i < h->n_stores; i++)
		run_store(w, &nowhere, &h->stores[i]);
	if (h)
		h->n_stores = 0;
}

/* cp.async.mbarrier.arrive: the lane's copies arrive, then it does. */
void exec_wait_copies(struct warp *w, const struct insn *in, uint32_t m);
static void copies_arrive(struct warp *w, const struct insn *in, uint32_t m)
{
	struct insn all = *in;
	uint64_t a[LANES];

	all.imm = -1;
	addresses(w, in, in->op[1], a);
	exec_wait_copies(w, &all, m);
	warp_sync(w);
	for (uint32_t r = in->kind ? m : 0; r; r &= r - 1) {
		int l = __builtin_ctz(r);

		async_arrive(w, in, l, mbar_offset(w, in, l, a[l]));
	}
}

static bool part_address(struct parser *p, const struct opnd *o,
			 struct insn *part)
{
	struct opnd base = *o;

	base.n = 1;
	return address_get(p, &base, part, 0);
}

/* [map, {coordinates}] */
static bool map_address(struct parser *p, const struct opnd *o,
			struct insn *part, struct bulk_form *f)
{
	if (o->kind != O_MEM || o->n != 2 || o->v[1].kind != O_VEC ||
	    o->v[1].n != f->rank)
		return false;
	for (int i = 0; i < f->rank; i++)
		if (!opnd_get(p, &o->v[1].v[i], 'w', &f->coord[i]))
			return false;
	return part_address(p, o, part);
}

static bool decode_load(struct parser *p, const struct stmt *st,
			struct insn *in, struct bulk_form *f)
{
	int i = f->rank ? 2 : 3;

	in->fn = load;
	if (st->n < i + 1 || !part_address(p, &st->o[0], &f->dst) ||
	    !part_address(p, &st->o[i], &f->bar))
		return false;
	if (f->rank)
		return map_address(p, &st->o[1], &f->src, f);
	return part_address(p, &st->o[1], &f->src) &&
	       opnd_get(p, &st->o[2], 'w', &in->op[2]);
}

static bool decode_store(struct parser *p, const struct stmt *st,
			 struct insn *in, struct bulk_form *f)
{
	in->fn = store;
	if (st->n < 2 || !part_address(p, &st->o[1], &f->src))
		return false;
	if (f->rank)
		return map_address(p, &st->o[0], &f->dst, f);
	return st->n >= 3 && part_address(p, &st->o[0], &f->dst) &&
	       opnd_get(p, &st->o[2], 'w', &in->op[2]);
}

static bool decode_group(const struct stmt *st, struct mods *m, struct insn *in)
{
	if (mods_take(m, "commit_group")) {
		in->fn = commit;
		return mods_done(m) && !st->n;
	}
	mods_take(m, "wait_group");
	mods_take(m, "read");
	in->fn = wait;
	in->imm = (int64_t)st->o[0].bits;
	return mods_done(m) && st->n == 1 && st->o[0].kind == O_INT;
}

bool decode_bulk(struct parser *p, const struct stmt *st, struct mods *m,
		 struct insn *in);
bool decode_bulk(struct parser *p, const struct stmt *st, struct mods *m,
		 struct insn *in)
{
	static const char *const ranks[] = { "1d", "2d", "3d", "4d", "5d" };
	struct bulk_form *f = mod_alloc(p->mod, sizeof(*f));
	bool to_shared;

	if (mods_take(m, "mbarrier")) {
		in->fn = copies_arrive;
		in->kind = mods_take(m, "noinc");
		take_space(m, in);
		return mods_take(m, "arrive") && mods_take(m, "b64") &&
		       mods_done(m) && address_get(p, &st->o[0], in, 1);
	}
	mods_take(m, "bulk");
	if (!strcmp(m->part[m->n - 1], "commit_group") ||
	    strstr(st->op, "wait_group"))
		return decode_group(st, m, in);
	in->targets = (uint32_t *)f;
	if (mods_take(m, "tensor"))
		for (int i = 0; i < 5; i++)
			if (mods_take(m, ranks[i]))
				f->rank = i + 1;
	mods_take(m, "tile");
	to_shared = mods_take(m, "mbarrier::complete_tx::bytes");
	take_space(m, in);
	take_hints(m);
	if (!to_shared && !mods_take(m, "bulk_group"))
		return false;
	if (!mods_done(m))
		return false;
	return to_shared ? decode_load(p, st, in, f)
			 : decode_store(p, st, in, f);
}
