/* SPDX-License-Identifier: Apache-2.0 */
/*
 * setp and set: comparisons to predicates and to values.
 *
 * Each function compares for all lanes and gives a bit for each; the unordered
 * comparisons of floats are the opposite ones, negated.
 */
#include "lanes.h"
#include "half.h"
#include "ptx.h"
#include "round.h"

typedef uint32_t (*cmp_fn)(const void *a, const void *b, uint8_t flags);

#define CMP(name, T, expr) \
	static uint32_t name(const void *va, const void *vb, uint8_t flags) \
	{ \
		const T *ra = va, *rb = vb; \
		uint32_t t[LANES], r = 0; \
		(void)flags; \
		for (int l = 0; l < LANES; l++) { \
			T a = ra[l], b = rb[l]; \
			t[l] = (expr); \
		} \
		for (int l = 0; l < LANES; l++) \
			r |= t[l] << l; \
		return r; \
	}
#define CMPS(x, T, A, B) \
	CMP(eq_##x, T, A == B) \
	CMP(ne_##x, T, A<B || A> B) \
	CMP(lt_##x, T, A < B) \
	CMP(le_##x, T, A <= B) \
	CMP(gt_##x, T, A > B) \
	CMP(ge_##x, T, A >= B) \
	CMP(num_##x, T, A == A && B == B)
CMPS(u16, u32, U16(a), U16(b))
CMPS(s16, u32, S16(a), S16(b))
CMPS(u32, u32, a, b)
CMPS(s32, s32, a, b)
CMPS(u64, u64, a, b)
CMPS(s64, s64, a, b)
CMPS(f32, float, a, b)
CMPS(f32z, float, flush(a), flush(b))
CMPS(f64, double, a, b)
CMPS(f16, u32, half_to_float(a & 0xffff), half_to_float(b & 0xffff))
CMPS(bf16, u32, bf16_to_float(a), bf16_to_float(b))
CMPS(f16h, u32, half_to_float(a >> 16), half_to_float(b >> 16))
CMPS(bf16h, u32, bf16_to_float(a >> 16), bf16_to_float(b >> 16))

enum { EQ, NE, LT, LE, GT, GE, NUM, N_CMPS };
#define ALL(x) \
	{ \
		eq_##x, ne_##x, lt_##x, le_##x, gt_##x, ge_##x, num_##x \
	}
static const struct {
	const char *name;
	char width;
	bool is_float;
	cmp_fn fn[N_CMPS];
} types[] = {
	{ "u16", 'h', false, ALL(u16) },    { "b16", 'h', false, ALL(u16) },
	{ "s16", 'h', false, ALL(s16) },    { "u32", 'w', false, ALL(u32) },
	{ "b32", 'w', false, ALL(u32) },    { "s32", 'w', false, ALL(s32) },
	{ "u64", 'q', false, ALL(u64) },    { "b64", 'q', false, ALL(u64) },
	{ "s64", 'q', false, ALL(s64) },    { "f32", 'w', true, ALL(f32) },
	{ "f64", 'q', true, ALL(f64) },     { "f16", 'h', true, ALL(f16) },
	{ "bf16", 'h', true, ALL(bf16) },   { "f16x2", 'w', true, ALL(f16) },
	{ "bf16x2", 'w', true, ALL(bf16) },
};
static const cmp_fn flushed[N_CMPS] = ALL(f32z);
static const cmp_fn upper[2][N_CMPS] = { ALL(f16h), ALL(bf16h) };
#define N_CMP_TYPES (int)(sizeof(types) / sizeof(*types))

static const struct {
	const char *name;
	uint8_t cmp;
	bool is_not;
} cmps[] = {
	{ "eq", EQ, false }, { "ne", NE, false },   { "lt", LT, false },
	{ "le", LE, false }, { "gt", GT, false },   { "ge", GE, false },
	{ "lo", LT, false }, { "ls", LE, false },   { "hi", GT, false },
	{ "hs", GE, false }, { "num", NUM, false }, { "nan", NUM, true },
	{ "equ", NE, true }, { "neu", EQ, true },   { "ltu", GE, true },
	{ "leu", GT, true }, { "gtu", LE, true },   { "geu", LT, true },
};

/*
 * op: p, q, a, b, c.  imm is the function, callee that of the upper halves;
 * kind is the type of the result of set.
 */
enum { B_NONE, B_AND, B_OR, B_XOR };
enum { NOT_CMP = 1, NOT_C = 2 };

static uint32_t compare(const struct warp *w, const struct insn *in, cmp_fn fn)
{
	uint32_t r = fn(reg(w, in->op[2]), reg(w, in->op[3]), in->flags);

	return in->flags & NOT_CMP ? ~r : r;
}

static uint32_t combine(const struct warp *w, const struct insn *in, uint32_t r)
{
	uint32_t c;

	if (in->kind2 == B_NONE)
		return r;
	c = pred(w, in->op[4]);
	c = in->flags & NOT_C ? ~c : c;
	return in->kind2 == B_AND ? r & c : in->kind2 == B_OR ? r | c : r ^ c;
}

static void put(struct warp *w, uint32_t op, uint32_t r, uint32_t m)
{
	uint32_t *d = reg(w, op);

	*d = (*d & ~m) | (r & m);
}

static void setp(struct warp *w, const struct insn *in, uint32_t m)
{
	put(w, in->op[0],
	    combine(w, in, compare(w, in, (cmp_fn)(intptr_t)in->imm)), m);
}

static void setp2(struct warp *w, const struct insn *in, uint32_t m)
{
	uint32_t r = compare(w, in, (cmp_fn)(intptr_t)in->imm);
	uint32_t q = combine(w, in, ~r);

	put(w, in->op[0], combine(w, in, r), m);
	put(w, in->op[1], q, m);
}

static void setp_pair(struct warp *w, const struct insn *in, uint32_t m)
{
	uint32_t r = compare(w, in, (cmp_fn)(intptr_t)in->imm);
	uint32_t h = compare(w, in, (cmp_fn)(intptr_t)in->targets);

	put(w, in->op[0], combine(w, in, r), m);
	put(w, in->op[1], combine(w, in, h), m);
}

/* 1.0 or all ones; in->target is the value of true for one half. */
static void set(struct warp *w, const struct insn *in, uint32_t m)
{
	u32 *d = reg(w, in->op[0]), yes = in->target;
	u32 r = combine(w, in, compare(w, in, (cmp_fn)(intptr_t)in->imm));
	u32 h = 0;

	if (in->targets)
		h = combine(w, in,
			    compare(w, in, (cmp_fn)(intptr_t)in->targets));
	EACH_LANE(m,
		  d[l] = (r >> l & 1 ? yes : 0) | (h >> l & 1 ? yes << 16 : 0));
}

static int take_cmp(struct mods *m)
{
	for (size_t i = 0; i < sizeof(cmps) / sizeof(*cmps); i++)
		if (mods_take(m, cmps[i].name))
			return (int)i;
	return -1;
}

static int take_type(struct mods *m)
{
	/* The source's type is the last. */
	for (int i = 0; i < N_CMP_TYPES; i++) {
		if (strcmp(m->part[m->n - 1], types[i].name))
			continue;
		m->used |= 1u << (m->n - 1);
		return i;
	}
	return -1;
}

static bool decode_common(struct parser *p, const struct stmt *st,
			  struct mods *m, struct insn *in, int *type)
{
	int cmp = take_cmp(m), n = 3;
	bool ftz = mods_take(m, "ftz");
	struct opnd c;

	*type = take_type(m);
	if (cmp < 0 || *type < 0)
		return false;
	in->kind2 = mods_take(m, "and")   ? B_AND
		    : mods_take(m, "or")  ? B_OR
		    : mods_take(m, "xor") ? B_XOR
					  : B_NONE;
	in->imm =
		(intptr_t)(ftz && *type == 9 ? flushed
					     : types[*type].fn)[cmps[cmp].cmp];
	if (*type >= 13)
		in->targets =
			(uint32_t *)(intptr_t)upper[*type - 13][cmps[cmp].cmp];
	in->flags = cmps[cmp].is_not ? NOT_CMP : 0;
	if (in->kind2 != B_NONE) {
		c = st->o[n++];
		in->flags |= c.is_not ? NOT_C : 0;
		c.is_not = false;
		if (!opnd_get(p, &c, 'p', &in->op[4]))
			return false;
	}
	return st->n == n &&
	       opnd_get(p, &st->o[1], types[*type].width, &in->op[2]) &&
	       opnd_get(p, &st->o[2], types[*type].width, &in->op[3]);
}

static bool decode_setp(struct parser *p, const struct stmt *st, struct mods *m,
			struct insn *in)
{
	struct opnd d = st->o[0];
	int type;

	if (!decode_common(p, st, m, in, &type) || !mods_done(m))
		return false;
	in->fn = setp;
	if (d.pair) {
		in->fn = in->targets ? setp_pair : setp2;
		if (!opnd_get(p, d.pair, 'p', &in->op[1]))
			return false;
		d.pair = NULL;
	} else if (in->targets) {
		return false;
	}
	return opnd_get(p, &d, 'p', &in->op[0]);
}

static bool decode_set(struct parser *p, const struct stmt *st, struct mods *m,
		       struct insn *in)
{
	static const struct {
		const char *name;
		char width;
		uint32_t yes;
	} results[] = {
		{ "u32", 'w', FULL },       { "s32", 'w', FULL },
		{ "f32", 'w', 0x3f800000 }, { "f16", 'h', 0x3c00 },
		{ "bf16", 'h', 0x3f80 },    { "u16", 'h', 0xffff },
		{ "s16", 'h', 0xffff },     { "f16x2", 'w', 0x3c00 },
		{ "bf16x2", 'w', 0x3f80 },
	};
	int type;

	if (!decode_common(p, st, m, in, &type))
		return false;
	in->fn = set;
	for (size_t i = 0; i < sizeof(results) / sizeof(*results); i++) {
		if (!mods_take(m, results[i].name))
			continue;
		in->target = results[i].yes;
		if (in->targets && in->target == FULL)
			in->target = 0xffff;
		return mods_done(m) &&
		       opnd_get(p, &st->o[0], results[i].width, &in->op[0]);
	}
	return false;
}

const struct special specials_cmp[] = {
	{ "setp", decode_setp },
	{ "set", decode_set },
	{ 0 },
};
