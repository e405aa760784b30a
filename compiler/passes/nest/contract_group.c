/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The group of a contraction of integers: a variable of the fold becomes two,
 * of which the last counts the products that one instruction adds.
 *
 *	sum k < K: a[m, k] * w[k, n]
 * ->
 *	sum q < ceil(K / 4), r < 4: a[m, 4*q + r] * w[4*q + r, n]
 *
 * with w taken as 0 from K on.  The variable is one that runs along the
 * innermost dim of the row operand, or can be made to.
 */
#include "ir/layout.h"
#include "ir/target.h"
#include "passes/nest/body.h"
#include "passes/nest/contraction.h"

enum { FEW_CHANNELS = 8 };

/* The variable that steps through consecutive elements of the row operand,
 * preferably one that groups divide; -1 without one. */
static int consecutive(struct ctx *c, const struct contraction *con,
		       unsigned size)
{
	const struct block *kb = op_body(con->fold);
	size_t n;
	const struct expr *const *idx = op_exprs(con->a, A_idx, &n);
	const struct expr *off = layout_offset(c, con->a->in[0].val, idx);
	const struct expr *step, *rest;
	int found = -1;

	for (uint32_t i = 0; i < kb->n_iv; i++) {
		const struct atom *k = expr_atom(kb->iv[i]);

		if (!expr_linear(c, off, k, &step, &rest) || !expr_is(step, 1))
			continue;
		if (expr_exact_div(c, k->a, expr_const(c, size)))
			return (int)i;
		found = (int)i;
	}
	return found;
}

/* Can the statement that makes the operand store it in another order? */
static bool is_free(const struct value *v)
{
	return !v->layout && def_of(v, OP_nest_compute) &&
	       !op_has(v->def, A_panel) && !value_is_returned(v);
}

/* A variable with step 1 in that index of the row operand, or -1. */
static int unit_variable(struct ctx *c, const struct contraction *con,
			 size_t at)
{
	const struct block *kb = op_body(con->fold);
	size_t n;
	const struct expr *const *idx = op_exprs(con->a, A_idx, &n);
	const struct expr *step, *rest;

	for (uint32_t i = 0; i < kb->n_iv; i++)
		if (expr_linear(c, idx[at], expr_atom(kb->iv[i]), &step,
				&rest) &&
		    expr_is(step, 1))
			return (int)i;
	return -1;
}

/* The variable for a copy whose order is ours to choose: channels, or the
 * columns of the window where these are few. */
static int copied(struct ctx *c, const struct contraction *con)
{
	const struct block *kb = op_body(con->fold);
	int channel = contraction_channel(con), k = -1, last;
	size_t n;
	int64_t extent;

	op_exprs(con->a, A_idx, &n);
	if (channel >= 0)
		k = unit_variable(c, con, (size_t)channel);
	if (k >= 0 && (!expr_is_const(expr_atom(kb->iv[k])->a, &extent) ||
		       extent >= FEW_CHANNELS))
		return k;
	last = n ? unit_variable(c, con, n - 1) : -1;
	return last >= 0 ? last : k;
}

static int choose(struct ctx *c, const struct contraction *con, unsigned size)
{
	struct value *v = con->a->in[0].val;
	int channel = contraction_channel(con);

	if (!contraction_needs_copy(c, con)) {
		if (channel >= 0 && is_free(v) &&
		    (unsigned)channel + 1 < v->type->rank)
			v->layout = layout_with_last(
				c, v->type, (unsigned)channel);
		int k = consecutive(c, con, size);

		if (k >= 0)
			return k;
	}
	int k = copied(c, con);

	return k >= 0 ? k : (int)op_body(con->fold)->n_iv - 1;
}

/* The last variable of the fold that the scale does not depend on. */
static uint32_t within_block(const struct contraction *con,
			     const struct op *scale)
{
	const struct block *kb = op_body(con->fold);
	uint32_t k = kb->n_iv - 1, used = op_uses_ivs(scale, kb);

	while (k && used >> k & 1)
		k--;
	return k;
}

void contraction_group(struct ctx *c, struct contraction *con,
		       struct group *g)
{
	enum dtype t = con->b->out[0].type->dtype;
	struct decode d;

	*g = (struct group){ .size = 1 };
	if (product_decodes(con->b, &d)) {
		/* A lane of 32 bits has so many of them. */
		if (dtype_is_packed(t)) {
			g->size = 32 / dtype_info[t].bits;
			fold_split(c, con->fold, within_block(con, d.scale),
				   g->size, &g->inside);
		}
		return;
	}
	const struct dot *dot = contraction_dot(c, con);

	if (dot)
		g->size = dot->group;
	if (g->size > 1)
		fold_split(c, con->fold,
			   (uint32_t)choose(c, con, g->size), g->size,
			   &g->inside);
}

static void guard_load(struct ctx *c, struct op *load,
		       const struct expr *inside)
{
	struct builder b = { c, load->parent, load, load->loc };
	struct lower lo = { .b = b };
	const struct expr *e[4 * MAX_RANK];
	size_t n;
	const struct expr *const *old = op_exprs(load, A_guard, &n);

	for (size_t i = 0; i < n; i++)
		e[i] = old[i];
	e[n] = inside;
	op_set_exprs(c, load, A_guard, n + 1, e);
	/* The other value is operand 1 by rule. */
	if (!n)
		op_add_in(c, load, s_const(&lo, load->out[0].type->dtype, 0));
}

void contraction_guard_group(struct ctx *c, const struct contraction *con,
			     const struct group *g)
{
	if (!g->inside)
		return;
	guard_load(c, con->a, g->inside);
	guard_load(c, con->b, g->inside);
}
