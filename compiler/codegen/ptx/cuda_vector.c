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
	WIDEST = 128,		/* bits of one access */
	MOST_NEIGHBOURS = 32,	/* that a thread takes of a loop */
	HELD_BITS = 2048,	/* of what it loads for them */
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

/* ---- accesses to neighbours ----------------------------------------- */

static const struct value *accessed(const struct op *op)
{
	return op->code == OP_mem_load	  ? op->in[0].val
	       : op->code == OP_mem_store ? op->in[1].val
					  : NULL;
}

static unsigned bits_of(const struct op *op)
{
	return dtype_info[accessed(op)->type->dtype].bits;
}

/* Is the access to v neighbours for neighbours along the variable, at a
 * multiple of what one instruction takes, whatever the other variables are? */
static bool is_wide(const struct cu *k, const struct op *op,
		    const struct atom *iv, unsigned v)
{
	const struct value *buf = accessed(op);
	bool store = op->code == OP_mem_store, moves = false;
	const struct expr *off;
	unsigned bits, align;
	size_t n;

	if (!buf)
		return false;
	bits = bits_of(op);
	align = v * bits > WIDEST ? WIDEST / bits : v;
	op_exprs(op, A_guard, &n);
	if (n || v < 2 || v * bits < 16 || op->n_in > (store ? 2 : 1) ||
	    (store && bits < 8))
		return false;
	off = layout_offset(k->c, buf, op_exprs(op, A_idx, &n));
	for (uint32_t i = 0; i < off->n; i++) {
		const struct term *t = &off->term[i];

		if (t->n == 1 && t->atom[0] == iv && t->coef == 1) {
			moves = true;
			continue;
		}
		if (t->coef % align)
			return false;
		for (uint32_t j = 0; j < t->n; j++)
			if (expr_uses(expr_of_atom(k->c, t->atom[j]), iv))
				return false;
	}
	return moves;
}

/* Accesses are numbered in their order. */
static unsigned number_of(const struct op *op)
{
	unsigned n = 0;

	for (const struct op *o = op->parent->first; o != op; o = o->next)
		n++;
	return n;
}

const char *cu_lanes(struct cu *k, const struct op *op)
{
	return arena_fmt(&k->c->temp, "all%u", number_of(op));
}

/* Elements of one access of a load that needs several, which come when they
 * are needed; 0: all come before the points. */
static unsigned comes_later(const struct cu *k, const struct op *op)
{
	unsigned most = WIDEST / bits_of(op);

	return op->code == OP_mem_load && k->vector > most ? most : 0;
}

const char *cu_lane(struct cu *k, const struct op *op)
{
	unsigned n = comes_later(k, op);

	return n ? arena_fmt(&k->c->temp, "%s[v %% %u]", cu_lanes(k, op), n)
		 : arena_fmt(&k->c->temp, "%s[v]", cu_lanes(k, op));
}

const char *cu_bits_type(size_t bytes)
{
	return bytes == 16  ? "uint4"
	       : bytes == 8 ? "uint2"
	       : bytes == 4 ? "u32"
			    : "u16";
}

static void copy_wide(struct cu *k, const char *to, const char *from,
		      unsigned bytes)
{
	const char *v = cu_bits_type(bytes > 16 ? 16 : bytes);

	if (bytes <= 16)
		cu_line(k, "*(%s *)%s = *(const %s *)%s;", v, to, v, from);
	for (unsigned i = 0; bytes > 16 && i < bytes / 16; i++)
		cu_line(k, "((%s *)%s)[%u] = ((const %s *)%s)[%u];", v, to, i,
			v, from, i);
}

void cu_load_neighbours(struct cu *k, struct op *op, const struct atom *iv,
			const char *to, const char *first, unsigned v)
{
	const char *cond, *name;

	map_put(&k->atoms, iv->serial, (void *)(uintptr_t)first);
	if (is_wide(k, op, iv, v)) {
		copy_wide(k, to, cu_address(k, op, &cond), v * bits_of(op) / 8);
		return;
	}
	name = arena_fmt(&k->c->temp, "i%u", k->n_iv++);
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int v = 0; v < %u; v++) {", v);
	k->depth++;
	cu_line(k, "const %s %s = %s + v;", k->wide ? "i64" : "int", name,
		first);
	map_put(&k->atoms, iv->serial, (void *)(uintptr_t)name);
	cu_line(k, "%s[v] = *%s;", to, cu_address(k, op, &cond));
	k->depth--;
	cu_line(k, "}");
}

/* Loads before the points, stores behind them. */
static void put_wide(struct cu *k, struct block *b, unsigned v, bool stores)
{
	for (struct op *op = b->first; op; op = op->next) {
		bool store = op->code == OP_mem_store;
		const char *cond, *at, *all;
		unsigned bytes;

		if (!map_get(&k->wide_ops, (uintptr_t)op))
			continue;
		enum dtype t = accessed(op)->type->dtype;

		bytes = (comes_later(k, op) ? WIDEST : v * bits_of(op)) / 8;
		all = cu_lanes(k, op);
		if (!stores)
			cu_line(k, "__align__(16) %s %s[%u];", cu_mem_type(t),
				all, bytes * 8 / (bits_of(op) < 8 ? 8
							: bits_of(op)));
		if (stores != store || comes_later(k, op))
			continue;
		at = cu_address(k, op, &cond);
		if (store)
			copy_wide(k, at, all, bytes);
		else
			copy_wide(k, all, at, bytes);
	}
}

/* ---- what is the same for neighbours -------------------------------- */

struct moves {
	const struct atom *iv;
	unsigned v;
	bool yes;
};

/* div(iv, n) stays where n is a multiple of what iv is one of. */
static const struct expr *without_still(void *arg, const struct atom *a)
{
	const struct moves *m = arg;
	int64_t n;

	return a->kind == ATOM_DIV && expr_atom(a->a) == m->iv &&
			       expr_is_const(a->b, &n) && n % m->v == 0
		       ? a->b
		       : NULL;
}

/* Is the op the same for v neighbours along the variable, which begin at a
 * multiple of v?  What it reads is then in still_ops. */
static bool is_still(const struct cu *k, const struct op *op,
		     const struct atom *iv, unsigned v)
{
	struct moves m = { iv, v, false };

	if (op->n_region || op_def(op)->impure || !op->n_out)
		return false;
	for (unsigned i = 0; i < op->n_in; i++) {
		const struct value *x = op->in[i].val;

		if (x->def ? x->def->parent == op->parent &&
				     !map_get(&k->still_ops,
					      (uintptr_t)x->def)
			   : x->block == op->parent)
			return false;
	}
	for (unsigned i = 0; i < op->n_attr; i++) {
		const struct attr *a = op->attr[i].val;

		for (size_t j = 0; a->kind == AT_EXPRS && j < a->n; j++)
			if (expr_uses(expr_subst(k->c, a->exprs[j],
						 without_still, &m),
				      iv))
				return false;
	}
	return true;
}

static void put_still(struct cu *k, struct block *b, const struct atom *iv,
		      unsigned v)
{
	for (struct op *op = b->first; op; op = op->next) {
		if (cu_row_keeps(k, op) || !is_still(k, op, iv, v))
			continue;
		map_put(&k->still_ops, (uintptr_t)op, op);
		cu_op(k, op);
	}
}

void cu_wide_ops(struct cu *k, struct block *b)
{
	for (struct op *op = b->first; op; op = op->next) {
		const char *cond;

		if (map_get(&k->still_ops, (uintptr_t)op))
			continue;
		if (map_get(&k->wide_ops, (uintptr_t)op) &&
		    comes_later(k, op)) {
			const char *at = cu_address(k, op, &cond);

			cu_line(k, "if (v %% %u == 0)", comes_later(k, op));
			k->depth++;
			copy_wide(k, cu_lanes(k, op), at, WIDEST / 8);
			k->depth--;
		}
		cu_op(k, op);
	}
}

void cu_wide_begin(struct cu *k, struct block *b, const struct atom *iv,
		   const char *first, unsigned v)
{
	for (struct op *op = b->first; op; op = op->next)
		if (!cu_row_keeps(k, op) && is_wide(k, op, iv, v))
			map_put(&k->wide_ops, (uintptr_t)op, op);
	map_put(&k->atoms, iv->serial, (void *)(uintptr_t)first);
	k->vector = v;
	put_still(k, b, iv, v);
	put_wide(k, b, v, false);
}

void cu_wide_end(struct cu *k, struct block *b, const struct atom *iv,
		 const char *first)
{
	map_put(&k->atoms, iv->serial, (void *)(uintptr_t)first);
	put_wide(k, b, k->vector, true);
	map_free(&k->wide_ops);
	map_free(&k->still_ops);
	k->wide_ops = k->still_ops = (struct map){ 0 };
	k->vector = 1;
}

/* ---- neighbours side by side in the text ---------------------------- */

/* The load of the same block that is n elements behind, or NULL. */
static const struct op *load_behind(struct cu *k, const struct op *op,
				    int64_t n)
{
	const struct value *buf = op->in[0].val;
	size_t count;
	const struct expr *want = expr_addc(
		k->c, layout_offset(k->c, buf, op_exprs(op, A_idx, &count)),
		n);

	for (const struct op *o = op->next; o; o = o->next) {
		if (o->code != OP_mem_load || o->n_in > 1 ||
		    o->in[0].val != buf)
			continue;
		op_exprs(o, A_guard, &count);
		if (!count && layout_offset(k->c, buf,
					    op_exprs(o, A_idx, &count)) ==
				      want)
			return o;
	}
	return NULL;
}

static bool is_aligned(const struct expr *off, int64_t n)
{
	for (uint32_t i = 0; i < off->n; i++)
		if (off->term[i].coef % n)
			return false;
	return true;
}

const char *cu_near(struct cu *k, const struct op *op)
{
	const struct value *buf = op->in[0].val;
	unsigned bits = bits_of(op), n = WIDEST / bits, i;
	const char *x = map_get(&k->near_ops, (uintptr_t)op), *at, *cond;
	const struct expr *off;
	size_t count;

	/* The regions of tiles may be printed more than once. */
	if (x || k->vector > 1 || op->n_in > 1 || bits < 8 ||
	    (op_parent(op)->code != OP_loop_for &&
	     op_parent(op)->code != OP_loop_kernel))
		return x;
	op_exprs(op, A_guard, &count);
	if (count || !load_behind(k, op, 1))
		return NULL;
	off = layout_offset(k->c, buf, op_exprs(op, A_idx, &count));
	for (; n > 1; n /= 2) {
		if (!is_aligned(off, n))
			continue;
		for (i = 1; i < n && load_behind(k, op, i);)
			i++;
		if (i == n)
			break;
	}
	if (n < 2)
		return NULL;
	at = cu_address(k, op, &cond);
	cu_line(k, "__align__(16) %s near%u[%u];",
		cu_mem_type(buf->type->dtype), k->n_near, n);
	copy_wide(k, arena_fmt(&k->c->temp, "near%u", k->n_near), at,
		  n * bits / 8);
	for (i = 0; i < n; i++)
		map_put(&k->near_ops,
			(uintptr_t)(i ? load_behind(k, op, i) : op),
			arena_fmt(&k->c->temp, "near%u[%u]", k->n_near, i));
	return arena_fmt(&k->c->temp, "near%u[0]", k->n_near++);
}

/* ---- loops ---------------------------------------------------------- */

/* Bits that a thread would hold of v iterations, 0 when it holds none; those of
 * the narrowest element in *least. */
static unsigned held_bits(const struct cu *k, const struct block *b,
			  const struct atom *iv, unsigned v, unsigned *least)
{
	unsigned held = 0;

	*least = WIDEST;
	for (const struct op *op = b->first; op; op = op->next) {
		if (!is_wide(k, op, iv, v))
			continue;
		held += v * bits_of(op) > WIDEST && op->code == OP_mem_load
				? WIDEST
				: v * bits_of(op);
		if (bits_of(op) < *least)
			*least = bits_of(op);
	}
	return held;
}

/*
 * As many as the narrowest elements of 16 bytes are, while the registers hold
 * all that is loaded and no thread is left without any.
 */
unsigned cu_loop_vector(struct cu *k, struct op *loop)
{
	struct block *b = op_body(loop);
	const struct atom *iv = expr_atom(b->iv[0]);
	unsigned v = MOST_NEIGHBOURS, least, held;
	int64_t extent = INT64_MAX;

	for (const struct op *op = b->first; op; op = op->next)
		if (op->n_region)
			return 1;
	expr_is_const(iv->a, &extent);
	for (; v > 1; v /= 2) {
		held = held_bits(k, b, iv, v, &least);
		if (held && v * least <= WIDEST && held <= HELD_BITS &&
		    (extent >= (int64_t)v * k->group || v * least <= 32))
			break;
	}
	return extent < v ? 1 : v;
}

/* ---- points --------------------------------------------------------- */

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
	struct block *body = op_body(k->kernel);
	const struct atom *last = last_variable(k);

	put_variables(k);
	cu_wide_begin(k, body, last, "first", k->vector);
	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int v = 0; v < %u; v++) {", k->vector);
	k->depth++;
	cu_line(k, "const %s %s = first + v;", k->wide ? "i64" : "int", name);
	map_put(&k->atoms, last->serial, (void *)(uintptr_t)name);
	cu_wide_ops(k, body);
	k->depth--;
	cu_line(k, "}");
	cu_wide_end(k, body, last, "first");
}
