/* SPDX-License-Identifier: Apache-2.0 */
/* The shapes of numpy.matmul and of Gemm, and where the factors are. */
#ifndef IR_OPS_ONNX_MATMUL_H
#define IR_OPS_ONNX_MATMUL_H

#include "ir/op.h"

/* The shape of a @ b; dim[] has room for MAX_RANK. */
bool matmul_shape(struct infer *in, const struct type *a, const struct type *b,
		  unsigned *rank, const struct expr **dim);

/* The two dims of A' B', either of which transA and transB may transpose; A
 * and B must be matrices. */
bool gemm_shape(struct infer *in, const struct type *a, const struct type *b,
		const struct expr **dim);

/* Indices of the factors of the element iv[] of the result; a[ka] and b[kb],
 * the position in the sum, are left to the caller. */
struct matmul_index {
	const struct expr *a[MAX_RANK], *b[MAX_RANK];
	unsigned ka, kb;
	const struct expr *row, *col;	/* NULL for operands of rank 1 */
};
void matmul_index(struct ctx *c, const struct type *a, const struct type *b,
		  unsigned rank, const struct expr *const *iv,
		  struct matmul_index *m);

#endif
