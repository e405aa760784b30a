/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MatMul: numpy.matmul.  Operands of rank 1 get a dim of extent 1 that the
 * result lacks; leading dims broadcast.
 */
#include "ir/ops/onnx/matmul.h"

#include "ir/ops/onnx/fold.h"

enum { MATMUL_TYPES = T_FLOAT | T(I32) | T(I64) | T(U32) | T(U64) };

/* The type without its matrix dims. */
static const struct type *batch_type(struct ctx *c, const struct type *t)
{
	return type_tensor(c, t->dtype, t->rank > 2 ? t->rank - 2 : 0, t->dim);
}

bool matmul_shape(struct infer *in, const struct type *a, const struct type *b,
		  unsigned *rank, const struct expr **dim)
{
	struct ctx *c = in->ctx;

	*rank = 0;
	if (!a->rank || !b->rank)
		return infer_error(in, "an operand is a scalar");
	if (!infer_dims_agree(in, b->dim[b->rank < 2 ? 0 : b->rank - 2],
			      a->dim[a->rank - 1], "the inner dim of 'B'"))
		return false;
	if (!infer_broadcast(in, rank, dim, batch_type(c, a)) ||
	    !infer_broadcast(in, rank, dim, batch_type(c, b)))
		return false;
	if (a->rank > 1)
		dim[(*rank)++] = a->dim[a->rank - 2];
	if (b->rank > 1)
		dim[(*rank)++] = b->dim[b->rank - 1];
	return true;
}

static bool matmul_infer(struct infer *in)
{
	const struct type *a = infer_type(in, 0);
	const struct expr *dim[MAX_RANK];
	unsigned rank;

	if (!matmul_shape(in, a, infer_type(in, 1), &rank, dim))
		return false;
	infer_set(in, 0, a->dtype, rank, dim);
	return true;
}

/* Index of an operand's batch dims under the batch dims of the result. */
static unsigned batch_index(struct ctx *c, const struct type *t,
			    unsigned n_batch, const struct expr *const *iv,
			    const struct expr **idx)
{
	unsigned n = t->rank > 2 ? t->rank - 2 : 0;

	for (unsigned i = 0; i < n; i++)
		idx[i] = broadcast_index(c, t->dim[i], iv[n_batch - n + i]);
	return n;
}

void matmul_index(struct ctx *c, const struct type *a, const struct type *b,
		  unsigned rank, const struct expr *const *iv,
		  struct matmul_index *m)
{
	unsigned n_batch = rank - (a->rank > 1) - (b->rank > 1);

	m->row = a->rank > 1 ? iv[n_batch] : NULL;
	m->col = b->rank > 1 ? iv[rank - 1] : NULL;
	m->ka = batch_index(c, a, n_batch, iv, m->a);
	m->kb = batch_index(c, b, n_batch, iv, m->b);
	if (m->row)
		m->a[m->ka++] = m->row;
	if (m->col)
		m->b[m->kb + 1] = m->col;
}

static bool matmul_lower(struct lower *lo)
{
	struct value *a = lower_in(lo, 0), *b = lower_in(lo, 1), *v;
	const struct type *out = lower_type(lo, 0);
	enum dtype acc = acc_dtype(out->dtype);
	struct nest n = nest_begin(lo, 1, &out);
	struct matmul_index m;

	matmul_index(lo->b.ctx, a->type, b->type, n.rank, n.iv, &m);
	v = s_const(lo, acc, 0);
	struct fold f = fold_begin(lo, 1, &a->type->dim[a->type->rank - 1], 1,
				   &v);

	m.a[m.ka] = m.b[m.kb] = f.iv[0];
	v = s_add(lo, f.acc[0], s_mul(lo, load_as(lo, acc, a, m.a),
				      load_as(lo, acc, b, m.b)));
	fold_end(lo, &f, &v, &v);
	v = s_cast(lo, out->dtype, v);
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(MatMul, .domain = "", .since = 13,
	.in = { { "A", MATMUL_TYPES }, { "B", MATMUL_TYPES | P_SAME } },
	.out = { { "Y", MATMUL_TYPES } },
	.infer = matmul_infer,
	.lower = matmul_lower);
