/* SPDX-License-Identifier: Apache-2.0 */
/* What the evaluator's files share: eval.c runs blocks, eval_ops.c what calls
 * ask for. */
#ifndef IR_EVAL_RUN_H
#define IR_EVAL_RUN_H

#include "ir/eval.h"
#include "ir/eval_scalar.h"
#include "ir/op.h"

/* A tensor while evaluating; sym is set in symbolic mode. */
struct tens {
	struct tensor t;
	struct sval *sym;
};

/* offset = base + sum coef[k] * iv[k] of one load, when it is affine. */
struct affine {
	bool ok, tried;
	int64_t base;
	unsigned n;
	struct {
		uint32_t serial;
		int64_t coef;
	} iv[MAX_RANK];
};

struct eval {
	struct eval_env env;
	struct ctx *c;		/* also env.c */
	struct arena *arena;
	struct map tensors;	/* value id -> struct tens */
	struct sval *slot;	/* by value->slot in the running body */
	int64_t *atom;		/* value of each IV, by atom serial */
	bool *bound;		/* is it set? */
	size_t n_atoms;		/* room in both */
	struct map affine;	/* op -> struct affine, by first result id */
	const struct op *cur;	/* whose ARG operands are looked up */
	const struct eval_outer *outer;	/* of a statement, or NULL */
	bool symbolic;
};

/* NULL when it has not been computed. */
struct tens *eval_tens(struct eval *ev, const struct value *v);
/* The statement's results go to the tensors; failures to env.err. */
void eval_nest(struct eval *ev, struct op *op);
void eval_scan(struct eval *ev, struct op *op);
/* All ops of a block that was lowered. */
void eval_block(struct eval *ev, struct block *b);
/* A block outside of the module with a copy of the op and its return. */
struct block *eval_scratch(struct ctx *c, struct op *op, struct op **ret);
bool eval_lower(struct ctx *c, struct block *b);
void eval_free(struct eval *ev);

/* False unless all dims are constants. */
bool tensor_dims(const struct type *t, struct tensor *out);
int64_t tensor_elems(const struct tensor *t);

#endif
