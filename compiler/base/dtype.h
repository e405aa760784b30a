/* SPDX-License-Identifier: Apache-2.0 */
/* Element types.  dtype.def is the one list; everything here expands it. */
#ifndef BASE_DTYPE_H
#define BASE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dtype {
#define DTYPE(id, text, onnx, bits, kind, c) DT_##id,
#include "base/dtype.def"
#undef DTYPE
	DT_COUNT
};

enum dtype_kind { DK_FLOAT, DK_INT, DK_UINT, DK_BOOL };

struct dtype_info {
	const char *name;	/* as in .dl text: "f32" */
	int onnx;		/* TensorProto.DataType */
	unsigned bits;
	enum dtype_kind kind;
	const char *c;		/* C99 spelling in generated headers */
};

extern const struct dtype_info dtype_info[DT_COUNT];

/* Several elements share a byte; the bits behind the last one are zero. */
static inline bool dtype_is_packed(enum dtype t)
{
	return dtype_info[t].bits < 8;
}
/* Bytes that have to be read for one element: a packed one is in one. */
static inline size_t dtype_size(enum dtype t)
{
	return (dtype_info[t].bits + 7) / 8;
}
/* Bytes of n elements in a row; for a packed type never more than n. */
static inline size_t dtype_bytes(enum dtype t, size_t n)
{
	return dtype_is_packed(t) ? n / 8 * dtype_info[t].bits +
					    (n % 8 * dtype_info[t].bits + 7) / 8
				  : n * dtype_size(t);
}
static inline bool dtype_is_float(enum dtype t)
{
	return dtype_info[t].kind == DK_FLOAT;
}
/* The floats of 16 bits and less, which are computed in f32. */
static inline bool dtype_is_narrow(enum dtype t)
{
	return dtype_is_float(t) && dtype_info[t].bits < 32;
}
/* The 16-bit ones among them, which contractions read as they are. */
static inline bool dtype_is_half(enum dtype t)
{
	return t == DT_F16 || t == DT_BF16;
}
static inline bool dtype_is_byte(enum dtype t)
{
	return t == DT_I8 || t == DT_U8;
}
static inline bool dtype_is_signed(enum dtype t)
{
	return dtype_info[t].kind <= DK_INT;
}
/* False when ONNX's code has no row (strings, complex). */
bool dtype_from_onnx(int code, enum dtype *t);
/* Name of any ONNX type code, for messages: "string", "f8e4m3fn". */
const char *onnx_dtype_name(int code);

/* Sets of dtypes, for operator records. */
#define T(id) (1u << DT_##id)
enum {
	T_REAL = T(F32) | T(F16) | T(BF16),	/* all but f64 */
	T_FLOAT = T_REAL | T(F64),
	T_SINT = T(I8) | T(I16) | T(I32) | T(I64),
	T_UINT = T(U8) | T(U16) | T(U32) | T(U64),
	T_INT = T_SINT | T_UINT,
	T_NUM = T_FLOAT | T_INT,
	T_BOOL = T(BOOL),
	T_INDEX = T(I32) | T(I64),
	T_BASIC = T_NUM | T_BOOL,	/* what ONNX computes with */
	T_FLOAT8 = T(F8E4M3FN) | T(F8E4M3FNUZ) | T(F8E5M2) | T(F8E5M2FNUZ),
	T_ANY = (1u << DT_COUNT) - 1,
};

/*
 * What the bits of a narrow float mean, the sign aside: exponent and fraction
 * as in IEEE 754 up to `max`, beyond it infinity (unless `inf` is 0) and NaN.
 * Without either there is no value beyond max: all saturates to it, and NaN
 * becomes 0.
 */
struct float_format {
	unsigned frac, bias;	/* bits of the fraction; of the exponent */
	uint32_t max;		/* the largest number */
	uint32_t inf, nan;	/* 0: there is none */
	uint32_t sign;		/* its bit; 0: negative numbers are NaN */
};
/* NULL unless the type is narrow. */
const struct float_format *dtype_format(enum dtype t);
/* The largest finite number. */
double dtype_max(enum dtype t);

/*
 * One element as a number: floats in d, signed in i, unsigned and bool in u.
 * The conversions round to nearest even and saturate float to int (NaN -> 0);
 * docs/ir.md has what is special about the floats of 8 and 4 bits.
 */
union scalar {
	double d;
	int64_t i;
	uint64_t u;
};
union scalar scalar_load(enum dtype t, const void *p);
void scalar_store(enum dtype t, void *p, union scalar s);
/* Element i of those in a row at p, packed or not. */
union scalar scalar_get(enum dtype t, const void *p, size_t i);
void scalar_put(enum dtype t, void *p, size_t i, union scalar s);
/* Copies an element as it is, whatever its bits mean. */
void element_copy(enum dtype t, void *dst, size_t to, const void *src,
		  size_t from);
union scalar scalar_cast(enum dtype from, enum dtype to, union scalar s);
/* Wrap an integer to the width of t, or round a double to float type t. */
union scalar scalar_wrap(enum dtype t, union scalar s);

/*
 * Weight of the bit that stands for the lost ones when a 64-bit integer is
 * rounded to odd, for an f64 to hold it: the lowest of 53 bits.
 */
#define ODD_F64 INT64_C(0x800)

/* The bits of a narrow float and back, with one rounding. */
uint32_t narrow_bits(enum dtype t, double x);
double narrow_value(enum dtype t, uint32_t bits);

#endif
