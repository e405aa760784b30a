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

/* Result 0 is operands first, first + step, and so on, which are there, one
 * behind the other along the attribute `axis`. */
bool concat_operands(struct infer *in, unsigned first, unsigned step);

/* What infer_elems() gives, for use in lower(). */
const struct expr **lower_elems(struct lower *lo, unsigned i, size_t *n);

/* Refuses a result of more dims than a tensor may have. */
bool infer_rank(struct infer *in, uint64_t rank);
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

#endif
