/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loops of a kernel.  Those with a width, in a kernel whose threads share each
 * point, are shared out among the threads: each folds every threads-th
 * iteration, then all get what comes of them by a fixed tree.
 */
#include "codegen/ptx/cu.h"

enum { WARP = 32 };

static unsigned carried(struct cu *k, const struct op *op, unsigned i)
{
	return cu_number(k, &op->out[i]);
}

/* The body's arguments and the loop's results are one variable. */
static void open_loop(struct cu *k, struct op *op, const char *from,
		      unsigned step)
{
	const struct block *body = op_body(op);
	const struct atom *iv = expr_atom(body->iv[0]);
	const char *name = arena_fmt(&k->c->temp, "i%u", k->n_iv++);
	const char *t = k->wide ? "i64" : "int";

	for (unsigned i = 0; i < op->n_in; i++)
		map_put(&k->vals, body->arg[i]->id,
			(void *)(uintptr_t)(carried(k, op, i) + 1));
	cu_line(k, "for (%s %s = %s; %s < %s; %s += %u) {", t, name, from, name,
		cu_expr(k, op, iv->a), name, step);
	map_put(&k->atoms, iv->serial, (void *)(uintptr_t)name);
	k->depth++;
}

/* What the body yields becomes what is carried, all at once. */
static void close_loop(struct cu *k, struct op *op)
{
	const struct op *yield = op_body(op)->last;
	bool many = op->n_in > 1;

	for (unsigned i = 0; i < op->n_in && many; i++)
		cu_line(k, "const %s next%u = %s;",
			cu_type(op->out[i].type->dtype), i,
			cu_val(k, yield->in[i].val));
	for (unsigned i = 0; i < op->n_in; i++)
		cu_line(k, "v%u = %s;", carried(k, op, i),
			many ? arena_fmt(&k->c->temp, "next%u", i)
			     : cu_val(k, yield->in[i].val));
	k->depth--;
	cu_line(k, "}");
}

/* v = what the threads of the block have, combined. */
static void fold_block(struct cu *k, unsigned v, enum opcode code,
		       enum dtype t)
{
	struct arena *temp = &k->c->temp;
	const char *name = arena_fmt(temp, "v%u", v), *type = cu_type(t);
	unsigned warps = k->threads / WARP;

	cu_line(k, "for (int d = 16; d; d /= 2) {");
	k->depth++;
	cu_line(k, "const %s o = dl_shuffle_xor(%s, d);", type, name);
	cu_line(k, "%s = %s;", name, cu_arith2(k, code, t, name, "o"));
	k->depth--;
	cu_line(k, "}");
	if (warps == 1)
		return;
	cu_line(k, "{");
	k->depth++;
	cu_line(k, "DL_SHARED(%s, part, %u);", type, warps);
	cu_line(k, "dl_barrier();");
	cu_line(k, "if (dl_thread() %% %d == 0)", WARP);
	cu_line(k, "\tpart[dl_thread() / %d] = %s;", WARP, name);
	cu_line(k, "dl_barrier();");
	cu_line(k, "%s = part[0];", name);
	cu_line(k, "for (int w = 1; w < %u; w++)", warps);
	cu_line(k, "\t%s = %s;", name,
		cu_arith2(k, code, t, name, "part[w]"));
	k->depth--;
	cu_line(k, "}");
}

static void shared_loop(struct cu *k, struct op *op)
{
	enum opcode code[MAX_RANK];

	for (unsigned i = 0; i < op->n_in; i++) {
		enum dtype t = op->out[i].type->dtype;

		code[i] = fold_combiner(op, i)->code;
		cu_line(k, "%s v%u = %s;", cu_type(t), carried(k, op, i),
			cu_identity(k, code[i], t));
	}
	open_loop(k, op, "dl_thread()", k->threads);
	k->in_lanes = true;
	for (struct op *o = op_body(op)->first; o; o = o->next)
		cu_op(k, o);
	k->in_lanes = false;
	close_loop(k, op);
	for (unsigned i = 0; i < op->n_in; i++) {
		enum dtype t = op->out[i].type->dtype;
		const char *v = arena_fmt(&k->c->temp, "v%u",
					  carried(k, op, i));

		fold_block(k, carried(k, op, i), code[i], t);
		cu_line(k, "%s = %s;", v,
			cu_arith2(k, code[i], t, cu_val(k, op->in[i].val), v));
	}
}

void cu_for(struct cu *k, struct op *op)
{
	int64_t extent, unroll = op_int(op, A_unroll);

	if (k->shared_point && !k->in_lanes && op_int(op, A_width) > 1) {
		shared_loop(k, op);
		return;
	}
	for (unsigned i = 0; i < op->n_in; i++)
		cu_line(k, "%s v%u = %s;", cu_type(op->out[i].type->dtype),
			carried(k, op, i), cu_val(k, op->in[i].val));
	if (expr_is_const(expr_atom(op_body(op)->iv[0])->a, &extent) &&
	    extent == unroll && unroll > 1)
		cu_line(k, "#pragma unroll");
	open_loop(k, op, "0", 1);
	for (struct op *o = op_body(op)->first; o; o = o->next)
		cu_op(k, o);
	close_loop(k, op);
}
