/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fold_statements: what a statement knows before the model runs.
 *
 *	load %c[] of a constant of one element  ->  arith.const
 *	nest.compute that reads constants only  ->  core.const
 *
 * Lowering an op can leave statements over constants (the scale and shift of a
 * batch normalization); as constants they merge into what reads them.
 *
 * A statement that widens the bytes or half floats of a constant waits for the
 * second run: passes widen and integer ask for them.
 */
#include "base/vec.h"
#include "ir/eval.h"
#include "passes/nest/body.h"

enum { MAX_BYTES = 16 << 20 };

struct reads {
	struct ctx *ctx;
	bool all_const;
	int64_t narrow;			/* elements of the largest constant of
					 * bytes or half floats */
	size_t narrow_size;		/* of one of them */
	VEC(struct op *) scalars;	/* loads of one-element constants */
};

static bool is_narrow(enum dtype t)
{
	return dtype_size(t) == 1 || dtype_is_half(t);
}

static void look(void *arg, struct op *op)
{
	struct reads *r = arg;
	int64_t n;

	if (op->code == OP_nest_index)
		r->all_const = false;	/* may raise a status */
	if (op->code != OP_nest_load)
		return;
	if (!def_of(op->in[0].val, OP_core_const)) {
		r->all_const = false;
		return;
	}
	if (!expr_is_const(type_elems(r->ctx, op->in[0].val->type), &n))
		return;
	if (op->n_in == 1 && n == 1)
		vec_push(&r->scalars, op);
	else if (is_narrow(op->in[0].val->type->dtype) && n > r->narrow) {
		r->narrow = n;
		r->narrow_size = dtype_size(op->in[0].val->type->dtype);
	}
}

static void to_scalar(struct ctx *c, struct op *load)
{
	struct blob data;
	const struct type *t = load->out[0].type;
	struct builder b = { c, load->parent, load, load->loc };

	value_const(load->in[0].val, &data);
	union scalar s = scalar_load(t->dtype, data.data);
	struct named_attr attr = { A_value, dtype_is_float(t->dtype)
						    ? attr_float(c, s.d)
						    : attr_int(c, s.i) };
	struct op *k = build(&b, &(struct op_spec){ .code = OP_arith_const,
						    .n_out = 1, .out = &t,
						    .n_attr = 1,
						    .attr = &attr });

	value_replace(&load->out[0], &k->out[0]);
	op_erase(load);
}

static bool small(struct ctx *c, const struct op *op)
{
	for (unsigned i = 0; i < op->n_out; i++) {
		const struct type *t = op->out[i].type;
		int64_t n;

		if (!expr_is_const(type_elems(c, t), &n) ||
		    n > MAX_BYTES / (int64_t)dtype_size(t->dtype))
			return false;
	}
	return true;
}

/* Does the statement make wider numbers of a constant's narrow ones? */
static bool widens(struct ctx *c, const struct op *op,
			 const struct reads *r)
{
	const struct type *t = op->out[0].type;
	int64_t n;

	return r->narrow && dtype_size(t->dtype) > r->narrow_size &&
	       expr_is_const(type_elems(c, t), &n) && n >= r->narrow;
}

static bool to_constant(struct ctx *c, struct op *op)
{
	struct builder b = { c, op->parent, op, op->loc };
	struct tensor out[MAX_OUTS * 2];
	struct arena tmp = { 0 };

	if (op->n_out > ARRAY_SIZE(out) ||
	    eval_compute(c, op, out, &tmp) != EVAL_OK) {
		arena_free(&tmp);
		return false;
	}
	for (unsigned i = 0; i < op->n_out; i++) {
		int64_t n;

		expr_is_const(type_elems(c, op->out[i].type), &n);
		size_t size = dtype_bytes(out[i].dtype, (size_t)n);
		struct blob data = { arena_copy(&c->perm, out[i].data, size),
				     size };

		value_replace(&op->out[i],
			      build_const(&b, op->out[i].type, data));
	}
	arena_free(&tmp);
	op_erase(op);
	return true;
}

static void fold_block(struct ctx *c, struct block *b, bool wide)
{
	for (struct op *op = b->first, *next; op; op = next) {
		struct reads r = { .ctx = c, .all_const = true };

		next = op->next;
		if (op->code == OP_core_scan)
			fold_block(c, op_body(op), wide);
		if (op->code != OP_nest_compute)
			continue;
		block_walk(op_body(op), look, &r);
		bool returned = false;

		for (unsigned i = 0; i < op->n_out; i++)
			for (struct use *u = op->out[i].uses; u; u = u->next)
				returned |= u->user->code != OP_nest_load;
		if (!(r.all_const && !returned && small(c, op) &&
		      (wide || !widens(c, op, &r)) &&
		      to_constant(c, op)))
			for (size_t i = 0; i < r.scalars.n; i++)
				to_scalar(c, r.scalars.v[i]);
		vec_free(&r.scalars);
	}
}

static bool fold_statements_run(struct module *m, const struct pass_args *args)
{
	fold_block(m->ctx, op_body(m->func), args->param[0]);
	erase_dead(op_body(m->func));
	return true;
}

PASS(fold_statements,
	.summary = "Evaluate statements over constants",
	.needs = LEVEL_NEST, .leaves = LEVEL_NEST,
	.param = { { "bytes", 0, "1: constants of bytes and half floats are "
				 "widened, too" } },
	.run = fold_statements_run);
