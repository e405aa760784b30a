/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_graph: every graph op becomes the nest-level statements that its
 * record's meaning states; decomposed ops are lowered in turn.
 */
#include "ir/op.h"
#include "passes/pass.h"

static bool lower_one(struct ctx *c, struct op *op)
{
	struct value **result = NEW_ARRAY(&c->temp, op->n_out + 1u,
					  struct value *);
	struct lower lo = { { c, op->parent, op, op->loc }, op, result };

	if (!op_lower(&lo))
		return c->diag.n_errors
			       ? false
			       : diag_error(&c->diag, EXIT_UNSUPPORTED,
					    op->loc, "cannot be lowered");
	for (unsigned i = 0; i < op->n_out; i++) {
		struct value *v = &op->out[i];

		if (!result[i]) {
			if (v->uses)
				bug(&c->diag, "%s gave no result %u",
				    op_def(op)->name, i);
			continue;
		}
		if (!result[i]->name)
			result[i]->name = v->name;
		value_replace(v, result[i]);
	}
	op_erase(op);
	return true;
}

/* Each result of the model is computed by a statement of its own, so that it
 * can be written where the caller wants it. */
static void own_outputs(struct ctx *c, struct op *ret)
{
	for (unsigned i = 0; i < ret->n_in; i++) {
		struct value *v = ret->in[i].val;
		bool taken = false;

		for (unsigned k = 0; k < i; k++)
			taken |= ret->in[k].val == v;
		if (!taken && def_of(v, OP_nest_compute))
			continue;
		struct lower lo = { { c, ret->parent, ret, ret->loc }, ret,
				    NULL };
		const struct type *t = v->type;
		struct nest s = nest_begin(&lo, 1, &t);
		struct value *x = nest_load(&lo, v, s.iv), *y;

		nest_end(&lo, &s, 1, &x, &y);
		op_set_in(ret, i, y);
	}
}

static bool lower_graph_run(struct module *m, const struct pass_args *args)
{
	struct block *body = op_body(m->func);

	(void)args;
	for (struct op *op = body->first; op;) {
		struct op *prev = op->prev;

		if (!op_def(op)->domain) {
			op = op->next;
			continue;
		}
		if (!lower_one(m->ctx, op))
			return false;
		/* What it became may hold graph ops again. */
		op = prev ? prev->next : body->first;
	}
	own_outputs(m->ctx, body->last);
	erase_dead(body);
	return true;
}

PASS(lower_graph,
	.summary = "State each op's meaning as statements",
	.needs = LEVEL_GRAPH, .leaves = LEVEL_NEST,
	.run = lower_graph_run);
