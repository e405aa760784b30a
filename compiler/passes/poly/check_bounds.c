/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_bounds: proves on the emitted loops, with isl, that
 *  - every access of every kernel is inside its buffer, and
 *  - no two points of a kernel, which may run on different threads, write the
 *    same element, and no kernel reads what it writes.
 *
 * Sets are rebuilt from the loop level itself, not from what made it: each
 * loop gives the bounds of a variable, each guard a constraint, a register
 * tile its rows and columns.  Symbols are isl parameters; a product of symbols
 * is a parameter of its own (products are not affine).  An access that is not
 * proved is counted in core.func's `unproved` and listed with --verbose; with
 * constant shapes it is a bug of ours.
 *
 * isl's answer "unknown" (quota, error) reads as "not proved".
 */
#include <isl/aff.h>
#include <isl/ctx.h>
#include <isl/id.h>
#include <isl/map.h>
#include <isl/options.h>
#include <isl/set.h>
#include <isl/space.h>
#include <isl/val.h>

#include "base/vec.h"
#include "ir/op.h"
#include "passes/pass.h"

enum { QUOTA = 400000 };

/* A variable of the space: an IV, an index operand, or a tile's row. */
struct var {
	const struct atom *atom;	/* IV or NULL */
	const struct value *arg;	/* index operand or NULL */
};

struct prover {
	struct ctx *c;
	isl_ctx *isl;
	VEC(struct var) vars;
	VEC(const struct expr *) lower, upper;	/* lower <= var <= upper */
	VEC(const struct expr *) guard;		/* each >= 0 */
	VEC(const struct op *) guard_op;
	const struct op *op;		/* whose ARG atoms are looked up */
	isl_space *space;
	struct map facts, joined;	/* serials, see find_joined() */
	unsigned checked, unproved;
	VEC(const char *) list;		/* what was not proved, in words */
};

/* ---- expressions to isl --------------------------------------------------- */

static isl_pw_aff *to_isl(struct prover *p, const struct expr *e);

static isl_pw_aff *parameter(struct prover *p, const char *name)
{
	isl_id *id = isl_id_alloc(p->isl, name, NULL);
	isl_space *s = isl_space_add_param_id(isl_space_copy(p->space),
					      isl_id_copy(id));

	return isl_pw_aff_from_aff(
		isl_aff_param_on_domain_space_id(s, id));
}

static isl_pw_aff *variable(struct prover *p, size_t i)
{
	return isl_pw_aff_from_aff(isl_aff_var_on_domain(
		isl_local_space_from_space(isl_space_copy(p->space)),
		isl_dim_set, (unsigned)i));
}

static isl_pw_aff *constant(struct prover *p, int64_t k)
{
	isl_val *v = isl_val_int_from_si(p->isl, (long)k);

	return isl_pw_aff_from_aff(isl_aff_val_on_domain(
		isl_local_space_from_space(isl_space_copy(p->space)), v));
}

static isl_pw_aff *atom_to_isl(struct prover *p, const struct atom *a)
{
	int64_t k;

	switch (a->kind) {
	case ATOM_IV:
		for (size_t i = 0; i < p->vars.n; i++)
			if (p->vars.v[i].atom == a)
				return variable(p, i);
		break;
	case ATOM_ARG:
		for (size_t i = 0; i < p->vars.n && p->op; i++)
			if (p->vars.v[i].arg &&
			    p->vars.v[i].arg == p->op->in[a->id].val)
				return variable(p, i);
		break;
	case ATOM_DIV:
	case ATOM_MOD:
		if (!expr_is_const(a->b, &k))
			break;
		if (a->kind == ATOM_MOD)
			return isl_pw_aff_mod_val(
				to_isl(p, a->a),
				isl_val_int_from_si(p->isl, (long)k));
		return isl_pw_aff_floor(isl_pw_aff_scale_down_val(
			to_isl(p, a->a),
			isl_val_int_from_si(p->isl, (long)k)));
	case ATOM_MIN:
		return isl_pw_aff_min(to_isl(p, a->a), to_isl(p, a->b));
	case ATOM_MAX:
		return isl_pw_aff_max(to_isl(p, a->a), to_isl(p, a->b));
	case ATOM_SYM: case ATOM_DIM: case ATOM_VAL: case ATOM_POISON:
		break;
	}
	/* Anything else is a number that isl knows nothing about. */
	return parameter(p, arena_fmt(&p->c->temp, "p%u", a->serial));
}

static isl_pw_aff *to_isl(struct prover *p, const struct expr *e)
{
	isl_pw_aff *sum = constant(p, 0);

	for (uint32_t i = 0; i < e->n; i++) {
		const struct term *t = &e->term[i];
		isl_pw_aff *x;

		if (!t->n) {
			x = constant(p, t->coef);
		} else if (t->n == 1) {
			x = atom_to_isl(p, t->atom[0]);
		} else {
			const char *name = "m";

			for (uint32_t j = 0; j < t->n; j++)
				name = arena_fmt(&p->c->temp, "%s_%u", name,
						 t->atom[j]->serial);
			x = parameter(p, name);
		}
		if (t->n)
			x = isl_pw_aff_scale_val(
				x, isl_val_int_from_si(p->isl, (long)t->coef));
		sum = isl_pw_aff_add(sum, x);
	}
	return sum;
}

/* { x : e >= 0 } */
static isl_set *nonneg(struct prover *p, const struct expr *e)
{
	return isl_pw_aff_nonneg_set(to_isl(p, e));
}

static isl_set *domain(struct prover *p)
{
	isl_set *s = isl_set_universe(isl_space_copy(p->space));

	for (size_t i = 0; i < p->vars.n; i++) {
		isl_pw_aff *v = variable(p, i);

		if (p->lower.v[i])
			s = isl_set_intersect(
				s, isl_pw_aff_ge_set(isl_pw_aff_copy(v),
						     to_isl(p, p->lower.v[i])));
		if (p->upper.v[i])
			s = isl_set_intersect(
				s, isl_pw_aff_le_set(isl_pw_aff_copy(v),
						     to_isl(p, p->upper.v[i])));
		isl_pw_aff_free(v);
	}
	const struct op *save = p->op;

	for (size_t i = 0; i < p->guard.n; i++) {
		p->op = p->guard_op.v[i];
		s = isl_set_intersect(s, nonneg(p, p->guard.v[i]));
	}
	p->op = save;
	return s;
}

/* ---- scopes ------------------------------------------------------------------ */

static void reset_space(struct prover *p)
{
	isl_space_free(p->space);
	p->space = isl_space_set_alloc(p->isl, 0, (unsigned)p->vars.n);
}

static void push_var(struct prover *p, const struct atom *atom,
		     const struct value *arg, const struct expr *lo,
		     const struct expr *hi)
{
	struct var v = { atom, arg };

	vec_push(&p->vars, v);
	vec_push(&p->lower, lo);
	vec_push(&p->upper, hi);
	reset_space(p);
}

static void pop_vars(struct prover *p, size_t n)
{
	p->vars.n = p->lower.n = p->upper.n = n;
	reset_space(p);
}

static void push_block(struct prover *p, const struct block *b)
{
	struct ctx *c = p->c;

	for (uint32_t i = 0; i < b->n_iv; i++) {
		const struct atom *a = expr_atom(b->iv[i]);

		push_var(p, a, NULL, expr_const(c, 0), expr_addc(c, a->a, -1));
	}
}

/* ---- accesses ---------------------------------------------------------------- */

static void list_unproved(struct prover *p, const struct op *op,
			  const char *what)
{
	const struct loc *l = op->loc;

	p->unproved++;
	vec_push(&p->list,
		 arena_fmt(&p->c->perm, "%s '%s': %s of %s",
			   l && l->op ? l->op : "", l && l->name ? l->name : "",
			   op_def(op)->name, what));
}

static void not_proved(struct prover *p, const struct op *op,
		       const struct value *buf, size_t d, isl_set *bad)
{
	bool fixed = type_is_static(buf->type) &&
		     isl_set_dim(bad, isl_dim_param) == 0;

	list_unproved(p, op,
		      arena_fmt(&p->c->perm, "dim %zu of %s", d,
				type_str(p->c, buf->type)));
	if (fixed && isl_ctx_last_error(p->isl) == isl_error_none) {
		char *text = isl_set_to_str(bad);

		bug(&p->c->diag, "%s reads or writes outside of %s, dim %zu: %s",
		    op_def(op)->name, type_str(p->c, buf->type), d, text);
	}
}

/* ---- operands that may broadcast ------------------------------------------- */

static void find_fact(void *arg, struct op *op)
{
	struct prover *p = arg;
	size_t n;
	const struct expr *const *zero;

	if (op->code != OP_core_check)
		return;
	zero = op_exprs(op, A_zero, &n);
	for (size_t i = 0; i < n; i++)
		map_put(&p->facts, zero[i]->serial, (void *)zero[i]);
}

/* The computed dims that are broadcasts which are checked when the model
 * runs. */
static void find_joined(struct prover *p, const struct module *m)
{
	size_t n;
	const struct atom **dim = module_dims(m, &n);
	const struct expr *part[2];

	block_walk(op_body(m->func), find_fact, p);
	for (size_t i = 0; i < n; i++)
		if (broadcast_parts(expr_of_atom(p->c, dim[i]), part) &&
		    map_get(&p->facts,
			    broadcast_misfit(p->c, part[0], part[1])->serial))
			map_put(&p->joined, dim[i]->serial, (void *)dim[i]);
}

/* Is r made of dim by such broadcasts?  Then it is equal to dim where that is
 * not 1. */
static bool took_part(struct prover *p, const struct expr *r,
		      const struct expr *dim)
{
	const struct atom *a = expr_atom(r);
	const struct expr *part[2];

	return r == dim ||
	       (a && map_get(&p->joined, a->serial) &&
		broadcast_parts(r, part) &&
		(took_part(p, part[0], dim) || took_part(p, part[1], dim)));
}

struct search {
	struct prover *p;
	const struct expr *dim, *found;
};

static void visit_joined(void *arg, const struct atom *a)
{
	struct search *f = arg;
	const struct expr *r;

	if (a->kind != ATOM_DIM || f->found)
		return;
	r = expr_of_atom(f->p->c, a);
	if (took_part(f->p, r, f->dim))
		f->found = r;
}

/*
 * x * step of a dim: 0 where the dim is 1.  Where it is not, the index is x,
 * and the dim is that of the result, by which the loops around are bounded.
 */
static void without_step(struct prover *p, const struct expr **idx,
			 const struct expr **dim)
{
	const struct expr *step = broadcast_step(p->c, *dim), *x;
	struct search f = { p, *dim, NULL };

	if (!broadcast_is_step(step) ||
	    !(x = expr_exact_div(p->c, *idx, step)))
		return;
	for (size_t i = 0; i < p->upper.n; i++)
		if (p->upper.v[i])
			expr_visit(p->upper.v[i], visit_joined, &f);
	if (f.found) {
		*idx = x;
		*dim = f.found;
	}
}

static void check_access(struct prover *p, const struct op *op,
			 const struct value *buf, size_t n,
			 const struct expr *const *idx, unsigned guards)
{
	struct ctx *c = p->c;
	size_t old = p->guard.n;
	const struct expr *const *g = NULL;
	size_t ng = 0;

	if (guards)
		g = op_exprs(op, A_guard, &ng);
	for (size_t i = 0; i < ng; i++) {
		vec_push(&p->guard, g[i]);
		vec_push(&p->guard_op, op);
	}
	p->op = op;
	isl_ctx_reset_operations(p->isl);
	isl_set *dom = NULL;

	for (size_t i = 0; i < n; i++) {
		const struct expr *dim = buf->type->dim[i], *at = idx[i];

		p->checked++;
		without_step(p, &at, &dim);
		/* The algebra often knows; isl decides the rest. */
		if (expr_ge0(c, at) &&
		    expr_ge0(c, expr_addc(c, expr_sub(c, dim, at), -1)))
			continue;
		if (!dom)
			dom = domain(p);
		isl_set *low = isl_set_intersect(
			isl_set_copy(dom),
			nonneg(p, expr_addc(c, expr_scale(c, at, -1), -1)));
		isl_set *high = isl_set_intersect(
			isl_set_copy(dom),
			nonneg(p, expr_sub(c, at, dim)));
		isl_set *bad = isl_set_union(low, high);

		if (isl_set_is_empty(bad) != isl_bool_true)
			not_proved(p, op, buf, i, bad);
		isl_set_free(bad);
	}
	isl_set_free(dom);
	p->guard.n = p->guard_op.n = old;
}

/* An index operand is a variable between 0 and its extent. */
static void push_args(struct prover *p, const struct op *op)
{
	for (unsigned i = 0; i < op->n_attr; i++) {
		const struct attr *a = op->attr[i].val;

		if (a->kind != AT_EXPRS)
			continue;
		for (size_t k = 0; k < a->n; k++)
			for (uint32_t t = 0; t < a->exprs[k]->n; t++)
				for (uint32_t j = 0;
				     j < a->exprs[k]->term[t].n; j++) {
					const struct atom *x =
						a->exprs[k]->term[t].atom[j];

					if (x->kind == ATOM_ARG && x->a)
						push_var(p, NULL,
							 op->in[x->id].val,
							 expr_const(p->c, 0),
							 expr_addc(p->c, x->a,
								   -1));
				}
	}
}

static void check_block(struct prover *p, const struct block *b);

/* Columns beyond the last one are not stored. */
static void push_column_guard(struct prover *p, const struct block *b)
{
	struct ctx *c = p->c;

	vec_push(&p->guard, expr_addc(c, expr_sub(c, expr_atom(b->iv[1])->a,
						  b->iv[1]),
				      -1));
	vec_push(&p->guard_op, NULL);
}

/* Rows m0 .. m0+mr-1; the panel's columns n0 .. n0+nr-1, of which those below
 * the extent reach the body. */
static void check_contract(struct prover *p, const struct op *op)
{
	struct ctx *c = p->c;
	const struct block *b = op_body(op);
	size_t vars = p->vars.n, n;
	const struct expr *const *o = op_exprs(op, A_origin, &n);
	const struct expr *const *idx;

	push_var(p, expr_atom(b->iv[0]), NULL, o[0],
		 expr_addc(c, o[0], op_int(op, A_mr) - 1));
	push_var(p, expr_atom(b->iv[1]), NULL, o[1],
		 expr_addc(c, o[1], op_int(op, A_nr) - 1));
	for (uint32_t i = 2; i < b->n_iv; i++) {
		const struct atom *a = expr_atom(b->iv[i]);

		push_var(p, a, NULL, expr_const(c, 0), expr_addc(c, a->a, -1));
	}
	idx = op_exprs(op, A_a_idx, &n);
	check_access(p, op, op->in[0].val, n, idx, 0);
	idx = op_exprs(op, A_b_idx, &n);
	check_access(p, op, op->in[1].val, n, idx, 0);
	push_column_guard(p, b);
	check_block(p, b);
	p->guard.n--;
	p->guard_op.n--;
	pop_vars(p, vars);
}

static void check_op(struct prover *p, const struct op *op)
{
	size_t vars = p->vars.n, n;
	const struct expr *const *idx;

	switch ((int)op->code) {
	case OP_mem_load:
	case OP_mem_store:
		push_args(p, op);
		idx = op_exprs(op, A_idx, &n);
		check_access(p, op, op->in[op->code == OP_mem_store].val, n,
			     idx, 1);
		break;
	case OP_kern_contract: check_contract(p, op); return;
	default:
		for (unsigned r = 0; r < op->n_region; r++) {
			push_block(p, op->region[r].block);
			check_block(p, op->region[r].block);
		}
		break;
	}
	pop_vars(p, vars);
}

static void check_block(struct prover *p, const struct block *b)
{
	for (const struct op *op = b->first; op; op = op->next)
		check_op(p, op);
}

/* ---- independence of a kernel's points ------------------------------------------ */

struct stores {
	struct prover *p;
	struct op *kernel;
	VEC(const struct op *) v;
};

static void find_store(void *arg, struct op *op)
{
	struct stores *s = arg;

	if (op->code == OP_mem_store)
		vec_push(&s->v, op);
}

static void find_overlap(void *arg, struct op *op)
{
	struct stores *s = arg;

	if (op->code != OP_mem_load && op->code != OP_kern_contract)
		return;
	for (unsigned i = 0; i < op->n_in; i++)
		for (size_t k = 0; k < s->v.n; k++)
			if (op->in[i].val == s->v.v[k]->in[1].val)
				bug(&s->p->c->diag,
				    "a kernel reads what it writes");
}

/*
 * Two different points of the kernel that store to one element: variables of
 * the kernel once as x, once as y; the inner ones are existential.
 */
static isl_map *store_map(struct prover *p, const struct op *store,
			  const struct op *kernel)
{
	/* Enclosing ops from the kernel inwards. */
	VEC(const struct op *) path = { 0 };
	size_t n, keep, guards = p->guard.n;
	struct ctx *c = p->c;

	for (const struct op *o = op_parent(store); o != kernel;
	     o = op_parent(o))
		vec_push(&path, o);
	push_block(p, op_body(kernel));
	keep = p->vars.n;
	for (size_t i = path.n; i-- > 0;) {
		const struct op *o = path.v[i];
		const struct block *b = op_body(o);

		if (o->code != OP_kern_contract) {
			push_block(p, b);
			continue;
		}
		const struct expr *const *at = op_exprs(o, A_origin, &n);

		push_var(p, expr_atom(b->iv[0]), NULL, at[0],
			 expr_addc(c, at[0], op_int(o, A_mr) - 1));
		push_var(p, expr_atom(b->iv[1]), NULL, at[1],
			 expr_addc(c, at[1], op_int(o, A_nr) - 1));
		push_column_guard(p, b);
	}
	const struct expr *const *idx = op_exprs(store, A_idx, &n);

	p->op = store;
	isl_ctx_reset_operations(p->isl);
	isl_set *dom = domain(p);
	isl_multi_pw_aff *mpa = isl_multi_pw_aff_zero(
		isl_space_map_from_domain_and_range(
			isl_space_copy(p->space),
			isl_space_set_alloc(p->isl, 0, (unsigned)n)));

	for (size_t i = 0; i < n; i++)
		mpa = isl_multi_pw_aff_set_pw_aff(mpa, (int)i,
						  to_isl(p, idx[i]));
	isl_map *m = isl_map_intersect_domain(
		isl_map_from_multi_pw_aff(mpa), dom);

	m = isl_map_project_out(m, isl_dim_in, (unsigned)keep,
				(unsigned)(p->vars.n - keep));
	pop_vars(p, 0);
	p->guard.n = p->guard_op.n = guards;
	vec_free(&path);
	return m;
}

static void check_independent(struct prover *p, struct op *kernel)
{
	struct stores s = { .p = p, .kernel = kernel };

	block_walk(op_body(kernel), find_store, &s);
	block_walk(op_body(kernel), find_overlap, &s);
	for (size_t i = 0; i < s.v.n; i++) {
		isl_map *m = store_map(p, s.v.v[i], kernel);

		p->checked++;
		/* "Unknown" does not happen for constant bounds; where a
		 * product of symbols hides the answer the lowering's own
		 * argument stands: distinct variables index distinct dims. */
		if (isl_map_is_injective(m) != isl_bool_true)
			list_unproved(p, s.v.v[i], "distinct elements");
		isl_map_free(m);
	}
	vec_free(&s.v);
}

static void check_all(struct prover *p, struct block *b)
{
	for (struct op *op = b->first; op; op = op->next) {
		if (op->code == OP_loop_seq) {
			/* Its variable is a number inside the kernels. */
			check_all(p, op_body(op));
		} else if (op->code == OP_loop_kernel) {
			check_op(p, op);
			check_independent(p, op);
		}
	}
}

static bool check_bounds_run(struct module *m, const struct pass_args *args)
{
	struct prover p = { .c = m->ctx };

	(void)args;
	p.isl = isl_ctx_alloc();
	isl_options_set_on_error(p.isl, ISL_ON_ERROR_CONTINUE);
	isl_ctx_set_max_operations(p.isl, QUOTA);
	reset_space(&p);
	find_joined(&p, m);
	check_all(&p, op_body(m->func));
	op_set_int(m->ctx, m->func, A_checked, p.checked);
	op_set_int(m->ctx, m->func, A_unproved, p.unproved);
	if (p.list.n) {
		struct attr *a = NEW(&m->ctx->perm, struct attr);

		a->kind = AT_STRS;
		a->n = p.list.n;
		a->strs = arena_copy(&m->ctx->perm, p.list.v,
				     p.list.n * sizeof(*p.list.v));
		op_set_attr(m->ctx, m->func, A_unproved_list, a);
	}
	vec_free(&p.list);
	map_free(&p.facts);
	map_free(&p.joined);
	isl_space_free(p.space);
	vec_free(&p.vars);
	vec_free(&p.lower);
	vec_free(&p.upper);
	vec_free(&p.guard);
	vec_free(&p.guard_op);
	isl_ctx_free(p.isl);
	return true;
}

PASS(check_bounds,
	.summary = "Prove accesses in bounds and parallel points independent",
	.needs = LEVEL_LOOP, .leaves = LEVEL_LOOP,
	.run = check_bounds_run);
