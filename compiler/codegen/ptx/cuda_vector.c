/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that take several points, or iterations, side by side: what lies side
 * by side in memory, too, is loaded before them and stored behind them at once.
 */
#include "codegen/ptx/cu.h"

enum {
	WIDEST = 128,		/* bits of one access */
	MOST_NEIGHBOURS = 32,	/* that a thread takes of a loop */
	HELD_BITS = 2048,	/* of what it loads for them */
};

/* ---- accesses to neighbours ----------------------------------------- */

static const struct value *accessed(const struct op *op)
{
	return op->code == OP_mem_load	  ? op->in[0].val
	       : op->code == OP_mem_store ? op->in[1].val
					  : NULL;
}

unsigned cu_bits_of(const struct op *op)
{
	return dtype_info[accessed(op)->type->dtype].bits;
}

bool cu_is_fixed(const struct op *op, enum attr_name name,
		 const struct atom *iv)
{
	size_t n;
	const struct expr *const *e = op_exprs(op, name, &n);

	for (size_t i = 0; i < n; i++)
		if (expr_uses(e[i], iv))
			return false;
	return true;
}

bool cu_is_wide(const struct cu *k, const struct op *op, const struct atom *iv,
		unsigned v)
{
	const struct value *buf = accessed(op);
	bool store = op->code == OP_mem_store, moves = false;
	const struct expr *off;
	unsigned bits, align;
	size_t n;

	if (!buf)
		return false;
	bits = cu_bits_of(op);
	align = v * bits > WIDEST ? WIDEST / bits : v;
	op_exprs(op, A_guard, &n);
	if (v < 2 || v * bits < 16 || (store && bits < 8) ||
	    op->n_in > (store || n ? 2 : 1) ||
	    !cu_is_fixed(op, A_guard, iv))
		return false;
	off = cu_offset(k, op);
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
	unsigned most = WIDEST / cu_bits_of(op);

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
	if (cu_is_wide(k, op, iv, v)) {
		copy_wide(k, to, cu_address(k, op, &cond),
			  v * cu_bits_of(op) / 8);
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

/* The load or store of all neighbours, where it is one. */
static void copy_lanes(struct cu *k, const struct op *op, unsigned bytes)
{
	const char *cond, *at = cu_address(k, op, &cond);

	if (cond) {
		cu_line(k, "if (%s) {", cond);
		k->depth++;
	}
	if (op->code == OP_mem_store)
		copy_wide(k, at, cu_lanes(k, op), bytes);
	else
		copy_wide(k, cu_lanes(k, op), at, bytes);
	if (cond) {
		k->depth--;
		cu_line(k, "}");
	}
}

/* Loads before the points, stores behind them. */
static void put_wide(struct cu *k, struct block *b, bool stores)
{
	for (struct op *op = b->first; op; op = op->next) {
		unsigned bits, bytes;

		if (!map_get(&k->wide_ops, (uintptr_t)op))
			continue;
		bits = cu_bits_of(op);
		bytes = (comes_later(k, op) ? WIDEST : k->vector * bits) / 8;
		if (!stores)
			cu_line(k, "__align__(16) %s %s[%u];",
				cu_mem_type(accessed(op)->type->dtype),
				cu_lanes(k, op),
				bytes * 8 / (bits < 8 ? 8 : bits));
		if (stores == (op->code == OP_mem_store) &&
		    !comes_later(k, op))
			copy_lanes(k, op, bytes);
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

		if (map_get(&k->arrays, x->id))
			return false;
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

/* Is the result read beyond the ops that stand next to it, with no loop
 * between? */
static bool is_carried_on(const struct op *op)
{
	const struct op *end = op->next;

	while (end && !end->n_region)
		end = end->next;
	for (const struct use *u = op->out[0].uses; u; u = u->next)
		if (u->user->parent != op->parent || u->user == end ||
		    (end && op_comes_before(end, u->user)))
			return true;
	return false;
}

void cu_wide_mark(struct cu *k, struct block *b, const struct atom *iv,
		  unsigned v)
{
	for (struct op *op = b->first; op; op = op->next) {
		for (unsigned i = 0; op->n_region && i < op->n_out; i++) {
			map_put(&k->arrays, op->out[i].id, op);
			map_put(&k->arrays, op_body(op)->arg[i]->id, op);
		}
		if (op->n_region)
			cu_wide_mark(k, op_body(op), iv, v);
		else if (cu_row_keeps(k, op))
			continue;
		else if (is_still(k, op, iv, v))
			map_put(&k->still_ops, (uintptr_t)op, op);
		else if (op->n_out && is_carried_on(op))
			map_put(&k->arrays, op->out[0].id, op);
		if (cu_is_wide(k, op, iv, v) && !cu_row_keeps(k, op))
			map_put(&k->wide_ops, (uintptr_t)op, op);
	}
}

void cu_wide_open(struct cu *k, struct block *b)
{
	for (struct op *op = b->first; op; op = op->next)
		if (map_get(&k->still_ops, (uintptr_t)op))
			cu_op(k, op);
	put_wide(k, b, false);
}

void cu_wide_op(struct cu *k, struct op *op)
{
	unsigned n;

	if (map_get(&k->still_ops, (uintptr_t)op))
		return;
	n = map_get(&k->wide_ops, (uintptr_t)op) ? comes_later(k, op) : 0;
	if (n) {
		cu_line(k, "if (v %% %u == 0) {", n);
		k->depth++;
		copy_lanes(k, op, WIDEST / 8);
		k->depth--;
		cu_line(k, "}");
	}
	cu_op(k, op);
}

void cu_wide_close(struct cu *k, struct block *b)
{
	put_wide(k, b, true);
}

void cu_wide_free(struct cu *k)
{
	map_free(&k->wide_ops);
	map_free(&k->still_ops);
	map_free(&k->arrays);
	k->wide_ops = k->still_ops = k->arrays = (struct map){ 0 };
	k->vector = 1;
}

/* ---- neighbours side by side in the text ---------------------------- */

/* The load of the same block that is n elements behind, or NULL. */
static const struct op *load_behind(struct cu *k, const struct op *op,
				    int64_t n)
{
	const struct value *buf = op->in[0].val;
	const struct expr *want = expr_addc(k->c, cu_offset(k, op), n);
	size_t count;

	for (const struct op *o = op->next; o; o = o->next) {
		if (o->code != OP_mem_load || o->n_in > 1 ||
		    o->in[0].val != buf)
			continue;
		op_exprs(o, A_guard, &count);
		if (!count && cu_offset(k, o) == want)
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
	unsigned bits = cu_bits_of(op), n = WIDEST / bits, i;
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
	off = cu_offset(k, op);
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
		if (!cu_is_wide(k, op, iv, v))
			continue;
		held += v * cu_bits_of(op) > WIDEST && op->code == OP_mem_load
				? WIDEST
				: v * cu_bits_of(op);
		if (cu_bits_of(op) < *least)
			*least = cu_bits_of(op);
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
