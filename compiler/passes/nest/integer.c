/* SPDX-License-Identifier: Apache-2.0 */
/*
 * integer: contractions of quantized tensors are summed as integers.
 *
 *	y[m, n] = f(sum k: (i32(a[m, k]) - za) * sa * (i32(w[k, n]) - zw) * sw)
 * ->
 *	y[m, n] = f(f32(sum k: i32(a[m, k]) * i32(w[k, n])
 *			- za * sum k: w[k, n] - zw * sum k: a[m, k]
 *			+ K * za * zw) * (sa * sw))
 *
 * which is so for any contraction whose scales and zero points do not change
 * along the sum: a question to the index maps.  Where the file has integer
 * sums already only the zero points leave them.  The sum over a constant is a
 * constant.  All integers are modulo 2^32, in which the result fits.
 *
 * Where only a constant w is quantized, the sum stays one of floats, but over
 * the stored bytes: less to read, and the scale is applied once.
 *
 * The stored numbers are then brought to the form that the target's
 * instruction wants; see integer_operands.c.
 */
#include <string.h>

#include "base/vec.h"
#include "passes/nest/body.h"
#include "passes/nest/integer.h"

/* |q - z| < 2^8 for both factors, and the sum has to stay below 2^31. */
enum { MAX_DEPTH = 33025 };

struct lower integer_cursor(const struct integer *t, struct op *at)
{
	return (struct lower){ .b = { t->c, t->body, at, t->compute->loc } };
}

/* A cursor before the statement. */
static struct lower outside(const struct integer *t)
{
	return (struct lower){ .b = { t->c, t->compute->parent, t->compute,
				      t->compute->loc } };
}

/* The variables of the statement with those bits and their extents; returns
 * how many. */
static unsigned variables(const struct integer *t, uint32_t bits,
			  const struct expr **iv, const struct expr **extent)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < t->body->n_iv; i++)
		if (bits >> i & 1) {
			iv[n] = t->body->iv[i];
			extent[n++] = expr_atom(t->body->iv[i])->a;
		}
	return n;
}

/* ---- sums of one factor --------------------------------------------- */

/* A variable of which a load knows quotients by `by`. */
struct quotient {
	const struct atom *iv;
	int64_t by;
};

static void find_quotient(void *arg, const struct atom *a)
{
	struct quotient *q = arg;
	int64_t k, n;

	if (a->kind == ATOM_DIV && expr_atom(a->a) == q->iv &&
	    expr_is_const(a->b, &k) && expr_is_const(q->iv->a, &n) &&
	    n % k == 0)
		q->by = k;
}

static const struct expr *without(void *arg, const struct atom *a)
{
	const struct quotient *q = arg;

	return a->kind == ATOM_DIV && expr_atom(a->a) == q->iv &&
			       expr_is(a->b, q->by)
		       ? a->b
		       : NULL;
}

/* By what the variable is divided wherever the load uses it (the channels of
 * a grouped convolution), or 1. */
static int64_t divisor(struct ctx *c, const struct op *load,
		       const struct expr *iv)
{
	static const enum attr_name lists[] = { A_idx, A_guard };
	struct quotient q = { expr_atom(iv), 1 };
	size_t n;

	for (size_t k = 0; k < ARRAY_SIZE(lists); k++) {
		const struct expr *const *e = op_exprs(load, lists[k], &n);

		for (size_t i = 0; i < n; i++)
			expr_visit(e[i], find_quotient, &q);
	}
	for (size_t k = 0; k < ARRAY_SIZE(lists); k++) {
		const struct expr *const *e = op_exprs(load, lists[k], &n);

		for (size_t i = 0; i < n; i++)
			if (expr_uses(expr_subst(c, e[i], without, &q), q.iv))
				return 1;
	}
	return q.by;
}

/*
 * sum k: i32(load), as a tensor over the statement's variables that the load
 * uses; its element at a point of the statement is loaded before `at`.  With
 * `times`, a scalar without variables, it is multiplied by that.
 */
static struct value *sum_of(const struct integer *t, struct op *load,
			    struct value *times, struct op *at)
{
	struct ctx *c = t->c;
	struct lower lo = outside(t);
	const struct block *kb = op_body(t->fold);
	const struct expr *dim[MAX_RANK], *idx[MAX_RANK], *extent[MAX_RANK];
	unsigned rank = variables(t, op_uses_ivs(load, t->body), idx, dim);
	int64_t by[MAX_RANK];

	for (unsigned i = 0; i < rank; i++) {
		by[i] = divisor(c, load, idx[i]);
		dim[i] = expr_div(c, dim[i], expr_const(c, by[i]));
	}
	enum dtype t_sum = t->fold->out[0].type->dtype;
	const struct type *type = type_tensor(c, t_sum, rank, dim);
	struct cloner cl = { .ctx = c };
	struct nest n = nest_begin(&lo, 1, &type);
	struct value *v = s_int(&lo, t_sum, 0), *sum;

	for (unsigned i = 0; i < rank; i++) {
		clone_iv(&cl, idx[i], expr_scale(c, n.iv[i], by[i]));
		idx[i] = expr_div(c, idx[i], expr_const(c, by[i]));
	}
	for (unsigned i = 1; i < load->n_in; i++)
		clone_scalar(&cl, &lo.b, load->in[i].val);
	for (uint32_t i = 0; i < kb->n_iv; i++)
		extent[i] = clone_expr(&cl, expr_atom(kb->iv[i])->a);
	struct reduce r = nest_reduce_begin(&lo, kb->n_iv, extent, 1, &v);

	for (uint32_t i = 0; i < kb->n_iv; i++)
		clone_iv(&cl, kb->iv[i], r.iv[i]);
	v = &clone_op(&cl, &lo.b, load)->out[0];
	v = s_add(&lo, r.acc[0], s_cast(&lo, t_sum, v));
	nest_reduce_end(&lo, &r, &v, &sum);
	if (times)
		sum = s_mul(&lo, sum, s_cast(&lo, t_sum,
					     clone_scalar(&cl, &lo.b, times)));
	nest_end(&lo, &n, 1, &sum, &sum);
	cloner_free(&cl);
	lo = integer_cursor(t, at);
	return nest_load(&lo, sum, idx);
}

/* zero * sum k: i32(load), before `at`. */
static struct value *correction(const struct integer *t, struct value *zero,
				struct op *load, struct op *at)
{
	struct lower lo = integer_cursor(t, at);
	union scalar k;

	if (scalar_const(zero, &k))
		return sum_of(t, load, zero, at);
	return s_mul(&lo, s_cast(&lo, t->fold->out[0].type->dtype, zero),
		     sum_of(t, load, NULL, at));
}

/* K * za * zw, where K is how many terms the sum has. */
static struct value *constant_term(const struct integer *t,
				   const struct factor *f, struct op *at)
{
	const struct block *kb = op_body(t->fold);
	struct lower lo = integer_cursor(t, at);
	const struct expr *n = expr_const(t->c, 1);
	union scalar za, zw;
	int64_t k;

	for (uint32_t i = 0; i < kb->n_iv; i++)
		n = expr_mul(t->c, n, expr_atom(kb->iv[i])->a);
	if (scalar_const(f[0].zero, &za) && scalar_const(f[1].zero, &zw) &&
	    expr_is_const(n, &k))
		return s_int(&lo, DT_I32,
			     (int32_t)((uint32_t)k * (uint32_t)(za.i * zw.i)));
	return s_mul(&lo, s_mul(&lo, f[0].zero, f[1].zero),
		     s_cast(&lo, DT_I32, nest_value(&lo, n)));
}

/* ---- the statement -------------------------------------------------- */

/* The scales' product, as a tensor where it does not grow by that. */
static struct value *scales(const struct integer *t, const struct factor *f,
			    struct op *at)
{
	struct value *x = f[0].scale, *y = f[1].scale;
	uint32_t bx = x ? scalar_ivs(x, t->body) : 0;
	uint32_t by = y ? scalar_ivs(y, t->body) : 0;
	const struct expr *iv[MAX_RANK], *dim[MAX_RANK];
	struct lower lo = integer_cursor(t, at);

	if (!x || !y)
		return x ? x : y;
	if (bx && by && bx != by)
		return s_mul(&lo, x, y);
	lo = outside(t);
	unsigned rank = variables(t, bx | by, iv, dim);
	const struct type *type = type_tensor(t->c, DT_F32, rank, dim);
	struct cloner cl = { .ctx = t->c };
	struct nest n = nest_begin(&lo, 1, &type);
	struct value *v;

	for (unsigned i = 0; i < rank; i++)
		clone_iv(&cl, iv[i], n.iv[i]);
	x = clone_scalar(&cl, &lo.b, x);
	v = s_mul(&lo, x, clone_scalar(&cl, &lo.b, y));
	nest_end(&lo, &n, 1, &v, &v);
	cloner_free(&cl);
	lo = integer_cursor(t, at);
	return nest_load(&lo, v, iv);
}

static void new_fold(struct integer *t, struct factor *f)
{
	struct lower lo = integer_cursor(t, t->fold);
	const struct block *kb = op_body(t->fold);
	const struct expr *extent[MAX_RANK], *e[MAX_RANK], *g[2 * MAX_RANK];
	struct cloner cl = { .ctx = t->c };
	enum dtype sum = f[0].plain || f[1].plain ? DT_F32 : DT_I32;
	struct value *v = s_int(&lo, sum, 0), *x[2];

	for (uint32_t i = 0; i < kb->n_iv; i++)
		extent[i] = expr_atom(kb->iv[i])->a;
	struct reduce r = nest_reduce_begin(&lo, kb->n_iv, extent, 1, &v);

	for (uint32_t i = 0; i < kb->n_iv; i++)
		clone_iv(&cl, kb->iv[i], r.iv[i]);
	for (int i = 0; i < 2; i++) {
		for (unsigned k = 0; k < f[i].tensor->type->rank; k++)
			e[k] = clone_expr(&cl, f[i].idx[k]);
		for (size_t k = 0; k < f[i].n_guard; k++)
			g[k] = clone_expr(&cl, f[i].guard[k]);
		x[i] = nest_load_guarded(&lo, f[i].tensor, e,
					 (unsigned)f[i].n_guard, g, f[i].other);
		f[i].load = x[i]->def;
		x[i] = s_cast(&lo, sum, x[i]);
	}
	v = s_add(&lo, r.acc[0], s_mul(&lo, x[0], x[1]));
	nest_reduce_end(&lo, &r, &v, &v);
	cloner_free(&cl);
	t->fold = r.op;
}

static void rewrite(struct integer *t, struct factor *f)
{
	struct op *old = t->fold;
	struct lower lo = integer_cursor(t, old->next);
	/* Stands for the sum until that is made. */
	struct value *sum = s_int(&lo, old->out[0].type->dtype, 0), *v;
	struct op *at = sum->def;

	new_fold(t, f);
	value_replace(&old->out[0], sum);
	op_erase(old);
	integer_operands(t, f);
	lo = integer_cursor(t, at);
	v = &t->fold->out[0];
	for (int i = 0; i < 2; i++)
		if (f[i].zero)
			v = s_sub(&lo, v, correction(t, f[i].zero,
						     f[1 - i].load, at));
	if (f[0].zero && f[1].zero)
		v = s_add(&lo, v, constant_term(t, f, at));
	if (dtype_is_float(sum->type->dtype))
		v = s_mul(&lo, s_cast(&lo, DT_F32, v), scales(t, f, at));
	value_replace(sum, v);
	op_erase(at);
	erase_dead(t->body);
}

static bool too_deep(const struct op *fold)
{
	const struct block *kb = op_body(fold);
	int64_t n = 1, k;

	for (uint32_t i = 0; i < kb->n_iv; i++)
		if (!expr_is_const(expr_atom(kb->iv[i])->a, &k) ||
		    __builtin_mul_overflow(n, k, &n))
			return true;
	return n > MAX_DEPTH;
}

/* Says why the sum stays one of floats, if it is one of products. */
static void note(const struct integer *t, const char *why)
{
	struct product_notes *notes = t->c->products;
	struct op *a, *b;

	if (notes && fold_is_product(t->fold, &a, &b) &&
	    a->in[0].val != b->in[0].val)
		vec_push(notes, ((struct product_note){ t->fold->loc, why }));
}

static const char *reason(const struct factor f[2])
{
	const char *why = f[0].why ? f[0].why : f[1].why;

	if (f[0].why && f[1].why && !strcmp(f[0].why, f[1].why))
		why = "no operand is a dequantized tensor of 8 bits";
	return why ? why : "its operands are not loaded as they are stored";
}

static void integer_statement(struct ctx *c, struct op *compute)
{
	struct integer t = { c, compute, body_fold(op_body(compute)),
			     op_body(compute) };
	struct factor f[2] = { 0 };

	if (!t.fold || compute->n_out != 1)
		return;
	/* Numbers of the file are modulo 2^32 already. */
	if (dtype_is_float(t.fold->out[0].type->dtype)) {
		if (c->strict_qdq)
			return;
		if (too_deep(t.fold)) {
			note(&t, "the sum may leave the range of i32");
			return;
		}
	} else if (t.fold->out[0].type->dtype == DT_I32) {
		body_tidy(c, t.body);
	} else {
		return;
	}
	bool quantized = quantized_factors(c, compute, t.fold, f);

	if (!quantized || f[0].plain || f[1].plain)
		note(&t, reason(f));
	if (quantized)
		rewrite(&t, f);
	else if (!dtype_is_float(t.fold->out[0].type->dtype) ||
		 !decode_weights(c, compute, t.fold))
		erase_dead(t.body);
}

static bool integer_run(struct module *m, const struct pass_args *args)
{
	(void)args;
	each_statement(m->ctx, op_body(m->func), integer_statement);
	erase_dead(op_body(m->func));
	return true;
}

PASS(integer,
	.summary = "Sum products of quantized numbers as integers",
	.needs = LEVEL_NEST, .leaves = LEVEL_NEST,
	.run = integer_run);
