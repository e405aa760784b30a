/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout: statements between contractions keep the memory order that the
 * contractions chose.
 *
 * A statement follows the first operand that has a layout and is read dim by
 * dim (pooling windows included).  Model inputs and outputs stay row-major.
 */
#include "passes/nest/body.h"

struct follow {
	struct op *compute;
	const struct layout *found;
};

static void look(void *arg, struct op *op)
{
	struct follow *f = arg;
	const struct block *b = op_body(f->compute);
	size_t n;

	if (f->found || op->code != OP_nest_load || !op->in[0].val->layout)
		return;
	const struct expr *const *idx = op_exprs(op, A_idx, &n);

	if (n != b->n_iv)
		return;
	for (size_t i = 0; i < n; i++)
		if (!expr_is(expr_atom(b->iv[i])->a, 1) &&
		    !expr_uses(idx[i], expr_atom(b->iv[i])))
			return;
	f->found = op->in[0].val->layout;
}

/* Folds that run once per outer point count on the order of the loops. */
static bool has_partial_fold(const struct block *b)
{
	for (const struct op *op = b->first; op; op = op->next)
		if (op->code == OP_nest_reduce &&
		    (op_uses_ivs(op, b) & block_real_ivs(b)) !=
			    block_real_ivs(b))
			return true;
	return false;
}

static bool leaves_the_block(const struct value *v)
{
	for (const struct use *u = v->uses; u; u = u->next)
		if (u->user->code != OP_nest_load)
			return true;
	return false;
}

static void layout_block(struct ctx *c, struct block *b)
{
	for (struct op *op = b->first; op; op = op->next) {
		struct follow f = { op, NULL };

		if (op->code == OP_core_scan)
			layout_block(c, op_body(op));
		if (op->code != OP_nest_compute || op->out[0].layout)
			continue;
		bool kept = false;

		for (unsigned i = 0; i < op->n_out; i++)
			kept |= leaves_the_block(&op->out[i]);
		if (kept || has_partial_fold(op_body(op)))
			continue;
		block_walk(op_body(op), look, &f);
		if (!f.found)
			continue;
		struct layout *l = NEW(&c->perm, struct layout);

		for (unsigned i = 0; i < op_body(op)->n_iv; i++)
			l->perm[i] = f.found->perm[i];
		for (unsigned i = 0; i < op->n_out; i++)
			op->out[i].layout = l;
	}
}

static bool layout_run(struct module *m, const struct pass_args *args)
{
	(void)args;
	layout_block(m->ctx, op_body(m->func));
	return true;
}

PASS(layout,
	.summary = "Keep the memory order of contractions between them",
	.needs = LEVEL_NEST, .leaves = LEVEL_NEST,
	.run = layout_run);
