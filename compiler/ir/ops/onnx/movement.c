/* SPDX-License-Identifier: Apache-2.0 */
#include "ir/ops/onnx/movement.h"

#include <string.h>

bool infer_rank(struct infer *in, uint64_t rank)
{
	return rank <= MAX_RANK ||
	       infer_unsupported(in, "a result of rank %llu is not supported",
				 (unsigned long long)rank);
}

static bool same_op(const struct op *p, enum opcode code, unsigned n_in,
		    struct value *const *v, unsigned n_attr,
		    const struct named_attr *attr)
{
	if (p->code != code || p->n_in != n_in || p->n_attr != n_attr)
		return false;
	for (unsigned i = 0; i < n_in; i++)
		if (p->in[i].val != v[i])
			return false;
	/* Helpers have integer attributes only. */
	for (unsigned i = 0; i < n_attr; i++)
		if (p->attr[i].name != attr[i].name ||
		    p->attr[i].val->i != attr[i].val->i)
			return false;
	return true;
}

struct value *infer_helper(struct infer *in, enum opcode code, unsigned n_in,
			   struct value *const *v, unsigned n_attr,
			   const struct named_attr *attr)
{
	for (struct use *u = v[0]->uses; u; u = u->next)
		if (same_op(u->user, code, n_in, v, n_attr, attr) &&
		    op_comes_before(u->user, in->op))
			return &u->user->out[0];
	struct builder b = { in->ctx, in->op->parent, in->op, in->op->loc };

	return build_op(&b, code, n_in, v, n_attr, attr);
}

const struct expr **infer_elements_of(struct infer *in, struct value *v,
				      size_t n)
{
	const struct expr **e = NEW_ARRAY(&in->ctx->perm, n + 1,
					  const struct expr *);

	for (size_t k = 0; k < n; k++) {
		e[k] = v->known && k < v->known->n ? v->known->elem[k] : NULL;
		if (!e[k])
			e[k] = infer_bind(in, v, n, NULL)[k];
	}
	return e;
}

const struct expr *infer_scalar(struct infer *in, unsigned i)
{
	struct value *v = op_in(in->op, i);
	enum dtype t = v->type->dtype;
	struct blob data;

	if (!expr_is(type_elems(in->ctx, v->type), 1)) {
		infer_error(in, "input '%s' must be a scalar, is %s",
			    op_def(in->op)->in[i].name,
			    type_str(in->ctx, v->type));
		return NULL;
	}
	if (value_const(v, &data) && data.size == dtype_size(t)) {
		union scalar s = scalar_load(t, data.data);

		return expr_const(in->ctx, scalar_cast(t, DT_I64, s).i);
	}
	if (t == DT_I64 || t == DT_I32)
		return infer_elements_of(in, v, 1)[0];
	struct named_attr to = { A_to, attr_int(in->ctx,
						dtype_info[DT_I64].onnx) };

	v = infer_helper(in, OP_Cast, 1, &v, 1, &to);
	return v ? infer_elements_of(in, v, 1)[0] : NULL;
}

const struct expr **lower_elems(struct lower *lo, unsigned i, size_t *n)
{
	struct infer in = { lo->b.ctx, lo->op, NULL };

	return infer_elems(&in, i, n);
}

/* ---- reshaping ------------------------------------------------------ */

struct reshape {
	struct ctx *ctx;
	unsigned rank_in, rank_out;
	const struct expr *const *in, *const *out, *const *iv;
	const struct expr **idx;
	/* Products of the leading dims: [0] = 1. */
	const struct expr *prod_in[MAX_RANK + 1], *prod_out[MAX_RANK + 1];
};

/* Dims [i, i2) of the operand hold the elements of dims [j, j2) of the
 * result: flatten the one, take the other apart. */
static void reshape_segment(struct reshape *r, unsigned i, unsigned i2,
			    unsigned j, unsigned j2)
{
	struct ctx *c = r->ctx;
	const struct expr *flat = expr_const(c, 0);

	for (; j < j2; j++)
		flat = expr_add(c, expr_mul(c, flat, r->out[j]), r->iv[j]);
	for (unsigned k = i2; k-- > i + 1;) {
		r->idx[k] = expr_mod(c, flat, r->in[k]);
		flat = expr_div(c, flat, r->in[k]);
	}
	if (i < i2)
		r->idx[i] = flat;
}

/* The next dims at which both shapes have the same number of elements before
 * them; the smallest such segment keeps the index expressions short. */
static void next_boundary(const struct reshape *r, unsigned *i, unsigned *j)
{
	for (unsigned sum = *i + *j + 1; sum <= r->rank_in + r->rank_out; sum++)
		for (unsigned a = *i; a <= r->rank_in && a <= sum; a++) {
			unsigned b = sum - a;

			if (b < *j || b > r->rank_out)
				continue;
			if (r->prod_in[a] == r->prod_out[b]) {
				*i = a;
				*j = b;
				return;
			}
		}
	*i = r->rank_in;
	*j = r->rank_out;
}

struct value *lower_reshape(struct lower *lo, struct value *x,
			    const struct type *t)
{
	struct ctx *c = lo->b.ctx;
	const struct type *xt = x->type;
	struct value *y;

	if (xt == t)
		return x;
	struct nest n = nest_begin(lo, 1, &t);
	const struct expr *idx[MAX_RANK];
	struct reshape r = { .ctx = c, .rank_in = xt->rank,
			     .rank_out = t->rank, .in = xt->dim, .out = t->dim,
			     .iv = n.iv, .idx = idx };

	r.prod_in[0] = r.prod_out[0] = expr_const(c, 1);
	for (unsigned i = 0; i < xt->rank; i++)
		r.prod_in[i + 1] = expr_mul(c, r.prod_in[i], xt->dim[i]);
	for (unsigned i = 0; i < t->rank; i++)
		r.prod_out[i + 1] = expr_mul(c, r.prod_out[i], t->dim[i]);
	unsigned i = 0, j = 0;

	while (i < xt->rank || j < t->rank) {
		unsigned i0 = i, j0 = j;

		next_boundary(&r, &i, &j);
		reshape_segment(&r, i0, i, j0, j);
	}
	struct value *v = nest_load(lo, x, idx);

	nest_end(lo, &n, 1, &v, &y);
	return y;
}

bool reshape_lower(struct lower *lo)
{
	lo->result[0] = lower_reshape(lo, lower_in(lo, 0), lower_type(lo, 0));
	return true;
}

struct value *fold_same_type(struct lower *lo)
{
	struct value *x = lower_in(lo, 0);

	return x->type == lower_type(lo, 0) ? x : NULL;
}
