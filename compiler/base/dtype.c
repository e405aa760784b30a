/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Element types and their conversions.  Half formats round from double once
 * (round to nearest, ties to even), as IEEE 754-2019 section 4.3.1 asks.
 */
#include "base/dtype.h"

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
		[15] = "complex128", [17] = "float8e4m3fn",
		[18] = "float8e4m3fnuz", [19] = "float8e5m2",
		[20] = "float8e5m2fnuz", [21] = "uint4", [22] = "int4",
		[23] = "float4e2m1", [24] = "float8e8m0", [25] = "uint2",
		[26] = "int2",
	};
	enum dtype t;

	if (dtype_from_onnx(code, &t))
		return dtype_info[t].name;
	if (code >= 0 && (size_t)code < sizeof(other) / sizeof(*other) &&
	    other[code])
		return other[code];
	return "unknown";
}

/* Round x to a binary format with `frac` fraction bits and exponent range. */
static uint16_t narrow(double x, int frac, int emin, int emax)
{
	uint16_t sign = signbit(x) ? 0x8000 : 0;
	uint16_t inf = (uint16_t)((emax - emin + 2) << frac);

	if (isnan(x))
		return (uint16_t)(sign | inf | 1u << (frac - 1));
	x = fabs(x);
	if (isinf(x))
		return sign | inf;
	int e;

	frexp(x, &e);
	e = x == 0 || e - 1 < emin ? emin : e - 1;
	/* An exact scaling, then one rounding to an integer. */
	double q = nearbyint(ldexp(x, frac - e));
	uint32_t bits = (uint32_t)q;

	/* Normal numbers carry the hidden bit into the exponent field. */
	bits += (uint32_t)(e - emin) << frac;
	if (bits >= inf)
		bits = inf;
	return (uint16_t)(sign | bits);
}

static double widen(uint16_t h, int frac, int emin, int emax)
{
	int e = (h & 0x7fff) >> frac;
	int m = h & ((1 << frac) - 1);
	double x;

	if (e == emax - emin + 2)
		x = m ? NAN : INFINITY;
	else if (e == 0)
		x = ldexp(m, emin - frac);
	else
		x = ldexp(m + (1 << frac), e - 1 + emin - frac);
	return h & 0x8000 ? -x : x;
}

uint16_t f16_from_double(double x) { return narrow(x, 10, -14, 15); }
double f16_to_double(uint16_t h) { return widen(h, 10, -14, 15); }
uint16_t bf16_from_double(double x) { return narrow(x, 7, -126, 127); }
double bf16_to_double(uint16_t h) { return widen(h, 7, -126, 127); }

union scalar scalar_load(enum dtype t, const void *p)
{
	union scalar s = { 0 };
	uint64_t raw = 0;

	memcpy(&raw, p, dtype_size(t)); /* little endian, as ONNX stores it */
	switch (t) {
	case DT_F32: {
		float f;

		memcpy(&f, p, 4);
		s.d = f;
		break;
	}
	case DT_F64: memcpy(&s.d, p, 8); break;
	case DT_F16: s.d = f16_to_double((uint16_t)raw); break;
	case DT_BF16: s.d = bf16_to_double((uint16_t)raw); break;
	case DT_I8: s.i = (int8_t)raw; break;
	case DT_I16: s.i = (int16_t)raw; break;
	case DT_I32: s.i = (int32_t)raw; break;
	case DT_I64: s.i = (int64_t)raw; break;
	case DT_BOOL: s.u = raw != 0; break;
	case DT_U8: case DT_U16: case DT_U32: case DT_U64:
	case DT_COUNT: s.u = raw; break;
	}
	return s;
}

void scalar_store(enum dtype t, void *p, union scalar s)
{
	uint64_t raw = s.u;

	if (t == DT_F32) {
		float f = (float)s.d;

		memcpy(p, &f, 4);
		return;
	}
	if (t == DT_F16)
		raw = f16_from_double(s.d);
	if (t == DT_BF16)
		raw = bf16_from_double(s.d);
	if (t == DT_BOOL)
		raw = s.u != 0;
	memcpy(p, &raw, dtype_size(t));
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
