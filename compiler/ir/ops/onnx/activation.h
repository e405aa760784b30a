/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Activation functions: those that are ONNX operators as well, and all that
 * LSTM, GRU and RNN name in an attribute.  Each is computed in the type of x.
 */
#ifndef IR_OPS_ONNX_ACTIVATION_H
#define IR_OPS_ONNX_ACTIVATION_H

#include "ir/op.h"

struct value *act_relu(struct lower *lo, struct value *x);
struct value *act_sigmoid(struct lower *lo, struct value *x);
struct value *act_softsign(struct lower *lo, struct value *x);
struct value *act_softplus(struct lower *lo, struct value *x);
struct value *act_leaky_relu(struct lower *lo, struct value *x, double alpha);
struct value *act_elu(struct lower *lo, struct value *x, double alpha);
struct value *act_hard_sigmoid(struct lower *lo, struct value *x, double alpha,
			       double beta);

struct activation_def {
	const char *name;
	unsigned n_param;	/* of alpha, beta: which of the three it is */
	struct value *(*none)(struct lower *lo, struct value *x);
	struct value *(*one)(struct lower *lo, struct value *x, double alpha);
	struct value *(*two)(struct lower *lo, struct value *x, double alpha,
			     double beta);
	double param[2];	/* defaults */
};

/* By name, in any case; NULL when there is none. */
const struct activation_def *activation_find(const char *name);
struct value *activation_apply(struct lower *lo,
			       const struct activation_def *def,
			       struct value *x, double alpha, double beta);

#endif
