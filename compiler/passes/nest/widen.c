/* SPDX-License-Identifier: Apache-2.0 */
/*
 * widen: what a contraction reads in rows is widened where it is made.
 *
 *	y[m, n] = sum k: cast(%x[m, k]) * cast(%w[k, n])
 * ->
 *	%v[m, k] = cast(%x[m, k])
 *	y[m, n] = sum k: %v[m, k] * cast(%w[k, n])
 *
 * Columns are read narrow where a statement only widens a constant:
 *
 *	%v[k, n] = cast(%c[k, n])
 *	y[m, n] = sum k: x[m, k] * %v[k, n]
 * ->
 *	y[m, n] = sum k: x[m, k] * cast(%c[k, n])
 *
 * Register tiles take their rows in the type of the sums.  As a statement of
 * its own the widening is fused with what makes the tensor, when nothing else
 * reads it; several contractions share one.  A load with a guard is left
 * alone: pass contract copies what is padded, and widens it then.
 *
 * Tensor cores read both narrow: with rows=0 no operand is widened, and the
 * constant is either of them.
 */
#include "passes/nest/body.h"
#include "passes/nest/contraction.h"

/* Does the statement widen each element of v where it is? */
static bool widens(const struct op *s, const struct value *v)
{
	const struct op *load, *cast;
	const struct block *b;
	size_t n;

	if (s->code != OP_nest_compute || s->n_out != 1 || op_has(s, A_idx) ||
	    s->out[0].type->dtype != DT_F32)
		return false;
	b = op_body(s);
	load = b->first;
	if (load->code != OP_nest_load || load->n_in != 1 ||
	    load->in[0].val != v)
		return false;
	cast = load->next;
	if (cast->code != OP_arith_cast || cast->next != b->last ||
	    cast->in[0].val != &load->out[0] ||
	    b->last->in[0].val != &cast->out[0])
		return false;
	const struct expr *const *idx = op_exprs(load, A_idx, &n);

	for (size_t i = 0; i < n; i++)
		if (idx[i] != b->iv[i] &&
		    !(expr_is(expr_atom(b->iv[i])->a, 1) &&
		      expr_is(idx[i], 0)))
			return false;
	return n == b->n_iv;
}

/* The widened value of v, stated before `at` if it is not there. */
static struct value *widened(struct ctx *c, struct value *v, struct op *at)
{
	struct lower lo = { .b = { c, at->parent, at, at->loc } };
	const struct type *t = type_tensor(c, DT_F32, v->type->rank,
					   v->type->dim);
	struct value *w;

	for (const struct use *u = v->uses; u; u = u->next) {
		struct op *s = op_parent(u->user);

		/* Another type is one of a part of v. */
		if (!s || s->parent != at->parent || s->out[0].type != t ||
		    !widens(s, v))
			continue;
		if (!op_comes_before(s, at)) {
			/* It needs nothing but v. */
			op_unlink(s);
			op_insert(s, at->parent, at);
		}
		return &s->out[0];
	}
	struct nest n = nest_begin(&lo, 1, &t);

	w = s_cast(&lo, DT_F32, nest_load(&lo, v, n.iv));
	nest_end(&lo, &n, 1, &w, &w);
	return w;
}

static void widen_rows(struct ctx *c, struct op *op)
{
	struct contraction con;
	size_t n;

	if (!contraction_match(c, op, &con) || con.a->n_in != 1 ||
	    !dtype_is_half(con.a->out[0].type->dtype) ||
	    (op_exprs(con.a, A_guard, &n), n))
		return;
	struct value *old = product_factor(con.a);
	struct value *w = widened(c, con.a->in[0].val, op);
	struct lower lo = { .b = { c, con.a->parent, con.a, con.a->loc } };

	value_replace(old, nest_load(&lo, w, op_exprs(con.a, A_idx, &n)));
	op_erase(old->def);
	op_erase(con.a);
}

/* The constant half floats are read where a statement widens them. */
static void narrow_load(struct ctx *c, struct op *load)
{
	struct blob data;
	size_t n;

	if (load->n_in != 1 || load->out[0].type->dtype != DT_F32 ||
	    (op_exprs(load, A_guard, &n), n))
		return;
	struct op *s = def_of(load->in[0].val, OP_nest_compute);
	struct value *from = s && op_body(s)->first->code == OP_nest_load
				     ? op_body(s)->first->in[0].val
				     : NULL;

	if (!from || !dtype_is_half(from->type->dtype) ||
	    !value_const(from, &data) || !widens(s, from))
		return;
	struct lower lo = { .b = { c, load->parent, load, load->loc } };
	struct value *v = nest_load(&lo, from, op_exprs(load, A_idx, &n));

	value_replace(&load->out[0], s_cast(&lo, DT_F32, v));
	op_erase(load);
}

static void narrow_columns(struct ctx *c, struct op *op)
{
	struct contraction con;

	if (contraction_match(c, op, &con))
		narrow_load(c, con.b);
}

static void narrow_both(struct ctx *c, struct op *op)
{
	struct contraction con;

	if (!contraction_match(c, op, &con))
		return;
	narrow_load(c, con.a);
	narrow_load(c, con.b);
}

static void widen_statement(struct ctx *c, struct op *op)
{
	widen_rows(c, op);
	narrow_columns(c, op);
}

static bool widen_run(struct module *m, const struct pass_args *args)
{
	each_statement(m->ctx, op_body(m->func),
		       args->param[0] ? widen_statement : narrow_both);
	erase_dead(op_body(m->func));
	return true;
}

PASS(widen,
	.summary = "Widen half floats that contractions read in rows, not in "
		   "columns",
	.needs = LEVEL_NEST, .leaves = LEVEL_NEST,
	.param = { { "rows", 1, "0: widen none, and narrow either operand" } },
	.run = widen_run);
