/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the records of pointwise ops. */
#ifndef IR_OPS_ONNX_POINTWISE_H
#define IR_OPS_ONNX_POINTWISE_H

#include "ir/op.h"

/*
 * Before opset 7 a binary op broadcast its second operand only when the
 * attribute `broadcast` was set, starting at dim `axis` of the first.
 */
bool older_broadcast(struct older *o);

/* Result 0 has the type of operand 0; the others broadcast into it. */
bool infer_like_first(struct infer *in);

/* Functions of several steps are computed in f32 at least, so that halves
 * round once. */
static inline struct value *s_wide(struct lower *lo, struct value *x)
{
	enum dtype t = x->type->dtype;

	return t == DT_F16 || t == DT_BF16 ? s_cast(lo, DT_F32, x) : x;
}

/* A constant of the type of x. */
static inline struct value *s_like(struct lower *lo, const struct value *x,
				   double v)
{
	return s_const(lo, x->type->dtype, v);
}

#endif
