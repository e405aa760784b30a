/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuse: a statement takes in the statements whose results it reads.
 *
 *	%a = nest.compute [i] { exp(load %x[i]) }
 *	%b = nest.compute [i] { load %a[i] + 1 }
 * ->
 *	%b = nest.compute [i] { exp(load %x[i]) + 1 }
 *
 * Because a body says how to compute one element, fusion is substitution:
 * the load is replaced by the producer's body at the load's indices.  Folds
 * that do not depend on the inner variables are hoisted when loops are made,
 * so a softmax becomes one statement whose folds run once per row.
 *
 * A producer is taken in only when that repeats no work worth mentioning:
 *  - moves (no arithmetic) by anyone, as long as indices stay affine;
 *  - pointwise producers with one consumer that reads each element about once;
 *  - producers with folds when what the folds depend on are variables of the
 *    consumer; never one contraction into another fold.
 */
#include "passes/nest/body.h"

#include <string.h>

#include "base/vec.h"

enum { MAX_BODY = 400, CHEAP_STEPS = 6, MAX_EVALUATIONS = 3 };

/* ---- what a producer is --------------------------------------------- */

struct producer {
	struct op *op;
	bool has_fold, is_product;
	bool is_move;		/* loads and selections only */
	bool is_view;		/* a move with one unguarded affine load */
	unsigned steps;		/* arithmetic per element, folds aside */
	bool has_math;
	uint32_t fold_ivs;	/* variables that its folds depend on */
	unsigned size;
};

static void weigh(struct producer *p, const struct block *b, bool in_fold)
{
	for (const struct op *op = b->first; op; op = op->next) {
		const char *name = op_def(op)->name;

		p->size++;
		if (op->code == OP_nest_reduce) {
			p->has_fold = true;
			if (!in_fold)
				p->fold_ivs |= op_uses_ivs(op,
							   op_body(p->op));
			weigh(p, op_body(op), true);
			continue;
		}
		if (in_fold)
			continue;
		if (!strncmp(name, "math_", 5) || op->code == OP_arith_div ||
		    op->code == OP_arith_sqrt || op->code == OP_arith_rem)
			p->has_math = true;
		if (strncmp(name, "nest_", 5) && op->code != OP_arith_const)
			p->steps++;
	}
}

static struct producer examine(struct op *op)
{
	struct producer p = { .op = op };
	const struct block *b = op_body(op);
	size_t n;

	weigh(&p, b, false);
	p.is_product = body_product(b);
	p.is_move = !p.has_fold && !p.steps;
	p.is_view = p.is_move && b->first->code == OP_nest_load &&
		    b->first->next == b->last && b->first->n_in == 1 &&
		    (op_exprs(b->first, A_guard, &n), !n);
	if (p.is_view) {
		const struct expr *const *idx = op_exprs(b->first, A_idx, &n);

		for (size_t i = 0; i < n; i++)
			p.is_view &= expr_is_affine(idx[i]);
	}
	return p;
}

/* ---- where it is read ----------------------------------------------- */

static struct op *enclosing_compute(struct op *op)
{
	while (op && op->code != OP_nest_compute)
		op = op_parent(op);
	return op;
}

/* All uses are loads inside this one statement. */
static bool read_only_by(const struct value *v, const struct op *consumer)
{
	for (const struct use *u = v->uses; u; u = u->next)
		if (u->user->code != OP_nest_load || u != &u->user->in[0] ||
		    enclosing_compute(u->user) != consumer)
			return false;
	return true;
}

/* The outermost fold around the load, or NULL. */
static struct op *outer_fold(struct op *load)
{
	struct op *fold = NULL;

	for (struct op *p = op_parent(load); p->code != OP_nest_compute;
	     p = op_parent(p))
		fold = p;
	return fold;
}

/* Is the load an operand of a contraction? */
static bool feeds_product(struct op *load)
{
	struct op *fold = op_parent(load), *a, *b;

	return fold->code == OP_nest_reduce && fold_is_product(fold, &a, &b) &&
	       (a == load || b == load);
}

static bool idx_uses_all(const struct op *load, const struct block *b,
			 uint32_t want)
{
	size_t n;
	const struct expr *const *idx = op_exprs(load, A_idx, &n);

	for (uint32_t k = 0; k < b->n_iv; k++) {
		bool used = !(want >> k & 1);

		for (size_t i = 0; i < n && !used; i++)
			used = expr_uses(idx[i], expr_atom(b->iv[k]));
		if (!used)
			return false;
	}
	return true;
}

/* Is each element of the producer read about once by this load? */
static bool reads_once(struct op *load, struct op *consumer)
{
	struct block *body = op_body(consumer);
	struct op *fold = outer_fold(load);
	uint32_t real = block_real_ivs(body);

	if (!fold)
		return idx_uses_all(load, body, real);
	/* A hoisted fold runs for the variables that it depends on. */
	if (!idx_uses_all(load, body, real & op_uses_ivs(fold, body)))
		return false;
	for (struct op *p = op_parent(load); p != consumer; p = op_parent(p))
		if (!idx_uses_all(load, op_body(p), block_real_ivs(op_body(p))))
			return false;
	return true;
}

static int64_t points_of(const struct block *b, uint32_t ivs)
{
	int64_t n = 1, k;

	for (uint32_t i = 0; i < b->n_iv; i++)
		if (ivs >> i & 1 &&
		    (!expr_is_const(expr_atom(b->iv[i])->a, &k) ||
		     __builtin_mul_overflow(n, k, &n)))
			return -1;
	return n;
}

/*
 * The producer's folds run for as many points as before: the dims that they
 * depend on are read at distinct variables of the consumer, whose loops
 * lower_loops puts around all others.  The consumer's own folds must not want
 * others there.  Where there are few such points but many others, the
 * consumer runs better by itself, on many threads.
 */
static bool keeps_folds(const struct producer *p, const struct op *load,
			const struct op *consumer)
{
	enum { FEW = 4, MANY = 1 << 16 };
	const struct block *pb = op_body(p->op), *cb = op_body(consumer);
	size_t n;
	const struct expr *const *idx = op_exprs(load, A_idx, &n);
	uint32_t taken = 0, real = block_real_ivs(cb);

	for (uint32_t d = 0; d < pb->n_iv; d++) {
		if (!(p->fold_ivs >> d & 1) ||
		    expr_is(expr_atom(pb->iv[d])->a, 1))
			continue;
		uint32_t k = 0;

		while (k < cb->n_iv && cb->iv[k] != idx[d])
			k++;
		if (k == cb->n_iv || taken >> k & 1)
			return false;
		taken |= 1u << k;
	}
	for (const struct op *op = cb->first; op; op = op->next) {
		if (op->code != OP_nest_reduce)
			continue;
		uint32_t own = op_uses_ivs(op, cb) & real;

		if ((own & taken) != own && (own & taken) != taken)
			return false;
	}
	int64_t tasks = points_of(cb, taken), all = points_of(cb, real);

	return tasks < 0 || tasks >= FEW || (all >= 0 && all < MANY);
}

/* Reads all of the producer's elements, each once, in any order: what a
 * contraction needs to stay one. */
static bool is_bijective(const struct producer *p, const struct op *load,
			 const struct op *consumer)
{
	const struct block *pb = op_body(p->op), *cb = op_body(consumer);
	size_t n;
	const struct expr *const *idx = op_exprs(load, A_idx, &n);

	for (size_t i = 0; i < n; i++)
		if (!expr_is_affine(idx[i]))
			return false;
	return idx_uses_all(load, cb, block_real_ivs(cb)) &&
	       __builtin_popcount(block_real_ivs(pb)) <=
		       __builtin_popcount(block_real_ivs(cb));
}

struct load_list {
	const struct value *of;
	VEC(struct op *) v;
};

static void find_loads(void *arg, struct op *op)
{
	struct load_list *l = arg;

	if (op->code == OP_nest_load && op->in[0].val == l->of)
		vec_push(&l->v, op);
}

static bool same_indices(const struct op *a, const struct op *b)
{
	size_t n, m;
	const struct expr *const *x = op_exprs(a, A_idx, &n);
	const struct expr *const *y = op_exprs(b, A_idx, &m);

	return n == m && !memcmp(x, y, n * sizeof(*x));
}

/* How many times an element is computed after fusion, at least. */
static unsigned evaluations(const struct load_list *l)
{
	unsigned n = 0;

	for (size_t i = 0; i < l->v.n; i++) {
		bool seen = false;

		for (size_t j = 0; j < i; j++)
			seen |= same_indices(l->v.v[i], l->v.v[j]) &&
				outer_fold(l->v.v[i]) ==
					outer_fold(l->v.v[j]);
		n += !seen;
	}
	return n;
}

static bool guarded(const struct op *load)
{
	size_t n;

	op_exprs(load, A_guard, &n);
	return n;
}

static bool affine_load(const struct op *load)
{
	size_t n;
	const struct expr *const *idx = op_exprs(load, A_idx, &n);

	for (size_t i = 0; i < n; i++)
		if (!expr_is_affine(idx[i]))
			return false;
	return true;
}

/* ---- the decision --------------------------------------------------- */

static bool worth(const struct producer *p, struct op *consumer,
		  const struct load_list *l)
{
	struct block *body = op_body(consumer);
	bool alone = read_only_by(&p->op->out[0], consumer);
	unsigned evals = evaluations(l);

	for (size_t i = 0; i < l->v.n; i++) {
		struct op *load = l->v.v[i];

		/* A guarded load may ask for elements that do not exist. */
		if (guarded(load) && !p->is_view)
			return false;
		if (feeds_product(load) &&
		    !(p->is_view && affine_load(load)))
			return false;
	}
	if (p->is_view)
		return true;
	if (!alone || p->op->n_out > 1)
		return false;
	for (size_t i = 0; i < l->v.n; i++) {
		struct op *load = l->v.v[i];
		bool once = reads_once(load, consumer);

		if (p->is_product) {
			/* One thread stores packed elements. */
			if (dtype_is_packed(consumer->out[0].type->dtype))
				return false;
			if (evals > 1 || outer_fold(load) ||
			    body_has_fold(body) ||
			    !is_bijective(p, load, consumer))
				return false;
		} else if (p->has_fold) {
			if (body_product(body) ||
			    !keeps_folds(p, load, consumer))
				return false;
			if (p->steps > CHEAP_STEPS && !once)
				return false;
		} else if (!once && (p->has_math || p->steps > 2 ||
				     outer_fold(load))) {
			return false;
		}
	}
	if (evals > 1 && (evals > MAX_EVALUATIONS ||
			  (!p->has_fold &&
			   (p->has_math || p->steps > CHEAP_STEPS))))
		return false;
	return true;
}

/* ---- substitution --------------------------------------------------- */

/* The load's index operands become operands of the producer's loads. */
struct shift {
	struct ctx *ctx;
	struct op *load;
};

static const struct expr *args_to_values(void *arg, const struct atom *a)
{
	struct shift *s = arg;

	return a->kind == ATOM_ARG
		       ? expr_val(s->ctx, s->load->in[a->id].val, a->a)
		       : NULL;
}

struct rearg {
	struct ctx *ctx;
	struct op *op;
};

static const struct expr *values_to_args(void *arg, const struct atom *a)
{
	struct rearg *r = arg;
	unsigned i = 0;

	if (a->kind != ATOM_VAL)
		return NULL;
	while (i < r->op->n_in && r->op->in[i].val != a->val)
		i++;
	if (i == r->op->n_in)
		op_add_in(r->ctx, r->op, a->val);
	return expr_arg(r->ctx, i, a->a);
}

static void fix_args(void *arg, struct op *op)
{
	struct ctx *c = arg;
	struct rearg r = { c, op };

	for (unsigned i = 0; i < op->n_attr; i++) {
		const struct attr *a = op->attr[i].val;

		if (a->kind != AT_EXPRS)
			continue;
		const struct expr **e = NEW_ARRAY(&c->temp, a->n + 1,
						  const struct expr *);

		for (size_t k = 0; k < a->n; k++)
			e[k] = expr_subst(c, a->exprs[k], values_to_args, &r);
		op->attr[i].val = attr_exprs(c, a->n, e);
	}
}

/* A guarded load of a view is a guarded load of what it views. */
static void merge_guard(struct ctx *c, struct op *load, struct op *inner)
{
	size_t n;
	const struct expr *const *g = op_exprs(load, A_guard, &n);
	struct shift s = { c, load };
	const struct expr **e = NEW_ARRAY(&c->temp, n, const struct expr *);

	for (size_t i = 0; i < n; i++)
		e[i] = expr_subst(c, g[i], args_to_values, &s);
	op_set_exprs(c, inner, A_guard, n, e);
	op_add_in(c, inner, load->in[1].val);
	/* `other` is operand 1 by rule. */
	if (inner->n_in > 2)
		bug(&c->diag, "a view with index operands is guarded");
}

static void substitute(struct ctx *c, const struct producer *p,
		       struct op *load)
{
	struct block *pb = op_body(p->op);
	struct builder b = { c, load->parent, load, load->loc };
	struct cloner cl = { .ctx = c };
	struct shift s = { c, load };
	size_t n;
	const struct expr *const *idx = op_exprs(load, A_idx, &n);
	struct op *mark = load->prev;

	for (uint32_t i = 0; i < pb->n_iv; i++)
		clone_iv(&cl, pb->iv[i],
			 expr_subst(c, idx[i], args_to_values, &s));
	const struct op *y = clone_body(&cl, &b, pb);
	struct op *first = mark ? mark->next : load->parent->first;

	if (guarded(load))
		merge_guard(c, load, load->prev);
	for (struct op *op = first, *next; op != load; op = next) {
		next = op->next;
		for (unsigned r = 0; r < op->n_region; r++)
			block_walk(op->region[r].block, fix_args, c);
		fix_args(c, op);
	}
	value_replace(&load->out[0], cloned(&cl, y->in[0].val));
	op_erase(load);
	cloner_free(&cl);
}

static unsigned body_size(const struct block *b)
{
	unsigned n = 0;

	for (const struct op *op = b->first; op; op = op->next) {
		n++;
		for (unsigned r = 0; r < op->n_region; r++)
			n += body_size(op->region[r].block);
	}
	return n;
}

/* A read tensor whose producer is a statement of the same block. */
struct read_list {
	const struct op *consumer;
	VEC(struct op *) v;
};

static void find_reads(void *arg, struct op *op)
{
	struct read_list *l = arg;
	struct op *p = op->code == OP_nest_load
			       ? def_of(op->in[0].val, OP_nest_compute)
			       : NULL;

	if (!p || p->parent != l->consumer->parent)
		return;
	for (size_t i = 0; i < l->v.n; i++)
		if (l->v.v[i] == p)
			return;
	vec_push(&l->v, p);
}

static bool fuse_into(struct ctx *c, struct op *consumer)
{
	struct read_list reads = { .consumer = consumer };
	bool changed = false;

	block_walk(op_body(consumer), find_reads, &reads);
	for (size_t i = 0; i < reads.v.n; i++) {
		struct producer p = examine(reads.v.v[i]);
		struct load_list l = { .of = &p.op->out[0] };

		block_walk(op_body(consumer), find_loads, &l);
		if (p.op->n_out == 1 && l.v.n &&
		    body_size(op_body(consumer)) + p.size * l.v.n <=
			    MAX_BODY &&
		    worth(&p, consumer, &l)) {
			for (size_t k = 0; k < l.v.n; k++)
				substitute(c, &p, l.v.v[k]);
			body_tidy(c, op_body(consumer));
			changed = true;
			if (!p.op->out[0].uses)
				op_erase(p.op);
		}
		vec_free(&l.v);
	}
	vec_free(&reads.v);
	return changed;
}

static void fuse_block(struct ctx *c, struct block *b)
{
	for (struct op *op = b->first, *next; op; op = next) {
		next = op->next;
		if (op->code == OP_core_scan)
			fuse_block(c, op_body(op));
		if (op->code != OP_nest_compute)
			continue;
		while (fuse_into(c, op))
			;
	}
}

static bool fuse_run(struct module *m, const struct pass_args *args)
{
	(void)args;
	fuse_block(m->ctx, op_body(m->func));
	erase_dead(op_body(m->func));
	return true;
}

PASS(fuse,
	.summary = "Substitute producers into the statements that read them",
	.needs = LEVEL_NEST, .leaves = LEVEL_NEST,
	.run = fuse_run);
