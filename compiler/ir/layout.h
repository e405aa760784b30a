/* SPDX-License-Identifier: Apache-2.0 */
/* Where a buffer's elements are: strides, offsets, sizes, in elements. */
#ifndef IR_LAYOUT_H
#define IR_LAYOUT_H

#include "ir/ir.h"

/* The dim that is i-th from the outermost in memory. */
unsigned layout_dim(const struct value *buf, unsigned i);
/* Distance in memory between neighbours along logical dim d. */
const struct expr *layout_stride(struct ctx *c, const struct value *buf,
				 unsigned d);
/* Offset of the element at idx[], from the start of the buffer. */
const struct expr *layout_offset(struct ctx *c, const struct value *buf,
				 const struct expr *const *idx);
/*
 * A layout of that order of dims (NULL: row-major).  Rows of the innermost dim
 * get one cache line more when their size is a multiple of 2 KiB: otherwise
 * the rows of a register tile would share a few sets of the first-level cache
 * of a CPU.
 */
const struct layout *layout_make(struct ctx *c, const struct type *t,
				 const uint8_t *perm);
/* The same of the dims in order, but for one that is the innermost. */
const struct layout *layout_with_last(struct ctx *c, const struct type *t,
				      unsigned last);
/* Bytes that the buffer takes, borders and padding included. */
const struct expr *layout_bytes(struct ctx *c, const struct value *buf);

#endif
