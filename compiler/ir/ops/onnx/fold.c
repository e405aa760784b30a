/* SPDX-License-Identifier: Apache-2.0 */
/* Folds over some dims of a tensor; see fold.h. */
#include "ir/ops/onnx/fold.h"

#include <math.h>

enum dtype acc_dtype(enum dtype t)
{
	return dtype_is_half(t) ? DT_F32 : t;
}

struct value *s_lowest(struct lower *lo, enum dtype t)
{
	if (dtype_is_float(t))
		return s_const(lo, t, -INFINITY);
	if (!dtype_is_signed(t))
		return s_int(lo, t, 0);
	return s_int(lo, t, INT64_MIN >> (64 - dtype_info[t].bits));
}

struct value *s_highest(struct lower *lo, enum dtype t)
{
	if (dtype_is_float(t))
		return s_const(lo, t, INFINITY);
	if (t == DT_BOOL)
		return s_int(lo, t, 1);
	if (!dtype_is_signed(t)) /* all ones */
		return s_int(lo, t, t == DT_U64 ? -1 : INT64_MAX >>
					    (63 - dtype_info[t].bits));
	return s_int(lo, t, INT64_MAX >> (64 - dtype_info[t].bits));
}

struct value *load_as(struct lower *lo, enum dtype to, struct value *x,
		      const struct expr *const *idx)
{
	return s_cast(lo, to, nest_load(lo, x, idx));
}

struct value *load_broadcast_as(struct lower *lo, enum dtype to,
				struct value *x, unsigned rank,
				const struct expr *const *iv)
{
	return s_cast(lo, to, nest_load_broadcast(lo, x, rank, iv));
}

struct value *s_expr(struct lower *lo, enum dtype t, const struct expr *e)
{
	int64_t k;

	if (expr_is_const(e, &k))
		return s_int(lo, t, k);
	return s_cast(lo, t, nest_value(lo, e));
}

struct fold fold_begin(struct lower *lo, unsigned n_iv,
		       const struct expr *const *extent, unsigned n_acc,
		       struct value *const *init)
{
	struct fold f = { .n_acc = n_acc };
	const struct expr *ext[MAX_RANK];
	unsigned n = 0;

	for (unsigned i = 0; i < n_iv; i++)
		if (!expr_is(extent[i], 1))
			ext[n++] = extent[i];
	f.once = !n;
	if (n)
		f.reduce = nest_reduce_begin(lo, n, ext, n_acc, init);
	n = 0;
	for (unsigned i = 0; i < n_iv; i++)
		f.iv[i] = expr_is(extent[i], 1) ? expr_const(lo->b.ctx, 0)
						: f.reduce.iv[n++];
	for (unsigned i = 0; i < n_acc; i++)
		f.acc[i] = f.once ? init[i] : f.reduce.acc[i];
	return f;
}

void fold_end(struct lower *lo, struct fold *f, struct value *const *next,
	      struct value **result)
{
	if (!f->once) {
		nest_reduce_end(lo, &f->reduce, next, result);
		return;
	}
	for (unsigned i = 0; i < f->n_acc; i++)
		result[i] = next[i];
}

/* ---- rows ----------------------------------------------------------- */

/* 1 when a == b, else 0. */
static const struct expr *is_equal(struct ctx *c, const struct expr *a,
				   const struct expr *b)
{
	const struct expr *d = expr_sub(c, a, b), *one = expr_const(c, 1);

	d = expr_max(c, d, expr_scale(c, d, -1));
	return expr_sub(c, one, expr_min(c, one, d));
}

/* 1 when dim i of x becomes dim j of a result without the reduced dims. */
static const struct expr *becomes(struct ctx *c,
				  const struct expr *const *kept, unsigned i,
				  unsigned j)
{
	const struct expr *before = expr_const(c, 0);

	for (unsigned k = 0; k < i; k++)
		before = expr_add(c, before, kept[k]);
	return expr_mul(c, kept[i],
			is_equal(c, before, expr_const(c, j)));
}

/* n where the flag is 1, and 1 where it is 0. */
static const struct expr *extent_if(struct ctx *c, const struct expr *flag,
				    const struct expr *n)
{
	return expr_addc(c, expr_mul(c, flag, expr_addc(c, n, -1)), 1);
}

unsigned kept_shape(struct ctx *c, const struct type *x,
		    const struct expr *const *kept, unsigned n_reduced,
		    bool keep, const struct expr **dim)
{
	unsigned rank = keep ? x->rank : x->rank - n_reduced;

	for (unsigned j = 0; j < rank; j++) {
		dim[j] = expr_const(c, 0);
		if (keep)
			dim[j] = extent_if(c, kept[j], x->dim[j]);
		for (unsigned i = j; !keep && i < x->rank; i++)
			dim[j] = expr_add(c, dim[j],
					  expr_mul(c, becomes(c, kept, i, j),
						   x->dim[i]));
		dim[j] = infer_dim(c, dim[j]);
	}
	return rank;
}

void rows_begin_kept(struct lower *lo, struct rows *r, const struct type *x,
		     const struct expr *const *kept, unsigned n_reduced,
		     bool keep, unsigned n, const enum dtype *out)
{
	struct ctx *c = lo->b.ctx;
	const struct expr *dim[MAX_RANK];
	const struct type *t[MAX_FOLD];
	unsigned rank = kept_shape(c, x, kept, n_reduced, keep, dim);

	*r = (struct rows){ .type = x };
	for (unsigned i = 0; i < n; i++)
		t[i] = type_tensor(c, out[i], rank, dim);
	r->nest = nest_begin(lo, n, t);
	for (unsigned i = 0; i < x->rank; i++) {
		r->kept[i] = kept[i];
		r->base[i] = expr_const(c, 0);
		if (keep && !expr_is(kept[i], 0))
			r->base[i] = r->nest.iv[i];
		for (unsigned j = 0; !keep && j <= i && j < rank; j++)
			r->base[i] = expr_add(c, r->base[i],
					    expr_mul(c, becomes(c, kept, i, j),
						     r->nest.iv[j]));
	}
}

void rows_begin(struct lower *lo, struct rows *r, const struct type *x,
		const bool *reduced, bool keep, unsigned n,
		const enum dtype *out)
{
	const struct expr *kept[MAX_RANK];
	unsigned n_reduced = 0;

	for (unsigned i = 0; i < x->rank; i++) {
		kept[i] = expr_const(lo->b.ctx, !reduced[i]);
		n_reduced += reduced[i];
	}
	rows_begin_kept(lo, r, x, kept, n_reduced, keep, n, out);
}

/* What the fold runs over in dim i; 1 where it is kept. */
static const struct expr *fold_extent(struct ctx *c, const struct rows *r,
				      unsigned i)
{
	return extent_if(c, expr_sub(c, expr_const(c, 1), r->kept[i]),
			 r->type->dim[i]);
}

void rows_fold(struct lower *lo, struct rows *r, unsigned n_acc,
	       struct value *const *init)
{
	struct ctx *c = lo->b.ctx;
	const struct expr *extent[MAX_RANK];

	for (unsigned i = 0; i < r->type->rank; i++)
		extent[i] = fold_extent(c, r, i);
	r->fold = fold_begin(lo, r->type->rank, extent, n_acc, init);
	for (unsigned i = 0; i < r->type->rank; i++)
		r->at[i] = expr_add(c, r->base[i], r->fold.iv[i]);
}

void rows_fold_end(struct lower *lo, struct rows *r,
		   struct value *const *next, struct value **result)
{
	fold_end(lo, &r->fold, next, result);
}

void rows_end(struct lower *lo, struct rows *r, unsigned n,
	      struct value *const *val, struct value **result)
{
	nest_end(lo, &r->nest, n, val, result);
}

const struct expr *rows_count(struct ctx *c, const struct rows *r)
{
	const struct expr *n = expr_const(c, 1);

	for (unsigned i = 0; i < r->type->rank; i++)
		n = expr_mul(c, n, fold_extent(c, r, i));
	return n;
}

struct value *row_mean(struct lower *lo, struct value *x, const bool *reduced,
		       enum dtype acc, enum row_sum what, struct value *mean)
{
	struct rows r;
	struct value *v, *m = NULL, *res;

	rows_begin(lo, &r, x->type, reduced, true, 1, &acc);
	if (what == ROW_DEVIATION)
		m = nest_load(lo, mean, r.nest.iv);
	v = s_const(lo, acc, 0);
	rows_fold(lo, &r, 1, &v);
	v = load_as(lo, acc, x, r.at);
	if (m)
		v = s_sub(lo, v, m);
	if (what != ROW_SUM)
		v = s_mul(lo, v, v);
	v = s_add(lo, r.fold.acc[0], v);
	rows_fold_end(lo, &r, &v, &v);
	v = s_div(lo, v, s_expr(lo, acc, rows_count(lo->b.ctx, &r)));
	rows_end(lo, &r, 1, &v, &res);
	return res;
}

struct value *inverse_root(struct lower *lo, struct value *x, double epsilon)
{
	enum dtype t = x->type->dtype;
	struct nest n = nest_begin(lo, 1, &x->type);
	struct value *v = nest_load(lo, x, n.iv), *res;

	v = s_op(lo, OP_arith_sqrt, s_add(lo, v, s_const(lo, t, epsilon)));
	v = s_div(lo, s_const(lo, t, 1), v);
	nest_end(lo, &n, 1, &v, &res);
	return res;
}

struct value *power_of(struct lower *lo, struct value *v, int64_t p)
{
	v = s_op(lo, OP_arith_abs, v);
	if (p == 1)
		return v;
	if (p == 2)
		return s_mul(lo, v, v);
	return s_op2(lo, OP_math_pow, v,
		     s_const(lo, v->type->dtype, (double)p));
}

struct value *root_of(struct lower *lo, struct value *v, int64_t p)
{
	if (p == 1)
		return v;
	if (p == 2)
		return s_op(lo, OP_arith_sqrt, v);
	return s_op2(lo, OP_math_pow, v,
		     s_const(lo, v->type->dtype, 1.0 / (double)p));
}
