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
 * The stored numbers are then brought to the signs that the target's
 * instruction wants (struct dot): u8 x with zero point z is i8 x - 128 with
 * z - 128.  Fusion takes that into the statement that makes them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "ir/layout.h"
#include "ir/target.h"
#include "passes/nest/body.h"
#include "passes/nest/chains.h"
#include "passes/nest/contraction.h"
#include "passes/nest/quantized.h"

/* |q - z| < 2^8 for both factors, and the sum has to stay below 2^31. */
enum { MAX_DEPTH = 33025 };

struct integer {
	struct ctx *c;
	struct op *compute;
	struct op *fold;
	struct block *body;
};

/* A cursor in the statement's body, before `at`. */
static struct lower cursor(const struct integer *t, struct op *at)
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
	lo = cursor(t, at);
	return nest_load(&lo, sum, idx);
}

/* zero * sum k: i32(load), before `at`. */
static struct value *correction(const struct integer *t, struct value *zero,
				struct op *load, struct op *at)
{
	struct lower lo = cursor(t, at);
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
	struct lower lo = cursor(t, at);
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

/* ---- the forms of the operands -------------------------------------- */

/* Is s the statement of v's numbers in another form, as made below? */
static bool is_conversion(const struct op *s, const struct value *v)
{
	const struct block *b = op_body(s);
	const struct op *op = b->first;
	size_t n;
	const struct expr *const *idx;

	if (op->code != OP_nest_load || op->n_in != 1 || op->in[0].val != v)
		return false;
	idx = op_exprs(op, A_idx, &n);
	for (size_t i = 0; i < n; i++)
		if (idx[i] != b->iv[i])
			return false;
	if (dtype_size(v->type->dtype) == dtype_size(s->out[0].type->dtype)) {
		op = op->next;
		if (op->code != OP_arith_const ||
		    (op_attr(op, A_value)->i & 255) != 128)
			return false;
		op = op->next;
		if (op->code != OP_arith_xor)
			return false;
	}
	op = op->next;
	return op->code == OP_arith_cast && op->next == b->last;
}

/*
 * The tensor in type `to`: of the same size with the sign bit flipped, else
 * widened.  Stated right behind what makes it, once for all readers.
 */
static struct value *converted(const struct integer *t, struct value *v,
			       enum dtype to)
{
	enum dtype from = v->type->dtype;
	struct block *b = v->def ? v->def->parent : v->block;

	for (const struct use *u = v->uses; u; u = u->next) {
		struct op *s = op_parent(u->user);

		if (s && s->code == OP_nest_compute && s->parent == b &&
		    s->out[0].type->dtype == to && is_conversion(s, v))
			return &s->out[0];
	}
	struct lower lo = { .b = { t->c, b, v->def ? v->def->next : b->first,
				   t->compute->loc } };
	const struct type *type = type_tensor(t->c, to, v->type->rank,
					      v->type->dim);
	struct nest n = nest_begin(&lo, 1, &type);
	struct value *x = nest_load(&lo, v, n.iv);

	if (dtype_size(to) == dtype_size(from))
		x = s_op2(&lo, OP_arith_xor, x, s_int(&lo, from, -128));
	x = s_cast(&lo, to, x);
	nest_end(&lo, &n, 1, &x, &x);
	return x;
}

/* The factor reads numbers of type `to`, and its zero point follows. */
static void convert_factor(const struct integer *t, struct factor *f,
			   enum dtype to)
{
	struct op *load = f->load;
	enum dtype from = load->in[0].val->type->dtype;
	bool flip = dtype_size(from) == dtype_size(to);

	if (to == from)
		return;
	struct value *v = converted(t, load->in[0].val, to), *x;
	struct lower lo = cursor(t, t->fold);
	size_t n;
	const struct expr *const *idx = op_exprs(load, A_idx, &n);
	const struct expr *const *guard = op_exprs(load, A_guard, &n);
	struct value *other = n ? load->in[1].val : NULL;

	if (other && flip)
		other = s_op2(&lo, OP_arith_xor, other,
			      s_int(&lo, from, -128));
	if (other)
		other = s_cast(&lo, to, other);
	if (flip)
		f->zero = scalar_plus(&lo, f->zero,
				      from == DT_I8 ? 128 : -128);
	lo.b.block = load->parent;
	lo.b.before = load;
	x = nest_load_guarded(&lo, v, idx, (unsigned)n, guard, other);
	f->load = x->def;
	struct value *old = product_factor(load);

	value_replace(old, s_cast(&lo, old->type->dtype, x));
	op_erase(old->def);
	op_erase(load);
}

/* How the weights of a column and a step of the sum lie in a constant. */
struct weights {
	const int8_t *data;
	bool flip;			/* u8 */
	int64_t base, col, step[MAX_RANK], extent[MAX_RANK], cols;
	unsigned n, channel;
};

static bool find_weights(const struct integer *t, const struct contraction *con,
			 const struct op *w, struct weights *s)
{
	struct ctx *c = t->c;
	const struct block *kb = op_body(t->fold);
	int at = contraction_channel_variable(con);
	struct cloner cl = { .ctx = c };
	const struct expr *k, *e;
	struct blob data;
	size_t n;

	if (!value_const(w->in[0].val, &data) || at < 0 || !data.size)
		return false;
	for (uint32_t i = 0; i < t->body->n_iv; i++)
		if (i != con->col)
			clone_iv(&cl, t->body->iv[i], expr_const(c, 0));
	e = clone_expr(&cl, layout_offset(c, w->in[0].val,
					  op_exprs(w, A_idx, &n)));
	cloner_free(&cl);
	*s = (struct weights){ .data = data.data, .n = kb->n_iv,
			       .flip = w->in[0].val->type->dtype == DT_U8,
			       .channel = (unsigned)at };
	const struct expr *col = t->body->iv[con->col];

	if (!expr_is_const(expr_atom(col)->a, &s->cols) ||
	    !expr_linear(c, e, expr_atom(col), &k, &e) ||
	    !expr_is_const(k, &s->col))
		return false;
	for (unsigned i = 0; i < s->n; i++)
		if (!expr_is_const(expr_atom(kb->iv[i])->a, &s->extent[i]) ||
		    s->extent[i] < 1 ||
		    !expr_linear(c, e, expr_atom(kb->iv[i]), &k, &e) ||
		    !expr_is_const(k, &s->step[i]))
			return false;
	return expr_is_const(e, &s->base);
}

/* The weight of a column in part q of a quad: channels run in order. */
static int8_t weight_of(const struct weights *s, int64_t col, int64_t k,
			int64_t q)
{
	int64_t quads = (s->extent[s->channel] + 3) / 4;
	int64_t channel = k % quads * 4 + q, at = s->base + col * s->col;

	k /= quads;
	for (unsigned i = s->n; i-- > 0;)
		if (i != s->channel) {
			at += k % s->extent[i] * s->step[i];
			k /= s->extent[i];
		}
	if (col >= s->cols || channel >= s->extent[s->channel])
		return 0;
	int8_t w = s->data[at + channel * s->step[s->channel]];

	return s->flip ? (int8_t)(w ^ -128) : w;
}

/* Are the steps from one product to the next known in the row operand? */
static bool knows_steps(const struct contraction *con)
{
	const struct block *kb = op_body(con->fold);
	const struct type *t = con->a->in[0].val->type;
	int64_t k;

	for (uint32_t i = 0; i < kb->n_iv; i++)
		if (con->window >> i & 1 &&
		    !expr_is(expr_atom(kb->iv[i])->a, 1))
			for (unsigned d = 1; d < t->rank; d++)
				if (!expr_is_const(t->dim[d], &k))
					return false;
	return true;
}

/*
 * Are the chains that an instruction which saturates needs for the weights
 * cheaper than the other one?  The first panel and one in the middle stand for
 * all.
 */
static bool chains_pay(const struct integer *t, const struct contraction *con,
		       const struct op *w, const struct dot *other)
{
	unsigned cols = target_lanes(t->c->target, 32);
	int64_t n = 1, cost = 0, panels;
	struct weights s;

	if (cols > MAX_CHAIN_COLS || !knows_steps(con) || !find_weights(t, con, w, &s))
		return false;
	for (unsigned i = 0; i < s.n; i++)
		n *= i == s.channel ? (s.extent[i] + 3) / 4 : s.extent[i];
	panels = (s.cols + cols - 1) / cols;
	int8_t *quads = xrealloc(NULL, (size_t)n * cols * 4, 1);

	for (int64_t part = 0; part < 2; part++) {
		int64_t col = part * (panels / 2) * cols;
		struct chains ch;

		for (int64_t i = 0; i < n * cols * 4; i++)
			quads[i] = weight_of(&s, col + i / 4 % cols,
					     i / 4 / cols, i % 4);
		chains_pack(quads, (size_t)n,
			    (size_t)(s.extent[s.channel] + 3) / 4, cols, &ch);
		cost += chains_cost(&ch);
		chains_free(&ch);
	}
	free(quads);
	return cost * other->group < 2 * n * 4 * other->steps;
}

/* The instruction for these weights. */
static const struct dot *choose_dot(const struct integer *t,
				    const struct op *w)
{
	const struct dot *const *dot = t->c->target->dot;
	struct contraction con;

	return dot[0]->saturates && dot[1] &&
			       !(contraction_match(t->c, t->compute, &con) &&
				 chains_pay(t, &con, w, dot[1]))
		       ? dot[1]
		       : dot[0];
}

/* What a kernel of the target takes as rows and as columns. */
static void convert(const struct integer *t, struct factor *f)
{
	int a = contraction_row_factor(t->c, t->compute);

	if (a < 0)
		return;

	/* Bytes that meet floats are widened when they are loaded; i8 has its
	 * zero point at 0 more often. */
	if (f[0].plain || f[1].plain) {
		a = f[0].plain;
		if (f[a].zero)
			convert_factor(t, &f[a], DT_I8);
		return;
	}
	const struct dot *dot = choose_dot(t, f[1 - a].load);

	convert_factor(t, &f[a], dot->rows);
	/* A panel is widened when it is packed. */
	if (dtype_size(dot->panel) == 1)
		convert_factor(t, &f[1 - a], dot->panel);
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
	struct lower lo = cursor(t, at);

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
	lo = cursor(t, at);
	return nest_load(&lo, v, iv);
}

static void new_fold(struct integer *t, struct factor *f)
{
	struct lower lo = cursor(t, t->fold);
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
	struct lower lo = cursor(t, old->next);
	/* Stands for the sum until that is made. */
	struct value *sum = s_int(&lo, old->out[0].type->dtype, 0), *v;
	struct op *at = sum->def;

	new_fold(t, f);
	value_replace(&old->out[0], sum);
	op_erase(old);
	convert(t, f);
	lo = cursor(t, at);
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

static struct op *only_fold(const struct block *b)
{
	struct op *found = NULL;

	for (struct op *op = b->first; op; op = op->next)
		if (op->code == OP_nest_reduce) {
			if (found)
				return NULL;
			found = op;
		}
	return found;
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
	struct integer t = { c, compute, only_fold(op_body(compute)),
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
