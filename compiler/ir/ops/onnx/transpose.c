/* SPDX-License-Identifier: Apache-2.0 */
/* Transpose: dim k of the result is dim perm[k]; the default reverses. */
#include "ir/op.h"

static unsigned perm_at(const struct op *op, unsigned rank, unsigned k)
{
	size_t n;
	const int64_t *perm = op_ints(op, A_perm, &n);

	if (!perm)
		return rank - 1 - k;
	return (unsigned)(perm[k] < 0 ? perm[k] + rank : perm[k]);
}

static bool transpose_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);
	const struct expr *dim[MAX_RANK];
	bool seen[MAX_RANK] = { false };
	size_t n;
	const int64_t *perm = op_ints(in->op, A_perm, &n);

	if (perm && n != x->rank)
		return infer_error(in, "perm has %zu entries for rank %u", n,
				   x->rank);
	for (unsigned k = 0; k < x->rank; k++) {
		unsigned a;

		if (perm && !infer_axis(in, perm[k], x->rank, &a))
			return false;
		a = perm_at(in->op, x->rank, k);
		if (seen[a])
			return infer_error(in, "perm names dim %u twice", a);
		seen[a] = true;
		dim[k] = x->dim[a];
	}
	infer_set(in, 0, x->dtype, x->rank, dim);
	return true;
}

static bool transpose_lower(struct lower *lo)
{
	const struct type *t = lower_type(lo, 0);
	struct nest n = nest_begin(lo, 1, &t);
	const struct expr *idx[MAX_RANK];

	for (unsigned k = 0; k < t->rank; k++)
		idx[perm_at(lo->op, t->rank, k)] = n.iv[k];
	struct value *v = nest_load(lo, lower_in(lo, 0), idx);

	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

static struct value *transpose_fold(struct lower *lo)
{
	unsigned rank = lower_type(lo, 0)->rank;

	for (unsigned k = 0; k < rank; k++)
		if (perm_at(lo->op, rank, k) != k)
			return NULL;
	return lower_in(lo, 0);
}

OP(Transpose, .domain = "", .since = 25,
	.in = { { "data", T_ANY } },
	.out = { { "transposed", T_ANY } },
	.attr = {
		ATTR(perm, AT_INTS),
	},
	.infer = transpose_infer,
	.lower = transpose_lower,
	.fold = transpose_fold);
