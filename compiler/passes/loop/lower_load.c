/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A nest.load becomes a mem.load, with guards where it may now be reached
 * without an element to read:
 *
 *	nest.compute [i < M, j < N] { %v = nest.load(%x) {idx = [i, 0]} ... }
 * ->
 *	loop.kernel [i < M] {
 *	  %v = mem.load(%x, %zero) {idx = [i, 0], guard = [N - 1]}
 *	  loop.for [j < N] { ... }
 *	}
 *
 * The statement promises that index for its points only, of which there are
 * none for N = 0.  Likewise an index that is data is in [0, E), but 0 for
 * E = 0.  Guards that are known to hold are left out.
 */
#include "ir/op.h"
#include "passes/loop/lower.h"

struct guards {
	struct ctx *ctx;
	const struct expr *e[4 * MAX_RANK];
	unsigned n;
	unsigned shift;		/* of operand numbers */
};

static void add_guard(struct guards *g, const struct expr *e)
{
	if (expr_ge0(g->ctx, e))
		return;
	for (unsigned i = 0; i < g->n; i++)
		if (g->e[i] == e)
			return;
	if (g->n == ARRAY_SIZE(g->e))
		bug(&g->ctx->diag, "a load with more than %u guards", g->n);
	g->e[g->n++] = e;
}

static void nonempty(void *arg, const struct atom *a)
{
	struct guards *g = arg;

	if (a->kind == ATOM_ARG && a->a)
		add_guard(g, expr_addc(g->ctx, a->a, -1));
}

/* Is the index inside for all values of what it is made of? */
static bool always_inside(struct ctx *c, const struct expr *idx,
			  const struct expr *dim)
{
	return expr_ge0(c, idx) &&
	       expr_ge0(c, expr_addc(c, expr_sub(c, dim, idx), -1));
}

static const struct expr *shifted(void *arg, const struct atom *a)
{
	const struct guards *g = arg;

	if (a->kind != ATOM_ARG)
		return NULL;
	return expr_arg(g->ctx, a->id + g->shift, a->a);
}

static struct value *zero(struct builder *b, enum dtype t)
{
	struct lower lo = { .b = *b };

	return s_const(&lo, t, 0);
}

void lower_load(struct cloner *cl, struct builder *b, struct op *op,
		const struct expr *hoisted)
{
	struct ctx *c = cl->ctx;
	const struct type *t = op->in[0].val->type;
	struct guards g = { .ctx = c };
	const struct expr *idx[MAX_RANK];
	struct value *in[2 * MAX_RANK];
	size_t n, n_old;
	const struct expr *const *e = op_exprs(op, A_idx, &n);
	const struct expr *const *old = op_exprs(op, A_guard, &n_old);
	bool inside = true;

	for (size_t i = 0; i < n_old; i++)
		g.e[g.n++] = clone_expr(cl, old[i]);
	for (size_t i = 0; i < n; i++) {
		idx[i] = clone_expr(cl, e[i]);
		expr_visit(idx[i], nonempty, &g);
		inside &= always_inside(c, idx[i], t->dim[i]);
	}
	if (hoisted && !inside)
		add_guard(&g, expr_addc(c, clone_expr(cl, hoisted), -1));
	if (g.n == n_old) {
		clone_op(cl, b, op)->code = OP_mem_load;
		return;
	}
	unsigned n_in = 0, from = 1;

	/* What is loaded where a guard fails becomes operand 1. */
	in[n_in++] = cloned(cl, op->in[0].val);
	if (n_old)
		in[n_in++] = cloned(cl, op->in[from++].val);
	else
		in[n_in++] = zero(b, t->dtype);
	g.shift = n_in - from;
	while (from < op->n_in)
		in[n_in++] = cloned(cl, op->in[from++].val);
	for (size_t i = 0; g.shift && i < n; i++)
		idx[i] = expr_subst(c, idx[i], shifted, &g);
	for (unsigned i = 0; g.shift && i < g.n; i++)
		g.e[i] = expr_subst(c, g.e[i], shifted, &g);
	struct named_attr attr[] = { { A_idx, attr_exprs(c, n, idx) },
				     { A_guard, attr_exprs(c, g.n, g.e) } };
	const struct type *ty = op->out[0].type;
	const struct loc *loc = b->loc;

	b->loc = op->loc;
	struct op *copy = build(b, &(struct op_spec){ .code = OP_mem_load,
						      .n_in = n_in, .in = in,
						      .n_out = 1, .out = &ty,
						      .n_attr = 2,
						      .attr = attr });

	b->loc = loc;
	clone_value(cl, &op->out[0], &copy->out[0]);
}
