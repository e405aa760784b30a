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
	.in = { { "X", T_FLOAT }, { "W", T_FLOAT | P_SAME },
		{ "R", T_FLOAT | P_SAME },
		{ "B", T_FLOAT | P_SAME | P_OPTIONAL },
		{ "sequence_lens", T(I32) | P_OPTIONAL },
		{ "initial_h", T_FLOAT | P_SAME | P_OPTIONAL } },
	.out = { { "Y", T_FLOAT | P_OPTIONAL },
		 { "Y_h", T_FLOAT | P_OPTIONAL } },
	.attr = {
		ATTR(activation_alpha, AT_FLOATS),
		ATTR(activation_beta, AT_FLOATS),
		ATTR(activations, AT_STRS),
		ATTR(clip, AT_FLOAT),
		ATTR(direction, AT_STR, .s = "forward"),
		ATTR(hidden_size, AT_INT),
		ATTR(layout, AT_INT),
		ATTR(output_sequence, AT_INT),
	},
	.infer = rnn_infer,
	.lower = rnn_lower);
