/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear ops: what sums products of a constant, the weight, with a tensor.
 *
 *	y[.., o, ..] = sum over k of x[.., k, ..] * w[.., k, o, ..]
 *
 * Which ops these are, and which dim plays which part, is read off the index
 * maps of the statement that states the op's meaning; so products,
 * convolutions and einsums are one case.
 */
#ifndef PASSES_GRAPH_QUANTIZE_LINEAR_H
#define PASSES_GRAPH_QUANTIZE_LINEAR_H

#include "ir/op.h"

struct linear {
	struct op *op;
	unsigned x, w;		/* operand numbers */
	/* Each of these is -1 where there is none. */
	int o_axis;		/* dim of w along which a scale leaves the
				 * sum: the output channel */
	int k_axis;		/* dim of w that is summed with x_axis */
	int x_axis;		/* dim of x: its channels */
	int y_axis;		/* dim of the result that counts o_axis */
	bool rows;		/* x_axis is all of x that is summed */
	bool batch;		/* dim 0 of x is not summed */
	bool whole;		/* each result sums w at all places but those of
				 * o_axis */
	bool plain;		/* the result is the sum, plus operand 2 where
				 * there is one */
	bool direct;		/* index k of k_axis meets channel k of x */
	/* The channel of x in terms of the variables of o_axis and k_axis. */
	const struct expr *channel;
	const struct atom *o_iv, *k_iv;
	struct value *half_w;	/* the weight as it was, of half floats; NULL */
};

/* False when the op is none. */
bool linear_of(struct ctx *c, struct op *op, struct linear *l);
/* The channel of x that w's element at o of o_axis and k of k_axis meets; -1
 * when it is not known. */
int64_t linear_channel(const struct linear *l, int64_t o, int64_t k);
/* Is the result the sum of products plus a bias, operand 2, which is absent or
 * a constant with one element for each output channel? */
bool linear_bias_is_plain(const struct linear *l, struct value **bias);

static inline struct value *linear_x(const struct linear *l)
{
	return op_in(l->op, l->x);
}
static inline struct value *linear_w(const struct linear *l)
{
	return op_in(l->op, l->w);
}
/* The extent of a constant's dim. */
int64_t const_dim(const struct value *v, int axis);

#endif
