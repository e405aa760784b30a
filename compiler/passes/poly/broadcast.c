/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operands that may broadcast.  An index x * step into a dim N that may be 1
 * is x where N is not 1, and N is then the dim of the result, by which x is
 * bounded: provided that the result's dim is a broadcast of N and that a
 * core.check states that its parts fit.
 */
#include "passes/poly/prove.h"

struct facts {
	struct prover *p;
	struct map zero;	/* serials of what is checked to be 0 */
};

static void find_fact(void *arg, struct op *op)
{
	struct facts *f = arg;
	size_t n;
	const struct expr *const *zero;

	if (op->code != OP_core_check)
		return;
	zero = op_exprs(op, A_zero, &n);
	for (size_t i = 0; i < n; i++)
		map_put(&f->zero, zero[i]->serial, (void *)zero[i]);
}

void find_broadcasts(struct prover *p, const struct module *m)
{
	struct facts f = { .p = p };
	size_t n;
	const struct atom **dim = module_dims(m, &n);
	const struct expr *part[2];

	block_walk(op_body(m->func), find_fact, &f);
	for (size_t i = 0; i < n; i++)
		if (broadcast_parts(expr_of_atom(p->c, dim[i]), part) &&
		    map_get(&f.zero,
			    broadcast_misfit(p->c, part[0], part[1])->serial))
			map_put(&p->joined, dim[i]->serial, (void *)dim[i]);
	map_free(&f.zero);
}

/* Is r made of dim by such broadcasts?  Then it is equal to dim where that is
 * not 1. */
static bool took_part(struct prover *p, const struct expr *r,
		      const struct expr *dim)
{
	const struct atom *a = expr_atom(r);
	const struct expr *part[2];

	return r == dim ||
	       (a && map_get(&p->joined, a->serial) &&
		broadcast_parts(r, part) &&
		(took_part(p, part[0], dim) || took_part(p, part[1], dim)));
}

struct search {
	struct prover *p;
	const struct expr *dim, *found;
};

static void visit_joined(void *arg, const struct atom *a)
{
	struct search *f = arg;
	const struct expr *r;

	if (a->kind != ATOM_DIM || f->found)
		return;
	r = expr_of_atom(f->p->c, a);
	if (took_part(f->p, r, f->dim))
		f->found = r;
}

void without_step(struct prover *p, const struct expr **idx,
		  const struct expr **dim)
{
	const struct expr *step = broadcast_step(p->c, *dim), *x;
	struct search f = { p, *dim, NULL };

	if (!broadcast_is_step(step) ||
	    !(x = expr_exact_div(p->c, *idx, step)))
		return;
	for (size_t i = 0; i < p->vars.n; i++)
		if (p->vars.v[i].hi)
			expr_visit(p->vars.v[i].hi, visit_joined, &f);
	if (f.found) {
		*idx = x;
		*dim = f.found;
	}
}
