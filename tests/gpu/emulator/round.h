/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EMU_ROUND_H
#define EMU_ROUND_H

#include "emu.h"

enum float_kind {
	K_ADD,
	K_SUB,
	K_MUL,
	K_FMA,
	K_DIV,
	K_RCP,
	K_SQRT,
	K_RSQRT,
	K_EX2,
	K_LG2,
	K_SIN,
	K_COS,
	K_TANH,
	K_MIN,
	K_MAX,
	K_ABS,
	K_NEG,
};

/* Operations with modifiers: rounding, flushing, saturation, NaN. */
void slow32(struct warp *w, const struct insn *in, uint32_t m);
void slow64(struct warp *w, const struct insn *in, uint32_t m);

static inline float flush(float f)
{
	return __builtin_fabsf(f) < 0x1p-126f ? __builtin_copysignf(0, f) : f;
}

#endif
