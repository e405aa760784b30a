/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of a few bits and products with them; see packed.h. */
#include "ir/ops/microsoft/packed.h"

#include <string.h>

#include "ir/ops/onnx/fold.h"

/* The byte at idx[] and the one behind it, which is 0 where there is none. */
static struct value *two_bytes(struct lower *lo, struct value *x,
			       const struct expr **idx)
{
	struct ctx *c = lo->b.ctx;
	unsigned last = x->type->rank - 1;
	struct value *v = load_as(lo, DT_U32, x, idx), *next;
	const struct expr *guard;

	idx[last] = expr_addc(c, idx[last], 1);
	guard = expr_addc(c, expr_sub(c, x->type->dim[last], idx[last]), -1);
	next = nest_load_guarded(lo, x, idx, 1, &guard,
				 s_int(lo, x->type->dtype, 0));
	next = s_op2(lo, OP_arith_shl, s_cast(lo, DT_U32, next),
		     s_int(lo, DT_U32, 8));
	return s_op2(lo, OP_arith_or, v, next);
}

struct value *nbits_load(struct lower *lo, struct value *x,
			  const struct expr *const *idx,
			  const struct expr *at, int64_t bits)
{
	struct ctx *c = lo->b.ctx;
	unsigned last = x->type->rank - 1;
	const struct expr *e[MAX_RANK], *shift;
	bool whole = 8 % bits == 0;
	const struct expr *per = expr_const(c, whole ? 8 / bits : 8);
	struct value *v;

	/* Where numbers cross bytes the position counts bits. */
	if (!whole)
		at = expr_scale(c, at, bits);
	memcpy(e, idx, (last + 1) * sizeof(*e));
	e[last] = expr_add(c, e[last], expr_div(c, at, per));
	shift = expr_scale(c, expr_mod(c, at, per), whole ? bits : 1);
	v = whole ? load_as(lo, DT_U32, x, e) : two_bytes(lo, x, e);
	if (bits < 8) {
		v = s_op2(lo, OP_arith_shr, v, s_expr(lo, DT_U32, shift));
		v = s_op2(lo, OP_arith_and, v,
			  s_int(lo, DT_U32, (INT64_C(1) << bits) - 1));
	}
	return s_cast(lo, DT_I32, v);
}

bool packed_product_infer(struct infer *in)
{
	const struct type *a = infer_type(in, 0);
	int64_t k = op_int(in->op, A_K), n = op_int(in->op, A_N);
	const struct expr *dim[MAX_RANK];

	if (k < 1 || n < 1 || k > PACKED_MOST || n > PACKED_MOST)
		return infer_error(in, "K is %lld, N is %lld", (long long)k,
				   (long long)n);
	if (!a->rank)
		return infer_error(in, "'A' is a scalar");
	unsigned last = a->rank - 1;

	memcpy(dim, a->dim, last * sizeof(*dim));
	dim[last] = expr_const(in->ctx, n);
	infer_set(in, 0, a->dtype, a->rank, dim);
	return infer_dims_agree(in, a->dim[last], expr_const(in->ctx, k),
				"the last dim of 'A'");
}
