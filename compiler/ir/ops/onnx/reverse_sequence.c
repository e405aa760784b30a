/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ReverseSequence: the first sequence_lens[b] steps of each batch entry in
 * reverse, the rest as they are.
 */
#include "ir/ops/onnx/movement.h"

static bool reverse_sequence_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0), *s = infer_type(in, 1);
	unsigned batch, time;

	if (x->rank < 2)
		return infer_error(in, "input must have two dims, is %s",
				   type_str(in->ctx, x));
	if (!infer_axis(in, op_int(in->op, A_batch_axis), x->rank, &batch) ||
	    !infer_axis(in, op_int(in->op, A_time_axis), x->rank, &time))
		return false;
	if (batch == time)
		return infer_error(in, "batch_axis and time_axis are both %u",
				   batch);
	if (s->rank != 1)
		return infer_error(in, "sequence_lens must be a list, is %s",
				   type_str(in->ctx, s));
	const struct expr *n = s->dim[0];

	if (!infer_same_dim(in, &n, x->dim[batch], "number of lengths"))
		return false;
	return infer_same(in);
}

static bool reverse_sequence_lower(struct lower *lo)
{
	const struct type *t = lower_type(lo, 0);
	unsigned batch = lower_axis(lo, A_batch_axis, t->rank);
	unsigned time = lower_axis(lo, A_time_axis, t->rank);
	struct nest n = nest_begin(lo, 1, &t);
	const struct expr *idx[MAX_RANK];

	for (unsigned i = 0; i < t->rank; i++)
		idx[i] = n.iv[i];
	struct value *len = nest_load(lo, lower_in(lo, 1), &n.iv[batch]);
	struct value *at = nest_value(lo, n.iv[time]);
	struct value *back = s_sub(lo, s_sub(lo, len, at),
				   s_int(lo, DT_I64, 1));

	at = s_select(lo, s_op2(lo, OP_arith_lt, at, len), back, at);
	idx[time] = nest_index(lo, at, t->dim[time]);
	struct value *v = nest_load(lo, lower_in(lo, 0), idx);

	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(ReverseSequence, .domain = "", .since = 10, .first = 10,
	.in = { { "input", T_ANY }, { "sequence_lens", T(I64) } },
	.out = { { "Y", T_ANY } },
	.attr = {
		ATTR(batch_axis, AT_INT, .i = 1),
		ATTR(time_axis, AT_INT, .i = 0),
	},
	.infer = reverse_sequence_infer,
	.lower = reverse_sequence_lower);
