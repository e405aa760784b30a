/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels whose threads take several points side by side.  Where they have
 * loops, as those of windows do, each of these is one loop for all points, and
 * what it carries is an array:
 *
 *	for (taps) {
 *		float all0[4] = *(uint4 *)x, all1[4] = *(uint4 *)w;
 *		for (v < 4) sum[v] += all0[v] * all1[v];
 *	}
 */
#include "codegen/ptx/cu.h"

enum {
	VECTOR = 4,		/* points of a thread that loads none at once */
	MOST_POINTS = 16,
	STORED = 16,		/* bytes of one that transposes */
	LINE = 16,		/* points side by side that are worth that */
	VECTOR_THREADS = 512,	/* on a multiprocessor, for that to pay */
	FOLD_THREADS = 256,	/* the same, with several loads under way */
	MOST_CARRIED = 32,	/* by a loop of a thread */
	WIDEST = 128,		/* bits of one access */
	MOST_BITS = 256,	/* of one for all points: halves of lines */
};

/* ---- how many ------------------------------------------------------- */

static const struct atom *last_variable(const struct cu *k)
{
	return k->point[k->n_point - 1].iv;
}

static bool steps_by_one(const struct cu *k, const struct op *op, unsigned i)
{
	const struct expr *step, *rest;

	return expr_linear(k->c, cu_offset(k, op), k->point[i].iv, &step,
			   &rest) && expr_is(step, 1);
}

/* What counts the points along which a load lies, not the last one; -1 without
 * one. */
static int loaded_along(const struct cu *k)
{
	unsigned last = k->n_point - 1;
	int64_t n;

	for (const struct op *op = op_body(k->kernel)->first; op;
	     op = op->next) {
		if (op->code != OP_mem_load || steps_by_one(k, op, last))
			continue;
		for (unsigned i = last; i-- > 0;)
			if (steps_by_one(k, op, i) &&
			    (!expr_is_const(k->point[i].extent, &n) ||
			     n >= LINE))
				return (int)i;
	}
	return -1;
}

/* Points whose stores are 16 bytes, at most; v where these leave a rest. */
static unsigned transposed_points(const struct cu *k, int64_t extent,
				  unsigned v)
{
	size_t most = 1;

	for (const struct op *op = op_body(k->kernel)->first; op;
	     op = op->next)
		if (op->code == OP_mem_store) {
			size_t n = dtype_size(op->in[1].val->type->dtype);

			most = n > most ? n : most;
		}
	unsigned n = STORED / (unsigned)most;

	return extent % n ? v : n;
}

/* Accesses of the kernel's body for v points. */
struct widths {
	unsigned least, most;	/* bits of an element that is for all at once */
	unsigned carried;
	bool loops, other;	/* accesses to neighbours one by one */
};

static void find_widths(const struct cu *k, const struct block *b, unsigned v,
			struct widths *w)
{
	const struct atom *iv = last_variable(k);

	for (const struct op *op = b->first; op; op = op->next) {
		bool access = op->code == OP_mem_load ||
			      op->code == OP_mem_store;

		if (op->n_region) {
			w->loops = true;
			w->other |= op->code != OP_loop_for ||
				    expr_uses(expr_atom(op_body(op)->iv[0])->a,
					      iv);
			if (w->carried < op->n_in)
				w->carried = op->n_in;
			find_widths(k, op_body(op), v, w);
		} else if (access && cu_is_wide(k, op, iv, v)) {
			unsigned bits = cu_bits_of(op);

			w->least = w->least && w->least < bits ? w->least
							       : bits;
			w->most = w->most > bits ? w->most : bits;
		} else if (access) {
			w->other |= op->code == OP_mem_store || op->n_in > 2 ||
				    !cu_is_fixed(op, A_idx, iv) ||
				    !cu_is_fixed(op, A_guard, iv);
		}
	}
}

/* Do threads with v points fill the GPU, and registers hold these? */
static bool is_good(const struct cu *k, unsigned v)
{
	const struct block *body = op_body(k->kernel);
	int64_t extent, points, threads;
	struct widths w = { 0 };

	/* All points in a row may leave a rest. */
	if (k->n_point > 1 &&
	    (!expr_is_const(k->point[k->n_point - 1].extent, &extent) ||
	     extent <= 0 || extent % v))
		return false;
	find_widths(k, body, v, &w);
	threads = w.loops ? FOLD_THREADS : VECTOR_THREADS;
	if (expr_is_const(kernel_points(k->c, k->kernel), &points) &&
	    points / (v * threads) < k->c->target->gpu[0]->n_sm)
		return false;
	if (w.loops)
		return !w.other && w.least && v * w.least <= WIDEST &&
		       v * w.most <= MOST_BITS &&
		       v * w.carried <= MOST_CARRIED;
	return w.least ? v * w.least <= WIDEST && v * w.most <= MOST_BITS
		       : v == VECTOR;
}

unsigned cu_vector(struct cu *k)
{
	const struct block *body = op_body(k->kernel);
	unsigned v = MOST_POINTS;
	int64_t extent;

	k->fast = -1;
	if (!k->n_point)
		return 1;
	while (v > 1 && !is_good(k, v))
		v /= 2;
	if (v == 1)
		return 1;
	if (!expr_is_const(k->point[k->n_point - 1].extent, &extent))
		extent = 1;
	k->rest = extent % v;
	for (const struct op *op = body->first; op; op = op->next)
		if (op->n_region)
			return v;
	k->fast = loaded_along(k);
	return k->fast < 0 ? v : transposed_points(k, extent, v);
}

/* ---- text for all of them ------------------------------------------- */

static void put_neighbours(struct cu *k, struct block *b,
			   const struct atom *iv, const char *first,
			   const char *name);

static void open_neighbours(struct cu *k, const struct atom *iv,
			    const char *first, const char *name)
{
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int v = 0; v < %u; v++) {", k->vector);
	k->depth++;
	cu_line(k, "const %s %s = %s + v;", k->wide ? "i64" : "int", name,
		first);
	map_put(&k->atoms, iv->serial, (void *)(uintptr_t)name);
}

static void close_neighbours(struct cu *k, const struct atom *iv,
			     const char *first)
{
	k->depth--;
	cu_line(k, "}");
	map_put(&k->atoms, iv->serial, (void *)(uintptr_t)first);
}

static void put_array(struct cu *k, const struct value *v)
{
	cu_line(k, "%s v%u[%u];", cu_type(v->type->dtype), cu_number(k, v),
		k->vector);
}

/* A loop inside: the results are what it carries. */
static void put_loop(struct cu *k, struct op *op, const struct atom *iv,
		     const char *first, const char *name)
{
	for (unsigned i = 0; i < op->n_in; i++)
		put_array(k, &op->out[i]);
	if (op->n_in) {
		open_neighbours(k, iv, first, name);
		for (unsigned i = 0; i < op->n_in; i++)
			cu_line(k, "%s = %s;", cu_val(k, &op->out[i]),
				cu_val(k, op->in[i].val));
		close_neighbours(k, iv, first);
	}
	cu_unroll(k, op);
	cu_open_loop(k, op, "0", 1);
	put_neighbours(k, op_body(op), iv, first, name);
	k->depth--;
	cu_line(k, "}");
}

static bool is_text(const struct cu *k, const struct op *op)
{
	return op->code != OP_arith_const &&
	       !map_get(&k->still_ops, (uintptr_t)op) &&
	       (op->code != OP_loop_yield || op->n_in);
}

/* The ops up to the next loop, which comes back. */
static struct op *put_run(struct cu *k, struct op *op, const struct atom *iv,
			  const char *first, const char *name)
{
	bool open = false;

	for (struct op *o = op; o && !o->n_region; o = o->next) {
		open |= is_text(k, o);
		if (is_text(k, o) && o->n_out &&
		    map_get(&k->arrays, o->out[0].id))
			put_array(k, &o->out[0]);
	}
	if (open)
		open_neighbours(k, iv, first, name);
	for (; op && !op->n_region; op = op->next) {
		cu_wide_op(k, op);
		if (op->code == OP_loop_yield)
			cu_yield(k, op_parent(op));
	}
	if (open)
		close_neighbours(k, iv, first);
	return op;
}

/* A block that is marked. */
static void put_neighbours(struct cu *k, struct block *b,
			   const struct atom *iv, const char *first,
			   const char *name)
{
	struct op *op = b->first;

	cu_wide_open(k, b);
	while (op)
		if (op->n_region) {
			put_loop(k, op, iv, first, name);
			op = op->next;
		} else {
			op = put_run(k, op, iv, first, name);
		}
	cu_wide_close(k, b);
}

void cu_neighbours(struct cu *k, struct block *b, const struct atom *iv,
		   const char *first)
{
	const char *name = arena_fmt(&k->c->temp, "i%u", k->n_iv++);

	cu_wide_mark(k, b, iv, k->vector);
	map_put(&k->atoms, iv->serial, (void *)(uintptr_t)first);
	put_neighbours(k, b, iv, first, name);
	cu_wide_free(k);
}

/* ---- points --------------------------------------------------------- */

/* What counts points takes its part of q, the last one all. */
static void put_variable(struct cu *k, unsigned i, bool last)
{
	const char *t = k->wide ? "i64" : "int", *u = k->wide ? "u64" : "u32";
	const char *own = arena_fmt(&k->c->temp, "i%u", k->n_iv++);
	const char *e = cu_expr(k, k->kernel, k->point[i].extent);

	cu_line(k, "const %s %s = (%s)(q%s);", t, own, t,
		last ? "" : arena_fmt(&k->c->temp, " %% (%s)%s", u, e));
	if (!last)
		cu_line(k, "q /= (%s)%s;", u, e);
	map_put(&k->atoms, k->point[i].iv->serial, (void *)(uintptr_t)own);
}

/* All that counts points; the last one is called `first`. */
static void put_variables(struct cu *k)
{
	const char *t = k->wide ? "i64" : "int", *u = k->wide ? "u64" : "u32";
	int64_t extent;

	if (k->n_point == 1) {
		cu_line(k, "const %s first = p * %u;", t, k->vector);
		return;
	}
	expr_is_const(k->point[k->n_point - 1].extent, &extent);
	extent /= k->vector;
	cu_line(k, "%s q = (%s)p;", u, u);
	if (k->fast >= 0)
		put_variable(k, (unsigned)k->fast, false);
	cu_line(k, "const %s first = (%s)(q %% %lld) * %u;", t, t,
		(long long)extent, k->vector);
	cu_line(k, "q /= %lld;", (long long)extent);
	for (unsigned i = k->n_point - 1; i-- > 0;)
		if ((int)i != k->fast)
			put_variable(k, i, !i);
}

void cu_vector_point(struct cu *k)
{
	put_variables(k);
	cu_neighbours(k, op_body(k->kernel), last_variable(k), "first");
}
