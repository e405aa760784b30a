/* SPDX-License-Identifier: Apache-2.0 */
#include "ir/ops/onnx/pointwise.h"

bool older_broadcast(struct older *o)
{
	const struct attr *axis = older_attr(o, A_axis);

	if (o->opset < 7 && axis && o->n_in == 2 && o->in[0] && o->in[1]) {
		int64_t rank = o->in[0]->type->rank, ones[MAX_RANK];
		int64_t n = o->in[1]->type->rank, at = axis->i;
		int tail = 0;

		if (at < 0)
			at += rank;
		if (at < 0 || at + n > rank)
			return older_error(o, "axis %lld does not fit rank "
					      "%lld",
					   (long long)axis->i,
					   (long long)rank);
		for (int64_t i = at + n; i < rank; i++)
			ones[tail++] = i - at;
		if (tail) {
			struct value *axes = build_ints(&o->b, tail, ones);

			o->in[1] = build_op(&o->b, OP_Unsqueeze,
					    VALUES(o->in[1], axes), 0, NULL);
			if (!o->in[1])
				return false;
		}
	}
	older_drop_attr(o, A_axis);
	older_drop_attr(o, A_broadcast);
	return true;
}

bool infer_like_first(struct infer *in)
{
	const struct type *t = infer_type(in, 0);

	for (unsigned k = 1; k < in->op->n_in; k++) {
		const struct type *u = infer_type(in, k);

		if (u && !infer_broadcast_into(in, t->rank, t->dim, u))
			return false;
	}
	in->out[0] = t;
	return true;
}
