/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Element types and their conversions.  Narrow formats round from double once
 * (round to nearest, ties to even), as IEEE 754-2019 section 4.3.1 asks.
 */
#include "base/dtype.h"

#include <float.h>
#include <math.h>
#include <string.h>

const struct dtype_info dtype_info[DT_COUNT] = {
#define DTYPE(id, text, onnx, bits, kind, c) \
	[DT_##id] = { #text, onnx, bits, DK_##kind, c },
#include "base/dtype.def"
#undef DTYPE
};

bool dtype_from_onnx(int code, enum dtype *t)
{
	for (int i = 0; i < DT_COUNT; i++)
		if (dtype_info[i].onnx == code) {
			*t = (enum dtype)i;
			return true;
		}
	return false;
}

const char *onnx_dtype_name(int code)
{
	static const char *const other[] = {
		[0] = "undefined", [8] = "string", [14] = "complex64",
		[15] = "complex128", [27] = "float6e2m3",
		[28] = "float6e3m2",
	};
	enum dtype t;

	if (dtype_from_onnx(code, &t))
		return dtype_info[t].name;
	if (code >= 0 && (size_t)code < sizeof(other) / sizeof(*other) &&
	    other[code])
		return other[code];
	return "unknown";
}

/* ---- narrow floats -------------------------------------------------- */

const struct float_format *dtype_format(enum dtype t)
{
	static const struct float_format format[DT_COUNT] = {
		[DT_F16] = { 10, 15, 0x7bff, 0x7c00, 0x7e00, 0x8000 },
		[DT_BF16] = { 7, 127, 0x7f7f, 0x7f80, 0x7fc0, 0x8000 },
		[DT_F8E4M3FN] = { 3, 7, 0x7e, 0, 0x7f, 0x80 },
		[DT_F8E4M3FNUZ] = { 3, 8, 0x7f, 0, 0x80, 0x80 },
		[DT_F8E5M2] = { 2, 15, 0x7b, 0x7c, 0x7e, 0x80 },
		[DT_F8E5M2FNUZ] = { 2, 16, 0x7f, 0, 0x80, 0x80 },
		[DT_F8E8M0] = { 0, 127, 0xfe, 0, 0xff, 0 },
		[DT_F4E2M1] = { 1, 1, 7, 0, 0, 8 },
	};

	return dtype_is_narrow(t) ? &format[t] : NULL;
}

double dtype_max(enum dtype t)
{
	if (t == DT_F32)
		return FLT_MAX;
	return t == DT_F64 ? DBL_MAX : narrow_value(t, dtype_format(t)->max);
}

/* Powers of two and no zero: the nearest one, the upper one of two. */
static uint32_t power_bits(double x)
{
	int e;
	double m = frexp(x, &e);

	e += m >= 0.75 ? 127 : 126;
	return x > 0 && !isinf(x) && e >= 0 && e < 0xff ? (uint32_t)e : 0xff;
}

/* An exact scaling, then one rounding to an integer. */
static uint32_t round_bits(const struct float_format *f, double x)
{
	int e, least = 1 - (int)f->bias, frac = (int)f->frac;

	frexp(x, &e);
	e = x == 0 || e - 1 < least ? least : e - 1;
	/* Normal numbers carry the hidden bit into the exponent field. */
	return (uint32_t)nearbyint(ldexp(x, frac - e)) +
	       ((uint32_t)(e - least) << frac);
}

uint32_t narrow_bits(enum dtype t, double x)
{
	const struct float_format *f = dtype_format(t);
	uint32_t sign = signbit(x) ? f->sign : 0, bits;

	if (!f->sign)
		return power_bits(x);
	if (isnan(x))
		return f->nan ? sign | f->nan : 0;
	bits = isinf(x) ? f->max + 1 : round_bits(f, fabs(x));
	if (bits > f->max)
		bits = f->inf ? f->inf : f->nan ? f->nan : f->max;
	/* Where the sign alone is NaN there is no -0. */
	return !bits && f->nan == f->sign ? 0 : sign | bits;
}

double narrow_value(enum dtype t, uint32_t bits)
{
	const struct float_format *f = dtype_format(t);
	uint32_t mag = bits & ~f->sign;
	uint32_t m = mag & ((1u << f->frac) - 1);
	int e = (int)(mag >> f->frac), least = 1 - (int)f->bias;
	double x;

	if (f->nan && (bits == f->nan || mag > f->max))
		x = f->inf && mag == f->inf ? INFINITY : NAN;
	else if (!f->sign)
		x = ldexp(1, e - (int)f->bias);
	else if (e == 0)
		x = ldexp(m, least - (int)f->frac);
	else
		x = ldexp(m + (1u << f->frac), e - 1 + least - (int)f->frac);
	return bits & f->sign ? -x : x;
}

/* ---- elements ------------------------------------------------------- */

/* Little endian, as ONNX stores them. */
static union scalar decode(enum dtype t, uint64_t raw)
{
	unsigned above = 64 - dtype_info[t].bits;
	union scalar s = { .u = raw };
	uint32_t low = (uint32_t)raw;
	float f;

	switch (dtype_info[t].kind) {
	case DK_FLOAT:
		if (t == DT_F32) {
			memcpy(&f, &low, 4);
			s.d = f;
		} else if (t != DT_F64) {
			s.d = narrow_value(t, low);
		}
		break;
	case DK_INT: s.i = (int64_t)(raw << above) >> above; break;
	case DK_UINT: s.u = raw << above >> above; break;
	case DK_BOOL: s.u = raw != 0; break;
	}
	return s;
}

static uint64_t encode(enum dtype t, union scalar s)
{
	float f = (float)s.d;
	uint32_t low;

	if (t == DT_F32) {
		memcpy(&low, &f, 4);
		return low;
	}
	if (dtype_is_narrow(t))
		return narrow_bits(t, s.d);
	return t == DT_BOOL ? s.u != 0 : s.u;
}

union scalar scalar_load(enum dtype t, const void *p)
{
	uint64_t raw = 0;

	memcpy(&raw, p, dtype_size(t));
	return decode(t, raw);
}

void scalar_store(enum dtype t, void *p, union scalar s)
{
	uint64_t raw = encode(t, s);

	if (dtype_is_packed(t))
		raw &= (1u << dtype_info[t].bits) - 1;
	memcpy(p, &raw, dtype_size(t));
}

/* The bits of packed element i, or of any other. */
static uint64_t bits_get(enum dtype t, const void *p, size_t i)
{
	unsigned bits = dtype_info[t].bits;
	uint64_t raw = 0;

	if (dtype_is_packed(t))
		return ((const uint8_t *)p)[i / (8 / bits)] >>
			       i % (8 / bits) * bits &
		       ((1u << bits) - 1);
	memcpy(&raw, (const char *)p + i * dtype_size(t), dtype_size(t));
	return raw;
}

static void bits_put(enum dtype t, void *p, size_t i, uint64_t raw)
{
	unsigned bits = dtype_info[t].bits;

	if (!dtype_is_packed(t)) {
		memcpy((char *)p + i * dtype_size(t), &raw, dtype_size(t));
		return;
	}
	uint8_t *byte = (uint8_t *)p + i / (8 / bits);
	unsigned at = i % (8 / bits) * bits, mask = (1u << bits) - 1;

	*byte = (uint8_t)((*byte & ~(mask << at)) |
			  ((unsigned)raw & mask) << at);
}

union scalar scalar_get(enum dtype t, const void *p, size_t i)
{
	return decode(t, bits_get(t, p, i));
}

void scalar_put(enum dtype t, void *p, size_t i, union scalar s)
{
	bits_put(t, p, i, encode(t, s));
}

void element_copy(enum dtype t, void *dst, size_t to, const void *src,
		  size_t from)
{
	bits_put(t, dst, to, bits_get(t, src, from));
}

union scalar scalar_wrap(enum dtype t, union scalar s)
{
	char buf[8];

	scalar_store(t, buf, s);
	return scalar_load(t, buf);
}

/* Saturating conversion; NaN gives 0 (llvm.fptosi.sat, llvm.fptoui.sat). */
static union scalar float_to_int(enum dtype to, double d)
{
	union scalar s = { 0 };
	unsigned bits = dtype_info[to].bits;

	if (isnan(d))
		return s;
	d = trunc(d);
	if (dtype_is_signed(to)) {
		double lim = ldexp(1, (int)bits - 1);

		if (d >= lim)
			s.i = (int64_t)(((uint64_t)1 << (bits - 1)) - 1);
		else if (d < -lim)
			s.i = (int64_t)(~(uint64_t)0 << (bits - 1));
		else
			s.i = (int64_t)d;
	} else {
		double lim = ldexp(1, (int)bits);

		if (d >= lim)
			s.u = ~(uint64_t)0 >> (64 - bits);
		else if (d > 0)
			s.u = (uint64_t)d;
	}
	return s;
}

/*
 * Integers of more than 53 bits are rounded to odd on their way through a
 * double, so that rounding that to a half is the only rounding there is.
 */
static double odd_double(bool sign, union scalar s)
{
	uint64_t mag = sign && s.i < 0 ? 0 - s.u : s.u;

	if (mag > UINT64_C(1) << 53 && (s.u & (ODD_F64 - 1)))
		s.u = (s.u & ~(uint64_t)(ODD_F64 - 1)) | ODD_F64;
	return sign ? (double)s.i : (double)s.u;
}

union scalar scalar_cast(enum dtype from, enum dtype to, union scalar s)
{
	if (to == DT_BOOL) {
		s.u = dtype_is_float(from) ? s.d != 0 : s.u != 0;
		return s;
	}
	if (dtype_is_float(to)) {
		bool sign = dtype_is_signed(from);

		if (dtype_is_float(from))
			;
		else if (to == DT_F32)
			s.d = sign ? (float)s.i : (float)s.u;
		else if (to == DT_F64)
			s.d = sign ? (double)s.i : (double)s.u;
		else
			s.d = odd_double(sign, s);
		return scalar_wrap(to, s);
	}
	if (dtype_is_float(from))
		return float_to_int(to, s.d);
	return scalar_wrap(to, s);
}
