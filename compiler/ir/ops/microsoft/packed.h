/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of a few bits in bytes, the first in the low bits. */
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

#endif
