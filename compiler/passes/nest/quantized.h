/* SPDX-License-Identifier: Apache-2.0 */
/* The factors of a contraction of quantized tensors, and scalars of bodies. */
#ifndef PASSES_NEST_QUANTIZED_H
#define PASSES_NEST_QUANTIZED_H

#include "ir/op.h"
#include "passes/pass.h"

/*
 * One factor of the product that a fold sums: (i32(q) - zero) * scale, where q
 * is the element of an 8-bit tensor at idx, or `other` where a guard is
 * negative.  Zero point and scale are scalars of the statement's body that do
 * not change along the fold.  A factor that is `plain` is f32 as it stands.
 */
struct factor {
	struct value *tensor;
	size_t n_guard;
	const struct expr *idx[MAX_RANK], *guard[2 * MAX_RANK];
	struct value *other;
	struct value *zero;	/* i32, or NULL: 0 */
	struct value *scale;	/* f32, or NULL: 1 */
	bool plain;
	const char *why;	/* it is plain */
	struct op *load;	/* in the new fold */
};

/*
 * The factors of a fold over stored numbers (i32), or over dequantized ones
 * (f32), whose zero points and scales are then loaded in front of the fold.
 * Of two f32 factors one may be plain beside a constant of bytes.  False when
 * it is none of these; why, where that is known, is f[].why.
 */
bool quantized_factors(struct ctx *c, struct op *compute, struct op *fold,
		       struct factor f[2]);

/* The factor that a load is, seen through views; its guards are read. */
void factor_of_load(struct ctx *c, struct op *load, struct factor *f);

/*
 * Weights that are stored in a few bits, as constants of the contraction; see
 * decode.c.  False where the fold has none.
 */
bool decode_weights(struct ctx *c, struct op *compute, struct op *fold);

/* ---- scalars -------------------------------------------------------- */

/* Is the scalar one number in all points? */
bool scalar_const(const struct value *v, union scalar *s);
/* Bits of the statement's variables that the scalar depends on. */
uint32_t scalar_ivs(const struct value *v, const struct block *body);
/* A copy of the scalar and of what it is made of, at the builder. */
struct value *clone_scalar(struct cloner *cl, struct builder *b,
			   struct value *v);
/* An i32 scalar plus k; NULL (which v may be) stands for 0. */
struct value *scalar_plus(struct lower *lo, struct value *v, int64_t k);

#endif
