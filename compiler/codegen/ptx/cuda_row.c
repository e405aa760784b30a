/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loops over one row, as a softmax has three of: a thread, whether it shares
 * them with its group or has them for itself, takes the same elements in each.
 * What one loop has loaded, or computed at some length, stays in registers for
 * those behind it:
 *
 *	row0[j] = *(uint4 *)(x + i)		for all j of the thread
 *	max = ... row0[j][v] ...
 *	sum += row1[j][v] = exp(row0[j][v] - max)
 *	y[i] = row1[j][v] / sum
 *
 * Loads come first, so that all are under way at a time.
 */
#include "codegen/ptx/cu.h"

#include <string.h>

enum {
	REGISTERS = 64,		/* of a thread, for what it keeps */
	MANY_THREADS = 256,	/* of a block, that have half of these */
};

struct cu_row {
	int64_t extent;
	unsigned v, n;		/* elements side by side, and how often */
	struct map same;	/* op -> the first one that computes the same */
	struct map keep;	/* op -> the array that holds its results */
	struct map take;	/* likewise, for those that do not compute */
	struct map dead;	/* what only such ones would need */
	unsigned n_kept;
};

/* ---- which loops ---------------------------------------------------- */

static const struct atom *variable(const struct op *loop)
{
	return expr_atom(op_body(loop)->iv[0]);
}

/* The loop's extent, when the group shares it and it has none inside; 0:
 * not. */
static int64_t row_extent(const struct cu *k, const struct op *op)
{
	int64_t n;

	if (op->code != OP_loop_for ||
	    (k->group > 1 && op_int(op, A_width) < 2) ||
	    !expr_is_const(variable(op)->a, &n) || n < 1)
		return 0;
	for (const struct op *o = op_body(op)->first; o; o = o->next)
		if (o->n_region)
			return 0;
	return n;
}

static bool is_row(const struct cu *k, const struct op *op)
{
	return row_extent(k, op) == k->row->extent;
}

/* ---- what is the same ----------------------------------------------- */

struct rename {
	const struct atom *from;
	const struct expr *to;
};

static const struct expr *renamed(void *arg, const struct atom *a)
{
	const struct rename *r = arg;

	return a == r->from ? r->to : NULL;
}

static bool same_attr(struct ctx *c, const struct attr *a,
		      const struct attr *b, struct rename *r)
{
	if (a == b)
		return true;
	if (a->kind != AT_EXPRS || b->kind != AT_EXPRS || a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (a->exprs[i] != expr_subst(c, b->exprs[i], renamed, r))
			return false;
	return true;
}

static const struct op *first_same(const struct cu_row *r, const struct op *op)
{
	const struct op *first = map_get(&r->same, (uintptr_t)op);

	return first ? first : op;
}

/* Do a, and b of a later loop, compute the same of the same iteration? */
static bool is_same(struct cu *k, const struct op *a, const struct op *b)
{
	struct rename r = { variable(op_parent(b)),
			    op_body(op_parent(a))->iv[0] };

	if (a->code != b->code || a->n_in != b->n_in ||
	    a->n_attr != b->n_attr || b->n_out != 1 || op_def(b)->impure)
		return false;
	for (unsigned i = 0; i < a->n_in; i++) {
		const struct value *x = a->in[i].val, *y = b->in[i].val;

		if (x != y && (!x->def || !y->def || x->index != y->index ||
			       y->def->parent != b->parent ||
			       first_same(k->row, x->def) !=
				       first_same(k->row, y->def)))
			return false;
	}
	for (unsigned i = 0; i < a->n_attr; i++)
		if (a->attr[i].name != b->attr[i].name ||
		    !same_attr(k->c, a->attr[i].val, b->attr[i].val, &r))
			return false;
	return true;
}

static void find_same(struct cu *k, struct op *loop)
{
	struct cu_row *r = k->row;

	for (struct op *b = op_body(loop)->first; b; b = b->next)
		for (struct op *e = loop->parent->first; e != loop;
		     e = e->next) {
			struct op *a = is_row(k, e) ? op_body(e)->first : NULL;

			while (a && !is_same(k, a, b))
				a = a->next;
			if (!a)
				continue;
			map_put(&r->same, (uintptr_t)b, a);
			break;
		}
}

/* ---- what is kept --------------------------------------------------- */

/* Loads that are kept as they are in memory. */
static bool is_raw(const struct op *op)
{
	return op->code == OP_mem_load && op->n_in == 1 &&
	       !op_has(op, A_guard) &&
	       !dtype_is_packed(op->out[0].type->dtype);
}

/* Is it worth a register? */
static bool is_dear(const struct op *op)
{
	return op->code == OP_mem_load || op->code == OP_arith_div ||
	       op->code == OP_arith_sqrt ||
	       !strncmp(op_def(op)->name, "math_", 5);
}

static bool is_needed(const struct cu_row *r, const struct op *op)
{
	if (!op->n_out || op_def(op)->impure)
		return true;
	for (unsigned i = 0; i < op->n_out; i++)
		for (const struct use *u = op->out[i].uses; u; u = u->next)
			if (!map_get(&r->dead, (uintptr_t)u->user) &&
			    !map_get(&r->take, (uintptr_t)u->user))
				return true;
	return false;
}

/* Behind all that uses them; `dear` results too, or loads alone. */
static void choose_kept(struct cu *k, struct op *loop, bool dear)
{
	struct cu_row *r = k->row;

	for (struct op *op = op_body(loop)->last; op; op = op->prev) {
		struct op *from = map_get(&r->same, (uintptr_t)op);
		char *name;

		if (!is_needed(r, op)) {
			map_put(&r->dead, (uintptr_t)op, op);
			continue;
		}
		if (!from || !(dear ? is_dear(op) : is_raw(op)))
			continue;
		name = map_get(&r->keep, (uintptr_t)from);
		if (!name)
			name = arena_fmt(&k->c->temp, "row%u", r->n_kept++);
		map_put(&r->keep, (uintptr_t)from, name);
		map_put(&r->take, (uintptr_t)op, name);
	}
}

static unsigned registers(const struct cu_row *r, const struct op *op)
{
	unsigned bits = dtype_info[op->out[0].type->dtype].bits;

	/* Those that do not lie side by side have one each. */
	if (!is_raw(op) || r->v * bits < 32)
		bits = bits < 32 ? 32 : bits;
	return r->n * r->v * bits / 32;
}

static void forget(struct cu_row *r)
{
	map_free(&r->keep);
	map_free(&r->take);
	map_free(&r->dead);
	r->keep = r->take = r->dead = (struct map){ 0 };
	r->n_kept = 0;
}

/* Something is kept, and fits. */
static bool choose(struct cu *k, bool dear)
{
	const struct block *body = op_body(k->kernel);
	struct cu_row *r = k->row;
	unsigned raw = 0, other = 0, most = REGISTERS;

	if (k->threads > MANY_THREADS)
		most /= 2;
	forget(r);
	for (struct op *op = body->first; op; op = op->next)
		if (is_row(k, op))
			choose_kept(k, op, dear);
	for (struct op *op = body->first; op; op = op->next)
		for (struct op *o = is_row(k, op) ? op_body(op)->first : NULL;
		     o; o = o->next)
			if (map_get(&r->keep, (uintptr_t)o))
				*(is_raw(o) ? &raw : &other) +=
					registers(r, o);
	return r->n_kept && raw <= most && other <= most;
}

void cu_row_find(struct cu *k)
{
	struct cu_row *r = NEW(&k->c->temp, struct cu_row);

	k->row = r;
	for (struct op *op = op_body(k->kernel)->first; op; op = op->next) {
		unsigned v;

		if (!r->extent)
			r->extent = row_extent(k, op);
		if (!r->extent || !is_row(k, op))
			continue;
		v = cu_loop_vector(k, op);
		while (r->extent % v)
			v /= 2;
		r->v = r->v && r->v < v ? r->v : v;
		find_same(k, op);
	}
	if (r->extent)
		r->n = (unsigned)((r->extent + k->group * r->v - 1) /
				  (k->group * r->v));
	if (!r->extent || (!choose(k, true) && !choose(k, false)))
		cu_row_free(k);
}

void cu_row_free(struct cu *k)
{
	if (!k->row)
		return;
	forget(k->row);
	map_free(&k->row->same);
	k->row = NULL;
}

/* ---- text ----------------------------------------------------------- */

/* What a thread takes, one after the other. */
static void open_times(struct cu *k, const char *first)
{
	const struct cu_row *r = k->row;
	const char *t = k->wide ? "i64" : "int";

	cu_line(k, "#pragma unroll");
	cu_line(k, "for (int j = 0; j < %u; j++) {", r->n);
	k->depth++;
	if (k->group == 1)
		cu_line(k, r->v > 1 ? "const %s %s = j * %u;"
				    : "const %s %s = j;", t, first, r->v);
	else
		cu_line(k, "const %s %s = (j * %u + %s) * %u;", t, first,
			k->group, cu_own(k), r->v);
	if ((int64_t)r->n * k->group * r->v > r->extent) {
		cu_line(k, "if (%s < %lld) {", first, (long long)r->extent);
		k->depth++;
	}
}

static void close_times(struct cu *k)
{
	const struct cu_row *r = k->row;

	if ((int64_t)r->n * k->group * r->v > r->extent) {
		k->depth--;
		cu_line(k, "}");
	}
	k->depth--;
	cu_line(k, "}");
}

/* All that the loop keeps of what it loads. */
static void put_loads(struct cu *k, struct op *loop, const char *first)
{
	struct cu_row *r = k->row;
	bool any = false;

	for (struct op *op = op_body(loop)->first; op; op = op->next) {
		const char *name = map_get(&r->keep, (uintptr_t)op);
		enum dtype t = op->n_out ? op->out[0].type->dtype : DT_F32;

		if (!name)
			continue;
		cu_line(k, "__align__(16) %s %s[%u][%u];",
			is_raw(op) ? cu_mem_type(t) : cu_type(t), name, r->n,
			r->v);
		any |= is_raw(op);
	}
	if (!any)
		return;
	open_times(k, first);
	for (struct op *op = op_body(loop)->first; op; op = op->next) {
		const char *name = map_get(&r->keep, (uintptr_t)op);

		if (name && is_raw(op))
			cu_load_neighbours(k, op, variable(loop),
					   arena_fmt(&k->c->temp, "%s[j]",
						     name), first, r->v);
	}
	close_times(k);
}

bool cu_row_loop(struct cu *k, struct op *op)
{
	const char *first;

	if (!k->row || !is_row(k, op))
		return false;
	first = arena_fmt(&k->c->temp, "i%u", k->n_iv++);
	put_loads(k, op, first);
	open_times(k, first);
	cu_loop_neighbours(k, op, first, k->row->v);
	close_times(k);
	return true;
}

bool cu_row_keeps(const struct cu *k, const struct op *op)
{
	return k->row && (map_get(&k->row->keep, (uintptr_t)op) ||
			  map_get(&k->row->take, (uintptr_t)op) ||
			  map_get(&k->row->dead, (uintptr_t)op));
}

const char *cu_row_element(struct cu *k, const struct op *op)
{
	const struct cu_row *r = k->row;
	const char *name = r ? map_get(&r->take, (uintptr_t)op) : NULL;

	if (r && !name && is_raw(op))
		name = map_get(&r->keep, (uintptr_t)op);
	return name ? arena_fmt(&k->c->temp, "%s[j][v]", name) : NULL;
}

bool cu_row_before(struct cu *k, struct op *op)
{
	const char *x;

	if (!k->row)
		return false;
	if (map_get(&k->row->dead, (uintptr_t)op))
		return true;
	if (is_raw(op) || !map_get(&k->row->take, (uintptr_t)op))
		return false;
	x = cu_row_element(k, op);
	cu_define(k, &op->out[0]);
	fprintf(k->f, "%s;\n", x);
	return true;
}

void cu_row_behind(struct cu *k, struct op *op)
{
	const char *name = k->row ? map_get(&k->row->keep, (uintptr_t)op)
				  : NULL;

	if (name && !is_raw(op))
		cu_line(k, "%s[j][v] = %s;", name, cu_val(k, &op->out[0]));
}
