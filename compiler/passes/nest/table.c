/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table: a function from 8 bits to 8 bits is looked up.
 *
 *	u8(round(tanh((f32(x) - z) * s) / t) + y)	x of 8 bits
 * ->
 *	load %table[x]					256 numbers
 *
 * The evaluator makes the table, so that it means what the steps do, with the
 * same bits on every machine.  Only steps with elementary functions are worth
 * it: vectors do the others in less time than a lookup takes for each lane.
 */
#include <string.h>

#include "ir/eval.h"
#include "passes/nest/body.h"
#include "passes/nest/quantized.h"

enum { MAX_STEPS = 64, NUMBERS = 256 };

/* What makes a value, back to the one of 8 bits that it is a function of. */
struct steps {
	struct value *from;
	bool function;		/* an elementary one is among them */
	unsigned n;
	bool ok;
};

static bool is_byte(const struct value *v)
{
	return v->type->dtype == DT_I8 || v->type->dtype == DT_U8;
}

static void look_back(struct steps *s, struct value *v, bool first)
{
	struct op *op = v->def;
	union scalar k;

	if (!s->ok || scalar_const(v, &k))
		return;
	if (!first && is_byte(v)) {
		s->ok = !s->from || s->from == v;
		s->from = v;
		return;
	}
	if (!op || op->n_region || op_def(op)->impure || op->n_in < 1 ||
	    op->code == OP_nest_load || ++s->n > MAX_STEPS) {
		s->ok = false;
		return;
	}
	s->function |= !strncmp(op_def(op)->name, "math_", 5);
	for (unsigned i = 0; i < op->n_in; i++)
		look_back(s, op->in[i].val, false);
}

/* The 256 results in the order of the numbers, the lowest first. */
static struct value *make_table(struct ctx *c, struct op *compute,
				struct value *from, struct value *to)
{
	struct builder b = { c, compute->parent, compute, compute->loc };
	struct lower lo = { .b = b };
	const struct expr *dim = expr_const(c, NUMBERS);
	const struct type *t = type_tensor(c, to->type->dtype, 1, &dim);
	struct nest n = nest_begin(&lo, 1, &t);
	struct cloner cl = { .ctx = c };
	struct arena tmp = { 0 };
	struct tensor out;
	struct value *v = nest_value(&lo, n.iv[0]), *table = NULL;

	if (from->type->dtype == DT_I8)
		v = s_sub(&lo, v, s_int(&lo, DT_I64, NUMBERS / 2));
	clone_value(&cl, from, s_cast(&lo, from->type->dtype, v));
	v = clone_scalar(&cl, &lo.b, to);
	nest_end(&lo, &n, 1, &v, &v);
	if (eval_compute(c, n.op, &out, &tmp) == EVAL_OK)
		table = build_const(&b, t, (struct blob){
						   arena_copy(&c->perm,
							      out.data,
							      NUMBERS),
						   NUMBERS });
	op_erase(n.op);
	cloner_free(&cl);
	arena_free(&tmp);
	return table;
}

static bool look_up(struct ctx *c, struct op *compute, struct op *op)
{
	struct steps s = { .ok = true };
	struct value *y = &op->out[0], *table, *v;
	struct lower lo = { .b = { c, op->parent, op, op->loc } };

	look_back(&s, y, true);
	if (!s.ok || !s.from || !s.function ||
	    !(table = make_table(c, compute, s.from, y)))
		return false;
	v = s_cast(&lo, DT_I64, s.from);
	if (s.from->type->dtype == DT_I8)
		v = s_add(&lo, v, s_int(&lo, DT_I64, NUMBERS / 2));
	const struct expr *at = nest_index(&lo, v, expr_const(c, NUMBERS));

	value_replace(y, nest_load(&lo, table, &at));
	return true;
}

static void table_statement(struct ctx *c, struct op *compute)
{
	struct block *body = op_body(compute);
	bool changed = false;

	/* From the end: the longest chain of steps is one table. */
	for (struct op *op = body->last, *prev; op; op = prev) {
		prev = op->prev;
		if (op->code == OP_arith_cast && is_byte(&op->out[0]) &&
		    op->out[0].uses)
			changed |= look_up(c, compute, op);
	}
	if (changed)
		body_tidy(c, body);
}

static bool table_run(struct module *m, const struct pass_args *args)
{
	(void)args;
	each_statement(m->ctx, op_body(m->func), table_statement);
	erase_dead(op_body(m->func));
	return true;
}

PASS(table,
	.summary = "Look functions of 8 bits up in tables",
	.needs = LEVEL_NEST, .leaves = LEVEL_NEST,
	.run = table_run);
