/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LSTM, with peepholes.  The gates are in the order i, o, f, c; activations
 * are f (gates), g (candidate), h (output).  The attribute round_state is
 * DynamicQuantizeLSTM's, whose products take 8 bits of the state.
 */
#include "ir/ops/onnx/fold.h"
#include "ir/ops/onnx/recurrent.h"
#include "ir/ops/onnx/requantize.h"

enum { GATE_I, GATE_O, GATE_F, GATE_C };

static const char *const usual[] = { "Sigmoid", "Tanh", "Tanh" };

static bool lstm_infer(struct infer *in)
{
	return recurrent_infer(in, 4, 3, usual);
}

/* gate + P[p] * cell; P is in the order i, o, f. */
static struct value *peep(struct lower *lo, const struct recurrent *r,
			  struct value *gate, unsigned p, struct value *cell,
			  const struct expr *unit)
{
	struct ctx *c = lo->b.ctx;
	struct value *w = lower_in(lo, RNN_P);

	if (!w)
		return gate;
	const struct expr *at[] = {
		expr_const(c, r->dir),
		expr_add(c, unit, expr_scale(c, r->hidden, p)) };

	return s_add(lo, gate, s_mul(lo, load_as(lo, r->acc, w, at), cell));
}

static bool lstm_cell(struct lower *lo, const struct recurrent *r,
		      struct value *pre, struct value *const *state,
		      struct value **next)
{
	struct value *h = op_int(lo->op, A_round_state)
				  ? round_dynamically(lo, state[0]) : state[0];
	struct value *all = recurrent_product(lo, r, pre, h, 0, 4, false);
	const struct type *t = recurrent_state_type(lo->b.ctx, r);
	const struct type *types[] = { t, t };
	struct nest n = nest_begin(lo, 2, types);
	const struct expr *unit = n.iv[1];
	struct value *cell = nest_load(lo, state[1], n.iv), *v[2], *g[4];

	for (unsigned i = 0; i < 4; i++)
		g[i] = recurrent_gate(lo, r, all, i, n.iv);
	g[GATE_I] = peep(lo, r, g[GATE_I], GATE_I, cell, unit);
	g[GATE_I] = recurrent_activate(lo, r, 0, g[GATE_I]);
	if (op_int(lo->op, A_input_forget)) {
		g[GATE_F] = s_sub(lo, s_const(lo, r->acc, 1), g[GATE_I]);
	} else {
		g[GATE_F] = peep(lo, r, g[GATE_F], GATE_F, cell, unit);
		g[GATE_F] = recurrent_activate(lo, r, 0, g[GATE_F]);
	}
	g[GATE_C] = recurrent_activate(lo, r, 1, g[GATE_C]);
	cell = s_add(lo, s_mul(lo, g[GATE_F], cell),
		     s_mul(lo, g[GATE_I], g[GATE_C]));
	g[GATE_O] = peep(lo, r, g[GATE_O], GATE_O, cell, unit);
	g[GATE_O] = recurrent_activate(lo, r, 0, g[GATE_O]);
	v[0] = s_mul(lo, g[GATE_O], recurrent_activate(lo, r, 2, cell));
	v[1] = cell;
	nest_end(lo, &n, 2, v, next);
	return true;
}

static bool lstm_lower(struct lower *lo)
{
	return recurrent_lower(lo, 4, 3, usual, 2, false, lstm_cell);
}

OP(LSTM, .domain = "", .since = 22,
	.in = { RECURRENT_IN,
		{ "initial_c", T_FLOAT | P_SAME | P_OPTIONAL },
		{ "P", T_FLOAT | P_SAME | P_OPTIONAL } },
	.out = { { "Y", T_FLOAT | P_OPTIONAL },
		 { "Y_h", T_FLOAT | P_OPTIONAL },
		 { "Y_c", T_FLOAT | P_OPTIONAL } },
	.attr = {
		RECURRENT_ATTRS,
		ATTR(input_forget, AT_INT),
		ATTR(round_state, AT_INT),
	},
	.infer = lstm_infer,
	.lower = lstm_lower);
