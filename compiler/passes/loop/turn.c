/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Constants of a fold, turned: the dims that the fold walks become the last
 * ones, so that neighbours in memory are neighbours in the fold.
 */
#include <string.h>

#include "ir/op.h"
#include "passes/loop/lower.h"

/* The elements of a tensor with its dims in another order. */
static struct blob permuted(struct ctx *c, const struct type *t,
			    struct blob data, const unsigned *order)
{
	int64_t n[MAX_RANK], step[MAX_RANK], at[MAX_RANK] = { 0 };
	char *to = arena_alloc(&c->perm, data.size ? data.size : 1);
	size_t from = 0, i = 0, count = 1;

	for (unsigned d = 0; d < t->rank; d++) {
		step[d] = 1;
		expr_is_const(t->dim[order[d]], &n[d]);
		for (unsigned k = order[d] + 1; k < t->rank; k++) {
			int64_t m;

			expr_is_const(t->dim[k], &m);
			step[d] *= m;
		}
		count *= (size_t)n[d];
	}
	memset(to, 0, data.size);
	while (i < count) {
		unsigned d = t->rank;

		element_copy(t->dtype, to, i++, data.data, from);
		while (d-- > 0) {
			from += (size_t)step[d];
			if (++at[d] < n[d])
				break;
			from -= (size_t)(step[d] * n[d]);
			at[d] = 0;
		}
	}
	return (struct blob){ to, data.size };
}

/* Is the index the fold's variable k, and what the fold does not change? */
static bool walks(const struct block *fold, unsigned k, const struct expr *at)
{
	const struct atom *iv = expr_atom(fold->iv[k]);
	bool plain = false;

	for (uint32_t i = 0; i < at->n; i++) {
		const struct term *t = &at->term[i];

		if (t->n == 1 && t->atom[0] == iv && t->coef == 1) {
			plain = true;
			continue;
		}
		for (uint32_t j = 0; j < t->n; j++)
			for (uint32_t m = 0; m < fold->n_iv; m++)
				if (t->atom[j] == expr_atom(fold->iv[m]))
					return false;
	}
	return plain;
}

/* The dims of the constant in their new order; false where the fold walks them
 * otherwise than one by one, or walks them as they lie. */
static bool new_order(const struct op *load, const struct block *fold,
		      unsigned *order)
{
	unsigned rank = load->in[0].val->type->rank, n = 0;
	bool same = true;
	size_t n_idx;
	const struct expr *const *at = op_exprs(load, A_idx, &n_idx);

	for (unsigned d = 0; d < rank; d++) {
		bool walked = false;

		for (unsigned k = 0; k < fold->n_iv; k++)
			walked |= walks(fold, k, at[d]);
		if (!walked)
			order[n++] = d;
	}
	for (unsigned k = 0; k < fold->n_iv; k++)
		for (unsigned d = 0; d < rank; d++)
			if (walks(fold, k, at[d]))
				order[n++] = d;
	if (n != rank || n < 2 ||
	    !walks(fold, fold->n_iv - 1, at[order[n - 1]]))
		return false;
	for (unsigned d = 0; d < rank; d++)
		same &= order[d] == d;
	return !same;
}

bool can_turn_constant(const struct op *fold, const struct op *load)
{
	unsigned order[MAX_RANK * MAX_RANK];
	struct blob data;

	return load->n_in == 1 && value_const(load->in[0].val, &data) &&
	       new_order(load, op_body(fold), order);
}

bool turn_constant(struct ctx *c, struct op *compute, struct op *fold,
		   struct op *load)
{
	const struct expr *dim[MAX_RANK], *idx[MAX_RANK];
	unsigned order[MAX_RANK * MAX_RANK];
	struct value *old = load->in[0].val;
	const struct type *type = old->type;
	struct blob data;
	size_t n_idx;

	if (!can_turn_constant(fold, load) || !value_const(old, &data))
		return false;
	new_order(load, op_body(fold), order);
	const struct expr *const *at = op_exprs(load, A_idx, &n_idx);

	for (unsigned d = 0; d < type->rank; d++) {
		dim[d] = type->dim[order[d]];
		idx[d] = at[order[d]];
	}
	struct builder b = { c, compute->parent, compute, compute->loc };
	struct value *v = build_const(&b, type_tensor(c, type->dtype,
						      type->rank, dim),
				      permuted(c, type, data, order));

	v->name = old->name;
	op_set_in(load, 0, v);
	op_set_exprs(c, load, A_idx, type->rank, idx);
	return true;
}
