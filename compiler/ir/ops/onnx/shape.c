/* SPDX-License-Identifier: Apache-2.0 */
/* Shape (or a part of it) and Size, as int64. */
#include "ir/op.h"

/* The dims [start, end) that the attributes name; ONNX clamps both. */
static void shape_range(const struct op *op, int64_t rank, int64_t *start,
			int64_t *end)
{
	*start = op_int(op, A_start);
	*end = op_has(op, A_end) ? op_int(op, A_end) : rank;
	*start += *start < 0 ? rank : 0;
	*end += *end < 0 ? rank : 0;
	*start = *start < 0 ? 0 : *start > rank ? rank : *start;
	*end = *end > rank ? rank : *end;
	if (*end < *start)
		*end = *start;
}

static bool shape_infer(struct infer *in)
{
	int64_t start, end;

	shape_range(in->op, infer_type(in, 0)->rank, &start, &end);
	const struct expr *n = expr_const(in->ctx, end - start);

	infer_set(in, 0, DT_I64, 1, &n);
	return true;
}

static bool shape_lower(struct lower *lo)
{
	const struct type *x = lower_in(lo, 0)->type;
	const struct type *t = lower_type(lo, 0);
	int64_t start, end, dim[MAX_RANK];
	bool fixed = true;

	shape_range(lo->op, x->rank, &start, &end);
	for (int64_t i = start; i < end; i++)
		fixed &= expr_is_const(x->dim[i], &dim[i - start]);
	if (fixed) {
		lo->result[0] = build_ints(&lo->b, (int)(end - start), dim);
		return true;
	}
	struct nest n = nest_begin(lo, 1, &t);
	struct value *at = nest_value(lo, n.iv[0]);
	struct value *v = nest_value(lo, x->dim[end - 1]);

	for (int64_t i = end - 1; i-- > start;)
		v = s_select(lo,
			     s_op2(lo, OP_arith_eq, at,
				   s_int(lo, DT_I64, i - start)),
			     nest_value(lo, x->dim[i]), v);
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

static bool size_infer(struct infer *in)
{
	infer_set(in, 0, DT_I64, 0, NULL);
	return true;
}

static bool size_lower(struct lower *lo)
{
	const struct type *t = lower_type(lo, 0);
	const struct expr *size = type_elems(lo->b.ctx, lower_in(lo, 0)->type);
	struct nest n = nest_begin(lo, 1, &t);
	struct value *v = nest_value(lo, size);

	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(Shape, .domain = "", .since = 25,
	.in = { { "data", T_ANY } },
	.out = { { "shape", T(I64) } },
	.attr = {
		ATTR(start, AT_INT, .i = 0),
		ATTR(end, AT_INT),
	},
	.infer = shape_infer,
	.lower = shape_lower);
OP(Size, .domain = "", .since = 25,
	.in = { { "data", T_ANY } },
	.out = { { "size", T(I64) } },
	.infer = size_infer,
	.lower = size_lower);
