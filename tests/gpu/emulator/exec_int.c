/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Integer arithmetic.
 *
 * Each function is one loop over the lanes; the row says what it is called in
 * PTX and how wide its operands are: the result first, h for 16 bits (kept in
 * 32), w for 32 and q for 64.
 */
#include "lanes.h"

OP2(add_h, u32, u32, u32, U16(a + b))
OP2(add_w, u32, u32, u32, a + b)
OP2(add_q, u64, u64, u64, a + b)
OP2(sub_h, u32, u32, u32, U16(a - b))
OP2(sub_w, u32, u32, u32, a - b)
OP2(sub_q, u64, u64, u64, a - b)
OP2(mul_h, u32, u32, u32, U16(a *b))
OP2(mul_w, u32, u32, u32, a *b)
OP2(mul_q, u64, u64, u64, a *b)
OP2(mulhi_u16, u32, u32, u32, U16(U16(a) * (u32)U16(b) >> 16))
OP2(mulhi_s16, u32, u32, u32, U16((u32)(S16(a) * S16(b)) >> 16))
OP2(mulhi_u32, u32, u32, u32, (u64)a *b >> 32)
OP2(mulhi_s32, u32, s32, s32, (u64)((s64)a *b) >> 32)
OP2(mulhi_u64, u64, u64, u64, (u128)a *b >> 64)
OP2(mulhi_s64, u64, s64, s64, (u128)((s128)a *b) >> 64)
OP2(mulwide_u16, u32, u32, u32, (u32)U16(a) * U16(b))
OP2(mulwide_s16, u32, u32, u32, S16(a) * S16(b))
OP2(mulwide_u32, u64, u32, u32, (u64)a *b)
OP2(mulwide_s32, u64, s32, s32, (s64)a *b)
OP3(mad_h, u32, u32, u32, u32, U16(a *b + c))
OP3(mad_w, u32, u32, u32, u32, a *b + c)
OP3(mad_q, u64, u64, u64, u64, a *b + c)
OP3(madhi_u32, u32, u32, u32, u32, ((u64)a * b >> 32) + c)
OP3(madhi_s32, u32, s32, s32, u32, ((u64)((s64)a * b) >> 32) + c)
OP3(madhi_u64, u64, u64, u64, u64, ((u128)a * b >> 64) + c)
OP3(madhi_s64, u64, s64, s64, u64, ((u128)((s128)a * b) >> 64) + c)
OP3(madwide_u16, u32, u32, u32, u32, (u32)U16(a) * U16(b) + c)
OP3(madwide_s16, u32, u32, u32, u32, (u32)(S16(a) * S16(b)) + c)
OP3(madwide_u32, u64, u32, u32, u64, (u64)a *b + c)
OP3(madwide_s32, u64, s32, s32, u64, (u64)((s64)a *b) + c)
#define S24(x) ((s32)((u32)(x) << 8) >> 8)
OP2(mul24_u, u32, u32, u32, (a & 0xffffff) * (b & 0xffffff))
OP2(mul24_s, u32, u32, u32, (u32)S24(a) * (u32)S24(b))
OP3(mad24_u, u32, u32, u32, u32, (a & 0xffffff) * (b & 0xffffff) + c)
OP3(mad24_s, u32, u32, u32, u32, (u32)S24(a) * (u32)S24(b) + c)

/* Division by zero gives all ones, as GPUs do; no lane may trap here. */
#define UDIV(a, b, ones) ((b) ? (a) / (b) : (ones))
#define UREM(a, b) ((b) ? (a) % (b) : (a))
#define SDIV(T, U, a, b) \
	((b) == 0 ? (T)-1 : (b) == -1 ? (T)(0 - (U)(a)) : (a) / (b))
#define SREM(T, a, b) ((b) == 0 ? (a) : (b) == -1 ? (T)0 : (a) % (b))
OP2(div_u16, u32, u32, u32, U16(UDIV(U16(a), U16(b), 0xffff)))
OP2(div_s16, u32, u32, u32, U16(SDIV(s32, u32, S16(a), S16(b))))
OP2(div_u32, u32, u32, u32, UDIV(a, b, ~0u))
OP2(div_s32, s32, s32, s32, SDIV(s32, u32, a, b))
OP2(div_u64, u64, u64, u64, UDIV(a, b, ~0ull))
OP2(div_s64, s64, s64, s64, SDIV(s64, u64, a, b))
OP2(rem_u16, u32, u32, u32, U16(UREM(U16(a), U16(b))))
OP2(rem_s16, u32, u32, u32, U16(SREM(s32, S16(a), S16(b))))
OP2(rem_u32, u32, u32, u32, UREM(a, b))
OP2(rem_s32, s32, s32, s32, SREM(s32, a, b))
OP2(rem_u64, u64, u64, u64, UREM(a, b))
OP2(rem_s64, s64, s64, s64, SREM(s64, a, b))

OP1(abs_h, u32, u32, U16(S16(a) < 0 ? -S16(a) : S16(a)))
OP1(abs_w, u32, u32, (s32)a < 0 ? 0 - a : a)
OP1(abs_q, u64, u64, (s64)a < 0 ? 0 - a : a)
OP1(neg_h, u32, u32, U16(0 - a))
OP1(neg_w, u32, u32, 0 - a)
OP1(neg_q, u64, u64, 0 - a)
OP2(min_u16, u32, u32, u32, U16(a) < U16(b) ? U16(a) : U16(b))
OP2(min_s16, u32, u32, u32, U16(S16(a) < S16(b) ? a : b))
OP2(min_u32, u32, u32, u32, a < b ? a : b)
OP2(min_s32, s32, s32, s32, a < b ? a : b)
OP2(min_u64, u64, u64, u64, a < b ? a : b)
OP2(min_s64, s64, s64, s64, a < b ? a : b)
OP2(max_u16, u32, u32, u32, U16(a) > U16(b) ? U16(a) : U16(b))
OP2(max_s16, u32, u32, u32, U16(S16(a) > S16(b) ? a : b))
OP2(max_u32, u32, u32, u32, a > b ? a : b)
OP2(max_s32, s32, s32, s32, a > b ? a : b)
OP2(max_u64, u64, u64, u64, a > b ? a : b)
OP2(max_s64, s64, s64, s64, a > b ? a : b)
OP2(min_s32_relu, s32, s32, s32, (a < b ? a : b) < 0 ? 0 : a < b ? a : b)
OP2(max_s32_relu, s32, s32, s32, (a > b ? a : b) < 0 ? 0 : a > b ? a : b)

static s32 clamp(s64 v)
{
	return v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : (s32)v;
}
OP2(add_sat, s32, s32, s32, clamp((s64)a + b))
OP2(sub_sat, s32, s32, s32, clamp((s64)a - b))
OP3(mad_sat, s32, s32, s32, s32, clamp(((s64)a * b >> 32) + c))

OP3(sad_u32, u32, u32, u32, u32, c + (a > b ? a - b : b - a))
OP3(sad_s32, u32, u32, u32, u32, c + ((s32)a > (s32)b ? a - b : b - a))
OP3(sad_u16, u32, u32, u32, u32, U16(c + (U16(a) > U16(b) ? a - b : b - a)))

static u32 dot4(u32 a, u32 b, u32 c, bool sa, bool sb)
{
	for (int i = 0; i < 32; i += 8) {
		s32 x = sa ? (int8_t)(a >> i) : (uint8_t)(a >> i);
		s32 y = sb ? (int8_t)(b >> i) : (uint8_t)(b >> i);

		c += (u32)(x * y);
	}
	return c;
}
OP3(dp4a_uu, u32, u32, u32, u32, dot4(a, b, c, false, false))
OP3(dp4a_us, u32, u32, u32, u32, dot4(a, b, c, false, true))
OP3(dp4a_su, u32, u32, u32, u32, dot4(a, b, c, true, false))
OP3(dp4a_ss, u32, u32, u32, u32, dot4(a, b, c, true, true))

/* Halves of a by the two low or high bytes of b. */
static u32 dot2(u32 a, u32 b, u32 c, bool sa, bool sb, int first)
{
	for (int i = 0; i < 2; i++) {
		s32 x = sa ? S16(a >> 16 * i) : (s32)U16(a >> 16 * i);
		u32 at = b >> (first + 8 * i);
		s32 y = sb ? (int8_t)at : (uint8_t)at;

		c += (u32)(x * y);
	}
	return c;
}
OP3(dp2alo_uu, u32, u32, u32, u32, dot2(a, b, c, false, false, 0))
OP3(dp2alo_us, u32, u32, u32, u32, dot2(a, b, c, false, true, 0))
OP3(dp2alo_su, u32, u32, u32, u32, dot2(a, b, c, true, false, 0))
OP3(dp2alo_ss, u32, u32, u32, u32, dot2(a, b, c, true, true, 0))
OP3(dp2ahi_uu, u32, u32, u32, u32, dot2(a, b, c, false, false, 16))
OP3(dp2ahi_us, u32, u32, u32, u32, dot2(a, b, c, false, true, 16))
OP3(dp2ahi_su, u32, u32, u32, u32, dot2(a, b, c, true, false, 16))
OP3(dp2ahi_ss, u32, u32, u32, u32, dot2(a, b, c, true, true, 16))

/* clang-format off */
const struct row rows_int[] = {
	ROW("add.u16", "hhh", add_h), ROW("add.s16", "hhh", add_h),
	ROW("add.u32", "www", add_w), ROW("add.s32", "www", add_w),
	ROW("add.u64", "qqq", add_q), ROW("add.s64", "qqq", add_q),
	ROW("add.sat.s32", "www", add_sat),
	ROW("sub.sat.s32", "www", sub_sat),
	ROW("mad.hi.sat.s32", "wwww", mad_sat),
	ROW("sub.u16", "hhh", sub_h), ROW("sub.s16", "hhh", sub_h),
	ROW("sub.u32", "www", sub_w), ROW("sub.s32", "www", sub_w),
	ROW("sub.u64", "qqq", sub_q), ROW("sub.s64", "qqq", sub_q),
	ROW("mul.lo.u16", "hhh", mul_h), ROW("mul.lo.s16", "hhh", mul_h),
	ROW("mul.lo.u32", "www", mul_w), ROW("mul.lo.s32", "www", mul_w),
	ROW("mul.lo.u64", "qqq", mul_q), ROW("mul.lo.s64", "qqq", mul_q),
	ROW("mul.hi.u16", "hhh", mulhi_u16),
	ROW("mul.hi.s16", "hhh", mulhi_s16),
	ROW("mul.hi.u32", "www", mulhi_u32),
	ROW("mul.hi.s32", "www", mulhi_s32),
	ROW("mul.hi.u64", "qqq", mulhi_u64),
	ROW("mul.hi.s64", "qqq", mulhi_s64),
	ROW("mul.wide.u16", "whh", mulwide_u16),
	ROW("mul.wide.s16", "whh", mulwide_s16),
	ROW("mul.wide.u32", "qww", mulwide_u32),
	ROW("mul.wide.s32", "qww", mulwide_s32),
	ROW("mad.lo.u16", "hhhh", mad_h), ROW("mad.lo.s16", "hhhh", mad_h),
	ROW("mad.lo.u32", "wwww", mad_w), ROW("mad.lo.s32", "wwww", mad_w),
	ROW("mad.lo.u64", "qqqq", mad_q), ROW("mad.lo.s64", "qqqq", mad_q),
	ROW("mad.hi.u32", "wwww", madhi_u32),
	ROW("mad.hi.s32", "wwww", madhi_s32),
	ROW("mad.hi.u64", "qqqq", madhi_u64),
	ROW("mad.hi.s64", "qqqq", madhi_s64),
	ROW("mad.wide.u16", "whhw", madwide_u16),
	ROW("mad.wide.s16", "whhw", madwide_s16),
	ROW("mad.wide.u32", "qwwq", madwide_u32),
	ROW("mad.wide.s32", "qwwq", madwide_s32),
	ROW("mul24.lo.u32", "www", mul24_u),
	ROW("mul24.lo.s32", "www", mul24_s),
	ROW("mad24.lo.u32", "wwww", mad24_u),
	ROW("mad24.lo.s32", "wwww", mad24_s),
	ROW("div.u16", "hhh", div_u16), ROW("div.s16", "hhh", div_s16),
	ROW("div.u32", "www", div_u32), ROW("div.s32", "www", div_s32),
	ROW("div.u64", "qqq", div_u64), ROW("div.s64", "qqq", div_s64),
	ROW("rem.u16", "hhh", rem_u16), ROW("rem.s16", "hhh", rem_s16),
	ROW("rem.u32", "www", rem_u32), ROW("rem.s32", "www", rem_s32),
	ROW("rem.u64", "qqq", rem_u64), ROW("rem.s64", "qqq", rem_s64),
	ROW("abs.s16", "hh", abs_h), ROW("abs.s32", "ww", abs_w),
	ROW("abs.s64", "qq", abs_q),
	ROW("neg.s16", "hh", neg_h), ROW("neg.s32", "ww", neg_w),
	ROW("neg.s64", "qq", neg_q),
	ROW("min.u16", "hhh", min_u16), ROW("min.s16", "hhh", min_s16),
	ROW("min.u32", "www", min_u32), ROW("min.s32", "www", min_s32),
	ROW("min.u64", "qqq", min_u64), ROW("min.s64", "qqq", min_s64),
	ROW("max.u16", "hhh", max_u16), ROW("max.s16", "hhh", max_s16),
	ROW("max.u32", "www", max_u32), ROW("max.s32", "www", max_s32),
	ROW("max.u64", "qqq", max_u64), ROW("max.s64", "qqq", max_s64),
	ROW("min.relu.s32", "www", min_s32_relu),
	ROW("max.relu.s32", "www", max_s32_relu),
	ROW("sad.u32", "wwww", sad_u32), ROW("sad.s32", "wwww", sad_s32),
	ROW("sad.u16", "hhhh", sad_u16),
	ROW("dp4a.u32.u32", "wwww", dp4a_uu),
	ROW("dp4a.u32.s32", "wwww", dp4a_us),
	ROW("dp4a.s32.u32", "wwww", dp4a_su),
	ROW("dp4a.s32.s32", "wwww", dp4a_ss),
	ROW("dp2a.lo.u32.u32", "wwww", dp2alo_uu),
	ROW("dp2a.lo.u32.s32", "wwww", dp2alo_us),
	ROW("dp2a.lo.s32.u32", "wwww", dp2alo_su),
	ROW("dp2a.lo.s32.s32", "wwww", dp2alo_ss),
	ROW("dp2a.hi.u32.u32", "wwww", dp2ahi_uu),
	ROW("dp2a.hi.u32.s32", "wwww", dp2ahi_us),
	ROW("dp2a.hi.s32.u32", "wwww", dp2ahi_su),
	ROW("dp2a.hi.s32.s32", "wwww", dp2ahi_ss),
	{ 0 },
};
/* clang-format on */
