/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is inside of a jammed statement's loops: the scalars of all points of a
 * block, each computed once, with sums over constants as the few operations
 * that they come to.
 */
#include <string.h>

#include "ir/op.h"
#include "passes/loop/jam.h"
#include "passes/nest/body.h"

/* Its value where these variables are at[]. */
struct sum_value {
	const struct op *op;
	unsigned n;
	const struct expr *at[MAX_USED];
	struct value *value;
};

/* ---- can it be done? ------------------------------------------------ */

static struct value *addend(const struct op *sum)
{
	const struct block *b = op_body(sum);
	const struct op *add = def_of(b->last->in[0].val, OP_arith_add);

	if (sum->n_in != 1 || !add || add->parent != b ||
	    !value_has_one_use(b->arg[0]))
		return NULL;
	if (add->in[0].val == b->arg[0])
		return add->in[1].val;
	return add->in[1].val == b->arg[0] ? add->in[0].val : NULL;
}

/* `terms` are those of the sums around the block. */
static bool can_write_out(const struct block *b, int64_t terms)
{
	for (const struct op *op = b->first; op; op = op->next) {
		const struct block *in;
		int64_t n, all = terms;

		if (op->code == OP_nest_index || op->n_out > 1)
			return false;
		if (op->code != OP_nest_reduce)
			continue;
		in = op_body(op);
		for (uint32_t i = 0; i < in->n_iv; i++) {
			if (!expr_is_const(expr_atom(in->iv[i])->a, &n) ||
			    n > MAX_TERMS)
				return false;
			all *= n < 1 ? 1 : n;
			if (all > MAX_TERMS)
				return false;
		}
		if (!addend(op) || !can_write_out(in, all))
			return false;
	}
	return true;
}

static bool block_uses(const struct block *b, const struct atom *iv);

/* Does the op, or what is inside of it, use the variable? */
static bool op_uses(const struct op *op, const struct atom *iv)
{
	for (unsigned i = 0; i < op->n_attr; i++) {
		const struct attr *a = op->attr[i].val;

		for (size_t k = 0; a->kind == AT_EXPRS && k < a->n; k++)
			if (expr_uses(a->exprs[k], iv))
				return true;
	}
	for (unsigned r = 0; r < op->n_region; r++)
		if (block_uses(op->region[r].block, iv))
			return true;
	return false;
}

static bool block_uses(const struct block *b, const struct atom *iv)
{
	for (const struct op *op = b->first; op; op = op->next)
		if (op_uses(op, iv))
			return true;
	return false;
}

static bool note_use(struct sum_use *u, const struct atom *iv)
{
	if (!op_uses(u->op, iv))
		return true;
	if (u->n == MAX_USED)
		return false;
	u->iv[u->n++] = iv;
	return true;
}

/* Numbers the sums and finds what they depend on: jammed variables and those
 * of the sums around them. */
static bool find_uses(struct jam *j, struct block *b)
{
	const struct block *body = op_body(j->op);

	for (struct op *op = b->first; op; op = op->next) {
		struct sum_use *u = &j->use[j->n_use];

		if (op->code != OP_nest_reduce)
			continue;
		if (j->n_use == MAX_FOLDS)
			return false;
		op->slot = j->n_use++;
		u->op = op;
		for (uint32_t i = 0; i < body->n_iv; i++)
			if (j->jam[i] > 1 &&
			    !note_use(u, expr_atom(body->iv[i])))
				return false;
		for (const struct op *o = op_parent(op); o != j->op;
		     o = op_parent(o))
			for (uint32_t i = 0; i < op_body(o)->n_iv; i++)
				if (!note_use(u, expr_atom(op_body(o)->iv[i])))
					return false;
		if (!find_uses(j, op_body(op)))
			return false;
	}
	return true;
}

bool jam_possible(struct jam *j)
{
	struct block *b = op_body(j->op);

	return can_write_out(b, 1) && find_uses(j, b);
}

/* ---- scalars, each once --------------------------------------------- */

static int same_op(const void *obj, const void *key)
{
	const struct op *a = obj;
	const struct op_spec *b = key;

	if (a->code != b->code || a->n_in != b->n_in ||
	    a->n_attr != b->n_attr || a->out[0].type != b->out[0])
		return false;
	for (unsigned i = 0; i < b->n_in; i++)
		if (a->in[i].val != b->in[i])
			return false;
	for (unsigned i = 0; i < b->n_attr; i++)
		if (a->attr[i].name != b->attr[i].name ||
		    !attrs_equal(NULL, a->attr[i].val, b->attr[i].val))
			return false;
	return true;
}

static uint64_t hash_op(const struct op_spec *s)
{
	uint64_t h = hash_bytes(HASH_INIT, &s->code, sizeof(s->code));

	for (unsigned i = 0; i < s->n_in; i++)
		h = hash_bytes(h, &s->in[i]->id, sizeof(s->in[i]->id));
	for (unsigned i = 0; i < s->n_attr; i++) {
		const struct attr *a = s->attr[i].val;

		if (a->kind == AT_FLOAT)
			h = hash_bytes(h, &a->f, sizeof(a->f));
		if (a->kind == AT_INT)
			h = hash_bytes(h, &a->i, sizeof(a->i));
		for (size_t k = 0; a->kind == AT_EXPRS && k < a->n; k++)
			h = hash_bytes(h, &a->exprs[k]->serial,
				       sizeof(a->exprs[k]->serial));
	}
	return h;
}

/* The result of such an op, built when there is none yet. */
static struct value *put(struct jam *j, const struct op_spec *s)
{
	uint64_t h = hash_op(s);
	struct op *op = intern_find(&j->seen, h, same_op, s);

	if (!op) {
		op = build(&j->b, s);
		intern_add(&j->seen, h, op);
	}
	return &op->out[0];
}

static struct value *put_op(struct jam *j, enum opcode code, unsigned n,
			    struct value *const *in)
{
	return put(j, &(struct op_spec){ .code = code, .n_in = n, .in = in,
					 .n_out = 1, .out = &in[0]->type });
}

static struct value *put_number(struct jam *j, const struct type *t, double v)
{
	struct named_attr a = { A_value,
				dtype_is_float(t->dtype)
					? attr_float(j->ctx, v)
					: attr_int(j->ctx, (int64_t)v) };

	return put(j, &(struct op_spec){ .code = OP_arith_const, .n_out = 1,
					 .out = &t, .n_attr = 1, .attr = &a });
}

static bool is_number(const struct value *v, double *k)
{
	const struct op *op = def_of(v, OP_arith_const);
	const struct attr *a = op ? op_attr(op, A_value) : NULL;

	if (!a)
		return false;
	*k = a->kind == AT_FLOAT ? a->f : (double)a->i;
	return true;
}

static struct value *value_at(struct jam *j, struct value *v);

/* An element of a constant as a number, where the index is known. */
static struct value *const_at(struct jam *j, const struct op *load)
{
	const struct value *t = load->in[0].val;
	struct blob data;
	int64_t at = 0, k, dim;
	size_t n;
	const struct expr *const *idx = op_exprs(load, A_idx, &n);
	enum dtype dt = t->type->dtype;

	if (load->n_in != 1 ||
	    (dt != DT_F32 && dt != DT_I16 && dt != DT_I32) ||
	    !value_const(t, &data))
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (!expr_is_const(t->type->dim[i], &dim) ||
		    !expr_is_const(clone_expr(&j->cl, idx[i]), &k) || k < 0 ||
		    k >= dim)
			return NULL;
		at = at * dim + k;
	}
	union scalar x = scalar_get(dt, data.data, (size_t)at);

	return put_number(j, load->out[0].type,
			  dt == DT_F32 ? x.d : (double)x.i);
}

bool jam_guards_row(const struct jam *j, const struct op *load,
		    const struct expr *g)
{
	const struct block *body = op_body(j->op);
	const struct expr *a, *rest;
	int64_t k;

	/* Not by numbers of the run. */
	if (load->n_in > 2 ||
	    expr_uses(g, expr_atom(body->iv[j->lane_dim])))
		return false;
	for (uint32_t i = 0; i < body->n_iv; i++)
		if (j->jam[i] > 1 && expr_uses(g, expr_atom(body->iv[i])))
			return false;
	for (const struct op *o = op_parent(load); o != j->op;
	     o = op_parent(o))
		for (uint32_t i = 0; i < op_body(o)->n_iv; i++)
			if (!expr_linear(j->ctx, g,
					 expr_atom(op_body(o)->iv[i]), &a,
					 &rest) ||
			    !expr_is_const(a, &k))
				return false;
	return true;
}

static struct value *load_at(struct jam *j, const struct op *op)
{
	struct ctx *c = j->ctx;
	struct value *in[MAX_RANK * 2], *v = const_at(j, op);
	const struct expr *e[MAX_RANK], *g[MAX_RANK * 4];
	struct named_attr attr[2] = { { .name = A_idx }, { .name = A_guard } };
	size_t n, n_guard;
	unsigned k = 0, n_in = op->n_in;

	if (v)
		return v;
	const struct expr *const *idx = op_exprs(op, A_idx, &n);
	const struct expr *const *guard = op_exprs(op, A_guard, &n_guard);

	for (size_t i = 0; i < n; i++)
		e[i] = clone_expr(&j->cl, idx[i]);
	for (size_t i = 0; i < n_guard; i++) {
		int64_t known;

		if (j->inside && jam_guards_row(j, op, guard[i]))
			continue;
		g[k] = clone_expr(&j->cl, guard[i]);
		if (expr_is_const(g[k], &known) && known < 0)
			return value_at(j, op->in[1].val);
		k += !expr_ge0(c, g[k]);
	}
	/* Without guards nothing stands in for the element. */
	if (!k && n_in == 2)
		n_in = 1;
	in[0] = op->in[0].val;
	for (unsigned i = 1; i < n_in; i++)
		in[i] = value_at(j, op->in[i].val);
	attr[0].val = attr_exprs(c, n, e);
	attr[1].val = attr_exprs(c, k, g);
	return put(j, &(struct op_spec){ .code = OP_mem_load, .n_in = n_in,
					 .in = in, .n_out = 1,
					 .out = &op->out[0].type,
					 .n_attr = k ? 2 : 1, .attr = attr });
}

static struct value *put_sum(struct jam *j, enum opcode code,
			     struct value *const *in)
{
	struct named_attr a = { A_sum, attr_int(j->ctx, 1) };

	return put(j, &(struct op_spec){ .code = code, .n_in = 2, .in = in,
					 .n_out = 1, .out = &in[0]->type,
					 .n_attr = 1, .attr = &a });
}

/* sum + factor * x, where the factor may be a number; sum NULL is 0. */
static struct value *add_product(struct jam *j, struct value *sum, double k,
				 struct value *x)
{
	struct value *in[2];

	if (k == -1 && sum) {
		in[0] = sum;
		in[1] = x;
		return put_sum(j, OP_arith_sub, in);
	}
	if (k == -1) {
		x = put_op(j, OP_arith_neg, 1, &x);
	} else if (k != 1) {
		in[0] = put_number(j, x->type, k);
		in[1] = x;
		x = put_op(j, OP_arith_mul, 2, in);
	}
	if (!sum)
		return x;
	struct op *neg = def_of(sum, OP_arith_neg);

	in[0] = neg ? x : sum;
	in[1] = neg ? neg->in[0].val : x;
	return put_sum(j, neg ? OP_arith_sub : OP_arith_add, in);
}

/* The factor of a product that is a constant, as a number; 1 without one. */
static double factor_of(struct jam *j, struct value **term)
{
	struct op *mul = def_of(*term, OP_arith_mul);
	double k;

	for (unsigned i = 0; i < 2 && mul; i++) {
		/* Only a constant is looked at: the other factor may be a sum
		 * that nobody needs. */
		struct op *load = def_of(mul->in[i].val, OP_nest_load);
		struct value *v = load ? const_at(j, load) : NULL;

		if (!v || !is_number(v, &k))
			continue;
		*term = mul->in[1 - i].val;
		return k;
	}
	return 1;
}

/* The points of variables iv[0..n), in order of the first: runs fn for each. */
struct points {
	unsigned n;
	const struct expr *iv[MAX_RANK], *from[MAX_RANK];
	int64_t size[MAX_RANK];
};
typedef void point_fn(struct jam *j, void *arg);

static void each_point(struct jam *j, const struct points *p, unsigned i,
		       point_fn *fn, void *arg)
{
	if (i == p->n) {
		fn(j, arg);
		return;
	}
	for (int64_t k = 0; k < p->size[i]; k++) {
		clone_iv(&j->cl, p->iv[i], expr_addc(j->ctx, p->from[i], k));
		each_point(j, p, i + 1, fn, arg);
	}
}

static void add_sum_ivs(struct ctx *c, struct points *p, const struct op *sum)
{
	const struct block *b = op_body(sum);

	for (uint32_t i = 0; i < b->n_iv; i++, p->n++) {
		p->iv[p->n] = b->iv[i];
		p->from[p->n] = expr_const(c, 0);
		expr_is_const(expr_atom(b->iv[i])->a, &p->size[p->n]);
	}
}

struct sum_at {
	struct value *term, *sum;
	bool plain;		/* terms without a factor, or the others */
};

static void sum_point(struct jam *j, void *arg)
{
	struct sum_at *s = arg;
	struct value *x = s->term;
	double k = factor_of(j, &x);

	if (k != 0 && (k == 1) == s->plain)
		s->sum = add_product(j, s->sum, k, value_at(j, x));
}

static int same_sum(const void *obj, const void *key)
{
	const struct sum_value *a = obj, *b = key;

	return a->op == b->op && !memcmp(a->at, b->at, a->n * sizeof(*a->at));
}

/* Terms without a factor come first: each other one is then a multiply-add. */
static struct value *write_sum(struct jam *j, struct op *op)
{
	struct sum_at s = { addend(op), value_at(j, op->in[0].val), true };
	struct points p;
	double k;

	p.n = 0;
	if (is_number(s.sum, &k) && k == 0)
		s.sum = NULL;
	add_sum_ivs(j->ctx, &p, op);
	each_point(j, &p, 0, sum_point, &s);
	s.plain = false;
	each_point(j, &p, 0, sum_point, &s);
	return s.sum ? s.sum : put_number(j, op->out[0].type, 0);
}

static struct value *sum_at(struct jam *j, struct op *op)
{
	const struct sum_use *u = &j->use[op->slot];
	struct sum_value key = { .op = op, .n = u->n }, *known;
	uint64_t h = hash_bytes(HASH_INIT, &op->slot, sizeof(op->slot));

	for (unsigned i = 0; i < u->n; i++) {
		key.at[i] = map_get(&j->cl.atoms, u->iv[i]->serial);
		h = hash_bytes(h, &key.at[i]->serial,
			       sizeof(key.at[i]->serial));
	}
	known = intern_find(&j->sums, h, same_sum, &key);
	if (!known) {
		key.value = write_sum(j, op);
		known = arena_copy(&j->ctx->temp, &key, sizeof(key));
		intern_add(&j->sums, h, known);
	}
	return known->value;
}

/* v at the point that the cloner maps the variables to. */
static struct value *value_at(struct jam *j, struct value *v)
{
	struct value *in[MAX_RANK * 2];
	struct named_attr attr[4];
	const struct op *op = v->def;

	if (v->type->kind != TY_SCALAR || !op)
		return v;
	if (op->code == OP_nest_reduce)
		return sum_at(j, v->def);
	if (op->code == OP_nest_load)
		return load_at(j, op);
	for (unsigned i = 0; i < op->n_in; i++)
		in[i] = value_at(j, op->in[i].val);
	for (unsigned i = 0; i < op->n_attr; i++) {
		const struct attr *a = op->attr[i].val;
		const struct expr *e[MAX_RANK];

		attr[i] = op->attr[i];
		if (a->kind != AT_EXPRS)
			continue;
		for (size_t k = 0; k < a->n; k++)
			e[k] = clone_expr(&j->cl, a->exprs[k]);
		attr[i].val = attr_exprs(j->ctx, a->n, e);
	}
	return put(j, &(struct op_spec){ .code = op->code, .n_in = op->n_in,
					 .in = in, .n_out = 1,
					 .out = &op->out[0].type,
					 .n_attr = op->n_attr, .attr = attr });
}

/* ---- the order of the points ---------------------------------------- */

/* Does the sum's own body, its inner sums aside, use the variable? */
static bool sum_takes(const struct op *sum, const struct atom *iv)
{
	for (const struct op *op = op_body(sum)->first; op; op = op->next)
		if (op->code != OP_nest_reduce && op_uses(op, iv))
			return true;
	return false;
}

static void compute_sum(struct jam *j, void *arg)
{
	sum_at(j, arg);
}

/*
 * An inner sum that takes one of the jammed variables, but not all of them, is
 * one of several passes.  It is computed as a whole first, line by line of what
 * it reads, so that these are not all needed at the same time.
 */
static void first_pass(struct jam *j, const struct op *sum, unsigned depth,
		       const struct op *const *outer)
{
	const struct block *body = op_body(j->op);
	const struct op *path[MAX_RANK];

	for (struct op *op = op_body(sum)->first; op; op = op->next) {
		struct points p = { .n = 0 };
		unsigned own = 0;

		if (op->code != OP_nest_reduce || depth + 1 >= MAX_RANK)
			continue;
		for (unsigned i = 0; i <= depth; i++) {
			const struct op *o = i < depth ? outer[i] : sum;
			const struct atom *iv = expr_atom(op_body(o)->iv[0]);

			path[i] = o;
			if (op_body(o)->n_iv == 1 && op_uses(op, iv))
				add_sum_ivs(j->ctx, &p, o);
		}
		for (uint32_t i = 0; i < body->n_iv; i++) {
			if (j->jam[i] == 1 ||
			    !op_uses(op, expr_atom(body->iv[i])))
				continue;
			own += sum_takes(op, expr_atom(body->iv[i]));
			p.iv[p.n] = body->iv[i];
			p.from[p.n] = j->base[i];
			p.size[p.n++] = j->size[i];
		}
		if (own)
			each_point(j, &p, 0, compute_sum, op);
		else
			first_pass(j, op, depth + 1, path);
	}
}

static void store_point(struct jam *j, void *arg)
{
	struct block *body = arg;
	struct value *in[] = { value_at(j, body->last->in[0].val), j->out };
	const struct expr *idx[MAX_RANK];
	struct named_attr attr = { A_idx, NULL };

	for (uint32_t k = 0; k < body->n_iv; k++)
		idx[k] = clone_expr(&j->cl, body->iv[k]);
	attr.val = attr_exprs(j->ctx, body->n_iv, idx);
	build(&j->b, &(struct op_spec){ .code = OP_mem_store, .n_in = 2,
					.in = in, .n_attr = 1, .attr = &attr });
}

/* The points of one block; the last dim's outermost, as in first_pass(). */
void jam_points(struct jam *j)
{
	struct block *body = op_body(j->op);
	struct points p = { .n = 0 };

	for (unsigned i = body->n_iv; i-- > 0;) {
		if (j->jam[i] == 1)
			continue;
		p.iv[p.n] = body->iv[i];
		p.from[p.n] = j->base[i];
		p.size[p.n++] = j->size[i];
	}
	for (struct op *op = body->first; op; op = op->next)
		if (op->code == OP_nest_reduce)
			first_pass(j, op, 0, NULL);
	each_point(j, &p, 0, store_point, body);
	map_free(&j->seen);
	map_free(&j->sums);
}
