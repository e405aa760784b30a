/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collectives of a warp.  Each first waits for the lanes of its mask.
 */
#include "lanes.h"
#include "ptx.h"

#include <string.h>

/* What a lane gets from one that does not take part. */
#define POISON FULL

static bool begin(struct warp *w, const struct insn *in, uint32_t m,
		  uint32_t mask_op)
{
	const uint32_t *mask = reg(w, mask_op);
	uint32_t need = mask[__builtin_ctz(m)];

	for (uint32_t rest = m; rest; rest &= rest - 1) {
		int l = __builtin_ctz(rest);

		if (!(mask[l] >> l & 1))
			fault(w, in, l, EMU_ILLEGAL_INSTRUCTION,
			      "the lane is not in the mask %08x", mask[l]);
	}
	if (!gather_lanes(w, m, need))
		return false;
	warp_sync(w);
	return true;
}

enum { UP, DOWN, BFLY, IDX };

/* op: d, p, a, b, c, mask */
static void shfl(struct warp *w, const struct insn *in, uint32_t m)
{
	u32 *d = reg(w, in->op[0]), *p = reg(w, in->op[1]);
	const u32 *ra = reg(w, in->op[2]), *rb = reg(w, in->op[3]);
	const u32 *rc = reg(w, in->op[4]);
	u32 a[LANES], ok = 0;

	if (!begin(w, in, m, in->op[5]))
		return;
	memcpy(a, ra, sizeof(a));
	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r), j;
		int b = (int)(rb[l] & 31), c = (int)(rc[l] & 31);
		int seg = (int)(rc[l] >> 8 & 31), max, min = l & seg;
		bool in_range;

		max = min | (c & ~seg);
		switch (in->kind) {
		case UP:
			j = l - b;
			in_range = j >= max;
			break;
		case DOWN:
			j = l + b;
			in_range = j <= max;
			break;
		case BFLY:
			j = l ^ b;
			in_range = j <= max;
			break;
		default: j = min | (b & ~seg); in_range = j <= max;
		}
		if (!in_range)
			j = l;
		ok |= (u32)in_range << l;
		d[l] = m >> j & 1 ? a[j] : POISON;
	}
	*p = (*p & ~m) | ok;
}

static bool decode_shfl(struct parser *p, const struct stmt *st, struct mods *m,
			struct insn *in)
{
	struct opnd d = st->o[0];
	bool ok;

	in->fn = shfl;
	in->kind = mods_take(m, "up")     ? UP
		   : mods_take(m, "down") ? DOWN
		   : mods_take(m, "bfly") ? BFLY
					  : IDX;
	mods_take(m, "idx");
	if (!mods_take(m, "sync") || !mods_take(m, "b32") || !mods_done(m) ||
	    st->n != 5)
		return false;
	ok = d.pair ? opnd_get(p, d.pair, 'p', &in->op[1]) : true;
	if (!d.pair)
		in->op[1] = reg_new(p, 'p');
	d.pair = NULL;
	ok = ok && opnd_get(p, &d, 'w', &in->op[0]);
	for (int i = 1; i < 5; i++)
		ok = ok && opnd_get(p, &st->o[i], 'w', &in->op[i + 1]);
	return ok;
}

enum { ALL, ANY, UNI, BALLOT };

/* op: d, p, mask; flags: the predicate is negated */
static void vote(struct warp *w, const struct insn *in, uint32_t m)
{
	u32 *d = reg(w, in->op[0]), p = pred(w, in->op[1]);
	bool yes;

	if (!begin(w, in, m, in->op[2]))
		return;
	p = (in->flags ? ~p : p) & m;
	if (in->kind == BALLOT) {
		EACH_LANE(m, d[l] = p);
		return;
	}
	yes = in->kind == ALL   ? p == m
	      : in->kind == ANY ? p != 0
				: p == m || !p;
	*d = (*d & ~m) | (yes ? m : 0);
}

static bool decode_vote(struct parser *p, const struct stmt *st, struct mods *m,
			struct insn *in)
{
	struct opnd v = st->o[1];

	in->fn = vote;
	in->kind = mods_take(m, "all")   ? ALL
		   : mods_take(m, "any") ? ANY
		   : mods_take(m, "uni") ? UNI
					 : BALLOT;
	in->flags = v.is_not;
	v.is_not = false;
	if (in->kind == BALLOT ? !mods_take(m, "ballot") || !mods_take(m, "b32")
			       : !mods_take(m, "pred"))
		return false;
	return mods_take(m, "sync") && mods_done(m) && st->n == 3 &&
	       opnd_get(p, &st->o[0], in->kind == BALLOT ? 'w' : 'p',
			&in->op[0]) &&
	       opnd_get(p, &v, 'p', &in->op[1]) &&
	       opnd_get(p, &st->o[2], 'w', &in->op[2]);
}

static void activemask(struct warp *w, const struct insn *in, uint32_t m)
{
	u32 *d = reg(w, in->op[0]);

	EACH_LANE(m, d[l] = m);
}

static bool decode_activemask(struct parser *p, const struct stmt *st,
			      struct mods *m, struct insn *in)
{
	in->fn = activemask;
	return mods_take(m, "b32") && mods_done(m) && st->n == 1 &&
	       opnd_get(p, &st->o[0], 'w', &in->op[0]);
}

/* op: d, p, a, mask */
static void match(struct warp *w, const struct insn *in, uint32_t m)
{
	u32 *d = reg(w, in->op[0]), *p = reg(w, in->op[1]);
	const u32 *a = reg(w, in->op[2]);
	const u64 *a64 = reg(w, in->op[2]);
	u32 out[LANES];

	if (!begin(w, in, m, in->op[3]))
		return;
	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);

		out[l] = 0;
		for (int k = 0; k < LANES; k++)
			if (m >> k & 1 &&
			    (in->size == 8 ? a64[k] == a64[l] : a[k] == a[l]))
				out[l] |= 1u << k;
	}
	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);

		d[l] = in->kind == ANY || out[l] == m ? out[l] : 0;
		if (in->kind == ALL)
			*p = (*p & ~(1u << l)) | (u32)(out[l] == m) << l;
	}
}

static bool decode_match(struct parser *p, const struct stmt *st,
			 struct mods *m, struct insn *in)
{
	struct opnd d = st->o[0];

	in->fn = match;
	in->kind = mods_take(m, "any") ? ANY : ALL;
	mods_take(m, "all");
	in->size = mods_take(m, "b64") ? 8 : 4;
	mods_take(m, "b32");
	if (!mods_take(m, "sync") || !mods_done(m) || st->n != 3)
		return false;
	in->op[1] = reg_new(p, 'p');
	if (d.pair && !opnd_get(p, d.pair, 'p', &in->op[1]))
		return false;
	d.pair = NULL;
	return opnd_get(p, &d, 'w', &in->op[0]) &&
	       opnd_get(p, &st->o[1], in->size == 8 ? 'q' : 'w', &in->op[2]) &&
	       opnd_get(p, &st->o[2], 'w', &in->op[3]);
}

enum { R_ADD, R_MIN, R_MAX, R_AND, R_OR, R_XOR };

static u32 reduce(int kind, bool is_signed, u32 a, u32 b)
{
	bool less = is_signed ? (s32)a < (s32)b : a < b;

	switch (kind) {
	case R_ADD: return a + b;
	case R_MIN: return less ? a : b;
	case R_MAX: return less ? b : a;
	case R_AND: return a & b;
	case R_OR: return a | b;
	default: return a ^ b;
	}
}

static void redux(struct warp *w, const struct insn *in, uint32_t m)
{
	u32 *d = reg(w, in->op[0]), v;
	const u32 *a = reg(w, in->op[1]);
	int first = __builtin_ctz(m);

	if (!begin(w, in, m, in->op[2]))
		return;
	v = a[first];
	for (uint32_t r = m & (m - 1); r; r &= r - 1)
		v = reduce(in->kind, in->is_signed, v, a[__builtin_ctz(r)]);
	EACH_LANE(m, d[l] = v);
}

static bool decode_redux(struct parser *p, const struct stmt *st,
			 struct mods *m, struct insn *in)
{
	static const char *const ops[] = { "add", "min", "max",
					   "and", "or",  "xor" };
	bool found = false;

	in->fn = redux;
	for (int i = 0; i < 6; i++) {
		if (!mods_take(m, ops[i]))
			continue;
		in->kind = (uint8_t)i;
		found = true;
	}
	in->is_signed = mods_take(m, "s32");
	if (!in->is_signed && !mods_take(m, "u32") && !mods_take(m, "b32"))
		return false;
	return found && mods_take(m, "sync") && mods_done(m) && st->n == 3 &&
	       opnd_get(p, &st->o[0], 'w', &in->op[0]) &&
	       opnd_get(p, &st->o[1], 'w', &in->op[1]) &&
	       opnd_get(p, &st->o[2], 'w', &in->op[2]);
}

/* op: d, p, mask */
static void elect(struct warp *w, const struct insn *in, uint32_t m)
{
	u32 *d = reg(w, in->op[0]), *p = reg(w, in->op[1]);
	int first = __builtin_ctz(m);

	if (!begin(w, in, m, in->op[2]))
		return;
	EACH_LANE(m, d[l] = (u32)first);
	*p = (*p & ~m) | 1u << first;
}

static bool decode_elect(struct parser *p, const struct stmt *st,
			 struct mods *m, struct insn *in)
{
	struct opnd d = st->o[0];

	in->fn = elect;
	if (!mods_take(m, "sync") || !mods_done(m) || st->n != 2 || !d.pair ||
	    !opnd_get(p, d.pair, 'p', &in->op[1]))
		return false;
	d.pair = NULL;
	return opnd_get(p, &d, 'w', &in->op[0]) &&
	       opnd_get(p, &st->o[1], 'w', &in->op[2]);
}

const struct special specials_warp[] = {
	{ "shfl", decode_shfl },
	{ "vote", decode_vote },
	{ "activemask", decode_activemask },
	{ "match", decode_match },
	{ "redux", decode_redux },
	{ "elect", decode_elect },
	{ 0 },
};
