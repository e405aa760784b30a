/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions as isl's functions of the variables of a scope.  A product is
 * followed when all of its factors but one have few values: one case for each.
 */
#include "passes/poly/prove.h"

enum { MAX_CASES = 4 };

/* What the algebra knows of an atom's values. */
struct range {
	bool few;		/* at most MAX_CASES, from lo to hi */
	int64_t lo, hi;
};

/* ---- parts ---------------------------------------------------------- */

static const struct range *range_of(struct prover *p, const struct atom *a)
{
	struct range *r = map_get(&p->ranges, a->serial);
	struct ctx *c = p->c;

	if (r)
		return r;
	r = NEW(&c->temp, struct range);
	map_put(&p->ranges, a->serial, r);
	if (a->kind < ATOM_DIM || a->kind == ATOM_POISON)
		return r;
	const struct expr *e = expr_of_atom(c, a);

	r->few = expr_lower(c, e, &r->lo) && expr_upper(c, e, &r->hi) &&
		 r->hi - r->lo < MAX_CASES;
	return r;
}

bool uses_loose(const struct prover *p, const struct expr *e)
{
	for (size_t i = 0; i < p->loose.n; i++)
		if (expr_uses(e, p->loose.v[i]))
			return true;
	return false;
}

/* The first atom of few values in a product, or t->n. */
static uint32_t few_valued(struct prover *p, const struct term *t)
{
	if (t->n < 2)
		return t->n;
	for (uint32_t j = 0; j < t->n; j++)
		if (range_of(p, t->atom[j])->few &&
		    !uses_loose(p, expr_of_atom(p->c, t->atom[j])))
			return j;
	return t->n;
}

/* The product without its j-th atom; the atoms live in the temp arena. */
static struct term without(struct prover *p, const struct term *t, uint32_t j)
{
	const struct atom **left = NEW_ARRAY(&p->c->temp, t->n,
					     const struct atom *);
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->n; i++)
		if (i != j)
			left[n++] = t->atom[i];
	return (struct term){ 1, n, left };
}

static const struct expr *product_of(struct prover *p, const struct term *t)
{
	const struct expr *e = expr_const(p->c, 1);

	for (uint32_t i = 0; i < t->n; i++)
		e = expr_mul(p->c, e, expr_of_atom(p->c, t->atom[i]));
	return e;
}

/* Is it one atom that isl knows what to do with? */
static bool followed(const struct term *t)
{
	int64_t k;

	if (t->n != 1)
		return t->n == 0;
	switch (t->atom[0]->kind) {
	case ATOM_DIV: case ATOM_MOD:
		return expr_is_const(t->atom[0]->b, &k);
	case ATOM_IV: case ATOM_ARG: case ATOM_MIN: case ATOM_MAX:
	case ATOM_SYM: case ATOM_DIM:
		return true;
	case ATOM_VAL: case ATOM_POISON:
		break;
	}
	return false;
}

struct varies {
	const struct prover *p;
	bool found, arg;
};

static void visit_varies(void *arg, const struct atom *a)
{
	struct varies *v = arg;

	v->arg |= a->kind == ATOM_ARG;
	v->found |= a->kind == ATOM_ARG || a->kind == ATOM_VAL;
	for (size_t i = 0; i < v->p->vars.n && a->kind == ATOM_IV; i++)
		v->found |= v->p->vars.v[i].atom == a;
}

/* The variable that stands for a part, or -1: it is a parameter. */
static int part_var(const struct prover *p, const struct expr *e, bool *varies)
{
	struct varies v = { p, false, false };

	expr_visit(e, visit_varies, &v);
	*varies = v.found;
	for (size_t i = 0; i < p->vars.n && v.found; i++)
		if (p->vars.v[i].part == e &&
		    (!v.arg || p->vars.v[i].op == p->op))
			return (int)i;
	return -1;
}

static void push_part(struct prover *p, const struct term *t)
{
	struct ctx *c = p->c;
	const struct expr *e = product_of(p, t);
	bool varies;

	if (part_var(p, e, &varies) >= 0 || !varies)
		return;
	bool sign = !uses_loose(p, e) && expr_ge0(c, e);

	push_one(p, (struct var){ .part = e, .op = p->op,
				  .lo = sign ? expr_const(c, 0) : NULL });
}

static void push_term_parts(struct prover *p, const struct term *t)
{
	uint32_t j = few_valued(p, t);

	if (j < t->n) {
		struct term one = { 1, 1, &t->atom[j] };
		struct term rest = without(p, t, j);

		push_term_parts(p, &one);
		push_term_parts(p, &rest);
	} else if (!followed(t)) {
		push_part(p, t);
	} else if (t->n && t->atom[0]->kind >= ATOM_DIV) {
		push_parts(p, t->atom[0]->a);
		push_parts(p, t->atom[0]->b);
	}
}

void push_parts(struct prover *p, const struct expr *e)
{
	for (uint32_t i = 0; i < e->n; i++)
		push_term_parts(p, &e->term[i]);
}

/* ---- expressions to isl --------------------------------------------- */

isl_pw_aff *scope_variable(struct prover *p, size_t i)
{
	return isl_pw_aff_from_aff(isl_aff_var_on_domain(
		isl_local_space_from_space(isl_space_copy(p->space)),
		isl_dim_set, (unsigned)i));
}

static isl_val *number(struct prover *p, int64_t k)
{
	return isl_val_int_from_si(p->isl, (long)k);
}

static isl_pw_aff *constant(struct prover *p, int64_t k)
{
	return isl_pw_aff_from_aff(isl_aff_val_on_domain(
		isl_local_space_from_space(isl_space_copy(p->space)),
		number(p, k)));
}

/* A number that is the same at all points. */
static isl_pw_aff *parameter(struct prover *p, const struct expr *e)
{
	const char *name = NULL;

	for (size_t i = 0; i < p->params.n && !name; i++)
		if (p->params.v[i].e == e)
			name = p->params.v[i].name;
	if (!name) {
		name = arena_fmt(&p->c->temp, "p%u", e->serial);
		vec_push(&p->params, ((struct param){ name, e }));
	}
	isl_id *id = isl_id_alloc(p->isl, name, NULL);
	isl_space *s = isl_space_add_param_id(isl_space_copy(p->space),
					      isl_id_copy(id));

	return isl_pw_aff_from_aff(isl_aff_param_on_domain_space_id(s, id));
}

static isl_pw_aff *part_to_isl(struct prover *p, const struct term *t)
{
	const struct expr *e = product_of(p, t);
	bool varies;
	int i = part_var(p, e, &varies);

	if (i < 0 && varies)
		bug(&p->c->diag, "'%s' was not announced",
		    expr_str(p->c, e));
	return i >= 0 ? scope_variable(p, (size_t)i) : parameter(p, e);
}

static isl_pw_aff *atom_to_isl(struct prover *p, const struct term *t)
{
	const struct atom *a = t->atom[0];
	int64_t k;

	switch (a->kind) {
	case ATOM_IV:
		for (size_t i = 0; i < p->vars.n; i++)
			if (p->vars.v[i].atom == a)
				return scope_variable(p, i);
		break;
	case ATOM_ARG:
		for (size_t i = 0; i < p->vars.n && p->op; i++)
			if (p->vars.v[i].arg &&
			    p->vars.v[i].arg == p->op->in[a->id].val)
				return scope_variable(p, i);
		break;
	case ATOM_DIV:
	case ATOM_MOD:
		if (!expr_is_const(a->b, &k))
			break;
		if (a->kind == ATOM_MOD)
			return isl_pw_aff_mod_val(to_isl(p, a->a),
						  number(p, k));
		return isl_pw_aff_floor(isl_pw_aff_scale_down_val(
			to_isl(p, a->a), number(p, k)));
	case ATOM_MIN:
		return isl_pw_aff_min(to_isl(p, a->a), to_isl(p, a->b));
	case ATOM_MAX:
		return isl_pw_aff_max(to_isl(p, a->a), to_isl(p, a->b));
	case ATOM_SYM: case ATOM_DIM: case ATOM_VAL: case ATOM_POISON:
		break;
	}
	return part_to_isl(p, t);
}

static isl_pw_aff *term_to_isl(struct prover *p, const struct term *t);

/* One case for each value of an atom that has few. */
static isl_pw_aff *cases_to_isl(struct prover *p, const struct term *t,
				uint32_t j)
{
	const struct range *r = range_of(p, t->atom[j]);
	struct term one = { 1, 1, &t->atom[j] }, rest = without(p, t, j);
	isl_pw_aff *x = term_to_isl(p, &one), *y = term_to_isl(p, &rest);
	isl_pw_aff *sum = NULL;

	for (int64_t v = r->lo; v <= r->hi; v++) {
		isl_set *when = isl_pw_aff_eq_set(isl_pw_aff_copy(x),
						  constant(p, v));
		isl_pw_aff *then = isl_pw_aff_intersect_domain(
			isl_pw_aff_scale_val(isl_pw_aff_copy(y), number(p, v)),
			when);

		sum = sum ? isl_pw_aff_union_add(sum, then) : then;
	}
	isl_pw_aff_free(x);
	isl_pw_aff_free(y);
	return sum;
}

static isl_pw_aff *term_to_isl(struct prover *p, const struct term *t)
{
	uint32_t j = few_valued(p, t);

	if (!t->n)
		return constant(p, 1);
	if (j < t->n)
		return cases_to_isl(p, t, j);
	return t->n == 1 ? atom_to_isl(p, t) : part_to_isl(p, t);
}

isl_pw_aff *to_isl(struct prover *p, const struct expr *e)
{
	isl_pw_aff *sum = constant(p, 0);

	for (uint32_t i = 0; i < e->n; i++) {
		const struct term *t = &e->term[i];

		sum = isl_pw_aff_add(
			sum, isl_pw_aff_scale_val(term_to_isl(p, t),
						  number(p, t->coef)));
	}
	return sum;
}
