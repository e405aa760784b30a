/* SPDX-License-Identifier: Apache-2.0 */
/* Softmax over some dims, for ops that contain one. */
#ifndef IR_OPS_ONNX_SOFTMAX_H
#define IR_OPS_ONNX_SOFTMAX_H

#include "ir/op.h"

/* The softmax of x, or its logarithm, over the reduced dims, as type `to`. */
struct value *softmax_rows(struct lower *lo, struct value *x,
			   const bool *reduced, enum dtype to, bool logarithm);

#endif
