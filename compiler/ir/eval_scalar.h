/* SPDX-License-Identifier: Apache-2.0 */
/* The evaluator's scalars; ir/eval.c is their only user. */
#ifndef IR_EVAL_SCALAR_H
#define IR_EVAL_SCALAR_H

#include "ir/eval.h"

/* A number, or in symbolic mode an index expression, or neither. */
struct sval {
	union scalar s;
	const struct expr *e;	/* symbolic integer, when s is not known */
	bool unknown;
};

/* What arithmetic needs of the evaluation and tells it. */
struct eval_env {
	struct ctx *c;
	enum eval_result err;
};

extern const struct sval sval_unknown;
struct sval sval_num(union scalar s);
struct sval sval_int(int64_t i);
struct sval sval_arith1(const struct op *op, struct sval a);
struct sval sval_arith2(struct eval_env *ev, const struct op *op,
			struct sval a, struct sval b);

#endif
