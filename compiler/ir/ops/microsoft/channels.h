/* SPDX-License-Identifier: Apache-2.0 */
/* The attribute channels_last: images as batch, spatial dims, channel. */
#ifndef IR_OPS_MICROSOFT_CHANNELS_H
#define IR_OPS_MICROSOFT_CHANNELS_H

#include "ir/op.h"

/* The type with the last dim as dim 1, when channels_last is set. */
const struct type *channels_first(struct ctx *c, const struct op *op,
				  const struct type *t);
/* Puts dim 1 last, when channels_last is set. */
void channels_place(const struct op *op, unsigned rank,
		    const struct expr **dim);
/* Result 0: the op being lowered as one of that code without channels_last,
 * between two transpositions of operand 0 and the result where it is set. */
bool channels_decompose(struct lower *lo, enum opcode code);

#endif
