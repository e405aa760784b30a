/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short floating-point formats.
 */
#ifndef EMU_HALF_H
#define EMU_HALF_H

#include <stdint.h>
#include <string.h>

enum rounding { RN, RZ, RM, RP, RNA };

struct format {
	int exp_bits, mant_bits;
	/* No infinity: all ones of exponent and mantissa is the only NaN. */
	int finite;
};
extern const struct format fmt_f16, fmt_bf16, fmt_tf32, fmt_f32, fmt_e4m3,
	fmt_e5m2;

/* The bits of `x` in a format; `sat` puts the largest for infinity. */
uint32_t format_from(double x, const struct format *f, enum rounding mode,
		     int sat);
double format_to(uint32_t bits, const struct format *f);

static inline float as_float(uint32_t u)
{
	float f;

	memcpy(&f, &u, 4);
	return f;
}

static inline uint32_t as_bits(float f)
{
	uint32_t u;

	memcpy(&u, &f, 4);
	return u;
}

static inline double as_double(uint64_t u)
{
	double f;

	memcpy(&f, &u, 8);
	return f;
}

static inline uint64_t as_bits64(double f)
{
	uint64_t u;

	memcpy(&u, &f, 8);
	return u;
}

/* The exponent moves by a product, which subnormals need no case for. */
static inline float half_to_float(uint32_t h)
{
	uint32_t u = as_bits(as_float((h & 0x7fff) << 13) * 0x1p112f);

	u |= (h & 0x7c00) == 0x7c00 ? 0x7f800000 : 0;
	return as_float(u | (h & 0x8000) << 16);
}

static inline float bf16_to_float(uint32_t h)
{
	return as_float(h << 16);
}

/* To the nearest, ties to even; a NaN becomes the one that GPUs give. */
static inline uint32_t float_to_half(float f)
{
	uint32_t u = as_bits(f), sign = u >> 16 & 0x8000, r;

	u &= 0x7fffffff;
	if (u >= 0x47800000)
		r = u > 0x7f800000 ? 0x7fff : 0x7c00;
	else if (u < 0x38800000)
		/* Subnormal: the sum leaves the mantissa in the low bits. */
		r = as_bits(as_float(u) + 0.5f) - 0x3f000000;
	else
		r = (u - 0x38000000 + 0xfff + (u >> 13 & 1)) >> 13;
	return u > 0x7f800000 ? r : r | sign;
}

static inline uint32_t float_to_bf16(float f)
{
	uint32_t u = as_bits(f);

	if ((u & 0x7fffffff) > 0x7f800000)
		return 0x7fff;
	return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

#endif
