/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MaxPool, and the position of each maximum as the flattened index into the
 * input without its border (storage_order 1: the spatial dims in column-major
 * order).
 */
#include "ir/ops/onnx/fold.h"
#include "ir/ops/onnx/window.h"

static bool max_pool_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);
	const struct expr *dim[MAX_RANK];
	struct window w;

	if (!window_infer(in, NULL, &w))
		return false;
	dim[0] = x->dim[0];
	dim[1] = x->dim[1];
	for (unsigned i = 0; i < w.n; i++)
		dim[2 + i] = w.out[i];
	infer_set(in, 0, x->dtype, x->rank, dim);
	infer_set(in, 1, DT_I64, x->rank, dim);
	return true;
}

/* The index that MaxPool reports for the window's element k. */
static const struct expr *flat_index(struct ctx *c, const struct op *op,
				     const struct window *w,
				     const struct type *x, const struct nest *n,
				     const struct expr *const *k)
{
	const struct expr *e = expr_add(c, expr_mul(c, n->iv[0], x->dim[1]),
					n->iv[1]);
	const struct expr *s = expr_const(c, 0);
	bool column = op_int(op, A_storage_order);

	for (unsigned j = 0; j < w->n; j++) {
		unsigned i = column ? w->n - 1 - j : j;

		e = expr_mul(c, e, w->in[i]);
		s = expr_add(c, expr_mul(c, s, w->in[i]),
			     window_pos(c, w, i, n->iv[2 + i], k[i]));
	}
	return expr_add(c, e, s);
}

/* The same for the first element inside the image: where the maximum is when
 * no element exceeds the lowest value of the type. */
static const struct expr *first_index(struct ctx *c, const struct op *op,
				      const struct window *w,
				      const struct type *x,
				      const struct nest *n)
{
	const struct expr *k[MAX_RANK];

	for (unsigned i = 0; i < w->n; i++)
		k[i] = window_first(c, w, i, n->iv[2 + i]);
	return flat_index(c, op, w, x, n, k);
}

static bool max_pool_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	struct value *x = lower_in(lo, 0), *v[2], *best[2];
	const struct type *out[2] = { lower_type(lo, 0),
				      lower_type(lo, 1) };
	/* Finding the position costs more than the maximum. */
	unsigned n_out = lo->op->n_out > 1 && lo->op->out[1].uses ? 2 : 1;
	struct window w;

	if (window_read(c, lo->op, x->type, NULL, &w))
		return false;
	struct nest n = nest_begin(lo, n_out, out);

	v[0] = s_lowest(lo, out[0]->dtype);
	if (n_out == 2)
		v[1] = nest_value(lo, first_index(c, lo->op, &w, x->type, &n));
	struct value *lowest = v[0];
	struct fold f = fold_begin(lo, w.n, w.kernel, n_out, v);

	v[0] = window_load(lo, &w, x, n.iv[0], n.iv[1], n.iv + 2, f.iv, lowest);
	best[0] = s_op2(lo, OP_arith_max, f.acc[0], v[0]);
	if (n_out == 2)
		best[1] = s_select(
			lo, s_op2(lo, OP_arith_gt, v[0], f.acc[0]),
			nest_value(lo, flat_index(c, lo->op, &w, x->type, &n,
						  f.iv)),
			f.acc[1]);
	fold_end(lo, &f, best, v);
	nest_end(lo, &n, n_out, v, lo->result);
	return true;
}

OP(MaxPool, .domain = "", .since = 22,
	.in = { { "X", T_FLOAT | T(I8) | T(U8) } },
	.out = { { "Y", T_FLOAT | T(I8) | T(U8) },
		 { "Indices", T(I64) | P_OPTIONAL } },
	.attr = {
		ATTR(auto_pad, AT_STR, .s = "NOTSET"),
		ATTR(ceil_mode, AT_INT),
		ATTR(dilations, AT_INTS),
		ATTR(kernel_shape, AT_INTS),
		ATTR(pads, AT_INTS),
		ATTR(storage_order, AT_INT),
		ATTR(strides, AT_INTS),
	},
	.infer = max_pool_infer,
	.lower = max_pool_lower,
	.keeps_factors = true);
