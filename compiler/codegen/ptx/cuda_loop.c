/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loops of a kernel.  Those with a width, in a kernel where a group of threads
 * shares each point, are shared out among them: each folds every group-th
 * iteration, or every group-th of some neighbours whose elements are loaded at
 * once; then all get what comes of them by a fixed tree.
 */
#include "codegen/ptx/cu.h"

enum {
	WARP = 32,
	USUAL_UNROLL = 4,	/* NVRTC does so by itself */
};

static unsigned carried(struct cu *k, const struct op *op, unsigned i)
{
	return cu_number(k, &op->out[i]);
}

/* The body's arguments and the loop's results are one variable. */
static void name_arguments(struct cu *k, struct op *op)
{
	for (unsigned i = 0; i < op->n_in; i++)
		map_put(&k->vals, op_body(op)->arg[i]->id,
			(void *)(uintptr_t)(carried(k, op, i) + 1));
}

void cu_open_loop(struct cu *k, struct op *op, const char *from, unsigned step)
{
	const struct block *body = op_body(op);
	const struct atom *iv = expr_atom(body->iv[0]);
	const char *name = arena_fmt(&k->c->temp, "i%u", k->n_iv++);
	const char *t = k->wide ? "i64" : "int";

	name_arguments(k, op);
	cu_line(k, "for (%s %s = %s; %s < %s; %s += %u) {", t, name, from, name,
		cu_expr(k, op, iv->a), name, step);
	map_put(&k->atoms, iv->serial, (void *)(uintptr_t)name);
	k->depth++;
}

void cu_yield(struct cu *k, struct op *op)
{
	const struct op *yield = op_body(op)->last;
	bool many = op->n_in > 1;

	for (unsigned i = 0; i < op->n_in && many; i++)
		cu_line(k, "const %s next%u = %s;",
			cu_type(op->out[i].type->dtype), i,
			cu_val(k, yield->in[i].val));
	for (unsigned i = 0; i < op->n_in; i++)
		cu_line(k, "%s = %s;", cu_val(k, &op->out[i]),
			many ? arena_fmt(&k->c->temp, "next%u", i)
			     : cu_val(k, yield->in[i].val));
}

static void close_loop(struct cu *k, struct op *op)
{
	cu_yield(k, op);
	k->depth--;
	cu_line(k, "}");
}

/* Each v = what the threads of its group have, combined. */
static void fold_group(struct cu *k, const struct op *op,
		       const enum opcode *code)
{
	struct arena *temp = &k->c->temp;
	unsigned warps = k->group / WARP;

	for (unsigned i = 0; i < op->n_in; i++) {
		enum dtype t = op->out[i].type->dtype;
		const char *v = arena_fmt(temp, "v%u", carried(k, op, i));

		cu_line(k, "for (int d = 16; d; d /= 2) {");
		k->depth++;
		cu_line(k, "const %s o = dl_shuffle_xor(%s, d);", cu_type(t),
			v);
		cu_line(k, "%s = %s;", v, cu_arith2(k, code[i], t, v, "o"));
		k->depth--;
		cu_line(k, "}");
	}
	if (warps == 1 || !op->n_in)
		return;
	cu_line(k, "{");
	k->depth++;
	for (unsigned i = 0; i < op->n_in; i++)
		cu_line(k, "DL_SHARED(%s, part%u, %u);",
			cu_type(op->out[i].type->dtype), i, warps);
	cu_line(k, "dl_barrier();");
	cu_line(k, "if (dl_thread() %% %d == 0) {", WARP);
	for (unsigned i = 0; i < op->n_in; i++)
		cu_line(k, "\tpart%u[dl_thread() / %d] = v%u;", i, WARP,
			carried(k, op, i));
	cu_line(k, "}");
	cu_line(k, "dl_barrier();");
	for (unsigned i = 0; i < op->n_in; i++) {
		const char *v = arena_fmt(temp, "v%u", carried(k, op, i));
		const char *part = arena_fmt(temp, "part%u[w]", i);

		cu_line(k, "%s = part%u[0];", v, i);
		cu_line(k, "for (int w = 1; w < %u; w++)", warps);
		cu_line(k, "\t%s = %s;", v,
			cu_arith2(k, code[i], op->out[i].type->dtype, v,
				  part));
	}
	k->depth--;
	cu_line(k, "}");
}

/* The iterations of a thread's own, from `from` on, one at a time. */
static void share_iterations(struct cu *k, struct op *op, const char *from)
{
	cu_open_loop(k, op, from, k->group);
	for (struct op *o = op_body(op)->first; o; o = o->next)
		cu_op(k, o);
	close_loop(k, op);
}

void cu_loop_neighbours(struct cu *k, struct op *op, const char *first,
			unsigned v)
{
	name_arguments(k, op);
	k->vector = v;
	cu_neighbours(k, op_body(op), expr_atom(op_body(op)->iv[0]), first);
	k->vector = 1;
}

/* Those that are v side by side; what is left behind the last such one at a
 * time. */
static void share_vectors(struct cu *k, struct op *op, unsigned v)
{
	const struct atom *iv = expr_atom(op_body(op)->iv[0]);
	const char *t = k->wide ? "i64" : "int", *whole, *first, *name;
	int64_t extent, unroll = op_int(op, A_unroll);
	bool rest = !expr_is_const(iv->a, &extent) || extent % v;

	whole = cu_expr(k, op, iv->a);
	if (rest) {
		name = arena_fmt(&k->c->temp, "i%u", k->n_iv++);
		cu_line(k, "const %s %s = %s / %u * %u;", t, name, whole, v,
			v);
		whole = name;
	}
	first = arena_fmt(&k->c->temp, "i%u", k->n_iv++);
	if (unroll > 1)
		cu_line(k, "#pragma unroll %d", (int)unroll);
	cu_line(k, "for (%s %s = %s * %u; %s < %s; %s += %u) {", t, first,
		cu_own(k), v, first, whole, first, k->group * v);
	k->depth++;
	cu_loop_neighbours(k, op, first, v);
	k->depth--;
	cu_line(k, "}");
	if (rest)
		share_iterations(k, op, arena_fmt(&k->c->temp, "%s + %s",
						  whole, cu_own(k)));
}

static void shared_loop(struct cu *k, struct op *op)
{
	enum opcode *code = NEW_ARRAY(&k->c->temp, op->n_in + 1u, enum opcode);

	for (unsigned i = 0; i < op->n_in; i++) {
		enum dtype t = op->out[i].type->dtype;

		code[i] = fold_combiner(op, i)->code;
		cu_line(k, "%s v%u = %s;", cu_type(t), carried(k, op, i),
			cu_identity(k, code[i], t));
	}
	k->in_lanes = true;
	if (!cu_row_loop(k, op)) {
		unsigned v = cu_loop_vector(k, op);

		if (v > 1)
			share_vectors(k, op, v);
		else
			share_iterations(k, op, cu_own(k));
	}
	k->in_lanes = false;
	fold_group(k, op, code);
	for (unsigned i = 0; i < op->n_in; i++) {
		enum dtype t = op->out[i].type->dtype;
		const char *v_i = arena_fmt(&k->c->temp, "v%u",
					    carried(k, op, i));

		cu_line(k, "%s = %s;", v_i,
			cu_arith2(k, code[i], t, cu_val(k, op->in[i].val),
				  v_i));
	}
}

void cu_unroll(struct cu *k, const struct op *op)
{
	int64_t extent, unroll = op_int(op, A_unroll);

	if (expr_is_const(expr_atom(op_body(op)->iv[0])->a, &extent) &&
	    extent == unroll && unroll > 1)
		cu_line(k, "#pragma unroll");
	else if (unroll > USUAL_UNROLL)
		cu_line(k, "#pragma unroll %d", (int)unroll);
}

void cu_for(struct cu *k, struct op *op)
{
	if (k->group > 1 && !k->in_lanes && op_int(op, A_width) > 1) {
		shared_loop(k, op);
		return;
	}
	for (unsigned i = 0; i < op->n_in; i++)
		cu_line(k, "%s v%u = %s;", cu_type(op->out[i].type->dtype),
			carried(k, op, i), cu_val(k, op->in[i].val));
	if (!k->in_lanes && cu_row_loop(k, op))
		return;
	cu_unroll(k, op);
	cu_open_loop(k, op, "0", 1);
	for (struct op *o = op_body(op)->first; o; o = o->next)
		cu_op(k, o);
	close_loop(k, op);
}
