/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bits, shifts, selections and moves.
 */
#include "lanes.h"

OP2(and_w, u32, u32, u32, a &b)
OP2(and_q, u64, u64, u64, a &b)
OP2(or_w, u32, u32, u32, a | b)
OP2(or_q, u64, u64, u64, a | b)
OP2(xor_w, u32, u32, u32, a ^ b)
OP2(xor_q, u64, u64, u64, a ^ b)
OP1(not_h, u32, u32, U16(~a))
OP1(not_w, u32, u32, ~a)
OP1(not_q, u64, u64, ~a)
OP1(cnot_h, u32, u32, !U16(a))
OP1(cnot_w, u32, u32, !a)
OP1(cnot_q, u64, u64, !a)
OP1(mov_w, u32, u32, a)
OP1(mov_q, u64, u64, a)

/* Shifts by the width or more give what is left of the value. */
OP2(shl_h, u32, u32, u32, b > 15 ? 0 : U16(a << b))
OP2(shl_w, u32, u32, u32, b > 31 ? 0 : a << b)
OP2(shl_q, u64, u64, u32, b > 63 ? 0 : a << b)
OP2(shr_u16, u32, u32, u32, b > 15 ? 0 : U16(a) >> b)
OP2(shr_s16, u32, u32, u32, U16(S16(a) >> (b > 15 ? 15 : b)))
OP2(shr_u32, u32, u32, u32, b > 31 ? 0 : a >> b)
OP2(shr_s32, s32, s32, u32, a >> (b > 31 ? 31 : b))
OP2(shr_u64, u64, u64, u32, b > 63 ? 0 : a >> b)
OP2(shr_s64, s64, s64, u32, a >> (b > 63 ? 63 : b))
OP3(shf_l_wrap, u32, u32, u32, u32, ((u64)b << 32 | a) << (c & 31) >> 32)
OP3(shf_l_clamp, u32, u32, u32, u32, c > 31 ? a : ((u64)b << 32 | a) << c >> 32)
OP3(shf_r_wrap, u32, u32, u32, u32, ((u64)b << 32 | a) >> (c & 31))
OP3(shf_r_clamp, u32, u32, u32, u32, c > 31 ? b : ((u64)b << 32 | a) >> c)

OP1(popc_w, u32, u32, __builtin_popcount(a))
OP1(popc_q, u32, u64, __builtin_popcountll(a))
OP1(clz_w, u32, u32, a ? __builtin_clz(a) : 32)
OP1(clz_q, u32, u64, a ? __builtin_clzll(a) : 64)

static u32 brev(u32 v)
{
	v = (v >> 1 & 0x55555555) | (v & 0x55555555) << 1;
	v = (v >> 2 & 0x33333333) | (v & 0x33333333) << 2;
	v = (v >> 4 & 0x0f0f0f0f) | (v & 0x0f0f0f0f) << 4;
	return __builtin_bswap32(v);
}
OP1(brev_w, u32, u32, brev(a))
OP1(brev_q, u64, u64, (u64)brev((u32)a) << 32 | brev((u32)(a >> 32)))

static u32 top_bit(u64 v, bool is_signed, int bits)
{
	if (is_signed && v >> (bits - 1) & 1)
		v = ~v;
	v &= bits == 64 ? ~0ull : FULL;
	return v ? 63u - (u32)__builtin_clzll(v) : FULL;
}
#define SHIFTAMT(x, n) ((x) == FULL ? (x) : (n) - (x))
OP1(bfind_u32, u32, u32, top_bit(a, false, 32))
OP1(bfind_s32, u32, u32, top_bit(a, true, 32))
OP1(bfind_u64, u32, u64, top_bit(a, false, 64))
OP1(bfind_s64, u32, u64, top_bit(a, true, 64))
OP1(bfinds_u32, u32, u32, SHIFTAMT(top_bit(a, false, 32), 31))
OP1(bfinds_s32, u32, u32, SHIFTAMT(top_bit(a, true, 32), 31))

static u64 field(u64 a, u32 pos, u32 len, int bits, bool is_signed)
{
	u64 sign = 0, v;
	u32 msb = (u32)bits - 1, last;

	pos &= 255;
	len &= 255;
	last = pos + len - 1;
	if (is_signed && len)
		sign = a >> (last > msb ? msb : last) & 1;
	v = pos > msb ? 0 : a >> pos;
	if (pos <= msb && pos + len > (u32)bits)
		len = (u32)bits - pos;
	else if (pos > msb)
		len = 0;
	if (len < 64)
		v = (v & ((1ull << len) - 1)) | (sign ? ~0ull << len : 0);
	return v;
}
OP3(bfe_u32, u32, u32, u32, u32, field(a, b, c, 32, false))
OP3(bfe_s32, u32, u32, u32, u32, field(a, b, c, 32, true))
OP3(bfe_u64, u64, u64, u32, u32, field(a, b, c, 64, false))
OP3(bfe_s64, u64, u64, u32, u32, field(a, b, c, 64, true))

static u64 insert(u64 a, u64 b, u32 pos, u32 len, u32 bits)
{
	u64 mask;

	pos &= 255;
	len &= 255;
	if (pos >= bits)
		return b;
	mask = len >= 64 ? ~0ull : (1ull << len) - 1;
	return (b & ~(mask << pos)) | (a & mask) << pos;
}
OP4(bfi_w, u32, u32, u32, u32, u32, insert(a, b, c, d, 32))
OP4(bfi_q, u64, u64, u64, u32, u32, insert(a, b, c, d, 64))
OP2(bmsk_clamp, u32, u32, u32, a > 31 ? 0 : (b > 31 ? ~0u : (1u << b) - 1) << a)
OP2(bmsk_wrap, u32, u32, u32, ((1u << (b & 31)) - 1) << (a & 31))
OP2(szext_clamp_u, u32, u32, u32, b > 31 ? a : a & ((1u << b) - 1))

static u32 byte_perm(u32 a, u32 b, u32 sel)
{
	u64 v = (u64)b << 32 | a;
	u32 r = 0;

	for (int i = 0; i < 4; i++) {
		u32 s = sel >> 4 * i & 15, byte = (u32)(v >> 8 * (s & 7)) & 255;

		if (s & 8)
			byte = byte & 128 ? 255 : 0;
		r |= byte << 8 * i;
	}
	return r;
}
static u32 byte_mode(u32 a, u32 b, u32 n, char mode)
{
	static const u32 rc16[] = { 0x1010, 0x3232 };
	u32 s = 0;

	n &= 3;
	for (u32 i = 0; i < 4; i++) {
		u32 k = mode == 'f'   ? n + i
			: mode == 'b' ? (n - i) & 7
			: mode == 'r' ? n
			: mode == 'l' ? (i > n ? i : n)
				      : (i < n ? i : n);
		s |= k << 4 * i;
	}
	return byte_perm(a, b, mode == '1' ? rc16[n & 1] : s);
}
OP3(prmt, u32, u32, u32, u32, byte_perm(a, b, c))
OP3(prmt_f4e, u32, u32, u32, u32, byte_mode(a, b, c, 'f'))
OP3(prmt_b4e, u32, u32, u32, u32, byte_mode(a, b, c, 'b'))
OP3(prmt_rc8, u32, u32, u32, u32, byte_mode(a, b, c, 'r'))
OP3(prmt_ecl, u32, u32, u32, u32, byte_mode(a, b, c, 'l'))
OP3(prmt_ecr, u32, u32, u32, u32, byte_mode(a, b, c, 'e'))
OP3(prmt_rc16, u32, u32, u32, u32, byte_mode(a, b, c, '1'))

static u32 lut3(u32 a, u32 b, u32 c, u32 lut)
{
	u32 r = 0;

	for (u32 i = 0; i < 8; i++)
		if (lut >> i & 1)
			r |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) &
			     (i & 1 ? c : ~c);
	return r;
}
static void lop3(struct warp *w, const struct insn *in, uint32_t m)
{
	u32 *r = reg(w, in->op[0]);
	const u32 *a = reg(w, in->op[1]), *b = reg(w, in->op[2]);
	const u32 *c = reg(w, in->op[3]);
	u32 lut = *(u32 *)reg(w, in->op[4]);

	EACH_LANE(m, r[l] = lut3(a[l], b[l], c[l], lut));
}

static void selp_w(struct warp *w, const struct insn *in, uint32_t m)
{
	u32 *d = reg(w, in->op[0]), p = pred(w, in->op[3]);
	const u32 *a = reg(w, in->op[1]), *b = reg(w, in->op[2]);

	EACH_LANE(m, d[l] = p >> l & 1 ? a[l] : b[l]);
}
static void selp_q(struct warp *w, const struct insn *in, uint32_t m)
{
	u64 *d = reg(w, in->op[0]);
	const u64 *a = reg(w, in->op[1]), *b = reg(w, in->op[2]);
	u32 p = pred(w, in->op[3]);

	EACH_LANE(m, d[l] = p >> l & 1 ? a[l] : b[l]);
}
OP3(slct_w_s32, u32, u32, u32, s32, c >= 0 ? a : b)
OP3(slct_q_s32, u64, u64, u64, s32, c >= 0 ? a : b)
OP3(slct_w_f32, u32, u32, u32, float, c >= 0 ? a : b)
OP3(slct_q_f32, u64, u64, u64, float, c >= 0 ? a : b)

/* Predicates: a bit per lane. */
#define PRED2(name, expr) \
	static void name(struct warp *w, const struct insn *in, uint32_t m) \
	{ \
		u32 *d = reg(w, in->op[0]); \
		u32 a = pred(w, in->op[1]), b = pred(w, in->op[2]); \
		*d = (*d & ~m) | ((expr)&m); \
	}
#define PRED1(name, expr) \
	static void name(struct warp *w, const struct insn *in, uint32_t m) \
	{ \
		u32 *d = reg(w, in->op[0]); \
		u32 a = pred(w, in->op[1]); \
		*d = (*d & ~m) | ((expr)&m); \
	}
PRED2(and_p, a &b)
PRED2(or_p, a | b)
PRED2(xor_p, a ^ b)
PRED1(not_p, ~a)
PRED1(mov_p, a)

/* clang-format off */
const struct row rows_logic[] = {
	ROW("and.b16", "hhh", and_w), ROW("and.b32", "www", and_w),
	ROW("and.b64", "qqq", and_q), ROW("and.pred", "ppp", and_p),
	ROW("or.b16", "hhh", or_w), ROW("or.b32", "www", or_w),
	ROW("or.b64", "qqq", or_q), ROW("or.pred", "ppp", or_p),
	ROW("xor.b16", "hhh", xor_w), ROW("xor.b32", "www", xor_w),
	ROW("xor.b64", "qqq", xor_q), ROW("xor.pred", "ppp", xor_p),
	ROW("not.b16", "hh", not_h), ROW("not.b32", "ww", not_w),
	ROW("not.b64", "qq", not_q), ROW("not.pred", "pp", not_p),
	ROW("cnot.b16", "hh", cnot_h), ROW("cnot.b32", "ww", cnot_w),
	ROW("cnot.b64", "qq", cnot_q), ROW("mov.pred", "pp", mov_p),
	ROW("mov.w", "ww", mov_w), ROW("mov.h", "hh", mov_w),
	ROW("mov.q", "qq", mov_q),
	ROW("shl.b16", "hhw", shl_h), ROW("shl.b32", "www", shl_w),
	ROW("shl.b64", "qqw", shl_q),
	ROW("shr.u16", "hhw", shr_u16), ROW("shr.b16", "hhw", shr_u16),
	ROW("shr.s16", "hhw", shr_s16), ROW("shr.u32", "www", shr_u32),
	ROW("shr.b32", "www", shr_u32), ROW("shr.s32", "www", shr_s32),
	ROW("shr.u64", "qqw", shr_u64), ROW("shr.b64", "qqw", shr_u64),
	ROW("shr.s64", "qqw", shr_s64),
	ROW("shf.l.wrap.b32", "wwww", shf_l_wrap),
	ROW("shf.l.clamp.b32", "wwww", shf_l_clamp),
	ROW("shf.r.wrap.b32", "wwww", shf_r_wrap),
	ROW("shf.r.clamp.b32", "wwww", shf_r_clamp),
	ROW("popc.b32", "ww", popc_w), ROW("popc.b64", "wq", popc_q),
	ROW("clz.b32", "ww", clz_w), ROW("clz.b64", "wq", clz_q),
	ROW("brev.b32", "ww", brev_w), ROW("brev.b64", "qq", brev_q),
	ROW("bfind.u32", "ww", bfind_u32), ROW("bfind.s32", "ww", bfind_s32),
	ROW("bfind.u64", "wq", bfind_u64), ROW("bfind.s64", "wq", bfind_s64),
	ROW("bfind.shiftamt.u32", "ww", bfinds_u32),
	ROW("bfind.shiftamt.s32", "ww", bfinds_s32),
	ROW("bfe.u32", "wwww", bfe_u32), ROW("bfe.s32", "wwww", bfe_s32),
	ROW("bfe.u64", "qqww", bfe_u64), ROW("bfe.s64", "qqww", bfe_s64),
	ROW("bfi.b32", "wwwww", bfi_w), ROW("bfi.b64", "qqqww", bfi_q),
	ROW("bmsk.clamp.b32", "www", bmsk_clamp),
	ROW("bmsk.wrap.b32", "www", bmsk_wrap),
	ROW("szext.clamp.u32", "www", szext_clamp_u),
	ROW("prmt.b32", "wwww", prmt), ROW("prmt.b32.f4e", "wwww", prmt_f4e),
	ROW("prmt.b32.b4e", "wwww", prmt_b4e),
	ROW("prmt.b32.rc8", "wwww", prmt_rc8),
	ROW("prmt.b32.ecl", "wwww", prmt_ecl),
	ROW("prmt.b32.ecr", "wwww", prmt_ecr),
	ROW("prmt.b32.rc16", "wwww", prmt_rc16),
	ROW("lop3.b32", "wwwww", lop3),
	ROW("selp.b16", "hhhp", selp_w), ROW("selp.u16", "hhhp", selp_w),
	ROW("selp.s16", "hhhp", selp_w), ROW("selp.f16", "hhhp", selp_w),
	ROW("selp.b32", "wwwp", selp_w), ROW("selp.u32", "wwwp", selp_w),
	ROW("selp.s32", "wwwp", selp_w), ROW("selp.f32", "wwwp", selp_w),
	ROW("selp.b64", "qqqp", selp_q), ROW("selp.u64", "qqqp", selp_q),
	ROW("selp.s64", "qqqp", selp_q), ROW("selp.f64", "qqqp", selp_q),
	ROW("slct.b32.s32", "wwww", slct_w_s32),
	ROW("slct.u32.s32", "wwww", slct_w_s32),
	ROW("slct.s32.s32", "wwww", slct_w_s32),
	ROW("slct.f32.s32", "wwww", slct_w_s32),
	ROW("slct.b64.s32", "qqqw", slct_q_s32),
	ROW("slct.u64.s32", "qqqw", slct_q_s32),
	ROW("slct.s64.s32", "qqqw", slct_q_s32),
	ROW("slct.f64.s32", "qqqw", slct_q_s32),
	ROW("slct.b32.f32", "wwww", slct_w_f32),
	ROW("slct.f32.f32", "wwww", slct_w_f32),
	ROW("slct.b64.f32", "qqqw", slct_q_f32),
	{ 0 },
};
/* clang-format on */
