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

static inline size_t dtype_size(enum dtype t)
{
	return dtype_info[t].bits / 8;
}
static inline bool dtype_is_float(enum dtype t)
{
	return dtype_info[t].kind == DK_FLOAT;
}
/* The 16-bit floats, which are computed in f32. */
static inline bool dtype_is_half(enum dtype t)
{
	return t == DT_F16 || t == DT_BF16;
}
static inline bool dtype_is_signed(enum dtype t)
{
	return dtype_info[t].kind <= DK_INT;
}
/* False when ONNX's code has no row (strings, complex, 8-bit floats). */
bool dtype_from_onnx(int code, enum dtype *t);
/* Name of any ONNX type code, for messages: "string", "float8e4m3fn". */
const char *onnx_dtype_name(int code);

/* Sets of dtypes, for operator records. */
#define T(id) (1u << DT_##id)
enum {
	T_FLOAT = T(F32) | T(F64) | T(F16) | T(BF16),
	T_SINT = T(I8) | T(I16) | T(I32) | T(I64),
	T_UINT = T(U8) | T(U16) | T(U32) | T(U64),
	T_INT = T_SINT | T_UINT,
	T_NUM = T_FLOAT | T_INT,
	T_BOOL = T(BOOL),
	T_INDEX = T(I32) | T(I64),
	T_ANY = T_NUM | T_BOOL,
};

/*
 * One element as a number: floats in d, signed in i, unsigned and bool in u.
 * The conversions round to nearest even and saturate float to int (NaN -> 0).
 */
union scalar {
	double d;
	int64_t i;
	uint64_t u;
};
union scalar scalar_load(enum dtype t, const void *p);
void scalar_store(enum dtype t, void *p, union scalar s);
union scalar scalar_cast(enum dtype from, enum dtype to, union scalar s);
/* Wrap an integer to the width of t, or round a double to float type t. */
union scalar scalar_wrap(enum dtype t, union scalar s);

/*
 * Weight of the bit that stands for the lost ones when a 64-bit integer is
 * rounded to odd, for an f64 to hold it: the lowest of 53 bits.
 */
#define ODD_F64 INT64_C(0x800)

uint16_t f16_from_double(double x);
double f16_to_double(uint16_t h);
uint16_t bf16_from_double(double x);
double bf16_to_double(uint16_t h);

#endif
