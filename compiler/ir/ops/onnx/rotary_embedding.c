/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RotaryEmbedding: pairs of elements of each head are rotated by the angle of
 * their position; element d of a pair (d, p) becomes cos * x[d] -+ sin * x[p].
 * Elements beyond rotary_embedding_dim stay as they are.
 */
#include "ir/ops/onnx/fold.h"

struct rotary {
	const struct expr *size;	/* of a head */
	const struct expr *rotated;	/* leading elements that are rotated */
	const struct expr *half;
	bool interleaved, flat;
};

static bool read_rotary(struct infer *in, struct rotary *r)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, 0);
	int64_t heads = op_int(in->op, A_num_heads), width;
	int64_t n = op_int(in->op, A_rotary_embedding_dim), size;

	if (x->rank != 3 && x->rank != 4)
		return infer_error(in, "'X' has rank %u, expected 3 or 4",
				   x->rank);
	r->flat = x->rank == 3;
	r->interleaved = op_int(in->op, A_interleaved);
	r->size = x->dim[x->rank - 1];
	if (r->flat) {
		if (heads < 1 || (expr_is_const(r->size, &width) &&
				  width % heads))
			return infer_error(in, "num_heads is %lld for %s",
					   (long long)heads, type_str(c, x));
		infer_require_eq(in, expr_mod(c, r->size,
					      expr_const(c, heads)),
				 expr_const(c, 0));
		r->size = expr_div(c, r->size, expr_const(c, heads));
	}
	r->rotated = n ? expr_const(c, n) : r->size;
	if (n < 0 || (expr_is_const(r->rotated, &n) && n % 2) ||
	    (expr_is_const(r->size, &size) && n > size))
		return infer_error(in, "cannot rotate %s of %s elements",
				   expr_str(c, r->rotated),
				   expr_str(c, r->size));
	r->half = expr_div(c, r->rotated, expr_const(c, 2));
	infer_require_eq(in, expr_scale(c, r->half, 2), r->rotated);
	return infer_require_ge0(in, expr_sub(c, r->size, r->rotated),
				 "rotary_embedding_dim is above the head size");
}

/* The caches are [positions, half] with position_ids, else [batch, sequence,
 * half]. */
static bool check_cache(struct infer *in, unsigned k, const struct rotary *r)
{
	const struct type *x = infer_type(in, 0), *t = infer_type(in, k);
	const char *name = op_def(in->op)->in[k].name;
	bool ids = infer_has(in, 3);

	if (t->rank != (ids ? 2 : 3))
		return infer_error(in, "'%s' has rank %u, expected %u", name,
				   t->rank, ids ? 2 : 3);
	if (!infer_dims_agree(in, t->dim[t->rank - 1], r->half, name))
		return false;
	return ids || (infer_dims_agree(in, t->dim[0], x->dim[0], name) &&
		       infer_dims_agree(in, t->dim[1], x->dim[x->rank - 2],
					name));
}

static bool rotary_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0), *ids = infer_type(in, 3);
	struct rotary r;

	if (!read_rotary(in, &r) || !check_cache(in, 1, &r) ||
	    !check_cache(in, 2, &r))
		return false;
	if (ids && ids->rank != 2)
		return infer_error(in, "'position_ids' has rank %u, expected 2",
				   ids->rank);
	if (ids && (!infer_dims_agree(in, ids->dim[0], x->dim[0],
				      "dim 0 of 'position_ids'") ||
		    !infer_dims_agree(in, ids->dim[1], x->dim[x->rank - 2],
				      "dim 1 of 'position_ids'")))
		return false;
	const struct expr *rows = infer_type(in, 1)->dim[0];

	/* An index out of range reads row 0, which must exist. */
	if (ids && (!infer_dims_agree(in, infer_type(in, 2)->dim[0], rows,
				      "dim 0 of 'sin_cache'") ||
		    !infer_require_ge0(in, expr_addc(in->ctx, rows, -1),
				       "'cos_cache' has no rows")))
		return false;
	return infer_same(in);
}

/* Indices of the pair's angle and of its other element. */
struct pair {
	const struct expr *angle, *other, *inside;
	const struct expr *first;	/* >= 0 for the first element */
};

static struct pair find_pair(struct ctx *c, const struct rotary *r,
			     const struct expr *d)
{
	const struct expr *two = expr_const(c, 2);
	struct pair p = { .inside = expr_addc(c, expr_sub(c, r->rotated, d),
					      -1) };

	if (r->interleaved) {
		const struct expr *odd = expr_mod(c, d, two);

		p.angle = expr_div(c, d, two);
		p.other = expr_addc(c, expr_sub(c, d, expr_scale(c, odd, 2)),
				    1);
		p.first = expr_scale(c, odd, -1);
	} else {
		p.angle = expr_mod(c, d, r->half);
		p.other = expr_mod(c, expr_add(c, d, r->half), r->rotated);
		p.first = expr_addc(c, expr_sub(c, r->half, d), -1);
	}
	return p;
}

/* cos or sin of the pair's angle; `other` for elements that stay. */
static struct value *angle_load(struct lower *lo, unsigned k,
				const struct pair *p, const struct nest *n,
				const struct expr *row, double other,
				enum dtype acc)
{
	struct value *cache = lower_in(lo, k), *v;
	const struct expr *at[3] = { n->iv[0], n->iv[n->rank - 2], p->angle };

	if (row) {
		at[0] = row;
		at[1] = p->angle;
	}
	v = s_const(lo, cache->type->dtype, other);
	v = nest_load_guarded(lo, cache, at, 1, &p->inside, v);
	return s_cast(lo, acc, v);
}

static bool rotary_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	struct value *x = lower_in(lo, 0), *ids = lower_in(lo, 3), *v, *u;
	const struct type *t = x->type, *types[MAX_OUTS] = { NULL };
	struct infer in = { c, lo->op, types };
	enum dtype acc = acc_dtype(t->dtype);
	const struct expr *at[4], *d, *row = NULL;
	struct rotary r;

	if (!read_rotary(&in, &r))
		return false;
	struct nest n = nest_begin(lo, 1, &t);
	unsigned last = n.rank - 1;
	struct value *zero = s_const(lo, t->dtype, 0);

	d = r.flat ? expr_mod(c, n.iv[last], r.size) : n.iv[last];
	struct pair p = find_pair(c, &r, d);

	if (ids) {
		const struct expr *where[] = { n.iv[0], n.iv[last - 1] };

		row = nest_index(lo, nest_load(lo, ids, where),
				 lower_in(lo, 1)->type->dim[0]);
	}
	for (unsigned i = 0; i < last; i++)
		at[i] = n.iv[i];
	at[last] = expr_add(c, expr_sub(c, n.iv[last], d), p.other);
	u = nest_load_guarded(lo, x, at, 1, &p.inside, zero);
	u = s_mul(lo, s_cast(lo, acc, u),
		  angle_load(lo, 2, &p, &n, row, 0, acc));
	u = s_select(lo,
		     s_op2(lo, OP_arith_ge, nest_value(lo, p.first),
			   s_int(lo, DT_I64, 0)),
		     s_op(lo, OP_arith_neg, u), u);
	v = s_mul(lo, load_as(lo, acc, x, n.iv),
		  angle_load(lo, 1, &p, &n, row, 1, acc));
	v = s_cast(lo, t->dtype, s_add(lo, v, u));
	nest_end(lo, &n, 1, &v, lo->result);
	return true;
}

OP(RotaryEmbedding, .domain = "", .since = 23, .first = 23,
	.in = { { "X", T_REAL },
		{ "cos_cache", T_REAL | P_SAME },
		{ "sin_cache", T_REAL | P_SAME },
		{ "position_ids", T(I64) | P_OPTIONAL } },
	.out = { { "Y", T_REAL } },
	.attr = {
		ATTR(interleaved, AT_INT),
		ATTR(num_heads, AT_INT),
		ATTR(rotary_embedding_dim, AT_INT),
	},
	.infer = rotary_infer,
	.lower = rotary_lower);
