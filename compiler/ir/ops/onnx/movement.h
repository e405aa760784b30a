/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the records of ops that move elements. */
#ifndef IR_OPS_ONNX_MOVEMENT_H
#define IR_OPS_ONNX_MOVEMENT_H

#include "ir/op.h"

/* The same elements in row-major order under another shape. */
struct value *lower_reshape(struct lower *lo, struct value *x,
			    const struct type *t);
/* Result 0 is operand 0 in the shape that was inferred. */
bool reshape_lower(struct lower *lo);
/* Operand 0 when result 0 has its type. */
struct value *fold_same_type(struct lower *lo);

/* What infer_elems() gives, for use in lower(). */
const struct expr **lower_elems(struct lower *lo, unsigned i, size_t *n);

/* States a fact that is checked when the model runs; false after an error
 * when it is known to be wrong. */
bool infer_require_ge0(struct infer *in, const struct expr *e,
		       const char *what);
/* For expressions that overflowed; false. */
bool infer_too_large(struct infer *in);
/* Refuses a result of more dims than a tensor may have. */
bool infer_rank(struct infer *in, uint64_t rank);
/* Two dims that must agree: the constant one, else the first. */
bool infer_same_dim(struct infer *in, const struct expr **a,
		    const struct expr *b, const char *what);
/* The element of a scalar of any integer type, or of a float one that is
 * truncated; a symbol when it is read at run time.  NULL after an error. */
const struct expr *infer_scalar(struct infer *in, unsigned i);
/* An op that infer() needs beside its own, made at most once. */
struct value *infer_helper(struct infer *in, enum opcode code, unsigned n_in,
			   struct value *const *v, unsigned n_attr,
			   const struct named_attr *attr);
/* The n elements of an integer value: known, or symbols bound to them. */
const struct expr **infer_elements_of(struct infer *in, struct value *v,
				      size_t n);

/* 1 where e < 0, else 0. */
const struct expr *expr_is_neg(struct ctx *c, const struct expr *e);
/* 1 where e > 0, else 0. */
const struct expr *expr_is_pos(struct ctx *c, const struct expr *e);
/* 1 where e == 0, else 0. */
const struct expr *expr_is_zero(struct ctx *c, const struct expr *e);
/* The same for |e| <= bound, in a form about which proofs are cheap. */
const struct expr *expr_small_is_zero(struct ctx *c, const struct expr *e,
				      int64_t bound);

/*
 * A list of axes that may be known only at run time: hit[k][i] is 1 where
 * entry k names dim i, else 0, and any[i] is their sum.
 */
struct axes {
	size_t n;
	const struct expr *hit[MAX_RANK][MAX_RANK], *any[MAX_RANK];
};
/* Reads the axes input for a tensor of that rank; refuses axes out of range
 * or named twice where that is known. */
bool infer_axes(struct infer *in, unsigned i, unsigned rank, struct axes *a);

#endif
