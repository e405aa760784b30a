/* SPDX-License-Identifier: Apache-2.0 */
/* The computed dims of a module, for those that list or compute them. */
#include <stdlib.h>

#include "base/vec.h"
#include "ir/op.h"

struct find_dims {
	struct map seen;
	VEC(const struct atom *) v;
};

static void visit_atom(void *arg, const struct atom *a)
{
	struct find_dims *f = arg;

	if (a->kind == ATOM_DIM)
		vec_push(&f->v, a);
}

static void visit_expr(struct find_dims *f, const struct expr *e)
{
	expr_visit_all(e, visit_atom, f, &f->seen);
}

static void visit_value(struct find_dims *f, const struct value *v)
{
	for (uint32_t i = 0; v->type->kind == TY_TENSOR && i < v->type->rank;
	     i++)
		visit_expr(f, v->type->dim[i]);
}

static void visit_op(void *arg, struct op *op)
{
	struct find_dims *f = arg;

	for (unsigned i = 0; i < op->n_out; i++)
		visit_value(f, &op->out[i]);
	for (unsigned i = 0; i < op->n_attr; i++) {
		const struct attr *a = op->attr[i].val;

		for (size_t k = 0; a->kind == AT_EXPRS && k < a->n; k++)
			visit_expr(f, a->exprs[k]);
	}
	for (unsigned r = 0; r < op->n_region; r++) {
		const struct block *b = op->region[r].block;

		for (uint32_t i = 0; i < b->n_arg; i++)
			visit_value(f, b->arg[i]);
		for (uint32_t i = 0; i < b->n_iv; i++)
			visit_expr(f, expr_atom(b->iv[i])->a);
	}
}

static int by_serial(const void *pa, const void *pb)
{
	const struct atom *const *a = pa, *const *b = pb;

	return (*a)->serial < (*b)->serial ? -1 : (*a)->serial > (*b)->serial;
}

const struct atom **module_dims(const struct module *m, size_t *n)
{
	struct find_dims f = { 0 };

	visit_op(&f, m->func);
	block_walk(op_body(m->func), visit_op, &f);
	if (f.v.n)
		qsort(f.v.v, f.v.n, sizeof(*f.v.v), by_serial);
	*n = f.v.n;
	const struct atom **all = NEW_ARRAY(&m->ctx->temp, f.v.n + 1,
					    const struct atom *);

	for (size_t i = 0; i < f.v.n; i++)
		all[i] = f.v.v[i];
	vec_free(&f.v);
	map_free(&f.seen);
	return all;
}
