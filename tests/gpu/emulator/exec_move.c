/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mov with its packing and special registers, and conversions of addresses.
 */
#define _GNU_SOURCE
#include "lanes.h"
#include "ptx.h"

#include <string.h>
#include <time.h>

enum sreg {
	S_TID,
	S_NTID = 3,
	S_CTAID = 6,
	S_NCTAID = 9,
	S_ZERO = 12,
	S_ONE,
	S_LANEID,
	S_WARPID,
	S_NWARPID,
	S_CLOCK,
	S_EQ,
	S_LE,
	S_LT,
	S_GE,
	S_GT,
	S_DYNAMIC,
	S_TOTAL,
	S_SMS,
	S_NANO,
};

static const struct {
	const char *name;
	uint8_t which;
	bool axes; /* has .x .y .z */
} sregs[] = {
	{ "%tid", S_TID, true },
	{ "%ntid", S_NTID, true },
	{ "%ctaid", S_CTAID, true },
	{ "%nctaid", S_NCTAID, true },
	{ "%clusterid", S_CTAID, true },
	{ "%nclusterid", S_NCTAID, true },
	{ "%cluster_ctaid.x", S_ZERO, false },
	{ "%cluster_ctaid.y", S_ZERO, false },
	{ "%cluster_ctaid.z", S_ZERO, false },
	{ "%cluster_nctaid.x", S_ONE, false },
	{ "%cluster_nctaid.y", S_ONE, false },
	{ "%cluster_nctaid.z", S_ONE, false },
	{ "%cluster_ctarank", S_ZERO, false },
	{ "%cluster_nctarank", S_ONE, false },
	{ "%laneid", S_LANEID, false },
	{ "%warpid", S_WARPID, false },
	{ "%nwarpid", S_NWARPID, false },
	{ "%smid", S_ZERO, false },
	{ "%nsmid", S_SMS, false },
	{ "%gridid", S_ZERO, false },
	{ "%clock", S_CLOCK, false },
	{ "%clock_hi", S_ZERO, false },
	{ "%clock64", S_CLOCK, false },
	{ "%globaltimer", S_NANO, false },
	{ "%globaltimer_lo", S_NANO, false },
	{ "%lanemask_eq", S_EQ, false },
	{ "%lanemask_le", S_LE, false },
	{ "%lanemask_lt", S_LT, false },
	{ "%lanemask_ge", S_GE, false },
	{ "%lanemask_gt", S_GT, false },
	{ "%dynamic_smem_size", S_DYNAMIC, false },
	{ "%total_smem_size", S_TOTAL, false },
};

static uint64_t nanoseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t uniform(const struct warp *w, int which)
{
	const struct block *b = w->blk;

	if (which >= S_NTID && which < S_CTAID)
		return b->launch->dim[which - S_NTID];
	if (which >= S_CTAID && which < S_NCTAID)
		return b->ctaid[which - S_CTAID];
	if (which >= S_NCTAID && which < S_ZERO)
		return b->launch->grid[which - S_NCTAID];
	switch (which) {
	case S_ONE: return 1;
	case S_WARPID: return (uint64_t)w->id;
	case S_NWARPID: return b->n_warps;
	case S_CLOCK: return nanoseconds();
	case S_DYNAMIC: return b->launch->dyn_shared;
	case S_TOTAL: return b->shared_size;
	case S_SMS: return 132;
	case S_NANO: return nanoseconds();
	default: return 0;
	}
}

static uint32_t per_lane(int which, int l)
{
	switch (which) {
	case S_LANEID: return (uint32_t)l;
	case S_EQ: return 1u << l;
	case S_LE: return (2u << l) - 1;
	case S_LT: return (1u << l) - 1;
	case S_GE: return FULL << l;
	default: return l == 31 ? 0 : FULL << (l + 1);
	}
}

static void mov_sreg(struct warp *w, const struct insn *in, uint32_t m)
{
	u32 *d = reg(w, in->op[0]);
	u64 *q = reg(w, in->op[0]);
	int s = in->kind;
	bool lanes = s == S_LANEID || (s >= S_EQ && s <= S_GT);
	uint64_t u = lanes || s < S_NTID ? 0 : uniform(w, s);

	if (s < S_NTID && in->width == 4) {
		EACH_LANE(m, d[l] = w->tid[s][l]);
		return;
	}
	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);
		uint64_t v = s < S_NTID ? w->tid[s][l]
			     : lanes    ? per_lane(s, l)
					: u;

		if (in->width == 4)
			d[l] = (u32)v;
		else
			q[l] = v;
	}
}

static bool decode_sreg(const char *name, struct insn *in)
{
	size_t n;

	for (size_t i = 0; i < sizeof(sregs) / sizeof(*sregs); i++) {
		n = strlen(sregs[i].name);
		in->kind = sregs[i].which;
		if (!strcmp(sregs[i].name, name))
			return true;
		if (!sregs[i].axes || strncmp(sregs[i].name, name, n) ||
		    name[n] != '.' || name[n + 1] < 'w' || name[n + 2])
			continue;
		in->kind = (uint8_t)(in->kind + (name[n + 1] - 'x'));
		return name[n + 1] != 'w';
	}
	return false;
}

/* The address of something in the frame's memory of the lane. */
static void mov_frame(struct warp *w, const struct insn *in, uint32_t m)
{
	u64 *d = reg(w, in->op[0]), v = w->frame->local_base + (u64)in->imm;

	EACH_LANE(m, d[l] = v);
}

/* Little ends first: more[0] is the whole, then come the parts. */
static u64 get_lane(const struct warp *w, uint32_t op, uint32_t bytes, int l)
{
	return bytes == 8   ? ((u64 *)reg(w, op))[l]
	       : bytes == 4 ? ((u32 *)reg(w, op))[l]
			    : ((u32 *)reg(w, op))[l] & 0xffff;
}

static void put_lane(struct warp *w, uint32_t op, uint32_t bytes, int l, u64 v)
{
	if (bytes == 8)
		((u64 *)reg(w, op))[l] = v;
	else
		((u32 *)reg(w, op))[l] = bytes == 4 ? (u32)v : (u32)v & 0xffff;
}

static void mov_pack(struct warp *w, const struct insn *in, uint32_t m)
{
	uint32_t part = in->width / (in->count - 1u);

	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);
		u64 v = 0;

		for (uint32_t i = 1; i < in->count; i++)
			v |= get_lane(w, in->more[i], part, l)
			     << 8 * part * (i - 1);
		put_lane(w, in->more[0], in->width, l, v);
	}
}

static void mov_unpack(struct warp *w, const struct insn *in, uint32_t m)
{
	uint32_t n = in->count - 1u, part = in->width / n;

	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);
		u64 v = get_lane(w, in->more[n], in->width, l);

		for (uint32_t i = 0; i < n; i++)
			put_lane(w, in->more[i], part, l, v >> 8 * part * i);
	}
}

/* b128: its two halves lie one after the other. */
static void mov_pack128(struct warp *w, const struct insn *in, uint32_t m)
{
	u64 *d = reg(w, in->more[0]);

	for (int i = 0; i < 2; i++) {
		const u64 *s = reg(w, in->more[i + 1]);

		EACH_LANE(m, d[i * LANES + l] = s[l]);
	}
}

static void mov_unpack128(struct warp *w, const struct insn *in, uint32_t m)
{
	const u64 *s = reg(w, in->more[2]);

	for (int i = 0; i < 2; i++) {
		u64 *d = reg(w, in->more[i]);

		EACH_LANE(m, d[l] = s[i * LANES + l]);
	}
}

static char part_width(uint32_t bytes)
{
	return bytes == 8 ? 'q' : bytes == 4 ? 'w' : 'h';
}

static bool decode_vectors(struct parser *p, const struct stmt *st,
			   struct insn *in, uint32_t bytes)
{
	bool pack = st->o[1].kind == O_VEC;
	uint32_t n = (uint32_t)st->o[pack].n;
	char widths[3] = { 0 };

	if (n != 2 && n != 4)
		return false;
	in->width = (uint8_t)bytes;
	if (bytes / n < 2 || bytes / n > 8)
		return false;
	widths[!pack] = bytes == 16 ? 'o' : part_width(bytes);
	widths[pack] = part_width(bytes / n);
	in->fn = bytes == 16 ? (pack ? mov_pack128 : mov_unpack128)
		 : pack      ? mov_pack
			     : mov_unpack;
	return more_get(p, st, in, widths);
}

static bool decode_frame_address(struct parser *p, const struct stmt *st,
				 struct insn *in, uint64_t window)
{
	struct opnd o = { .kind = O_MEM,
			  .n = 1,
			  .v = (struct opnd *)&st->o[1] };

	if (!address_get(p, &o, in, 1) || !in->frame)
		return false;
	in->imm += (int64_t)window;
	in->fn = mov_frame;
	return opnd_get(p, &st->o[0], 'q', &in->op[0]);
}

static void mov_row(struct warp *w, const struct insn *in, uint32_t m)
{
	u32 *d = reg(w, in->op[0]);
	const u32 *s = reg(w, in->op[1]);

	EACH_LANE(m, d[l] = s[l]);
}

static void mov_row64(struct warp *w, const struct insn *in, uint32_t m)
{
	u64 *d = reg(w, in->op[0]);
	const u64 *s = reg(w, in->op[1]);

	EACH_LANE(m, d[l] = s[l]);
}

static void mov_pred(struct warp *w, const struct insn *in, uint32_t m)
{
	u32 *d = reg(w, in->op[0]);

	*d = (*d & ~m) | (pred(w, in->op[1]) & m);
}

static bool decode_mov(struct parser *p, const struct stmt *st, struct mods *m,
		       struct insn *in)
{
	const char *t = m->part[m->n - 1];
	uint32_t bytes = !strcmp(t, "pred")                     ? 1
			 : strstr(t, "128")                     ? 16
			 : strstr(t, "64")                      ? 8
			 : strstr(t, "32") || strstr(t, "16x2") ? 4
								: 2;
	char width = bytes == 1 ? 'p' : part_width(bytes);
	struct sym *y = NULL;

	if (m->n != 2 || st->n != 2)
		return false;
	if (st->o[0].kind == O_VEC || st->o[1].kind == O_VEC)
		return decode_vectors(p, st, in, bytes);
	if (st->o[1].kind == O_SREG) {
		in->fn = mov_sreg;
		in->width = (uint8_t)bytes;
		return decode_sreg(st->o[1].name, in) && bytes >= 4 &&
		       opnd_get(p, &st->o[0], width, &in->op[0]);
	}
	if (st->o[1].kind == O_SYM)
		y = sym_find(p, st->o[1].scope, st->o[1].name);
	if (y && y->space == SP_LOCAL)
		return decode_frame_address(p, st, in, 0);
	in->fn = bytes == 1 ? mov_pred : bytes == 8 ? mov_row64 : mov_row;
	return bytes != 16 && opnd_get(p, &st->o[0], width, &in->op[0]) &&
	       opnd_get(p, &st->o[1], width, &in->op[1]);
}

static uint64_t window_of(const char *space)
{
	return !strncmp(space, "shared", 6)  ? SHARED_WIN
	       : !strncmp(space, "local", 5) ? LOCAL_WIN
	       : !strncmp(space, "param", 5) ? PARAM_WIN
					     : 0;
}

static void add_imm(struct warp *w, const struct insn *in, uint32_t m)
{
	u64 *d = reg(w, in->op[0]), add = (u64)in->imm;
	const u64 *s = reg(w, in->op[1]);

	EACH_LANE(m, d[l] = s[l] + add);
}

static bool decode_cvta(struct parser *p, const struct stmt *st, struct mods *m,
			struct insn *in)
{
	bool to = mods_take(m, "to");
	uint64_t win;
	struct sym *y = NULL;

	if (!mods_take(m, "u64") || m->n != 3 + to || st->n != 2)
		return false;
	win = window_of(m->part[1 + to]);
	if (st->o[1].kind == O_SYM)
		y = sym_find(p, st->o[1].scope, st->o[1].name);
	if (y && y->space == SP_LOCAL)
		return decode_frame_address(p, st, in, to ? 0 : win);
	in->imm = (int64_t)(to ? 0 - win : win);
	in->fn = add_imm;
	return opnd_get(p, &st->o[0], 'q', &in->op[0]) &&
	       opnd_get(p, &st->o[1], 'q', &in->op[1]);
}

static void isspacep(struct warp *w, const struct insn *in, uint32_t m)
{
	u32 *d = reg(w, in->op[0]), r = 0;
	const u64 *s = reg(w, in->op[1]);

	for (int l = 0; l < LANES; l++)
		r |= (u32)((s[l] & WIN_MASK) == (u64)in->imm) << l;
	*d = (*d & ~m) | (r & m);
}

static bool decode_isspacep(struct parser *p, const struct stmt *st,
			    struct mods *m, struct insn *in)
{
	in->fn = isspacep;
	in->imm = (int64_t)window_of(m->part[1]);
	return m->n == 2 && st->n == 2 &&
	       opnd_get(p, &st->o[0], 'p', &in->op[0]) &&
	       opnd_get(p, &st->o[1], 'q', &in->op[1]);
}

/* mapa: in a cluster of one block every address is its own. */
static bool decode_mapa(struct parser *p, const struct stmt *st, struct mods *m,
			struct insn *in)
{
	bool wide = mods_take(m, "u64");
	char width = wide ? 'q' : 'w';

	if (!wide && !mods_take(m, "u32"))
		return false;
	take_space(m, in);
	in->fn = wide ? mov_row64 : mov_row;
	return mods_done(m) && st->n == 3 &&
	       opnd_get(p, &st->o[0], width, &in->op[0]) &&
	       opnd_get(p, &st->o[1], width, &in->op[1]);
}

const struct special specials_move[] = {
	{ "mapa", decode_mapa },
	{ "mov", decode_mov },
	{ "cvta", decode_cvta },
	{ "isspacep", decode_isspacep },
	{ 0 },
};
