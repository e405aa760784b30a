/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sliding windows of convolutions and pools: the attributes kernel_shape,
 * strides, dilations, pads, auto_pad and ceil_mode over n spatial dims.
 */
#ifndef IR_OPS_ONNX_WINDOW_H
#define IR_OPS_ONNX_WINDOW_H

#include "ir/ops/onnx/fold.h"

struct window {
	unsigned n;
	const struct expr *in[MAX_RANK], *out[MAX_RANK];
	const struct expr *kernel[MAX_RANK];
	int64_t stride[MAX_RANK], dilation[MAX_RANK];
	/* The border before and after; SAME makes it depend on the dims. */
	const struct expr *lo[MAX_RANK], *hi[MAX_RANK];
};

/*
 * Reads the attributes that the op's record has.  x is the type of the
 * images: batch, channel, then n spatial dims.  kernel is NULL for pools,
 * whose kernel_shape is required.  The result is NULL, else what is wrong.
 */
const char *window_read(struct ctx *c, const struct op *op,
			const struct type *x, const struct expr *const *kernel,
			struct window *w);
/* The same inside infer(): reports errors, states that dims are >= 0. */
bool window_infer(struct infer *in, const struct expr *const *kernel,
		  struct window *w);
/* The same for images of another type than operand 0. */
bool window_infer_of(struct infer *in, const struct type *x,
		     const struct expr *const *kernel, struct window *w);
/* A list attribute of n values >= least, or `other` throughout. */
const char *window_list(struct ctx *c, const struct op *op,
			enum attr_name name, unsigned n, int64_t least,
			int64_t other, int64_t *v);

/*
 * x at batch, channel and the window's element: output position o[], kernel
 * position k[].  Outside the image the value is `other`.
 */
struct value *window_load(struct lower *lo, const struct window *w,
			  struct value *x, const struct expr *batch,
			  const struct expr *channel,
			  const struct expr *const *o,
			  const struct expr *const *k, struct value *other);
/* Ends the statement of a convolution: v is summed by the fold, operand 2 is
 * the bias of each channel or absent. */
void window_sum_end(struct lower *lo, struct nest *n, struct fold *f,
		    struct value *v);
/* Position in the image, which may be outside: o * stride + k * dilation - lo
 * for dim i. */
const struct expr *window_pos(struct ctx *c, const struct window *w,
			      unsigned i, const struct expr *o,
			      const struct expr *k);
/* The first kernel position that is not before the image. */
const struct expr *window_first(struct ctx *c, const struct window *w,
				unsigned i, const struct expr *o);
/* How many positions of the window at o[] are averaged: those inside the
 * image, or also those in its borders. */
const struct expr *window_count(struct ctx *c, const struct window *w,
				const struct expr *const *o, bool border);

#endif
