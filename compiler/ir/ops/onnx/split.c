/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split: pieces along one axis, of given sizes or as equal as possible (the
 * last one is smaller).
 */
#include "ir/ops/onnx/movement.h"

/* Piece k of `count` equal ones: its start and its size. */
static void equal_piece(struct ctx *c, const struct expr *dim, int64_t count,
			int64_t k, const struct expr **start,
			const struct expr **size)
{
	const struct expr *n = expr_const(c, count);
	const struct expr *exact = expr_exact_div(c, dim, n);
	const struct expr *chunk = exact ? exact : expr_ceildiv(c, dim, n);

	*start = expr_scale(c, chunk, k);
	*size = chunk;
	if (!exact) {
		const struct expr *left = expr_sub(c, dim, *start);

		*size = expr_max(c, expr_const(c, 0),
				 expr_min(c, chunk, left));
	}
}

static bool split_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, 0);
	const struct expr *dim[MAX_RANK], **size = NULL;
	const struct expr *sum = expr_const(c, 0), *start;
	unsigned axis, n_out = in->op->n_out;
	size_t n = n_out;

	if (!infer_axis(in, op_int(in->op, A_axis), x->rank, &axis))
		return false;
	if (infer_has(in, 1) && !(size = infer_list(in, 1, n_out, &n)))
		return false;
	if (!size && op_has(in->op, A_num_outputs))
		n = (size_t)op_int(in->op, A_num_outputs);
	if (n != n_out)
		return infer_error(in, "splits into %zu pieces, has %u outputs",
				   n, n_out);
	for (unsigned i = 0; i < x->rank; i++)
		dim[i] = x->dim[i];
	for (unsigned k = 0; k < n_out; k++) {
		if (size) {
			dim[axis] = size[k];
			if (!infer_require_ge0(in, size[k], "negative size"))
				return false;
			sum = expr_add(c, sum, size[k]);
		} else {
			equal_piece(c, x->dim[axis], n_out, k, &start,
				    &dim[axis]);
		}
		infer_set(in, k, x->dtype, x->rank, dim);
	}
	return !size || infer_same_dim(in, &sum, x->dim[axis],
				       "sum of the sizes and dim");
}

static bool split_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	struct value *x = lower_in(lo, 0);
	unsigned axis = lower_axis(lo, A_axis, x->type->rank);
	const struct expr *start = expr_const(c, 0), *size;

	for (unsigned k = 0; k < lo->op->n_out; k++) {
		const struct type *t = lower_type(lo, k);
		const struct expr *idx[MAX_RANK];

		if (!lower_in(lo, 1))
			equal_piece(c, x->type->dim[axis], lo->op->n_out, k,
				    &start, &size);
		struct nest n = nest_begin(lo, 1, &t);

		for (unsigned i = 0; i < t->rank; i++)
			idx[i] = n.iv[i];
		idx[axis] = expr_add(c, idx[axis], start);
		struct value *v = nest_load(lo, x, idx);

		nest_end(lo, &n, 1, &v, &lo->result[k]);
		start = expr_add(c, start, t->dim[axis]);
	}
	return true;
}

/* Before opset 13 the sizes are an attribute. */
static bool split_older(struct older *o)
{
	return older_attr_to_input(o, A_split, 1);
}

OP(Split, .domain = "", .since = 18,
	.in = { { "input", T_ANY }, { "split", T(I64) | P_OPTIONAL } },
	.out = { { "outputs", T_ANY | P_VARIADIC } },
	.attr = {
		ATTR(axis, AT_INT, .i = 0),
		ATTR(num_outputs, AT_INT),
		ATTR(split, AT_INTS),
	},
	.infer = split_infer,
	.lower = split_lower,
	.older = split_older);
