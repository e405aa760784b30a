/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan_memory: gives every buffer its place.
 *
 * Buffers that the model returns become output pointers.  The others share one
 * arena: going through the kernels in order, a buffer takes the lowest gap
 * between the ones alive at the same time.  Buffers of symbolic size follow
 * behind the constant part, one after the other; one takes the place of a dead
 * one when that is provably large enough.  Sizes that are only known while the
 * model runs come last, because everything before them is known at entry.
 */
#include <string.h>

#include "base/vec.h"
#include "ir/layout.h"
#include "ir/op.h"
#include "passes/pass.h"

enum { ALIGN = 64 };

struct buf {
	struct op *alloc;
	unsigned first, last;		/* position of first and last use */
	const struct expr *size;	/* bytes, aligned */
	int64_t bytes, offset;		/* when constant */
	const struct expr *at;
};

struct plan {
	struct ctx *ctx;
	VEC(struct buf) bufs;
	unsigned pos;
	int64_t total;			/* of the constant part */
};

/* Positions count the ops of the function's own block; what stands inside a
 * loop.seq is alive as long as the whole of it. */
static struct op *outermost(struct op *op, const struct block *body)
{
	while (op && op->parent != body)
		op = op_parent(op);
	return op;
}

static void number_ops(struct block *b, unsigned *n, struct map *pos)
{
	for (struct op *op = b->first; op; op = op->next)
		map_put(pos, (uint64_t)(uintptr_t)op,
			(void *)(uintptr_t)++*n);
}

static unsigned position(struct map *pos, struct op *op,
			 const struct block *body)
{
	return (unsigned)(uintptr_t)map_get(
		pos, (uint64_t)(uintptr_t)outermost(op, body));
}

static void collect(struct plan *p, struct block *b, struct block *body,
		    struct map *pos)
{
	struct ctx *c = p->ctx;

	for (struct op *op = b->first; op; op = op->next) {
		if (op->code == OP_loop_seq)
			collect(p, op_body(op), body, pos);
		if (op->code != OP_mem_alloc || op_int(op, A_output) >= 0)
			continue;
		struct buf f = { .alloc = op };

		f.first = f.last = position(pos, op, body);
		for (struct use *u = op->out[0].uses; u; u = u->next) {
			unsigned k = position(pos, u->user, body);

			f.last = k > f.last ? k : f.last;
		}
		const struct expr *bytes = layout_bytes(c, &op->out[0]);

		f.size = expr_scale(c,
				    expr_ceildiv(c, bytes,
						 expr_const(c, ALIGN)),
				    ALIGN);
		if (!expr_is_const(f.size, &f.bytes))
			f.bytes = -1;
		vec_push(&p->bufs, f);
	}
}

static bool overlaps(const struct buf *a, const struct buf *b)
{
	return a->first <= b->last && b->first <= a->last;
}

/* Lowest offset at which f fits beside the placed ones alive with it. */
static int64_t lowest_gap(const struct plan *p, const struct buf *f, size_t n)
{
	int64_t at = 0;

	for (bool moved = true; moved;) {
		moved = false;
		for (size_t i = 0; i < n; i++) {
			const struct buf *o = &p->bufs.v[i];

			if (o->bytes < 0 || !overlaps(o, f) ||
			    at >= o->offset + o->bytes ||
			    o->offset >= at + f->bytes)
				continue;
			at = o->offset + o->bytes;
			moved = true;
		}
	}
	return at;
}

static void place_static(struct plan *p)
{
	for (size_t i = 0; i < p->bufs.n; i++) {
		struct buf *f = &p->bufs.v[i];

		if (f->bytes < 0)
			continue;
		f->offset = lowest_gap(p, f, i);
		f->at = expr_const(p->ctx, f->offset);
		if (f->offset + f->bytes > p->total)
			p->total = f->offset + f->bytes;
	}
}

/* A region of symbolic size that buffers use one after the other. */
struct slot {
	const struct expr *at, *size;
	unsigned last;
};

static const struct expr *place_symbolic(struct plan *p, bool entry,
					 const struct expr *end)
{
	struct ctx *c = p->ctx;
	VEC(struct slot) slots = { 0 };

	for (size_t i = 0; i < p->bufs.n; i++) {
		struct buf *f = &p->bufs.v[i];

		if (f->bytes >= 0 || expr_is_late(f->size) == entry)
			continue;
		for (size_t k = 0; k < slots.n && !f->at; k++) {
			struct slot *s = &slots.v[k];

			if (s->last < f->first &&
			    expr_ge0(c, expr_sub(c, s->size, f->size))) {
				f->at = s->at;
				s->last = f->last;
			}
		}
		if (f->at)
			continue;
		f->at = end;
		vec_push(&slots, ((struct slot){ end, f->size, f->last }));
		end = expr_add(c, end, f->size);
	}
	vec_free(&slots);
	return end;
}

/* A returned buffer is written where the caller wants it; one that is an
 * input, a constant or returned twice is copied. */
static void place_outputs(struct ctx *c, struct op *ret)
{
	for (unsigned i = 0; i < ret->n_in; i++) {
		struct value *v = ret->in[i].val;

		if (!v || v->type->kind != TY_TENSOR)
			continue;
		if (!def_of(v, OP_mem_alloc) ||
		    op_int(v->def, A_output) >= 0)
			bug(&c->diag, "output %u has no buffer of its own", i);
		op_set_int(c, v->def, A_output, i);
	}
}

static bool plan_memory_run(struct module *m, const struct pass_args *args)
{
	struct ctx *c = m->ctx;
	struct block *body = op_body(m->func);
	struct plan p = { .ctx = c };
	struct map pos = { 0 };
	unsigned n = 0;

	(void)args;
	place_outputs(c, body->last);
	number_ops(body, &n, &pos);
	collect(&p, body, body, &pos);
	place_static(&p);
	const struct expr *entry = place_symbolic(&p, true,
						  expr_const(c, p.total));
	const struct expr *total = place_symbolic(&p, false, entry);

	for (size_t i = 0; i < p.bufs.n; i++)
		op_set_exprs(c, p.bufs.v[i].alloc, A_offset, 1,
			     &p.bufs.v[i].at);
	const struct expr *sizes[] = { entry, total };
	bool ok = !expr_is_poison(total);

	/* What is known at entry, and with the sizes known later. */
	op_set_exprs(c, m->func, A_workspace, 2, sizes);
	vec_free(&p.bufs);
	map_free(&pos);
	return ok || diag_error(&c->diag, EXIT_LIMIT, NULL,
				"the intermediate tensors are too large");
}

PASS(plan_memory,
	.summary = "Place buffers in one arena by liveness",
	.needs = LEVEL_LOOP, .leaves = LEVEL_LOOP,
	.run = plan_memory_run);
