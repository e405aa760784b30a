/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What counts a kernel's points.  Variables of neighbouring dims are one where
 * all accesses step by them as by one,
 *
 *	x[i * N + j], y[i * N + j]  ->  x[j], y[j] with j < M * N
 *
 * and those that count to one are none: fewer divisions, and more points side
 * by side.
 */
#include "codegen/ptx/cu.h"
#include "ir/layout.h"

static const struct expr *without_gone(void *arg, const struct atom *a)
{
	const struct cu *k = arg;

	return map_get(&k->gone, a->serial) ? expr_const(k->c, 0) : NULL;
}

const struct expr *cu_offset(const struct cu *k, const struct op *op)
{
	const struct value *buf = op->in[op->code == OP_mem_store].val;
	size_t n;
	const struct expr *e = layout_offset(k->c, buf,
					     op_exprs(op, A_idx, &n));

	return k->gone.n ? expr_subst(k->c, e, without_gone, (void *)k) : e;
}

struct merge {
	struct cu *k;
	const struct atom *slow, *fast;
	const struct expr *extent;	/* of the fast one */
	bool bad;
};

static bool uses_either(const struct merge *m, const struct expr *e)
{
	return expr_uses(e, m->slow) || expr_uses(e, m->fast);
}

/* Does the access step by the slow one as by `extent` of the fast one? */
static bool steps_as_one(const struct merge *m, const struct op *op)
{
	struct ctx *c = m->k->c;
	const struct expr *off = cu_offset(m->k, op), *rest, *slow, *fast;

	return expr_linear(c, off, m->slow, &slow, &rest) &&
	       expr_linear(c, rest, m->fast, &fast, &rest) &&
	       !expr_uses(slow, m->fast) &&
	       slow == expr_mul(c, fast, m->extent);
}

static void check_merge(void *arg, struct op *op)
{
	struct merge *m = arg;
	bool access = op->code == OP_mem_load || op->code == OP_mem_store;

	m->bad |= access && !steps_as_one(m, op);
	for (unsigned i = 0; i < op->n_attr && !m->bad; i++) {
		const struct attr *a = op->attr[i].val;

		if (a->kind != AT_EXPRS ||
		    (access && op->attr[i].name == A_idx))
			continue;
		for (size_t j = 0; j < a->n; j++)
			m->bad |= uses_either(m, a->exprs[j]);
	}
	for (unsigned r = 0; r < op->n_region && !m->bad; r++) {
		const struct block *b = op->region[r].block;

		for (unsigned i = 0; i < b->n_iv; i++)
			m->bad |= uses_either(m, expr_atom(b->iv[i])->a);
	}
}

static void find_tile(void *arg, struct op *op)
{
	bool *tile = arg;

	*tile |= op->code == OP_kern_tile || op->code == OP_kern_attend;
}

static bool merges(struct cu *k, const struct atom *iv)
{
	struct merge m = { k, iv, k->point[0].iv, k->point[0].extent, false };

	block_walk(op_body(k->kernel), check_merge, &m);
	return !m.bad;
}

static void add_point(struct cu *k, const struct atom *iv)
{
	for (unsigned i = k->n_point++; i; i--)
		k->point[i] = k->point[i - 1];
	k->point[0].iv = iv;
	k->point[0].extent = iv->a;
}

void cu_points_find(struct cu *k)
{
	const struct block *body = op_body(k->kernel);
	bool tile = false;

	block_walk(op_body(k->kernel), find_tile, &tile);
	for (unsigned i = body->n_iv; i-- > 0;) {
		const struct atom *iv = expr_atom(body->iv[i]);

		if (!tile && expr_is(iv->a, 1)) {
			map_put(&k->gone, iv->serial, (void *)iv);
			map_put(&k->atoms, iv->serial, (void *)"0");
		} else if (!tile && k->n_point && merges(k, iv)) {
			map_put(&k->gone, iv->serial, (void *)iv);
			k->point[0].extent = expr_mul(k->c, iv->a,
						      k->point[0].extent);
		} else {
			add_point(k, iv);
		}
	}
}
