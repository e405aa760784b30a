/* SPDX-License-Identifier: Apache-2.0 */
/* The product that a fold sums: what a contraction's body looks like. */
#include "passes/nest/body.h"

/* Does the cast keep every value, so that a sum may widen what it reads? */
static bool widens(enum dtype from, enum dtype to)
{
	if (to == DT_F32 && dtype_is_half(from))
		return true;
	return (to == DT_I32 || to == DT_F32) && !dtype_is_float(from) &&
	       dtype_info[from].bits <= 16;
}

/* The load that v is, or is the widened value of. */
static struct op *load_of(struct value *v, const struct block *body)
{
	struct op *cast = def_of(v, OP_arith_cast), *load;

	if (cast && cast->parent == body &&
	    widens(cast->in[0].val->type->dtype, v->type->dtype))
		v = cast->in[0].val;
	load = def_of(v, OP_nest_load);
	return load && load->parent == body ? load : NULL;
}

/* (f32(q) - f32(zero)) * f32(scale): the load of q. */
static struct op *decoded(struct value *v, const struct block *body,
			  struct decode *d)
{
	struct op *mul, *sub, *q, *wide = def_of(v, OP_arith_cast);

	d->to = DT_F32;
	if (wide && wide->parent == body &&
	    dtype_is_half(wide->in[0].val->type->dtype)) {
		struct op *half = def_of(wide->in[0].val, OP_arith_cast);

		d->to = wide->in[0].val->type->dtype;
		if (!half || half->parent != body)
			return NULL;
		v = half->in[0].val;
	}
	mul = def_of(v, OP_arith_mul);
	if (!mul || mul->parent != body || v->type->dtype != DT_F32)
		return NULL;
	v = mul->in[0].val;
	sub = def_of(v, OP_arith_sub);
	d->scale = load_of(mul->in[1].val, body);
	d->zero = sub ? load_of(sub->in[1].val, body) : NULL;
	q = load_of(sub ? sub->in[0].val : v, body);
	return q && d->scale && (d->zero || !sub) && d->scale != q &&
			       !dtype_is_float(q->out[0].type->dtype)
		       ? q
		       : NULL;
}

struct op *fold_product(const struct op *fold)
{
	const struct block *body = op_body(fold);
	struct op *sum, *mul;

	if (fold->n_in != 1 || !body->last || !body->last->n_in)
		return NULL;
	sum = def_of(body->last->in[0].val, OP_arith_add);
	if (!sum || sum->parent != body)
		return NULL;
	unsigned k = sum->in[0].val == body->arg[0] ? 1 : 0;

	if (sum->in[1 - k].val != body->arg[0])
		return NULL;
	mul = def_of(sum->in[k].val, OP_arith_mul);
	return mul && mul->parent == body ? mul : NULL;
}

struct value *product_factor(struct op *load)
{
	struct op *fold = op_parent(load), *mul = fold_product(fold);
	struct decode d;

	for (int i = 0; i < 2; i++) {
		struct value *v = mul->in[i].val;

		if (load_of(v, op_body(fold)) == load ||
		    decoded(v, op_body(fold), &d) == load)
			return v;
	}
	return NULL;
}

bool product_decodes(struct op *load, struct decode *d)
{
	*d = (struct decode){ NULL };
	return decoded(product_factor(load), load->parent, d) == load;
}

bool fold_is_product(const struct op *fold, struct op **a, struct op **b)
{
	struct op *mul = fold_product(fold), *x[2];
	struct decode d;
	unsigned decodes = 0;

	if (!mul)
		return false;
	for (int i = 0; i < 2; i++) {
		x[i] = load_of(mul->in[i].val, op_body(fold));
		if (!x[i] && !decodes++)
			x[i] = decoded(mul->in[i].val, op_body(fold), &d);
	}
	*a = x[0];
	*b = x[1];
	return x[0] && x[1] && x[0] != x[1];
}

struct op *body_product(const struct block *body)
{
	struct op *found = NULL, *a, *b;

	for (struct op *op = body->first; op; op = op->next) {
		if (op->code != OP_nest_reduce)
			continue;
		if (found || !fold_is_product(op, &a, &b))
			return NULL;
		found = op;
	}
	return found;
}

/* The fold that was begun takes the body of the old one, whose variables are
 * in cl, and its place. */
static struct op *fold_become(struct op *old, struct lower *lo,
			      struct cloner *cl, struct reduce *r)
{
	const struct block *from = op_body(old);

	clone_value(cl, from->arg[0], r->acc[0]);
	const struct op *y = clone_body(cl, &lo->b, from);
	struct value *v = cloned(cl, y->in[0].val);

	nest_reduce_end(lo, r, &v, &v);
	value_replace(&old->out[0], v);
	op_erase(old);
	cloner_free(cl);
	return r->op;
}

struct op *fold_split(struct ctx *c, struct op *old, uint32_t k, int64_t by,
		      const struct expr **inside)
{
	const struct block *from = op_body(old);
	struct lower lo = { .b = { c, old->parent, old, old->loc } };
	const struct expr *size = expr_const(c, by), *extent[MAX_RANK];
	struct cloner cl = { .ctx = c };
	uint32_t n = from->n_iv;

	for (uint32_t i = 0; i < n; i++)
		extent[i] = expr_atom(from->iv[i])->a;
	const struct expr *all = extent[k];

	extent[k] = expr_ceildiv(c, all, size);
	extent[n] = size;
	struct reduce r = nest_reduce_begin(&lo, n + 1, extent, 1,
					    &old->in[0].val);

	for (uint32_t i = 0; i < n; i++) {
		const struct expr *to = r.iv[i];

		if (i == k)
			to = expr_add(c, expr_mul(c, to, size), r.iv[n]);
		clone_iv(&cl, from->iv[i], to);
		if (i == k && inside && !expr_exact_div(c, all, size))
			*inside = expr_addc(c, expr_sub(c, all, to), -1);
	}
	return fold_become(old, &lo, &cl, &r);
}

struct op *fold_arrange(struct ctx *c, struct op *old, const unsigned *order,
			const struct expr *const *extent)
{
	const struct block *from = op_body(old);
	struct lower lo = { .b = { c, old->parent, old, old->loc } };
	struct cloner cl = { .ctx = c };
	struct reduce r = nest_reduce_begin(&lo, from->n_iv, extent, 1,
					    &old->in[0].val);

	for (uint32_t i = 0; i < from->n_iv; i++)
		clone_iv(&cl, from->iv[order[i]], r.iv[i]);
	return fold_become(old, &lo, &cl, &r);
}
