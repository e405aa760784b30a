/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What convolutions of floats and of integers share.  Their records have the
 * attributes of Conv:
 *
 *	conv_begin(lo, x, w, &cv);
 *	conv_fold(lo, &cv, acc);
 *	v = s_mul(lo, conv_image(lo, &cv, zero), conv_weight(lo, &cv));
 *	... fold_end() of cv.fold, nest_end() of cv.nest
 */
#ifndef IR_OPS_ONNX_CONV_H
#define IR_OPS_ONNX_CONV_H

#include "ir/ops/onnx/fold.h"
#include "ir/ops/onnx/window.h"

/* The attributes that all their records have. */
#define CONV_ATTRS                                         \
	ATTR(auto_pad, AT_STR, .s = "NOTSET"),             \
		ATTR(dilations, AT_INTS),                  \
		ATTR(group, AT_INT, .i = 1),               \
		ATTR(kernel_shape, AT_INTS),               \
		ATTR(pads, AT_INTS), ATTR(strides, AT_INTS)

/* The dims of the result of x, w and a bias that may be NULL. */
bool conv_shape(struct infer *in, const struct type *x, const struct type *w,
		const struct type *bias, const struct expr **dim);

struct conv {
	struct value *x, *w;
	struct window win;
	struct nest nest;
	struct fold fold;
};
/* Opens the statement of result 0. */
bool conv_begin(struct lower *lo, struct value *x, struct value *w,
		struct conv *cv);
/* Opens the sum over the window. */
void conv_fold(struct lower *lo, struct conv *cv, enum dtype acc);
/* The factors; beyond the image the first one is `other`. */
struct value *conv_image(struct lower *lo, const struct conv *cv,
			 struct value *other);
struct value *conv_weight(struct lower *lo, const struct conv *cv);

#endif
