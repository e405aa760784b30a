/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Integer arithmetic of extended precision: a bit for each lane, CC.CF, goes
 * from one instruction to the next.
 */
#include "lanes.h"

/* What the 33rd or 65th bit of a sum or difference is. */
#define CARRY(T, wide) ((u32)((u128)(wide) >> (8 * sizeof(T)) & 1))

/* The result is that of `expr` in 128 bits; `in` and `out` say whether the
 * carry is taken and set. */
#define CARRIED(name, T, n, in_cc, out_cc, expr) \
	static void name(struct warp *w, const struct insn *in, uint32_t m) \
	{ \
		T *d = reg(w, in->op[0]); \
		const T *ra = reg(w, in->op[1]); \
		const T *rb = reg(w, in->op[2]); \
		const T *rc = reg(w, in->op[n]); \
		EACH_LANE(m, u128 a = ra[l]; u128 b = rb[l]; u128 c = rc[l]; \
			  u128 cf = in_cc ? w->carry[l] : 0; \
			  u128 r = (expr); \
			  (void)a; (void)b; (void)c; (void)cf; \
			  d[l] = (T)r; \
			  if (out_cc) w->carry[l] = CARRY(T, r)); \
	}
#define LOW(T) ((u128)(T)(a * b))
#define HIGH(T) ((u128)(a * b >> (8 * sizeof(T))))
#define FAMILY(s, T) \
	CARRIED(add_cc_##s, T, 2, 0, 1, a + b) \
	CARRIED(addc_##s, T, 2, 1, 0, a + b + cf) \
	CARRIED(addc_cc_##s, T, 2, 1, 1, a + b + cf) \
	CARRIED(sub_cc_##s, T, 2, 0, 1, a - b) \
	CARRIED(subc_##s, T, 2, 1, 0, a - b - cf) \
	CARRIED(subc_cc_##s, T, 2, 1, 1, a - b - cf) \
	CARRIED(mad_lo_cc_##s, T, 3, 0, 1, LOW(T) + c) \
	CARRIED(madc_lo_##s, T, 3, 1, 0, LOW(T) + c + cf) \
	CARRIED(madc_lo_cc_##s, T, 3, 1, 1, LOW(T) + c + cf) \
	CARRIED(mad_hi_cc_##s, T, 3, 0, 1, HIGH(T) + c) \
	CARRIED(madc_hi_##s, T, 3, 1, 0, HIGH(T) + c + cf) \
	CARRIED(madc_hi_cc_##s, T, 3, 1, 1, HIGH(T) + c + cf)
FAMILY(w, u32)
FAMILY(q, u64)

#define ROWS(type, r, s) \
	ROW("add.cc." type, r r r, add_cc_##s), \
	ROW("addc." type, r r r, addc_##s), \
	ROW("addc.cc." type, r r r, addc_cc_##s), \
	ROW("sub.cc." type, r r r, sub_cc_##s), \
	ROW("subc." type, r r r, subc_##s), \
	ROW("subc.cc." type, r r r, subc_cc_##s), \
	ROW("mad.lo.cc." type, r r r r, mad_lo_cc_##s), \
	ROW("madc.lo." type, r r r r, madc_lo_##s), \
	ROW("madc.lo.cc." type, r r r r, madc_lo_cc_##s), \
	ROW("mad.hi.cc." type, r r r r, mad_hi_cc_##s), \
	ROW("madc.hi." type, r r r r, madc_hi_##s), \
	ROW("madc.hi.cc." type, r r r r, madc_hi_cc_##s)
/* The upper half of a signed product is another: only the unsigned forms of
 * these are there. */
const struct row rows_carry[] = {
	ROWS("u32", "w", w), ROWS("u64", "q", q),
	ROW("add.cc.s32", "www", add_cc_w),
	ROW("addc.s32", "www", addc_w),
	ROW("addc.cc.s32", "www", addc_cc_w),
	ROW("sub.cc.s32", "www", sub_cc_w),
	ROW("subc.s32", "www", subc_w),
	ROW("subc.cc.s32", "www", subc_cc_w),
	ROW("mad.lo.cc.s32", "wwww", mad_lo_cc_w),
	ROW("madc.lo.s32", "wwww", madc_lo_w),
	ROW("madc.lo.cc.s32", "wwww", madc_lo_cc_w),
	{ 0 },
};
