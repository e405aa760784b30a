/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference evaluator: runs the meaning of ops.  It serves constant
 * folding, the elements known at compile time, and the tests as oracle.
 */
#ifndef IR_EVAL_H
#define IR_EVAL_H

#include "ir/ir.h"

/* A concrete tensor: row-major bytes of its dtype. */
struct tensor {
	enum dtype dtype;
	unsigned rank;
	int64_t dim[MAX_RANK];
	void *data;
};

enum eval_result {
	EVAL_OK,
	EVAL_UNKNOWN,	/* needs a run-time value, or is over budget */
	EVAL_INDEX,	/* an index was out of range */
	EVAL_DIVZERO,
};

/*
 * Runs one op of the graph level whose operand and result types are
 * static.  in[] are its operands in order (data NULL when absent); out[k]
 * gets type and data, which lives in `arena`.
 */
enum eval_result eval_op(struct ctx *c, struct op *op, const struct tensor *in,
			 struct tensor *out, struct arena *arena);

/* Tensors and symbols that a statement mentions and does not make; each
 * returns false when it has none. */
struct eval_outer {
	bool (*tensor)(void *arg, const struct value *v, struct tensor *t);
	bool (*symbol)(void *arg, const struct atom *a, int64_t *v);
	void *arg;
};

/* A nest.compute or core.scan, in a module at the nest level. */
enum eval_result eval_statement(struct ctx *c, struct op *op,
				const struct eval_outer *outer,
				struct tensor *out, struct arena *arena);

/* The same where all it mentions is constant. */
enum eval_result eval_compute(struct ctx *c, struct op *op, struct tensor *out,
			      struct arena *arena);

/* Fills value->known of an op's small integer results, where it can. */
void known_compute(struct ctx *c, struct op *op);

/* Number of steps the evaluator may still take; shared by all calls. */
int64_t eval_budget(const struct ctx *c);

#endif
