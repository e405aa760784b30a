/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions over the lanes of a warp from an expression of one lane: of the
 * operands a, b, c and d, in this order.
 */
#ifndef EMU_LANES_H
#define EMU_LANES_H

#include "emu.h"

#define OP1(name, T, A, expr) \
	static void name(struct warp *w, const struct insn *in, uint32_t m) \
	{ \
		T *d = reg(w, in->op[0]); \
		const A *ra = reg(w, in->op[1]); \
		EACH_LANE(m, A a = ra[l]; d[l] = (T)(expr)); \
	}
#define OP2(name, T, A, B, expr) \
	static void name(struct warp *w, const struct insn *in, uint32_t m) \
	{ \
		T *d = reg(w, in->op[0]); \
		const A *ra = reg(w, in->op[1]); \
		const B *rb = reg(w, in->op[2]); \
		EACH_LANE(m, A a = ra[l]; B b = rb[l]; d[l] = (T)(expr)); \
	}
#define OP3(name, T, A, B, C, expr) \
	static void name(struct warp *w, const struct insn *in, uint32_t m) \
	{ \
		T *d = reg(w, in->op[0]); \
		const A *ra = reg(w, in->op[1]); \
		const B *rb = reg(w, in->op[2]); \
		const C *rc = reg(w, in->op[3]); \
		EACH_LANE(m, A a = ra[l]; B b = rb[l]; C c = rc[l]; \
			  d[l] = (T)(expr)); \
	}
#define OP4(name, T, A, B, C, D, expr) \
	static void name(struct warp *w, const struct insn *in, uint32_t m) \
	{ \
		T *r = reg(w, in->op[0]); \
		const A *ra = reg(w, in->op[1]); \
		const B *rb = reg(w, in->op[2]); \
		const C *rc = reg(w, in->op[3]); \
		const D *rd = reg(w, in->op[4]); \
		EACH_LANE(m, A a = ra[l]; B b = rb[l]; C c = rc[l]; \
			  D d = rd[l]; r[l] = (T)(expr)); \
	}

typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;
typedef unsigned __int128 u128;
typedef __int128 s128;
#define U16(x) ((uint16_t)(x))
#define S16(x) ((int32_t)(int16_t)(x))

#endif
