/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What LSTM, GRU and RNN share.  For each direction the products with W, for
 * all steps at once, come before the recurrence, whose body holds only the
 * products with R and the cell.  Sums are kept in the accumulation type.
 */
#ifndef IR_OPS_ONNX_RECURRENT_H
#define IR_OPS_ONNX_RECURRENT_H

#include "ir/op.h"

enum { MAX_ACTIVATIONS = 6, MAX_STATES = 2 };

struct activation {
	const struct activation_def *def;
	double alpha, beta;
};

/* Operand numbers, the same for the three; P and initial_c are LSTM's. */
enum { RNN_X, RNN_W, RNN_R, RNN_B, RNN_LENS, RNN_H, RNN_C, RNN_P };

/* Their ports and attributes in records. */
#define RECURRENT_IN                                                   \
	{ "X", T_FLOAT }, { "W", T_FLOAT | P_SAME },                   \
	{ "R", T_FLOAT | P_SAME },                                     \
	{ "B", T_FLOAT | P_SAME | P_OPTIONAL },                        \
	{ "sequence_lens", T(I32) | P_OPTIONAL },                      \
	{ "initial_h", T_FLOAT | P_SAME | P_OPTIONAL }
#define RECURRENT_ATTRS                                                \
	ATTR(activation_alpha, AT_FLOATS),                             \
	ATTR(activation_beta, AT_FLOATS), ATTR(activations, AT_STRS),  \
	ATTR(clip, AT_FLOAT), ATTR(direction, AT_STR, .s = "forward"), \
	ATTR(hidden_size, AT_INT), ATTR(layout, AT_INT),               \
	ATTR(output_sequence, AT_INT)

struct recurrent {
	unsigned n_dir, n_gate, n_act;
	bool batch_first, reverse;
	const struct expr *steps, *batch, *input, *hidden;
	struct activation act[MAX_ACTIVATIONS];
	enum dtype acc;
	/* Of the direction and the step that are being lowered. */
	unsigned dir;
	const struct expr *at;		/* position in the sequence */
};

/* Checks the operands of an op with that many gates and activations per
 * direction, whose default names are given; sets all results. */
bool recurrent_infer(struct infer *in, unsigned n_gate, unsigned n_act,
		     const char *const *defaults);

/* The states after a step, inside of the recurrence. */
typedef bool cell_fn(struct lower *lo, const struct recurrent *r,
		     struct value *pre, struct value *const *state,
		     struct value **next);
/*
 * The whole lowering around a cell.  With split_bias the products `pre` lack
 * the second half of B, which recurrent_product() then adds.
 */
bool recurrent_lower(struct lower *lo, unsigned n_gate, unsigned n_act,
		     const char *const *defaults, unsigned n_state,
		     bool split_bias, cell_fn *cell);

/*
 * pre + state * R' for `count` gates from `first` on, as [batch, count * H];
 * pre may be NULL.  second_bias adds the second half of B.
 */
struct value *recurrent_product(struct lower *lo, const struct recurrent *r,
				struct value *pre, struct value *state,
				unsigned first, unsigned count,
				bool second_bias);
/* [batch, hidden] in the accumulation type. */
const struct type *recurrent_state_type(struct ctx *c,
					const struct recurrent *r);
/* Activation number k of this direction, of v, which is clipped for f and g. */
struct value *recurrent_activate(struct lower *lo, const struct recurrent *r,
				 unsigned k, struct value *v);
/* Gate `gate` at the unit iv[1] of [batch, n * H]. */
struct value *recurrent_gate(struct lower *lo, const struct recurrent *r,
			     struct value *gates, unsigned gate,
			     const struct expr *const *iv);

#endif
