/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MatMulInteger and QLinearMatMul: sums of (a - za) * (b - zb) in 32 bits,
 * where they wrap.  The second is requantized.
 *
 * Scales and zero points are one number; or a list, of the rows for A and the
 * result, of the columns for B; or have the operand's rank and extent 1 in
 * the dim beside those.
 */
#include "ir/ops/onnx/fold.h"
#include "ir/ops/onnx/matmul.h"
#include "ir/ops/onnx/requantize.h"

enum { NONE = MAX_RANK };

/* Operand i belongs to something of type t: a list goes with dim `list`, dim
 * `one` has extent 1; either may be NONE. */
static bool parameter_infer(struct infer *in, unsigned i, const struct type *t,
			    unsigned list, unsigned one)
{
	const struct expr *dim[MAX_RANK], *unit = expr_const(in->ctx, 1);
	const struct type *p = infer_type(in, i);

	if (!p || p->rank < 2)
		return infer_number_or_list(in, i,
					    list == NONE ? unit : t->dim[list]);
	for (unsigned k = 0; k < t->rank; k++)
		dim[k] = k == one ? unit : t->dim[k];
	return infer_broadcast_into(in, t->rank, dim, p);
}

/* Scale and zero point of A, of B or of the result y. */
static bool a_infer(struct infer *in, unsigned i, const struct type *a)
{
	return parameter_infer(in, i, a, a->rank > 1 ? a->rank - 2 : NONE,
			       a->rank - 1);
}

static bool b_infer(struct infer *in, unsigned i, const struct type *b)
{
	return parameter_infer(in, i, b, b->rank > 1 ? b->rank - 1 : NONE,
			       b->rank > 1 ? b->rank - 2 : 0);
}

static bool y_infer(struct infer *in, unsigned i, const struct type *a,
		    const struct type *b, const struct type *y)
{
	bool cols = b->rank > 1;

	return parameter_infer(in, i, y,
			       a->rank > 1 ? y->rank - 1 - cols : NONE,
			       cols ? y->rank - 1 : NONE);
}

/* at[] is the position in what the operand belongs to, list in its list. */
static struct value *parameter(struct lower *lo, enum dtype to, unsigned i,
			       unsigned rank, const struct expr *const *at,
			       const struct expr *list)
{
	struct value *v = lower_in(lo, i);

	if (v && v->type->rank > 1)
		return load_broadcast_as(lo, to, v, rank, at);
	return load_number_at(lo, to, i,
			      list ? list : expr_const(lo->b.ctx, 0));
}

/* The sum of products at m; za and zb are i32 or NULL. */
static struct value *integer_sum(struct lower *lo, struct value *a,
				 struct value *b, struct matmul_index *m,
				 struct value *za, struct value *zb)
{
	struct value *v = s_int(lo, DT_I32, 0), *w;
	struct fold f = fold_begin(lo, 1, &a->type->dim[a->type->rank - 1], 1,
				   &v);

	m->a[m->ka] = m->b[m->kb] = f.iv[0];
	v = less_zero(lo, load_as(lo, DT_I32, a, m->a), za);
	w = less_zero(lo, load_as(lo, DT_I32, b, m->b), zb);
	v = s_add(lo, f.acc[0], s_mul(lo, v, w));
	fold_end(lo, &f, &v, &v);
	return v;
}

/* The position in the parameters of A and B: the summed dim has extent 1. */
static void find(struct lower *lo, struct value *a, struct value *b,
		 const struct nest *n, struct matmul_index *m)
{
	matmul_index(lo->b.ctx, a->type, b->type, n->rank, n->iv, m);
	m->a[m->ka] = m->b[m->kb] = expr_const(lo->b.ctx, 0);
}

/* ---- MatMulInteger -------------------------------------------------- */

static bool integer_infer(struct infer *in)
{
	const struct type *a = infer_type(in, 0), *b = infer_type(in, 1);
	const struct expr *dim[MAX_RANK];
	unsigned rank;

	if (!matmul_shape(in, a, b, &rank, dim) ||
	    !infer_zero_point(in, 2, 0) || !infer_zero_point(in, 3, 1) ||
	    !a_infer(in, 2, a) || !b_infer(in, 3, b))
		return false;
	infer_set(in, 0, DT_I32, rank, dim);
	return true;
}

static bool integer_lower(struct lower *lo)
{
	struct value *a = lower_in(lo, 0), *b = lower_in(lo, 1), *v, *za, *zb;
	const struct type *out = lower_type(lo, 0);
	struct nest n = nest_begin(lo, 1, &out);
	struct matmul_index m;

	find(lo, a, b, &n, &m);
	za = parameter(lo, DT_I32, 2, a->type->rank, m.a, m.row);
	zb = parameter(lo, DT_I32, 3, b->type->rank, m.b, m.col);
	v = integer_sum(lo, a, b, &m, za, zb);
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

/* ---- QLinearMatMul -------------------------------------------------- */

enum { IN_A, IN_A_SCALE, IN_A_ZERO, IN_B, IN_B_SCALE, IN_B_ZERO, IN_Y_SCALE,
       IN_Y_ZERO };

static bool linear_infer(struct infer *in)
{
	const struct type *a = infer_type(in, IN_A), *b = infer_type(in, IN_B);
	const struct type *y;
	const struct expr *dim[MAX_RANK];
	unsigned rank;

	if (!matmul_shape(in, a, b, &rank, dim) ||
	    !infer_zero_point(in, IN_A_ZERO, IN_A) ||
	    !infer_zero_point(in, IN_B_ZERO, IN_B))
		return false;
	y = type_tensor(in->ctx, infer_type(in, IN_Y_ZERO)->dtype, rank, dim);
	in->out[0] = y;
	return a_infer(in, IN_A_SCALE, a) && a_infer(in, IN_A_ZERO, a) &&
	       b_infer(in, IN_B_SCALE, b) && b_infer(in, IN_B_ZERO, b) &&
	       y_infer(in, IN_Y_SCALE, a, b, y) &&
	       y_infer(in, IN_Y_ZERO, a, b, y);
}

static bool linear_lower(struct lower *lo)
{
	struct value *a = lower_in(lo, IN_A), *b = lower_in(lo, IN_B);
	const struct type *out = lower_type(lo, 0);
	struct value *v, *za, *zb, *zy, *sa, *sb, *sy;
	unsigned ra = a->type->rank, rb = b->type->rank;
	struct nest n = nest_begin(lo, 1, &out);
	struct matmul_index m;

	find(lo, a, b, &n, &m);
	za = parameter(lo, DT_I32, IN_A_ZERO, ra, m.a, m.row);
	zb = parameter(lo, DT_I32, IN_B_ZERO, rb, m.b, m.col);
	sa = parameter(lo, DT_F32, IN_A_SCALE, ra, m.a, m.row);
	sb = parameter(lo, DT_F32, IN_B_SCALE, rb, m.b, m.col);
	v = integer_sum(lo, a, b, &m, za, zb);
	sy = parameter(lo, DT_F32, IN_Y_SCALE, n.rank, n.iv, m.row);
	zy = parameter(lo, DT_I32, IN_Y_ZERO, n.rank, n.iv, m.row);
	v = requantize(lo, v, sa, sb, sy, out->dtype, zy);
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(MatMulInteger, .domain = "", .since = 10, .first = 10,
	.in = { { "A", T_Q8 }, { "B", T_Q8 },
		{ "a_zero_point", T_Q8 | P_OPTIONAL },
		{ "b_zero_point", T_Q8 | P_OPTIONAL } },
	.out = { { "Y", T(I32) } },
	.infer = integer_infer,
	.lower = integer_lower);
OP(QLinearMatMul, .domain = "", .since = 21, .first = 10,
	.in = { { "a", T_Q8 }, { "a_scale", T_REAL }, { "a_zero_point", T_Q8 },
		{ "b", T_Q8 }, { "b_scale", T_REAL }, { "b_zero_point", T_Q8 },
		{ "y_scale", T_REAL }, { "y_zero_point", T_Q8 } },
	.out = { { "y", T_Q8 } },
	.infer = linear_infer,
	.lower = linear_lower);
