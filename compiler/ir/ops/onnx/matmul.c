/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MatMul: numpy.matmul.  Operands of rank 1 get a dim of extent 1 that the
 * result lacks; leading dims broadcast.
 */
#include "ir/ops/onnx/fold.h"

enum { MATMUL_TYPES = T_FLOAT | T(I32) | T(I64) | T(U32) | T(U64) };

/* The type without its matrix dims. */
static const struct type *batch_type(struct ctx *c, const struct type *t)
{
	return type_tensor(c, t->dtype, t->rank > 2 ? t->rank - 2 : 0, t->dim);
}

static bool matmul_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	const struct type *a = infer_type(in, 0), *b = infer_type(in, 1);
	const struct expr *dim[MAX_RANK];
	unsigned rank = 0;

	if (!a->rank || !b->rank)
		return infer_error(in, "an operand is a scalar");
	if (!infer_dims_agree(in, b->dim[b->rank < 2 ? 0 : b->rank - 2],
			      a->dim[a->rank - 1], "the inner dim of 'B'"))
		return false;
	if (!infer_broadcast(in, &rank, dim, batch_type(c, a)) ||
	    !infer_broadcast(in, &rank, dim, batch_type(c, b)))
		return false;
	if (a->rank > 1)
		dim[rank++] = a->dim[a->rank - 2];
	if (b->rank > 1)
		dim[rank++] = b->dim[b->rank - 1];
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

static bool matmul_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	struct value *a = lower_in(lo, 0), *b = lower_in(lo, 1), *v;
	const struct type *out = lower_type(lo, 0);
	enum dtype acc = acc_dtype(out->dtype);
	const struct expr *ia[MAX_RANK], *ib[MAX_RANK];
	struct nest n = nest_begin(lo, 1, &out);
	unsigned n_batch = n.rank - (a->type->rank > 1) - (b->type->rank > 1);
	unsigned na = batch_index(c, a->type, n_batch, n.iv, ia);
	unsigned nb = batch_index(c, b->type, n_batch, n.iv, ib);

	v = s_const(lo, acc, 0);
	struct fold f = fold_begin(lo, 1, &a->type->dim[a->type->rank - 1], 1,
				   &v);

	if (a->type->rank > 1)
		ia[na++] = n.iv[n_batch];
	ia[na] = f.iv[0];
	ib[nb++] = f.iv[0];
	if (b->type->rank > 1)
		ib[nb] = n.iv[n.rank - 1];
	v = s_add(lo, f.acc[0],
		  s_mul(lo, load_as(lo, acc, a, ia), load_as(lo, acc, b, ib)));
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
