/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GRU.  The gates are in the order z (update), r (reset), h (candidate); the
 * reset applies to the state before the product with R, or to the product
 * with linear_before_reset.
 */
#include "ir/ops/onnx/fold.h"
#include "ir/ops/onnx/recurrent.h"

enum { GATE_Z, GATE_R, GATE_H };

static const char *const usual[] = { "Sigmoid", "Tanh" };

static bool gru_infer(struct infer *in)
{
	return recurrent_infer(in, 3, 2, usual);
}

/* (1 - z) * candidate + z * state. */
static struct value *mix(struct lower *lo, struct value *z,
			 struct value *candidate, struct value *state)
{
	struct value *one = s_const(lo, z->type->dtype, 1);

	return s_add(lo, s_mul(lo, s_sub(lo, one, z), candidate),
		     s_mul(lo, z, state));
}

/* The state under the reset gate, as a tensor: what R is multiplied with. */
static struct value *reset_state(struct lower *lo, const struct recurrent *r,
				 struct value *gates, struct value *state)
{
	const struct type *t = recurrent_state_type(lo->b.ctx, r);
	struct nest n = nest_begin(lo, 1, &t);
	struct value *v = recurrent_gate(lo, r, gates, GATE_R, n.iv), *res;

	v = recurrent_activate(lo, r, 0, v);
	v = s_mul(lo, v, nest_load(lo, state, n.iv));
	nest_end(lo, &n, 1, &v, &res);
	return res;
}

static bool gru_cell(struct lower *lo, const struct recurrent *r,
		     struct value *pre, struct value *const *state,
		     struct value **next)
{
	const struct type *t = recurrent_state_type(lo->b.ctx, r);
	struct value *gates = recurrent_product(lo, r, pre, state[0], GATE_Z, 2,
						false);
	struct value *cand = recurrent_product(
		lo, r, pre, reset_state(lo, r, gates, state[0]), GATE_H, 1,
		false);
	struct nest n = nest_begin(lo, 1, &t);
	struct value *z = recurrent_gate(lo, r, gates, GATE_Z, n.iv), *v;

	z = recurrent_activate(lo, r, 0, z);
	v = recurrent_activate(lo, r, 1, nest_load(lo, cand, n.iv));
	v = mix(lo, z, v, nest_load(lo, state[0], n.iv));
	nest_end(lo, &n, 1, &v, next);
	return true;
}

static bool gru_linear_cell(struct lower *lo, const struct recurrent *r,
			    struct value *pre, struct value *const *state,
			    struct value **next)
{
	const struct type *t = recurrent_state_type(lo->b.ctx, r);
	struct value *all = recurrent_product(lo, r, NULL, state[0], 0, 3,
					      true);
	struct nest n = nest_begin(lo, 1, &t);
	struct value *x[3], *h[3], *v;

	for (unsigned g = 0; g < 3; g++) {
		struct ctx *c = lo->b.ctx;
		const struct expr *at[] = {
			r->at, n.iv[0],
			expr_add(c, n.iv[1], expr_scale(c, r->hidden, g)) };

		x[g] = nest_load(lo, pre, at);
		h[g] = recurrent_gate(lo, r, all, g, n.iv);
	}
	for (unsigned g = GATE_Z; g <= GATE_R; g++)
		x[g] = recurrent_activate(lo, r, 0, s_add(lo, x[g], h[g]));
	v = s_add(lo, x[GATE_H], s_mul(lo, x[GATE_R], h[GATE_H]));
	v = recurrent_activate(lo, r, 1, v);
	v = mix(lo, x[GATE_Z], v, nest_load(lo, state[0], n.iv));
	nest_end(lo, &n, 1, &v, next);
	return true;
}

static bool gru_lower(struct lower *lo)
{
	bool linear = op_int(lo->op, A_linear_before_reset);

	return recurrent_lower(lo, 3, 2, usual, 1, linear,
			       linear ? gru_linear_cell : gru_cell);
}

OP(GRU, .domain = "", .since = 22, .first = 3,
	.in = { RECURRENT_IN },
	.out = { { "Y", T_FLOAT | P_OPTIONAL },
		 { "Y_h", T_FLOAT | P_OPTIONAL } },
	.attr = {
		RECURRENT_ATTRS,
		ATTR(linear_before_reset, AT_INT),
	},
	.infer = gru_infer,
	.lower = gru_lower);
