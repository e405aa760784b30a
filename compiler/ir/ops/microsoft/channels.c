/* SPDX-License-Identifier: Apache-2.0 */
/* Images with the channel in the last dim; see channels.h. */
#include "ir/ops/microsoft/channels.h"

const struct type *channels_first(struct ctx *c, const struct op *op,
				  const struct type *t)
{
	const struct expr *dim[MAX_RANK];

	if (!op_int(op, A_channels_last) || t->rank < 3)
		return t;
	dim[0] = t->dim[0];
	dim[1] = t->dim[t->rank - 1];
	for (unsigned i = 2; i < t->rank; i++)
		dim[i] = t->dim[i - 1];
	return type_tensor(c, t->dtype, t->rank, dim);
}

void channels_place(const struct op *op, unsigned rank,
		    const struct expr **dim)
{
	const struct expr *channel = dim[1];

	if (!op_int(op, A_channels_last))
		return;
	for (unsigned i = 1; i + 1 < rank; i++)
		dim[i] = dim[i + 1];
	dim[rank - 1] = channel;
}

static struct value *permute(struct lower *lo, struct value *x,
			     const int64_t *perm)
{
	return g_op(lo, OP_Transpose, VALUES(x),
		    ATTRS({ A_perm, attr_ints(lo->b.ctx, x->type->rank,
					      perm) }));
}

static struct value *to_first(struct lower *lo, struct value *x)
{
	int64_t perm[MAX_RANK] = { 0, x->type->rank - 1 };

	for (unsigned i = 2; i < x->type->rank; i++)
		perm[i] = i - 1;
	return permute(lo, x, perm);
}

static struct value *to_last(struct lower *lo, struct value *x)
{
	int64_t perm[MAX_RANK] = { 0 };

	for (unsigned i = 1; i + 1 < x->type->rank; i++)
		perm[i] = i + 1;
	perm[x->type->rank - 1] = 1;
	return permute(lo, x, perm);
}

bool channels_decompose(struct lower *lo, enum opcode code)
{
	struct op *op = lo->op;
	struct value *in[MAX_PORTS], *y;
	struct named_attr attr[MAX_ATTRS];
	bool last = op_int(op, A_channels_last);
	unsigned n = 0;

	for (unsigned i = 0; i < op->n_in; i++)
		in[i] = lower_in(lo, i);
	if (last)
		in[0] = to_first(lo, in[0]);
	for (unsigned i = 0; i < op->n_attr; i++)
		if (op->attr[i].name != A_channels_last)
			attr[n++] = op->attr[i];
	y = g_op(lo, code, op->n_in, in, n, attr);
	lo->result[0] = y && last ? to_last(lo, y) : y;
	return y;
}
