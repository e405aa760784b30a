/* SPDX-License-Identifier: Apache-2.0 */
/* The activation functions that LSTM, GRU and RNN name in an attribute. */
#ifndef IR_OPS_ONNX_ACTIVATION_H
#define IR_OPS_ONNX_ACTIVATION_H

#include "ir/op.h"

struct activation_def {
	const char *name;
	unsigned n_param;	/* of alpha, beta */
	double param[2];	/* their defaults */
	struct value *(*apply)(struct lower *lo, struct value *x, double alpha,
			       double beta);
};

/* By name, in any case; NULL when there is none. */
const struct activation_def *activation_find(const char *name);

#endif
