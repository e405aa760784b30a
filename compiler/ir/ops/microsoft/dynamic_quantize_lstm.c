/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DynamicQuantizeLSTM: LSTM whose weights are 8 bits, transposed: [directions,
 * inputs, gates].  X and the state of each step are rounded to 8 bits over
 * their own range; the products of what these stand for are computed in
 * floats.
 */
#include "ir/ops/onnx/recurrent.h"
#include "ir/ops/onnx/requantize.h"

/* As in LSTM, then the parameters of W and R. */
enum { IN_W_SCALE = RNN_P + 1, IN_W_ZERO, IN_R_SCALE, IN_R_ZERO };

/* One number, one for each direction, or one for each of its gates' rows. */
static bool parameter_infer(struct infer *in, unsigned i, const struct type *w)
{
	const struct type *t = infer_type(in, i);
	const struct expr *dim[] = { w->dim[0], w->dim[2] };

	if (t->rank < 2)
		return infer_number_or_list(in, i, w->dim[0]);
	return infer_broadcast_into(in, 2, dim, t);
}

static bool lstm_infer(struct infer *in)
{
	const struct type *x = infer_type(in, RNN_X);
	const struct type *w = infer_type(in, RNN_W);
	const struct type *r = infer_type(in, RNN_R);
	bool first = op_int(in->op, A_layout);

	if (x->rank != 3 || w->rank != 3 || r->rank != 3)
		return infer_error(in, "X, W and R must have rank 3, are %s, "
				   "%s and %s", type_str(in->ctx, x),
				   type_str(in->ctx, w), type_str(in->ctx, r));
	for (unsigned i = IN_W_SCALE; i <= IN_R_ZERO; i++)
		if (!parameter_infer(in, i, i < IN_R_SCALE ? w : r))
			return false;
	if (!infer_zero_point(in, IN_W_ZERO, RNN_W) ||
	    !infer_zero_point(in, IN_R_ZERO, RNN_R) ||
	    !infer_dims_agree(in, w->dim[1], x->dim[2], "dim 1 of W"))
		return false;
	const struct expr *state[] = { w->dim[0], x->dim[1], r->dim[1] };
	const struct expr *y[] = { x->dim[0], w->dim[0], x->dim[1],
				   r->dim[1] };

	if (first)
		return infer_unsupported(in, "layout = 1 is not supported");
	infer_set(in, 0, DT_F32, 4, y);
	infer_set(in, 1, DT_F32, 3, state);
	infer_set(in, 2, DT_F32, 3, state);
	return true;
}

static struct value *parameter(struct lower *lo, enum dtype to, unsigned i,
			       const struct expr *const *iv)
{
	struct value *v = lower_in(lo, i);

	if (v->type->rank < 2)
		return load_number_at(lo, to, i, iv[0]);
	return s_cast(lo, to, nest_load_broadcast(lo, v, 2, iv));
}

/* W or R as floats, [directions, gates, inputs]. */
static struct value *weight(struct lower *lo, unsigned i, unsigned scale)
{
	struct value *w = lower_in(lo, i), *v;
	const struct expr *dim[] = { w->type->dim[0], w->type->dim[2],
				     w->type->dim[1] };
	const struct type *t = type_tensor(lo->b.ctx, DT_F32, 3, dim);
	struct nest n = nest_begin(lo, 1, &t);
	const struct expr *at[] = { n.iv[0], n.iv[2], n.iv[1] };

	v = dequantize(lo, nest_load(lo, w, at),
		       parameter(lo, DT_F32, scale, n.iv),
		       parameter(lo, DT_I32, scale + 1, n.iv));
	nest_end(lo, &n, 1, &v, &v);
	return v;
}

static bool lstm_decompose(struct lower *lo)
{
	struct op *op = lo->op, *lstm;
	struct value *in[RNN_P + 1];
	struct named_attr attr[MAX_ATTRS + 1];
	unsigned n = 0;

	for (unsigned i = 0; i <= RNN_P; i++)
		in[i] = lower_in(lo, i);
	for (; n < op->n_attr; n++)
		attr[n] = op->attr[n];
	attr[n++] = (struct named_attr){ A_round_state,
					 attr_int(lo->b.ctx, 1) };
	in[RNN_X] = round_dynamically(lo, in[RNN_X]);
	in[RNN_W] = weight(lo, RNN_W, IN_W_SCALE);
	in[RNN_R] = weight(lo, RNN_R, IN_R_SCALE);
	lstm = build(&lo->b, &(struct op_spec){
				     .code = OP_LSTM, .n_in = ARRAY_SIZE(in),
				     .in = in, .n_out = op->n_out,
				     .n_attr = n, .attr = attr });
	if (!lstm)
		return false;
	for (unsigned i = 0; i < op->n_out; i++)
		lo->result[i] = &lstm->out[i];
	return true;
}

OP(DynamicQuantizeLSTM, .domain = "com.microsoft", .since = 1,
	.in = { { "X", T(F32) }, { "W", T_Q8 }, { "R", T_Q8 },
		{ "B", T(F32) | P_OPTIONAL },
		{ "sequence_lens", T(I32) | P_OPTIONAL },
		{ "initial_h", T(F32) | P_OPTIONAL },
		{ "initial_c", T(F32) | P_OPTIONAL },
		{ "P", T(F32) | P_OPTIONAL },
		{ "W_scale", T(F32) }, { "W_zero_point", T_Q8 },
		{ "R_scale", T(F32) }, { "R_zero_point", T_Q8 } },
	.out = { { "Y", T(F32) | P_OPTIONAL }, { "Y_h", T(F32) | P_OPTIONAL },
		 { "Y_c", T(F32) | P_OPTIONAL } },
	.attr = {
		RECURRENT_ATTRS,
		ATTR(input_forget, AT_INT),
	},
	.infer = lstm_infer,
	.decompose = lstm_decompose);
