/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the pass `integer` share. */
#ifndef PASSES_NEST_INTEGER_H
#define PASSES_NEST_INTEGER_H

#include "passes/nest/quantized.h"

/* A statement that contracts, and its only fold. */
struct integer {
	struct ctx *c;
	struct op *compute;
	struct op *fold;
	struct block *body;
};

/* A cursor in the statement's body, before `at`. */
struct lower integer_cursor(const struct integer *t, struct op *at);

/* The factors of the new fold read what a kernel of the target takes as rows
 * and as columns; their zero points follow. */
void integer_operands(const struct integer *t, struct factor *f);

#endif
