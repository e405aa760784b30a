/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scales and zero points of operators on 8-bit integers, and the one way back
 * from the 32-bit sum of a contraction to a stored integer.
 */
#ifndef IR_OPS_ONNX_REQUANTIZE_H
#define IR_OPS_ONNX_REQUANTIZE_H

#include "ir/op.h"

enum { T_Q8 = T(I8) | T(U8) };

/* Operand i is absent or one number. */
bool infer_number(struct infer *in, unsigned i);
/* Operand i is absent, one number or a list of that length. */
bool infer_number_or_list(struct infer *in, unsigned i,
			  const struct expr *length);
/* Operand i, a zero point, is absent or has the type of operand k. */
bool infer_zero_point(struct infer *in, unsigned i, unsigned k);

/* Operand i, one number, as a scalar of type `to`; NULL where it is absent. */
struct value *load_number(struct lower *lo, enum dtype to, unsigned i);
/* The same for a list of which `at` is the position. */
struct value *load_number_at(struct lower *lo, enum dtype to, unsigned i,
			     const struct expr *at);
/* v - zero; v itself where zero is NULL. */
struct value *less_zero(struct lower *lo, struct value *v, struct value *zero);

/* The same f32, which a sum that reads it cannot contract with the product
 * that it is. */
struct value *rounded(struct lower *lo, struct value *v);

/*
 * saturate(round(v) + zero) as type `to`, halves to even, of an f32.  The zero
 * point is an i32 or NULL, and is added behind the rounding.
 */
struct value *round_to(struct lower *lo, struct value *v, enum dtype to,
		       struct value *zero);
/* (v - zero) * scale as an f32, of scalars as they are stored; zero may be
 * NULL, the scale of any float type. */
struct value *dequantize(struct lower *lo, struct value *v,
			 struct value *scale, struct value *zero);
/* v / scale, then round_to(); zero may be NULL and of any integer type. */
struct value *quantize(struct lower *lo, struct value *v, struct value *scale,
		       struct value *zero, enum dtype to);
/*
 * An i32 sum as a stored integer: f32(sum) times f32(f32(sx * sw) / sy), each
 * step rounded to f32, then round_to().  This is bit for bit what ONNX
 * Runtime's integer kernels compute; any of these scales may be NULL.
 */
struct value *requantize(struct lower *lo, struct value *sum, struct value *sx,
			 struct value *sw, struct value *sy, enum dtype to,
			 struct value *zero);
/* DynamicQuantizeLinear of a tensor, whose results these are. */
struct value *quantize_dynamically(struct lower *lo, struct value *x,
				   struct value **scale, struct value **zero);
/* The floats that those 8 bits stand for. */
struct value *round_dynamically(struct lower *lo, struct value *x);

#endif
