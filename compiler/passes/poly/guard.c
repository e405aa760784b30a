/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes an access safe that was not proved to be.
 *
 * The points outside of the buffer, projected to the symbols, are the calls
 * that would go wrong.  When they are known exactly a call checks that before
 * the kernel (core.check), which costs nothing else:
 *
 *	for i < N: load %t[i], %t of M elements
 * ->	core.check {nonneg = [max(M - N, ..)]}
 *
 * They are not exact when the index is one of the run, or has parts that isl
 * does not follow.  Then the access itself becomes a guarded one, and raises
 * DLRT_INDEX where it would have been outside:
 *
 *	%k = nest.index(nest.value {idx = [0 when inside, else 1]}) {extent = [1]}
 *	mem.load(%t, %zero) {idx = [e], guard = [e, M - 1 - e]}
 *
 * Both conditions hold in all that is correct: no call is refused that would
 * have stayed inside.
 */
#include <isl/constraint.h>
#include <string.h>

#include "passes/poly/prove.h"

enum { MAX_CONDITIONS = 16, MAX_TEXT = 300 };

/* ---- conditions on symbols ------------------------------------------ */

struct condition {
	struct prover *p;
	VEC(const struct expr *) nonneg;
	const struct expr *one;		/* of the part being looked at */
	bool ok;
};

static const struct expr *param_expr(struct condition *k, const char *name)
{
	const struct prover *p = k->p;

	for (size_t i = 0; i < p->params.n && name; i++)
		if (!strcmp(p->params.v[i].name, name) &&
		    expr_is_closed(p->params.v[i].e))
			return p->params.v[i].e;
	k->ok = false;
	return expr_const(p->c, 0);
}

/* The number, freed; what is none or too large spoils the condition. */
static int64_t to_int(struct condition *k, isl_val *v)
{
	int64_t x = 0;

	if (v && isl_val_is_int(v) == isl_bool_true &&
	    isl_val_n_abs_num_chunks(v, sizeof(int32_t)) <= 1)
		x = isl_val_get_num_si(v);
	else
		k->ok = false;
	isl_val_free(v);
	return x;
}

static const struct expr *aff_expr(struct condition *k, isl_aff *a);

/* What a divides: floor(a), for a with a denominator. */
static const struct expr *floor_expr(struct condition *k, isl_aff *a)
{
	isl_val *den = isl_aff_get_denominator_val(a);
	int64_t d = to_int(k, isl_val_copy(den));
	const struct expr *e = aff_expr(k, isl_aff_scale_val(a, den));

	return d > 0 ? expr_div(k->p->c, e, expr_const(k->p->c, d)) : e;
}

/* Takes a function of the parameters with whole coefficients. */
static const struct expr *aff_expr(struct condition *k, isl_aff *a)
{
	struct ctx *c = k->p->c;
	const struct expr *e = expr_const(
		c, to_int(k, isl_aff_get_constant_val(a)));
	isl_size n_param = isl_aff_dim(a, isl_dim_param);
	isl_size n_div = isl_aff_dim(a, isl_dim_div);

	for (int i = 0; i < n_param && k->ok; i++) {
		int64_t x = to_int(k, isl_aff_get_coefficient_val(
					      a, isl_dim_param, i));

		if (x)
			e = expr_add(
				c, e,
				expr_scale(
					c,
					param_expr(k, isl_aff_get_dim_name(
							      a, isl_dim_param,
							      (unsigned)i)),
					x));
	}
	for (int i = 0; i < n_div && k->ok; i++) {
		int64_t x = to_int(k, isl_aff_get_coefficient_val(
					      a, isl_dim_div, i));

		if (x)
			e = expr_add(
				c, e,
				expr_scale(c,
					   floor_expr(k, isl_aff_get_div(a, i)),
					   x));
	}
	k->ok &= a != NULL;
	isl_aff_free(a);
	return e;
}

/* Adds "or this constraint does not hold". */
static isl_stat add_constraint(isl_constraint *con, void *arg)
{
	struct condition *k = arg;
	struct ctx *c = k->p->c;
	bool eq = isl_constraint_is_equality(con) == isl_bool_true;
	const struct expr *e = aff_expr(k, isl_constraint_get_aff(con));
	const struct expr *fails = expr_addc(c, expr_scale(c, e, -1), -1);

	isl_constraint_free(con);
	if (eq)
		fails = expr_max(c, fails, expr_addc(c, e, -1));
	k->one = k->one ? expr_max(c, k->one, fails) : fails;
	return k->ok ? isl_stat_ok : isl_stat_error;
}

static isl_stat add_part(isl_basic_set *part, void *arg)
{
	struct condition *k = arg;

	k->one = NULL;
	if (isl_basic_set_foreach_constraint(part, add_constraint, k))
		k->ok = false;
	/* No constraint: all calls go wrong. */
	vec_push(&k->nonneg, k->one ? k->one : expr_const(k->p->c, -1));
	isl_basic_set_free(part);
	return k->ok ? isl_stat_ok : isl_stat_error;
}

/* Parameters that are not negative anyway. */
static isl_set *known_of(struct prover *p, isl_set *s)
{
	isl_set *known = isl_set_universe(isl_set_get_space(s));

	for (size_t i = 0; i < p->params.n; i++) {
		int at = isl_set_find_dim_by_name(known, isl_dim_param,
						  p->params.v[i].name);

		if (at >= 0 && known_ge0(p, p->params.v[i].e))
			known = isl_set_lower_bound_si(known, isl_dim_param,
						       (unsigned)at, 0);
	}
	return known;
}

/*
 * Is a call wrong whenever the symbols are those of a bad point?  Not when
 * the point depends on a number of the run, except where that has no choice:
 * an index into nothing.
 */
static bool is_exact(struct prover *p, isl_set *bad, uint64_t used)
{
	bool exact = p->vars.n <= MAX_PART_VARS;

	for (size_t i = 0; i < p->guards.n; i++)
		used |= vars_in(p, p->guards.v[i].e, p->guards.v[i].op);
	for (size_t i = 0; i < p->vars.n && exact; i++) {
		const struct var *v = &p->vars.v[i];

		if (v->part)
			return false;
		if (!v->arg || !(used >> i & 1))
			continue;
		if (!v->hi)
			return false;
		isl_set *choice = isl_set_intersect(
			isl_set_copy(bad),
			points_where(p, expr_addc(p->c, v->hi, -1)));

		exact = isl_set_is_empty(choice) == isl_bool_true;
		isl_set_free(choice);
	}
	return exact;
}

/* In the function's own block, before what op is in. */
static struct builder before_kernel(struct ctx *c, struct op *op)
{
	struct op *at = op;

	while (op_parent(op_parent(at)))
		at = op_parent(at);
	return (struct builder){ c, at->parent, at, op->loc };
}

/* Known to go wrong in every call? */
static bool is_hopeless(const struct condition *k)
{
	for (size_t i = 0; i < k->nonneg.n; i++)
		if (expr_is(k->nonneg.v[i], -1))
			return true;
	return false;
}

static const char *check_call(struct prover *p, struct op *op, isl_set *bad,
			      uint64_t used, bool *hopeless)
{
	struct condition k = { .p = p, .ok = true };
	struct ctx *c = p->c;
	const char *how = NULL;

	if (!is_exact(p, bad, used))
		return NULL;
	isl_ctx_reset_operations(p->isl);
	isl_set *s = isl_set_params(isl_set_copy(bad));

	s = isl_set_coalesce(isl_set_compute_divs(s));
	s = isl_set_gist(s, known_of(p, s));
	if (!s || isl_set_n_basic_set(s) > MAX_CONDITIONS ||
	    isl_set_foreach_basic_set(s, add_part, &k))
		k.ok = false;
	for (size_t i = 0; i < k.nonneg.n; i++)
		k.ok &= !expr_is_poison(k.nonneg.v[i]);
	*hopeless = k.ok && is_hopeless(&k);
	if (k.ok && !k.nonneg.n) {
		how = "";
	} else if (k.ok && !*hopeless) {
		struct builder b = before_kernel(c, op);
		struct named_attr attr = {
			A_nonneg, attr_exprs(c, k.nonneg.n, k.nonneg.v)
		};
		const char *text = expr_str(c, k.nonneg.v[0]);

		build(&b, &(struct op_spec){ .code = OP_core_check,
					     .n_attr = 1, .attr = &attr });
		how = arena_fmt(
			&c->perm, "checked once per call: %.*s%s >= 0%s",
			MAX_TEXT, text, strlen(text) > MAX_TEXT ? ".." : "",
			k.nonneg.n > 1 ? " and more" : "");
	}
	isl_set_free(s);
	vec_free(&k.nonneg);
	return how;
}

/* ---- guards of an access -------------------------------------------- */

static struct op *add_op(struct builder *b, enum opcode code, struct value *in,
			 enum dtype t, struct named_attr attr)
{
	const struct type *type = type_scalar(b->ctx, t);

	return build(b, &(struct op_spec){ .code = code, .n_in = in != NULL,
					   .in = &in, .n_out = 1,
					   .out = &type, .n_attr = 1,
					   .attr = &attr });
}

/* Raises DLRT_INDEX when `outside` is 1; its result is 0.  An expression
 * names the operands of the op that holds it, so these come along. */
static struct value *raise_when(struct builder *b, const struct op *op,
				const struct expr *outside)
{
	struct ctx *c = b->ctx;
	const struct expr *one = expr_const(c, 1);
	struct named_attr idx = { A_idx, attr_exprs(c, 1, &outside) };
	struct named_attr extent = { A_extent, attr_exprs(c, 1, &one) };
	struct op *v = add_op(b, OP_nest_value, NULL, DT_I64, idx);

	for (unsigned i = 0; i < op->n_in; i++)
		op_add_in(c, v, op->in[i].val);
	return &add_op(b, OP_nest_index, &v->out[0], DT_I64, extent)->out[0];
}

struct renumber {
	struct ctx *c;
	unsigned from, to;
};

static const struct expr *renumber_arg(void *arg, const struct atom *a)
{
	const struct renumber *r = arg;

	return a->kind == ATOM_ARG && a->id == r->from
		       ? expr_arg(r->c, r->to, a->a)
		       : NULL;
}

static void renumber_list(struct renumber *r, struct op *op,
			  enum attr_name name)
{
	size_t n;
	const struct expr *const *old = op_exprs(op, name, &n);
	const struct expr **e = NEW_ARRAY(&r->c->temp, n + 1,
					  const struct expr *);

	for (size_t i = 0; i < n; i++)
		e[i] = expr_subst(r->c, old[i], renumber_arg, r);
	op_set_exprs(r->c, op, name, n, e);
}

/* A load gets the value for where its guards fail, as operand 1. */
static void add_other(struct builder *b, struct op *op)
{
	struct ctx *c = b->ctx;
	enum dtype t = op->in[0].val->type->dtype;
	struct named_attr zero = { A_value, dtype_is_float(t)
						    ? attr_float(c, 0)
						    : attr_int(c, 0) };
	struct value *other =
		&add_op(b, OP_arith_const, NULL, t, zero)->out[0];
	struct renumber r = { c, 1, op->n_in };

	if (op->n_in < 2) {
		op_add_in(c, op, other);
		return;
	}
	op_add_in(c, op, op->in[1].val);
	op_set_in(op, 1, other);
	renumber_list(&r, op, A_idx);
	renumber_list(&r, op, A_guard);
}

static const char *check_element(struct prover *p, struct op *op, size_t d)
{
	struct ctx *c = p->c;
	bool store = op->code == OP_mem_store;
	const struct value *buf = op->in[store].val;
	struct builder b = { c, op->parent, op, op->loc };
	size_t n_idx, n;
	const struct expr *const *idx = op_exprs(op, A_idx, &n_idx);
	const struct expr *const *old = op_exprs(op, A_guard, &n);
	const struct expr **g = NEW_ARRAY(&c->temp, n + 2, const struct expr *);
	const struct expr *active = expr_const(c, 1), *inside;

	for (size_t i = 0; i < n; i++) {
		g[i] = old[i];
		active = expr_mul(c, active,
				  expr_is_pos(c, expr_addc(c, old[i], 1)));
	}
	g[n] = idx[d];
	g[n + 1] = expr_addc(c, expr_sub(c, buf->type->dim[d], idx[d]), -1);
	inside = expr_is_pos(c, expr_addc(c, expr_min(c, g[n], g[n + 1]), 1));
	raise_when(&b, op,
		   expr_mul(c, active, expr_sub(c, expr_const(c, 1), inside)));
	op_set_exprs(c, op, A_guard, n + 2, g);
	if (!store && !n)
		add_other(&b, op);
	return "checked at each access";
}

const char *guard_access(struct prover *p, struct op *op, isl_set *bad,
			 uint64_t used, size_t d, bool *hopeless)
{
	const char *how = check_call(p, op, bad, used, hopeless);

	if (how || *hopeless || op->code == OP_kern_contract)
		return how;
	return check_element(p, op, d);
}
