/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Constant weights that are stored in a few bits, with a scale (and a zero
 * point) for each block along the sum:
 *
 *	sum k: a[m, k] * ((f32(q[k, n]) - z[k div B, n]) * s[k div B, n])
 *
 * The parts are found in what the factor is made of, whatever operator said
 * it, and become constants of their own: q in as few bits as hold its numbers,
 * s as half floats where these are exact.  A zero point that is the same
 * everywhere goes into q.  The kernel decodes them where it reads them.
 */
#include <math.h>
#include <string.h>

#include "ir/eval.h"
#include "passes/nest/body.h"
#include "passes/nest/contraction.h"
#include "passes/nest/quantized.h"

/* The factor: a value of the fold, or of a statement that the fold reads. */
struct weights {
	struct ctx *c;
	struct op *compute, *fold;
	unsigned operand;		/* of the product */
	struct value *root;
	enum dtype to;			/* what root is rounded to */
	struct cloner map;		/* its block's variables -> the fold's */
	struct value *q, *zero, *scale;	/* parts of root; zero may be NULL */
};

/* Variables of the statement and of its fold. */
struct vars {
	uint32_t body, fold;
};

/* ---- finding the parts ---------------------------------------------- */

static void visit_value(struct weights *w, const struct value *v,
			void (*fn)(void *arg, const struct atom *a), void *arg)
{
	size_t n;

	if (!v || !v->def)
		return;
	for (int list = 0; list < 2; list++) {
		const struct expr *const *e = op_exprs(
			v->def, list ? A_guard : A_idx, &n);

		for (size_t i = 0; i < n; i++)
			expr_visit(clone_expr(&w->map, e[i]), fn, arg);
	}
	for (unsigned i = 0; i < v->def->n_in; i++)
		if (v->def->in[i].val->type->kind == TY_SCALAR)
			visit_value(w, v->def->in[i].val, fn, arg);
}

struct seen {
	const struct block *body, *fold;
	struct vars v;
};

static void see(void *arg, const struct atom *a)
{
	struct seen *s = arg;

	for (uint32_t i = 0; i < s->body->n_iv && i < 32; i++)
		if (expr_atom(s->body->iv[i]) == a)
			s->v.body |= 1u << i;
	for (uint32_t i = 0; i < s->fold->n_iv && i < 32; i++)
		if (expr_atom(s->fold->iv[i]) == a)
			s->v.fold |= 1u << i;
}

static struct vars vars_of(struct weights *w, const struct value *v)
{
	struct seen s = { op_body(w->compute), op_body(w->fold), { 0, 0 } };

	visit_value(w, v, see, &s);
	return s.v;
}

/* Pure arithmetic on constants? */
static bool is_constant(const struct value *v, unsigned steps)
{
	const struct op *op = v->def;
	struct blob data;

	if (!op || !steps || op->n_region || op_def(op)->impure)
		return false;
	for (unsigned i = 0; i < op->n_in; i++) {
		const struct value *x = op->in[i].val;

		if (x->type->kind == TY_SCALAR ? !is_constant(x, steps - 1)
					       : !value_const(x, &data))
			return false;
	}
	return op->code != OP_nest_index;
}

static bool is_int(const struct value *v)
{
	return !dtype_is_float(v->type->dtype);
}

/* f32(i), or f32(i) - z, or f32(i - z). */
static bool read_stored(struct weights *w, struct value *v)
{
	struct op *sub = def_of(v, OP_arith_sub), *cast;

	w->zero = NULL;
	if (sub) {
		w->zero = sub->in[1].val;
		v = sub->in[0].val;
	}
	cast = def_of(v, OP_arith_cast);
	if (!cast || !is_int(cast->in[0].val))
		return false;
	v = cast->in[0].val;
	sub = w->zero ? NULL : def_of(v, OP_arith_sub);
	if (sub) {
		w->zero = sub->in[1].val;
		v = sub->in[0].val;
	}
	w->q = v;
	return true;
}

static bool read_parts(struct weights *w)
{
	struct value *v = w->root;
	struct op *mul, *cast = def_of(v, OP_arith_cast);

	if (!is_constant(v, 32))
		return false;
	/* A half float, perhaps widened again. */
	if (cast && dtype_is_half(cast->in[0].val->type->dtype))
		v = cast->in[0].val;
	w->to = v->type->dtype;
	cast = def_of(v, OP_arith_cast);
	if (dtype_is_half(w->to) && cast)
		v = cast->in[0].val;
	mul = def_of(v, OP_arith_mul);
	if (!mul || v->type->dtype != DT_F32)
		return false;
	for (int i = 0; i < 2; i++)
		if (read_stored(w, mul->in[i].val)) {
			w->scale = mul->in[1 - i].val;
			return true;
		}
	return false;
}

/* Is it one value per element, of constants? */
static bool is_simple(const struct op *s)
{
	return s && s->n_out == 1 && !op_has(s, A_idx) &&
	       !body_has_fold(op_body(s));
}

/* A load in the statement of what another one makes of constants is replaced
 * by what that one does. */
static void take_in(struct ctx *c, struct op *s)
{
	for (struct op *op = op_body(s)->first, *next; op; op = next) {
		struct builder b = { c, op_body(s), op, op->loc };
		struct op *from;
		struct cloner cl = { .ctx = c };
		size_t n;

		next = op->next;
		if (op->code != OP_nest_load || op->n_in != 1)
			continue;
		from = def_of(op->in[0].val, OP_nest_compute);
		if (!is_simple(from) ||
		    !is_constant(op_body(from)->last->in[0].val, 32))
			continue;
		const struct expr *const *idx = op_exprs(op, A_idx, &n);

		for (size_t i = 0; i < n; i++)
			clone_iv(&cl, op_body(from)->iv[i], idx[i]);
		const struct op *y = clone_body(&cl, &b, op_body(from));

		value_replace(&op->out[0], cloned(&cl, y->in[0].val));
		op_erase(op);
		cloner_free(&cl);
	}
}

/* The statement that makes what the load reads, seen through views. */
static bool read_statement(struct weights *w, struct op *load)
{
	struct factor f;
	struct op *s;

	if (load && load->code == OP_arith_cast)
		load = def_of(load->in[0].val, OP_nest_load);
	if (!load || load->n_in != 1 || load->parent != op_body(w->fold))
		return false;
	factor_of_load(w->c, load, &f);
	s = def_of(f.tensor, OP_nest_compute);
	if (f.n_guard || !is_simple(s))
		return false;
	take_in(w->c, s);
	for (uint32_t i = 0; i < op_body(s)->n_iv; i++)
		clone_iv(&w->map, op_body(s)->iv[i], f.idx[i]);
	w->root = op_body(s)->last->in[0].val;
	return true;
}

/* An element, perhaps widened. */
static bool is_load(const struct value *v)
{
	const struct op *cast = def_of(v, OP_arith_cast);

	return def_of(cast ? cast->in[0].val : v, OP_nest_load);
}

static bool find(struct weights *w)
{
	struct op *mul = fold_product(w->fold);

	for (unsigned i = 0; mul && i < 2; i++) {
		const struct value *other = mul->in[1 - i].val;

		if (!is_load(other) || is_constant(other, 3))
			continue;
		w->operand = i;
		w->root = mul->in[i].val;
		if (read_parts(w))
			return true;
		if (read_statement(w, w->root->def) &&
		    read_parts(w))
			return true;
		cloner_free(&w->map);
		w->map = (struct cloner){ .ctx = w->c };
	}
	return false;
}

/* ---- blocks --------------------------------------------------------- */

struct quotient {
	const struct block *fold;
	int iv;
	int64_t by;
};

static void see_quotient(void *arg, const struct atom *a)
{
	struct quotient *q = arg;
	const struct atom *x;
	int64_t k, n;

	if (a->kind != ATOM_DIV || !expr_is_const(a->b, &k) ||
	    !(x = expr_atom(a->a)))
		return;
	for (uint32_t i = 0; i < q->fold->n_iv; i++)
		if (expr_atom(q->fold->iv[i]) == x &&
		    expr_is_const(x->a, &n) && n % k == 0) {
			q->iv = (int)i;
			q->by = k;
		}
}

/* ---- constants ------------------------------------------------------ */

/* The value over those variables, as a tensor; false where it cannot be. */
static bool evaluate(struct weights *w, struct value *v, struct vars of,
		     enum dtype t, struct tensor *out, struct arena *tmp)
{
	struct ctx *c = w->c;
	struct lower lo = { .b = { c, w->compute->parent, w->compute,
				   w->compute->loc } };
	const struct block *b[] = { op_body(w->compute), op_body(w->fold) };
	const uint32_t bits[] = { of.body, of.fold };
	const struct expr *dim[2 * MAX_RANK], *iv[2 * MAX_RANK];
	struct cloner to = { .ctx = c }, cl = { .ctx = c };
	unsigned rank = 0;

	for (int k = 0; k < 2; k++)
		for (uint32_t i = 0; i < b[k]->n_iv; i++)
			if (bits[k] >> i & 1) {
				if (rank == MAX_RANK)
					return false;
				dim[rank] = expr_atom(b[k]->iv[i])->a;
				iv[rank++] = b[k]->iv[i];
			}
	const struct type *type = type_tensor(c, t, rank, dim);
	struct nest n = nest_begin(&lo, 1, &type);

	for (unsigned i = 0; i < rank; i++)
		clone_iv(&to, iv[i], n.iv[i]);
	/* Of the factor's own block: by way of the fold's variables. */
	const struct block *own = v->def->parent;

	for (uint32_t i = 0; own && i < own->n_iv; i++)
		clone_iv(&cl, own->iv[i],
			 clone_expr(&to, clone_expr(&w->map, own->iv[i])));
	for (unsigned i = 0; i < rank; i++)
		clone_iv(&cl, iv[i], n.iv[i]);
	v = s_cast(&lo, t, clone_scalar(&cl, &lo.b, v));
	nest_end(&lo, &n, 1, &v, &v);
	bool ok = eval_compute(c, n.op, out, tmp) == EVAL_OK;

	op_erase(n.op);
	cloner_free(&to);
	cloner_free(&cl);
	return ok;
}

static size_t count(const struct tensor *t)
{
	size_t n = 1;

	for (unsigned i = 0; i < t->rank; i++)
		n *= (size_t)t->dim[i];
	return n;
}

/* The elements in another type that holds them. */
static struct value *stored_as(struct weights *w, const struct tensor *t,
			       enum dtype to)
{
	struct ctx *c = w->c;
	struct builder b = { c, w->compute->parent, w->compute,
			     w->compute->loc };
	const struct expr *dim[MAX_RANK];
	size_t n = count(t), size = dtype_bytes(to, n);
	char *data = arena_alloc(&c->perm, size + 1);

	memset(data, 0, size);
	for (size_t i = 0; i < n; i++) {
		union scalar s = scalar_load(t->dtype,
					     (const char *)t->data +
						     i * dtype_size(t->dtype));

		if (t->dtype != DT_I32 || dtype_is_float(to))
			s = scalar_cast(t->dtype, to, s);
		scalar_put(to, data, i, s);
	}
	for (unsigned i = 0; i < t->rank; i++)
		dim[i] = expr_const(c, t->dim[i]);
	return build_const(&b, type_tensor(c, to, t->rank, dim),
			   (struct blob){ data, size });
}

/* The narrowest integers that hold all of these i32, or DT_COUNT. */
static enum dtype int_type(const struct tensor *t)
{
	static const enum dtype ints[] = { DT_U2, DT_I2, DT_U4, DT_I4, DT_U8,
					   DT_I8 };
	const int32_t *v = t->data;
	int32_t lo = 0, hi = 0;

	for (size_t i = 0, n = count(t); i < n; i++) {
		lo = v[i] < lo ? v[i] : lo;
		hi = v[i] > hi ? v[i] : hi;
	}
	for (size_t k = 0; k < ARRAY_SIZE(ints); k++) {
		bool sign = dtype_is_signed(ints[k]);
		int32_t top = 1 << (dtype_info[ints[k]].bits - sign);

		if (lo >= (sign ? -top : 0) && hi < top)
			return ints[k];
	}
	return DT_COUNT;
}

/* The first of the types that holds all of these floats, or DT_COUNT. */
static enum dtype narrowest(const struct tensor *t, const enum dtype *from,
			    size_t n_from)
{
	size_t n = count(t);

	for (size_t k = 0; k < n_from; k++) {
		bool ok = true;

		for (size_t i = 0; i < n && ok; i++) {
			union scalar s = scalar_get(t->dtype, t->data, i);
			union scalar r = scalar_cast(
				from[k], t->dtype,
				scalar_cast(t->dtype, from[k], s));

			ok = r.d == s.d;
		}
		if (ok)
			return from[k];
	}
	return DT_COUNT;
}

/* Every element is the same integer: taken from q, which keeps its type. */
static bool absorb(struct tensor *q, const struct tensor *zero)
{
	size_t n = count(zero);
	float z = n ? ((const float *)zero->data)[0] : 0;

	if (z != rintf(z) || fabsf(z) > 65536)
		return false;
	for (size_t i = 1; i < n; i++)
		if (((const float *)zero->data)[i] != z)
			return false;
	for (size_t i = 0, m = count(q); i < m; i++)
		((int32_t *)q->data)[i] -= (int32_t)z;
	return true;
}

/* ---- the fold ------------------------------------------------------- */

static bool is_part(struct vars a, struct vars b)
{
	return !(a.body & ~b.body) && !(a.fold & ~b.fold);
}

/* The constant's element at the fold's variables, as an f32. */
static struct value *element(struct weights *w, struct lower *lo,
			     struct value *tensor, struct vars of)
{
	const struct block *b[] = { op_body(w->compute), op_body(w->fold) };
	const uint32_t bits[] = { of.body, of.fold };
	const struct expr *idx[2 * MAX_RANK];
	unsigned rank = 0;

	for (int k = 0; k < 2; k++)
		for (uint32_t i = 0; i < b[k]->n_iv; i++)
			if (bits[k] >> i & 1)
				idx[rank++] = b[k]->iv[i];
	return s_cast(lo, DT_F32, nest_load(lo, tensor, idx));
}

static bool rewrite(struct weights *w)
{
	static const enum dtype scales[] = { DT_F16, DT_F32 };
	static const enum dtype zeros[] = { DT_U8, DT_F32 };
	struct op *mul = fold_product(w->fold);
	struct lower lo = { .b = { w->c, mul->parent, mul, mul->loc } };
	struct vars vq = vars_of(w, w->q), vs = vars_of(w, w->scale), vz;
	struct tensor q, s, z = { .rank = 0 };
	struct arena tmp = { 0 };
	bool ok;

	vz = w->zero ? vars_of(w, w->zero) : vs;
	/* Not one for each number. */
	ok = vs.fold != vq.fold && is_part(vs, vq) && is_part(vz, vs) &&
	     evaluate(w, w->q, vq, DT_I32, &q, &tmp) &&
	     evaluate(w, w->scale, vs, DT_F32, &s, &tmp) &&
	     (!w->zero || evaluate(w, w->zero, vs, DT_F32, &z, &tmp));
	if (ok && w->zero && absorb(&q, &z))
		w->zero = NULL;
	enum dtype t = ok ? int_type(&q) : DT_COUNT;

	if (t != DT_COUNT) {
		struct value *x = element(w, &lo, stored_as(w, &q, t), vq);

		if (w->zero) {
			enum dtype tz = narrowest(&z, zeros, 2);

			x = s_sub(&lo, x, element(w, &lo,
						  stored_as(w, &z, tz), vs));
		}
		enum dtype ts = narrowest(&s, scales, 2);

		x = s_mul(&lo, x, element(w, &lo, stored_as(w, &s, ts), vs));
		x = s_cast(&lo, DT_F32, s_cast(&lo, w->to, x));
		op_set_in(mul, w->operand, x);
		erase_dead(op_body(w->compute));
	}
	arena_free(&tmp);
	return t != DT_COUNT;
}

bool decode_weights(struct ctx *c, struct op *compute, struct op *fold)
{
	struct weights w = { .c = c, .compute = compute, .fold = fold,
			     .map = { .ctx = c } };
	struct quotient q = { op_body(fold), -1, 0 };
	bool done = find(&w);

	if (done)
		visit_value(&w, w.scale, see_quotient, &q);
	if (done && q.iv >= 0) {
		cloner_free(&w.map);
		w.map = (struct cloner){ .ctx = c };
		w.fold = fold_split(c, fold, (uint32_t)q.iv, q.by, NULL);
		done = find(&w);
	}
	done = done && rewrite(&w);
	cloner_free(&w.map);
	return done;
}
