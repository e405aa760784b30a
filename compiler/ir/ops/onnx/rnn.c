/* SPDX-License-Identifier: Apache-2.0 */
/* RNN: state = f(X * W' + state * R' + biases). */
#include "ir/ops/onnx/recurrent.h"

static const char *const usual[] = { "Tanh" };

static bool rnn_infer(struct infer *in)
{
	return recurrent_infer(in, 1, 1, usual);
}

static bool rnn_cell(struct lower *lo, const struct recurrent *r,
		     struct value *pre, struct value *const *state,
		     struct value **next)
{
	struct value *sum = recurrent_product(lo, r, pre, state[0], 0, 1,
					      false), *v;
	const struct type *t = recurrent_state_type(lo->b.ctx, r);
	struct nest n = nest_begin(lo, 1, &t);

	v = recurrent_activate(lo, r, 0, nest_load(lo, sum, n.iv));
	nest_end(lo, &n, 1, &v, next);
	return true;
}

static bool rnn_lower(struct lower *lo)
{
	return recurrent_lower(lo, 1, 1, usual, 1, false, rnn_cell);
}

OP(RNN, .domain = "", .since = 22,
	.in = { RECURRENT_IN },
	.out = { { "Y", T_FLOAT | P_OPTIONAL },
		 { "Y_h", T_FLOAT | P_OPTIONAL } },
	.attr = {
		RECURRENT_ATTRS,
	},
	.infer = rnn_infer,
	.lower = rnn_lower);
