/* SPDX-License-Identifier: Apache-2.0 */
/* The scope of an access as isl's sets, and claims about its points. */
#include <string.h>

#include "passes/poly/prove.h"

enum {
	QUOTA = 400000,
	MAX_FACTS = 8,		/* that are looked at for a claim */
};

void prover_init(struct prover *p, struct ctx *c)
{
	*p = (struct prover){ .c = c, .isl = isl_ctx_alloc() };
	isl_options_set_on_error(p->isl, ISL_ON_ERROR_CONTINUE);
	isl_ctx_set_max_operations(p->isl, QUOTA);
	p->space = isl_space_set_alloc(p->isl, 0, 0);
}

void prover_free(struct prover *p)
{
	isl_set_free(p->dom);
	isl_space_free(p->space);
	vec_free(&p->vars);
	vec_free(&p->guards);
	vec_free(&p->loose);
	vec_free(&p->params);
	vec_free(&p->facts);
	vec_free(&p->equal);
	map_free(&p->ranges);
	map_free(&p->joined);
	isl_ctx_free(p->isl);
}

bool known_ge0(const struct prover *p, const struct expr *e)
{
	if (expr_ge0(p->c, e))
		return true;
	for (size_t i = 0; i < p->facts.n; i++)
		if (expr_ge0(p->c, expr_sub(p->c, e, p->facts.v[i])))
			return true;
	return false;
}

/* ---- the scope ------------------------------------------------------ */

static void changed(struct prover *p)
{
	isl_set_free(p->dom);
	p->dom = NULL;
	if (isl_space_dim(p->space, isl_dim_set) == (isl_size)p->vars.n)
		return;
	isl_space_free(p->space);
	p->space = isl_space_set_alloc(p->isl, 0, (unsigned)p->vars.n);
}

struct scope scope_mark(const struct prover *p)
{
	return (struct scope){ p->vars.n, p->guards.n, p->loose.n };
}

void scope_reset(struct prover *p, struct scope s)
{
	if (p->vars.n == s.vars && p->guards.n == s.guards) {
		p->loose.n = s.loose;
		return;
	}
	p->vars.n = s.vars;
	p->guards.n = s.guards;
	p->loose.n = s.loose;
	changed(p);
}

void push_one(struct prover *p, struct var v)
{
	vec_push(&p->vars, v);
	changed(p);
}

void push_var(struct prover *p, const struct atom *atom,
	      const struct value *arg, const struct expr *lo,
	      const struct expr *hi)
{
	if (lo)
		push_parts(p, lo);
	if (hi)
		push_parts(p, hi);
	push_one(p, (struct var){ .atom = atom, .arg = arg, .lo = lo,
				  .hi = hi, .op = p->op });
}

void push_guard(struct prover *p, const struct expr *e, const struct op *op)
{
	const struct op *save = p->op;

	p->op = op;
	push_parts(p, e);
	p->op = save;
	vec_push(&p->guards, ((struct guard){ e, op }));
	changed(p);
}

void push_block(struct prover *p, const struct block *b)
{
	struct ctx *c = p->c;

	for (uint32_t i = 0; i < b->n_iv; i++) {
		const struct atom *a = expr_atom(b->iv[i]);

		push_var(p, a, NULL, expr_const(c, 0), expr_addc(c, a->a, -1));
	}
}

struct find_args {
	struct prover *p;
	const struct op *op;
};

static void visit_arg(void *arg, const struct atom *a)
{
	struct find_args *f = arg;
	struct ctx *c = f->p->c;

	if (a->kind != ATOM_ARG)
		return;
	const struct value *v = f->op->in[a->id].val;

	for (size_t i = 0; i < f->p->vars.n; i++)
		if (f->p->vars.v[i].arg == v)
			return;
	if (!a->a) {
		push_var(f->p, NULL, v, NULL, NULL);
		return;
	}
	/* nest.index gives 0 even when there is no index at all. */
	const struct expr *hi = expr_max(c, a->a, expr_const(c, 1));

	push_var(f->p, NULL, v, expr_const(c, 0), expr_addc(c, hi, -1));
}

void push_args(struct prover *p, const struct op *op)
{
	struct find_args f = { p, op };

	for (unsigned i = 0; i < op->n_attr; i++) {
		const struct attr *a = op->attr[i].val;

		for (size_t k = 0; a->kind == AT_EXPRS && k < a->n; k++)
			expr_visit(a->exprs[k], visit_arg, &f);
	}
}

void push_tile(struct prover *p, const struct op *op, bool all)
{
	struct ctx *c = p->c;
	const struct block *b = op_body(op);
	size_t n;
	const struct expr *const *o = op_exprs(op, A_origin, &n);

	push_var(p, expr_atom(b->iv[0]), NULL, o[0],
		 expr_addc(c, o[0], op_int(op, A_mr) - 1));
	push_var(p, expr_atom(b->iv[1]), NULL, o[1],
		 expr_addc(c, o[1], op_int(op, A_nr) - 1));
	for (uint32_t i = 2; i < b->n_iv && all; i++) {
		const struct atom *a = expr_atom(b->iv[i]);

		push_var(p, a, NULL, expr_const(c, 0), expr_addc(c, a->a, -1));
	}
}

/* ---- points and claims ---------------------------------------------- */

/* Symbols and their products are not negative. */
static isl_set *bound_params(struct prover *p, isl_set *s)
{
	for (size_t i = 0; i < p->params.n; i++) {
		int at = isl_set_find_dim_by_name(s, isl_dim_param,
						  p->params.v[i].name);

		if (at >= 0 && known_ge0(p, p->params.v[i].e))
			s = isl_set_lower_bound_si(s, isl_dim_param,
						   (unsigned)at, 0);
	}
	return s;
}

isl_set *scope_domain(struct prover *p)
{
	const struct op *save = p->op;
	isl_set *s;

	if (p->dom)
		return p->dom;
	s = isl_set_universe(isl_space_copy(p->space));
	for (size_t i = 0; i < p->vars.n; i++) {
		const struct var *v = &p->vars.v[i];

		p->op = v->op;
		if (v->lo)
			s = isl_set_intersect(
				s, isl_pw_aff_ge_set(scope_variable(p, i),
						     to_isl(p, v->lo)));
		if (v->hi)
			s = isl_set_intersect(
				s, isl_pw_aff_le_set(scope_variable(p, i),
						     to_isl(p, v->hi)));
	}
	for (size_t i = 0; i < p->guards.n; i++) {
		p->op = p->guards.v[i].op;
		s = isl_set_intersect(s, isl_pw_aff_nonneg_set(
						 to_isl(p, p->guards.v[i].e)));
	}
	p->op = save;
	p->dom = isl_set_coalesce(bound_params(p, s));
	return p->dom;
}

isl_set *points_where(struct prover *p, const struct expr *e)
{
	push_parts(p, e);

	isl_set *s = isl_set_intersect(
		isl_pw_aff_nonneg_set(to_isl(p, e)),
		isl_set_copy(scope_domain(p)));

	return bound_params(p, s);
}

/* ---- parts of a scope ----------------------------------------------- */

struct mentions {
	const struct prover *p;
	const struct op *op;
	uint64_t vars;
};

static void visit_mention(void *arg, const struct atom *a)
{
	struct mentions *m = arg;

	for (size_t i = 0; i < m->p->vars.n && i < MAX_PART_VARS; i++) {
		const struct var *v = &m->p->vars.v[i];

		if ((a->kind == ATOM_IV && v->atom == a) ||
		    (a->kind == ATOM_ARG && m->op && v->arg &&
		     v->arg == m->op->in[a->id].val))
			m->vars |= UINT64_C(1) << i;
	}
}

uint64_t vars_in(const struct prover *p, const struct expr *e,
		 const struct op *op)
{
	struct mentions m = { p, op, 0 };

	if (e)
		expr_visit(e, visit_mention, &m);
	return m.vars;
}

uint64_t vars_bounding(const struct prover *p, size_t i)
{
	const struct var *v = &p->vars.v[i];

	return vars_in(p, v->lo, v->op) | vars_in(p, v->hi, v->op);
}

/* With those whose values bound the ones given. */
static uint64_t closure(const struct prover *p, uint64_t vars)
{
	uint64_t old;

	do {
		old = vars;
		for (size_t i = 0; i < p->vars.n; i++)
			if (vars >> i & 1)
				vars |= vars_bounding(p, i);
		for (size_t i = 0; i < p->guards.n; i++) {
			uint64_t g = vars_in(p, p->guards.v[i].e,
					     p->guards.v[i].op);

			if (g & vars)
				vars |= g;
		}
	} while (vars != old);
	return vars;
}

struct prover scope_part(struct prover *p, uint64_t vars)
{
	struct prover q = *p;

	q.dom = NULL;
	q.space = isl_space_set_alloc(p->isl, 0, 0);
	memset(&q.vars, 0, sizeof(q.vars));
	memset(&q.guards, 0, sizeof(q.guards));
	for (size_t i = 0; i < p->vars.n; i++) {
		const struct var *v = &p->vars.v[i];

		q.op = v->op;
		if (vars >> i & 1)
			push_var(&q, v->atom, v->arg, v->lo, v->hi);
	}
	q.op = p->op;
	for (size_t i = 0; i < p->guards.n; i++) {
		const struct guard *g = &p->guards.v[i];

		if (vars_in(p, g->e, g->op) & vars)
			push_guard(&q, g->e, g->op);
	}
	return q;
}

void scope_part_end(struct prover *p, struct prover *q)
{
	isl_set_free(q->dom);
	isl_space_free(q->space);
	vec_free(&q->vars);
	vec_free(&q->guards);
	/* These may have grown. */
	p->params.v = q->params.v;
	p->params.n = q->params.n;
	p->params.cap = q->params.cap;
	p->ranges = q->ranges;
}

static bool holds_in(struct prover *p, const struct expr *e)
{
	isl_set *bad;
	bool ok;

	isl_ctx_reset_operations(p->isl);
	bad = points_where(p, expr_addc(p->c, expr_scale(p->c, e, -1), -1));
	ok = isl_set_is_empty(bad) == isl_bool_true;
	isl_set_free(bad);
	return ok;
}

struct same_atom {
	const struct expr *e;
	bool found;
};

static void visit_same(void *arg, const struct atom *a)
{
	struct same_atom *s = arg;

	if (a->kind == ATOM_SYM || a->kind == ATOM_DIM ||
	    a->kind >= ATOM_DIV)
		s->found |= expr_uses(s->e, a);
}

/* Has the fact a division or symbol in common with e or the scope? */
static bool is_relevant(const struct prover *p, const struct expr *fact,
			const struct expr *e)
{
	struct same_atom s = { e, false };

	expr_visit(fact, visit_same, &s);
	for (size_t i = 0; i < p->vars.n && !s.found; i++) {
		s.e = p->vars.v[i].hi;
		if (s.e)
			expr_visit(fact, visit_same, &s);
	}
	for (size_t i = 0; i < p->guards.n && !s.found; i++) {
		s.e = p->guards.v[i].e;
		expr_visit(fact, visit_same, &s);
	}
	return s.found;
}

struct dims {
	const struct expr *dim[MAX_FACTS];
	unsigned n;
	struct ctx *c;
};

static void visit_dim(void *arg, const struct atom *a)
{
	struct dims *d = arg;
	const struct expr *e = expr_of_atom(d->c, a);

	if (a->kind != ATOM_DIM || d->n == MAX_FACTS)
		return;
	for (unsigned i = 0; i < d->n; i++)
		if (d->dim[i] == e)
			return;
	d->dim[d->n++] = e;
}

/* A computed dim is equal to its definition. */
static void push_definitions(struct prover *p, const struct expr *e)
{
	struct dims d = { .c = p->c };

	expr_visit(e, visit_dim, &d);
	for (size_t i = 0; i < p->vars.n; i++)
		if (p->vars.v[i].hi)
			expr_visit(p->vars.v[i].hi, visit_dim, &d);
	for (unsigned i = 0; i < d.n; i++) {
		const struct expr *def = expr_atom(d.dim[i])->a;
		const struct expr *more = expr_sub(p->c, def, d.dim[i]);

		push_guard(p, more, NULL);
		push_guard(p, expr_scale(p->c, more, -1), NULL);
		/* Those that it is made of come behind. */
		expr_visit(def, visit_dim, &d);
	}
}

void push_facts(struct prover *p, const struct expr *e)
{
	unsigned n = 0;

	push_definitions(p, e);
	/* The last ones are the nearest. */
	for (size_t i = p->facts.n; i-- > 0 && n < MAX_FACTS;)
		if (is_relevant(p, p->facts.v[i], e)) {
			push_guard(p, p->facts.v[i], NULL);
			n++;
		}
}

/* Few variables have to do with most claims; more can only help. */
bool holds(struct prover *p, const struct expr *e)
{
	size_t n = p->vars.n;
	struct scope save;
	bool ok;

	if (n && n <= MAX_PART_VARS) {
		uint64_t vars = closure(p, vars_in(p, e, p->op));
		struct prover q = scope_part(p, vars);

		ok = holds_in(&q, e);
		scope_part_end(p, &q);
		if (ok)
			return true;
	}
	save = scope_mark(p);
	push_facts(p, e);
	ok = holds_in(p, e);
	scope_reset(p, save);
	return ok;
}
