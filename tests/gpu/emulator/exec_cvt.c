/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversions: loops for what kernels are full of, and one function for a
 * lane of any pair of types with any rounding.
 */
#include "lanes.h"
#include "half.h"
#include "ptx.h"

#include <fenv.h>
#include <math.h>

enum type {
	T_U8,
	T_S8,
	T_U16,
	T_S16,
	T_U32,
	T_S32,
	T_U64,
	T_S64,
	T_F16,
	T_BF16,
	T_F32,
	T_F64,
	T_TF32,
	T_E4M3,
	T_E5M2,
	N_TYPES
};
static const char *const type_names[] = {
	"u8",  "s8",   "u16", "s16", "u32",  "s32",  "u64", "s64",
	"f16", "bf16", "f32", "f64", "tf32", "e4m3", "e5m2"
};
static const uint8_t type_bytes[] = { 1, 1, 2, 2, 4, 4, 8, 8,
				      2, 2, 4, 8, 4, 1, 1 };

static const struct format *format_of(int t)
{
	static const struct format *const f[N_TYPES] = {
		[T_F16] = &fmt_f16,   [T_BF16] = &fmt_bf16,
		[T_F32] = &fmt_f32,   [T_TF32] = &fmt_tf32,
		[T_E4M3] = &fmt_e4m3, [T_E5M2] = &fmt_e5m2,
	};

	return f[t];
}

/* in->kind and kind2 are the types of result and source. */
enum { C_NONE, C_RNI, C_RZI, C_RMI, C_RPI, C_RNA };

static enum rounding mode_of(const struct insn *in)
{
	return in->flags & F_RZ    ? RZ
	       : in->flags & F_RM  ? RM
	       : in->flags & F_RP  ? RP
	       : in->size == C_RNA ? RNA
				   : RN;
}

static double float_of(uint64_t bits, int t)
{
	if (t == T_F64)
		return as_double(bits);
	if (t == T_F32)
		return as_float((uint32_t)bits);
	return format_to((uint32_t)bits &
				 (uint32_t)((1ull << 8 * type_bytes[t]) - 1),
			 format_of(t));
}

static double whole(double x, int how)
{
	switch (how) {
	case C_RZI: return trunc(x);
	case C_RMI: return floor(x);
	case C_RPI: return ceil(x);
	case C_RNI: return rint(x);
	default: return x;
	}
}

/* Out of range gives the nearest; NaN what GPUs make of it. */
static uint64_t float_to_int(double x, int from, int to)
{
	int bits = 8 * type_bytes[to];
	double lim = ldexp(1, to & 1 ? bits - 1 : bits);

	if (isnan(x)) {
		if (from == T_F64 && bits >= 32)
			return 1ull << (bits - 1);
		return bits == 64 ? 1ull << 63 : 0;
	}
	if (to & 1) {
		if (x >= lim)
			return (1ull << (bits - 1)) - 1;
		return (uint64_t)(x < -lim ? INT64_MIN >> (64 - bits)
					   : (int64_t)x);
	}
	if (x >= lim)
		return bits == 64 ? ~0ull : (1ull << bits) - 1;
	return x > 0 ? (uint64_t)x : 0;
}

static int64_t extend(uint64_t v, int t)
{
	switch (t) {
	case T_U8: return (uint8_t)v;
	case T_S8: return (int8_t)v;
	case T_U16: return (uint16_t)v;
	case T_S16: return (int16_t)v;
	case T_U32: return (uint32_t)v;
	case T_S32: return (int32_t)v;
	default: return (int64_t)v;
	}
}

static uint64_t int_to_int(uint64_t v, int from, int to, bool sat)
{
	int64_t x = extend(v, from);
	int bits = 8 * type_bytes[to];

	if (sat && to & 1) {
		int64_t top = (int64_t)(~0ull >> (65 - bits));

		if (from == T_U64 ? v > (uint64_t)top : x > top)
			return (uint64_t)top;
		if (from != T_U64 && x < -top - 1)
			return (uint64_t)(-top - 1);
	} else if (sat) {
		uint64_t top = ~0ull >> (64 - bits);

		if (from & 1 && x < 0)
			return 0;
		if ((uint64_t)x > top)
			return top;
	}
	return (uint64_t)extend((uint64_t)x, to);
}

/* An integer of 64 bits as a double with the last bit set if inexact. */
static double odd_double(uint64_t v, bool is_signed)
{
	bool minus = is_signed && (int64_t)v < 0;
	uint64_t a = minus ? 0 - v : v;

	if (a >> 53)
		a = (a & ~0xfffull) | (a & 0xfff ? 0x1000 : 0) | (a & 0x1000);
	return minus ? -(double)a : (double)a;
}

static uint64_t int_to_float(uint64_t bits, const struct insn *in)
{
	static const int modes[] = { FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD,
				     FE_UPWARD, FE_TONEAREST };
	volatile uint64_t v = (uint64_t)extend(bits, in->kind2);
	volatile double d;
	bool is_signed = in->kind2 & 1;
	enum rounding mode = mode_of(in);

	if (in->kind == T_F64) {
		fesetround(modes[mode]);
		d = is_signed ? (double)(int64_t)v : (double)v;
		fesetround(FE_TONEAREST);
		return as_bits64(d);
	}
	return format_from(odd_double(v, is_signed), format_of(in->kind), mode,
			   0);
}

static uint64_t to_float(double x, const struct insn *in)
{
	uint32_t r;

	if (in->flags & F_SAT && in->kind != T_E4M3 && in->kind != T_E5M2)
		x = x > 0 ? (x < 1 ? x : 1) : 0;
	if (in->flags & F_RELU && !isnan(x))
		x = x > 0 ? x : 0;
	if (in->kind == T_F64)
		return as_bits64(x);
	r = format_from(x, format_of(in->kind), mode_of(in), in->flags & F_SAT);
	if (in->kind == T_F32 && in->flags & F_FTZ && !(r & 0x7f800000))
		r &= 0x80000000;
	return in->kind == T_TF32 ? r << 13 : r;
}

static uint64_t convert(const struct insn *in, uint64_t bits)
{
	double x;

	if (in->kind2 < T_F16) {
		if (in->kind < T_F16)
			return int_to_int(bits, in->kind2, in->kind,
					  in->flags & F_SAT);
		return int_to_float(bits, in);
	}
	x = float_of(bits, in->kind2);
	if (in->flags & F_FTZ && in->kind2 == T_F32 && fabs(x) < 0x1p-126)
		x = copysign(0, x);
	x = whole(x, in->size);
	if (in->kind < T_F16)
		return float_to_int(x, in->kind2, in->kind);
	return to_float(x, in);
}

/* in->width: bytes of the registers of result and, in count, source. */
static void cvt_any(struct warp *w, const struct insn *in, uint32_t m)
{
	void *d = reg(w, in->op[0]), *s = reg(w, in->op[1]);

	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);
		uint64_t v = in->count == 8 ? ((u64 *)s)[l] : ((u32 *)s)[l];

		v = convert(in, v);
		if (in->width == 8)
			((u64 *)d)[l] = v;
		else if (in->addr == 2)
			((u32 *)d)[l] = v & 0xffff;
		else
			((u32 *)d)[l] = (u32)v;
	}
}

/* Two of f32 to a pair, the first in the upper half. */
static void cvt_pack(struct warp *w, const struct insn *in, uint32_t m)
{
	u32 *d = reg(w, in->op[0]), *a = reg(w, in->op[1]);
	u32 *b = reg(w, in->op[2]);
	int shift = 8 * type_bytes[in->kind];

	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);
		uint64_t hi = convert(in, a[l]), lo = convert(in, b[l]);

		d[l] = (u32)(hi << shift | lo);
	}
}

/* A pair to a pair. */
static void cvt_pair(struct warp *w, const struct insn *in, uint32_t m)
{
	u32 *d = reg(w, in->op[0]), *a = reg(w, in->op[1]);
	int ds = 8 * type_bytes[in->kind], ss = 8 * type_bytes[in->kind2];

	for (uint32_t r = m; r; r &= r - 1) {
		int l = __builtin_ctz(r);
		u32 mask = (1u << ss) - 1;
		uint64_t hi = convert(in, a[l] >> ss & mask);

		d[l] = (u32)(hi << ds | convert(in, a[l] & mask));
	}
}

OP1(s64_s32, s64, s32, a)
OP1(u64_u32, u64, u32, a)
OP1(u32_u64, u32, u64, a)
OP1(u32_u32, u32, u32, a)
OP1(u16_u32, u32, u32, U16(a))
OP1(s32_s16, u32, u32, S16(a))
OP1(u32_u8, u32, u32, (uint8_t)a)
OP1(s32_s8, u32, u32, (int8_t)a)
OP1(s16_s8, u32, u32, U16((int8_t)a))
OP1(f32_s32, float, s32, a)
OP1(f32_u32, float, u32, a)
OP1(f32_f16, float, u32, half_to_float(a & 0xffff))
OP1(f32_bf16, float, u32, bf16_to_float(a))
OP1(f16_f32, u32, float, float_to_half(a))
OP1(bf16_f32, u32, float, float_to_bf16(a))
OP1(f64_f32, double, float, a)
OP1(f32_f64, float, double, a)
OP1(s32_f32_rz, s32, float,
    a >= 0x1p31f    ? INT32_MAX
    : a >= -0x1p31f ? (s32)a
    : a != a        ? 0
		    : INT32_MIN)
OP1(f32_rni, float, float, __builtin_rintf(a))
OP1(f32_rmi, float, float, __builtin_floorf(a))
OP1(f32_rpi, float, float, __builtin_ceilf(a))
OP1(f32_rzi, float, float, __builtin_truncf(a))
OP2(f16x2_f32, u32, float, float, float_to_half(a) << 16 | float_to_half(b))
OP2(bf16x2_f32, u32, float, float, float_to_bf16(a) << 16 | float_to_bf16(b))

static const struct {
	uint8_t to, from, how;
	exec_fn fn;
} fast[] = {
	{ T_S64, T_S32, 0, s64_s32 },        { T_U64, T_S32, 0, s64_s32 },
	{ T_S64, T_U32, 0, u64_u32 },        { T_U64, T_U32, 0, u64_u32 },
	{ T_U32, T_U64, 0, u32_u64 },        { T_S32, T_S64, 0, u32_u64 },
	{ T_U32, T_S64, 0, u32_u64 },        { T_S32, T_U64, 0, u32_u64 },
	{ T_U32, T_S32, 0, u32_u32 },        { T_S32, T_U32, 0, u32_u32 },
	{ T_U16, T_U32, 0, u16_u32 },        { T_S16, T_S32, 0, u16_u32 },
	{ T_U16, T_S32, 0, u16_u32 },        { T_S16, T_U32, 0, u16_u32 },
	{ T_U32, T_U16, 0, u16_u32 },        { T_S32, T_U16, 0, u16_u32 },
	{ T_S32, T_S16, 0, s32_s16 },        { T_U32, T_S16, 0, s32_s16 },
	{ T_U32, T_U8, 0, u32_u8 },          { T_S32, T_U8, 0, u32_u8 },
	{ T_U16, T_U8, 0, u32_u8 },          { T_S16, T_U8, 0, u32_u8 },
	{ T_S32, T_S8, 0, s32_s8 },          { T_S16, T_S8, 0, s16_s8 },
	{ T_F32, T_S32, 0, f32_s32 },        { T_F32, T_U32, 0, f32_u32 },
	{ T_F32, T_F16, 0, f32_f16 },        { T_F32, T_BF16, 0, f32_bf16 },
	{ T_F16, T_F32, 0, f16_f32 },        { T_BF16, T_F32, 0, bf16_f32 },
	{ T_F64, T_F32, 0, f64_f32 },        { T_F32, T_F64, 0, f32_f64 },
	{ T_S32, T_F32, C_RZI, s32_f32_rz }, { T_F32, T_F32, C_RNI, f32_rni },
	{ T_F32, T_F32, C_RMI, f32_rmi },    { T_F32, T_F32, C_RPI, f32_rpi },
	{ T_F32, T_F32, C_RZI, f32_rzi },
};

static exec_fn fast_of(const struct insn *in)
{
	for (size_t i = 0; i < sizeof(fast) / sizeof(*fast); i++)
		if (fast[i].to == in->kind && fast[i].from == in->kind2 &&
		    fast[i].how == in->size)
			return fast[i].fn;
	return cvt_any;
}

/* The next type of the name; whether it is of a pair. */
static int take_type(struct mods *m, bool *pair)
{
	for (int i = 1; i < m->n; i++) {
		char t[16];
		size_t n = strlen(m->part[i]);

		if (m->used >> i & 1 || n > 8)
			continue;
		memcpy(t, m->part[i], n + 1);
		*pair = n > 2 && !strcmp(t + n - 2, "x2");
		if (*pair)
			t[n - 2] = 0;
		for (int k = 0; k < N_TYPES; k++) {
			if (strcmp(type_names[k], t))
				continue;
			m->used |= 1u << i;
			return k;
		}
	}
	return -1;
}

static bool take_how(struct mods *m, struct insn *in)
{
	static const struct {
		const char *name;
		uint8_t flag, how;
	} words[] = {
		{ "rn", F_RN, 0 },     { "rz", F_RZ, 0 },
		{ "rm", F_RM, 0 },     { "rp", F_RP, 0 },
		{ "rna", 0, C_RNA },   { "rni", 0, C_RNI },
		{ "rzi", 0, C_RZI },   { "rmi", 0, C_RMI },
		{ "rpi", 0, C_RPI },   { "ftz", F_FTZ, 0 },
		{ "sat", F_SAT, 0 },   { "satfinite", F_SAT, 0 },
		{ "relu", F_RELU, 0 },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (!mods_take(m, words[i].name))
			continue;
		in->flags |= words[i].flag;
		if (words[i].how)
			in->size = words[i].how;
	}
	return true;
}

static uint8_t width_of(const struct opnd *o, int type)
{
	if (o->kind == O_REG)
		return o->width == 'q' ? 8 : 4;
	return type_bytes[type] == 8 ? 8 : 4;
}

static bool decode_pairs(struct parser *p, const struct stmt *st,
			 struct insn *in, bool from_pair)
{
	char dw = type_bytes[in->kind] == 1 ? 'h' : 'w';
	char sw = type_bytes[in->kind2] == 1 ? 'h' : 'w';

	if (!opnd_get(p, &st->o[0], dw, &in->op[0]) ||
	    !opnd_get(p, &st->o[1], sw, &in->op[1]))
		return false;
	if (from_pair) {
		in->fn = cvt_pair;
		return st->n == 2;
	}
	in->fn = cvt_pack;
	if (in->kind == T_F16 && in->flags == F_RN)
		in->fn = f16x2_f32;
	if (in->kind == T_BF16 && in->flags == F_RN)
		in->fn = bf16x2_f32;
	return st->n == 3 && in->kind2 == T_F32 &&
	       opnd_get(p, &st->o[2], 'w', &in->op[2]);
}

static bool decode_cvt(struct parser *p, const struct stmt *st, struct mods *m,
		       struct insn *in)
{
	bool to_pair, from_pair;
	int to, from;

	if (mods_take(m, "pack"))
		return false;
	take_how(m, in);
	to = take_type(m, &to_pair);
	from = take_type(m, &from_pair);
	if (to < 0 || from < 0 || !mods_done(m))
		return false;
	in->kind = (uint8_t)to;
	in->kind2 = (uint8_t)from;
	if (to_pair || from_pair)
		return to_pair && decode_pairs(p, st, in, from_pair);
	if (st->n != 2 || st->o[0].kind != O_REG)
		return false;
	in->width = width_of(&st->o[0], to);
	in->count = width_of(&st->o[1], from);
	/* Registers of 16 bits keep the upper half clear. */
	in->addr = st->o[0].width == 'h' ? 2 : 0;
	in->fn = cvt_any;
	if (in->width == (type_bytes[to] == 8 ? 8 : 4) &&
	    in->count == (type_bytes[from] == 8 ? 8 : 4) &&
	    !(in->flags & ~F_RN))
		in->fn = fast_of(in);
	/* The upper half of an f16 is cleared by its own functions only. */
	if (in->addr == 2 && type_bytes[to] == 4)
		in->fn = cvt_any;
	return opnd_get(p, &st->o[0], 'x', &in->op[0]) &&
	       opnd_get(p, &st->o[1],
			st->o[1].kind == O_REG  ? 'x'
			: type_bytes[from] == 8 ? 'q'
						: 'w',
			&in->op[1]);
}

const struct special specials_cvt[] = { { "cvt", decode_cvt }, { 0 } };
