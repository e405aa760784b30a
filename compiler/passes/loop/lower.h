/* SPDX-License-Identifier: Apache-2.0 */
/* What lowering of plain statements and of contractions share. */
#ifndef PASSES_LOOP_LOWER_H
#define PASSES_LOOP_LOWER_H

#include "passes/nest/contraction.h"
#include "passes/pass.h"

/* A mem.alloc for a statement's result. */
struct value *new_buffer(struct builder *b, const struct value *like);
/*
 * A nest.load of a statement, as a mem.load at b.  It stands outside of a loop
 * of the extent `hoisted` (NULL: of none) which the statement has around it.
 */
void lower_load(struct cloner *cl, struct builder *b, struct op *op,
		const struct expr *hoisted);
/* A contraction whose columns are packed, as tiles; false when the statement
 * is none. */
bool lower_contraction(struct ctx *c, struct op *op, struct value *into);

#endif
