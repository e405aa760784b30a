/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels whose threads take several points side by side: what lies side by
 * side in memory, too, is loaded before them and stored behind them at once.
 */
#include "codegen/ptx/cu.h"
#include "ir/layout.h"

enum {
	VECTOR = 4,		/* points of a thread */
	STORED = 16,		/* bytes of one that transposes */
	LINE = 16,		/* points side by side that are worth that */
	VECTOR_THREADS = 512,	/* on a multiprocessor, for that to pay */
};

static const struct atom *last_variable(const struct cu *k)
{
	const struct block *body = op_body(k->kernel);

	return expr_atom(body->iv[body->n_iv - 1]);
}

static bool steps_by_one(const struct cu *k, const struct op *op,
			 const struct expr *iv)
{
	const struct value *buf = op->in[op->code == OP_mem_store].val;
	const struct expr *step, *rest;
	size_t n;

	return expr_linear(k->c, layout_offset(k->c, buf,
					       op_exprs(op, A_idx, &n)),
			   expr_atom(iv), &step, &rest) && expr_is(step, 1);
}

/* The variable, not the last one, along which a load lies; -1 without one. */
static int loaded_along(const struct cu *k)
{
	const struct block *body = op_body(k->kernel);
	unsigned last = body->n_iv - 1;
	int64_t n;

	for (const struct op *op = body->first; op; op = op->next) {
		if (op->code != OP_mem_load ||
		    steps_by_one(k, op, body->iv[last]))
			continue;
		for (unsigned i = last; i-- > 0;)
			if (steps_by_one(k, op, body->iv[i]) &&
			    (!expr_is_const(expr_atom(body->iv[i])->a, &n) ||
			     n >= LINE))
				return (int)i;
	}
	return -1;
}

/* Points whose stores are 16 bytes, at most. */
static unsigned transposed_points(const struct cu *k, int64_t extent)
{
	size_t most = 1;

	for (const struct op *op = op_body(k->kernel)->first; op;
	     op = op->next)
		if (op->code == OP_mem_store) {
			size_t n = dtype_size(op->in[1].val->type->dtype);

			most = n > most ? n : most;
		}
	unsigned n = STORED / (unsigned)most;

	return extent % n ? VECTOR : n;
}

unsigned cu_vector(struct cu *k)
{
	const struct block *body = op_body(k->kernel);
	int64_t extent, points;

	k->fast = -1;
	if (!body->n_iv || !expr_is_const(last_variable(k)->a, &extent) ||
	    extent % VECTOR || extent <= 0)
		return 1;
	if (expr_is_const(kernel_points(k->c, k->kernel), &points) &&
	    points / (VECTOR * VECTOR_THREADS) < k->c->target->gpu[0]->n_sm)
		return 1;
	for (const struct op *op = body->first; op; op = op->next)
		if (op->n_region)
			return 1;
	k->fast = loaded_along(k);
	return k->fast < 0 ? VECTOR : transposed_points(k, extent);
}

/* Is the access to neighbours for neighbours, at a multiple of them, whatever
 * the other variables are? */
static bool is_wide(const struct cu *k, const struct op *op)
{
	const struct value *buf = op->in[op->code == OP_mem_store].val;
	const struct atom *last = last_variable(k);
	const struct expr *off;
	bool moves = false;
	size_t n;

	op_exprs(op, A_guard, &n);
	if (n || dtype_is_packed(buf->type->dtype) ||
	    op->n_in > (op->code == OP_mem_store ? 2 : 1) ||
	    dtype_size(buf->type->dtype) > 4)
		return false;
	off = layout_offset(k->c, buf, op_exprs(op, A_idx, &n));
	for (uint32_t i = 0; i < off->n; i++) {
		const struct term *t = &off->term[i];

		if (t->n == 1 && t->atom[0] == last && t->coef == 1)
			moves = true;
		else if (t->coef % k->vector)
			return false;
	}
	return moves;
}

/* Accesses are numbered in their order. */
static unsigned number_of(const struct cu *k, const struct op *op)
{
	unsigned n = 0;

	for (const struct op *o = op_body(k->kernel)->first; o != op;
	     o = o->next)
		n++;
	return n;
}

const char *cu_lane(struct cu *k, const struct op *op)
{
	return arena_fmt(&k->c->temp, "all%u[v]", number_of(k, op));
}

const char *cu_bits_type(size_t bytes)
{
	return bytes == 16  ? "uint4"
	       : bytes == 8 ? "uint2"
	       : bytes == 4 ? "u32"
			    : "u16";
}

/* Loads before the points, stores behind them. */
static void put_wide(struct cu *k, bool stores)
{
	for (struct op *op = op_body(k->kernel)->first; op; op = op->next) {
		bool store = op->code == OP_mem_store;
		const char *cond, *at;

		if (!map_get(&k->wide_ops, (uintptr_t)op))
			continue;
		enum dtype t = op->in[store].val->type->dtype;
		unsigned n = number_of(k, op);
		const char *v = cu_bits_type(k->vector * dtype_size(t));

		if (!stores)
			cu_line(k, "__align__(16) %s all%u[%u];",
				cu_mem_type(t), n, k->vector);
		if (stores != store)
			continue;
		at = cu_address(k, op, &cond);
		if (store)
			cu_line(k, "*(%s *)%s = *(const %s *)all%u;", v, at, v,
				n);
		else
			cu_line(k, "*(%s *)all%u = *(const %s *)%s;", v, n, v,
				at);
	}
}

/* One of the kernel's variables takes its part of q, the last one all. */
static void put_variable(struct cu *k, const struct atom *iv, bool last)
{
	const char *t = k->wide ? "i64" : "int", *u = k->wide ? "u64" : "u32";
	const char *own = arena_fmt(&k->c->temp, "i%u", k->n_iv++);
	const char *e = cu_expr(k, k->kernel, iv->a);

	cu_line(k, "const %s %s = (%s)(q%s);", t, own, t,
		last ? "" : arena_fmt(&k->c->temp, " %% (%s)%s", u, e));
	if (!last)
		cu_line(k, "q /= (%s)%s;", u, e);
	map_put(&k->atoms, iv->serial, (void *)(uintptr_t)own);
}

/* The kernel's variables; the last one is called `first`. */
static void put_variables(struct cu *k)
{
	const struct block *body = op_body(k->kernel);
	const char *t = k->wide ? "i64" : "int", *u = k->wide ? "u64" : "u32";
	int64_t extent;

	expr_is_const(last_variable(k)->a, &extent);
	extent /= k->vector;
	cu_line(k, "%s q = (%s)p;", u, u);
	if (k->fast >= 0)
		put_variable(k, expr_atom(body->iv[k->fast]), false);
	cu_line(k, "const %s first = (%s)(q %% %lld) * %u;", t, t,
		(long long)extent, k->vector);
	cu_line(k, "q /= %lld;", (long long)extent);
	for (unsigned i = body->n_iv - 1; i-- > 0;)
		if ((int)i != k->fast)
			put_variable(k, expr_atom(body->iv[i]), !i);
}

void cu_vector_point(struct cu *k)
{
	const char *name = arena_fmt(&k->c->temp, "i%u", k->n_iv++);
	uint32_t last = last_variable(k)->serial;

	put_variables(k);
	for (struct op *op = op_body(k->kernel)->first; op; op = op->next)
		if ((op->code == OP_mem_load || op->code == OP_mem_store) &&
		    is_wide(k, op))
			map_put(&k->wide_ops, (uintptr_t)op, op);
	map_put(&k->atoms, last, (void *)"first");
	put_wide(k, false);
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int v = 0; v < %u; v++) {", k->vector);
	k->depth++;
	cu_line(k, "const %s %s = first + v;", k->wide ? "i64" : "int", name);
	map_put(&k->atoms, last, (void *)(uintptr_t)name);
	for (struct op *op = op_body(k->kernel)->first; op; op = op->next)
		cu_op(k, op);
	k->depth--;
	cu_line(k, "}");
	map_put(&k->atoms, last, (void *)"first");
	put_wide(k, true);
}
