/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by Resize and Upsample; resize_lower.c is what Resize means. */
#ifndef IR_OPS_ONNX_RESIZE_H
#define IR_OPS_ONNX_RESIZE_H

#include "ir/op.h"

enum { RESIZE_ROI = 1, RESIZE_SCALES = 2, RESIZE_SIZES = 3 };

/* One axis that the op resizes. */
struct resize_axis {
	unsigned dim;
	size_t entry;			/* in scales and sizes, and in roi */
	size_t n;			/* entries in all */
	const struct expr *in, *out;
};

/* Dims of result 0 for scales in operand i: floor(dim * scale) for each dim
 * that axes[] names (all when it is NULL).  False after an error. */
bool resize_scaled_dims(struct infer *in, unsigned i, size_t n,
			const int64_t *axes, const struct expr **dim);
/* Element k of a constant list of f32. */
bool resize_const_scale(struct value *v, size_t k, float *s);
/* The dim that entry k of the lists is about. */
unsigned resize_axis_at(const int64_t *axes, unsigned rank, size_t k);
bool resize_lower(struct lower *lo);

#endif
