/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Atomics: the lanes of a warp one after the other.
 */
#include "lanes.h"
#include "half.h"
#include "ptx.h"

#include <string.h>

enum {
	A_ADD,
	A_MIN,
	A_MAX,
	A_AND,
	A_OR,
	A_XOR,
	A_EXCH,
	A_CAS,
	A_INC,
	A_DEC,
	N_OPS
};
static const char *const op_names[N_OPS] = {
	"add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"
};
enum { T_INT, T_F32, T_F64, T_F16, T_BF16 };

static u64 add_float(const struct insn *in, u64 x, u64 y)
{
	switch (in->kind2) {
	case T_F32: return as_bits(as_float((u32)x) + as_float((u32)y));
	case T_F64: return as_bits64(as_double(x) + as_double(y));
	case T_F16:
		return (u64)float_to_half(half_to_float(x >> 16 & 0xffff) +
					  half_to_float(y >> 16 & 0xffff))
			       << 16 |
		       float_to_half(half_to_float(x & 0xffff) +
				     half_to_float(y & 0xffff));
	default:
		return (u64)float_to_bf16(bf16_to_float(x >> 16 & 0xffff) +
					  bf16_to_float(y >> 16 & 0xffff))
			       << 16 |
		       float_to_bf16(bf16_to_float(x & 0xffff) +
				     bf16_to_float(y & 0xffff));
	}
}

static u64 apply(const struct insn *in, u64 x, u64 b, u64 c)
{
	bool less = in->is_signed ? (in->size == 8 ? (s64)x < (s64)b
						   : (s32)x < (s32)b)
				  : x < b;

	switch (in->kind) {
	case A_ADD: return in->kind2 ? add_float(in, x, b) : x + b;
	case A_MIN: return less ? x : b;
	case A_MAX: return less ? b : x;
	case A_AND: return x & b;
	case A_OR: return x | b;
	case A_XOR: return x ^ b;
	case A_EXCH: return b;
	case A_CAS: return x == b ? c : x;
	case A_INC: return x >= b ? 0 : x + 1;
	default: return !x || x > b ? b : x - 1;
	}
}

static u64 get(const struct warp *w, const struct insn *in, uint32_t op, int l)
{
	if (in->size == 8)
		return ((u64 *)reg(w, op))[l];
	return ((u32 *)reg(w, op))[l] & (in->size == 2 ? 0xffff : FULL);
}

/* Like mem_at, but atomics on one word do not race. */
static void *atom_at(struct warp *w, const struct insn *in, int l,
		     uint64_t addr)
{
	bool races = w->blk->races;
	int space = in->space;
	void *at;

	if (space == SP_GENERIC && (addr & WIN_MASK) == SHARED_WIN)
		space = SP_SHARED;
	if (space != SP_SHARED)
		return mem_at(w, in, l, addr, in->size, in->space, true);
	w->blk->races = false;
	at = mem_at(w, in, l, addr, in->size, SP_SHARED, true);
	w->blk->races = races;
	race_write(w, in, l, (uint32_t)(addr & ~WIN_MASK), in->size, true);
	return at;
}

/* op: d, address, b, c */
static void atom(struct warp *w, const struct insn *in, uint32_t m)
{
	uint64_t a[LANES];
	bool has_result = in->width;

	addresses(w, in, in->op[1], a);
	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);
		unsigned char *at = atom_at(w, in, l, a[l]);
		u64 x = 0, b = get(w, in, in->op[2], l), y;
		u64 c = in->kind == A_CAS ? get(w, in, in->op[3], l) : 0;

		memcpy(&x, at, in->size);
		y = apply(in, x, b, c);
		memcpy(at, &y, in->size);
		if (!has_result)
			continue;
		if (in->size == 8)
			((u64 *)reg(w, in->op[0]))[l] = x;
		else
			((u32 *)reg(w, in->op[0]))[l] = (u32)x;
	}
}

static bool take_op(struct mods *m, struct insn *in)
{
	for (int i = 0; i < N_OPS; i++) {
		if (!mods_take(m, op_names[i]))
			continue;
		in->kind = (uint8_t)i;
		return true;
	}
	return false;
}

static bool take_type(struct mods *m, struct insn *in)
{
	const char *t = m->part[m->n - 1];

	in->kind2 = !strcmp(t, "f32")      ? T_F32
		    : !strcmp(t, "f64")    ? T_F64
		    : !strcmp(t, "f16x2")  ? T_F16
		    : !strcmp(t, "bf16x2") ? T_BF16
					   : T_INT;
	return *t != 'f' || in->kind2 || false;
}

static bool decode_atom(struct parser *p, const struct stmt *st, struct mods *m,
			struct insn *in)
{
	int i = m->part[0][0] == 'a', n;
	char width;

	if (!take_type(m, in) || !take_element(m, in) || !take_op(m, in))
		return false;
	take_space(m, in);
	take_hints(m);
	in->fn = atom;
	in->width = i && st->o[0].kind != O_SINK;
	width = in->size == 8 ? 'q' : in->size == 2 ? 'h' : 'w';
	n = i + 2 + (in->kind == A_CAS);
	/* A cache policy may follow. */
	if (!mods_done(m) || in->count != 1 || st->n < n || st->n > n + 1)
		return false;
	if (in->width && !opnd_get(p, &st->o[0], width, &in->op[0]))
		return false;
	return address_get(p, &st->o[i], in, 1) &&
	       opnd_get(p, &st->o[i + 1], width, &in->op[2]) &&
	       (in->kind != A_CAS ||
		opnd_get(p, &st->o[i + 2], width, &in->op[3]));
}

const struct special specials_atom[] = {
	{ "atom", decode_atom },
	{ "red", decode_atom },
	{ 0 },
};
