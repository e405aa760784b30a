/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of a few bits in bytes, the first in the low bits, and products with
 * matrices of such. */
#ifndef IR_OPS_MICROSOFT_PACKED_H
#define IR_OPS_MICROSOFT_PACKED_H

#include "ir/op.h"

/*
 * Number `at` of those that begin with the byte idx[] of x, as an i32.  They
 * may cross bytes, of which there are no more than the last dim of x has.
 */
struct value *nbits_load(struct lower *lo, struct value *x,
			  const struct expr *const *idx,
			  const struct expr *at, int64_t bits);

/* K, N and the length of a block are at most that. */
enum { PACKED_MOST = 1 << 30 };
/* [.., K] times a matrix of K x N, which are attributes: checks these and
 * operand 0, of which the result has the type. */
bool packed_product_infer(struct infer *in);

#endif
