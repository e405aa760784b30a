/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of `dlcc inspect` share. */
#ifndef DLCC_INSPECT_H
#define DLCC_INSPECT_H

#include "base/vec.h"
#include "ir/op.h"

/*
 * A tensor of integers or small floats and what its elements stand for,
 * (q - zero) * scale.
 */
struct held {
	struct op *op;			/* that says so */
	const char *name;		/* of the tensor in the op's record */
	struct value *tensor;		/* NULL: the record does not say */
	struct value *scale, *zero;	/* each may be absent */
};

struct held_list {
	struct held *v;
	size_t n, cap;
};

/* Of each op of the block, in order; vec_free() frees the list. */
struct held_list held_find(struct ctx *c, struct block *b);
/* The dim of the tensor along which scales lie, or -1. */
int held_axis(const struct held *h);
/* All of them as a table. */
void held_print(struct ctx *c, const struct held_list *all);
/* What is odd about them, a line each; false: nothing. */
bool suspects_print(struct ctx *c, const struct held_list *all);

#endif
