/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Constants of a fold, turned: the dims that the fold walks become the last
 * ones, so that neighbours in memory are neighbours in the fold.
 */
#include <string.h>

#include "ir/op.h"
#include "passes/loop/lower.h"

/* n elements side by side, from those that are so many apart. */
static void copy_row(enum dtype t, char *to, size_t at, const char *from,
		     size_t first, size_t step, size_t n)
{
	switch (dtype_is_packed(t) ? 0 : dtype_size(t)) {
	case 2:
		for (size_t i = 0; i < n; i++)
			memcpy(to + 2 * (at + i), from + 2 * (first + i * step),
			       2);
		break;
	case 4:
		for (size_t i = 0; i < n; i++)
			memcpy(to + 4 * (at + i), from + 4 * (first + i * step),
			       4);
		break;
	default:
		for (size_t i = 0; i < n; i++)
			element_copy(t, to, at + i, from, first + i * step);
		break;
	}
}

/* The elements of a tensor with its dims in another order. */
static struct blob permuted(struct ctx *c, const struct type *t,
			    struct blob data, const unsigned *order)
{
	int64_t n[MAX_RANK], step[MAX_RANK], at[MAX_RANK] = { 0 };
	char *to = arena_alloc(&c->perm, data.size ? data.size : 1);
	size_t from = 0, i = 0, count = 1, row;

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
	row = (size_t)n[t->rank - 1];
	while (i < count) {
		unsigned d = t->rank - 1;

		copy_row(t->dtype, to, i, data.data, from,
			 (size_t)step[t->rank - 1], row);
		i += row;
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

/* A constant of these elements ahead of the op: another statement may have
 * turned the same.  NULL: there is none. */
static struct value *same_const(struct op *op, const struct type *t,
				struct blob data)
{
	struct blob other;

	while ((op = op->prev))
		if (op->code == OP_core_const && op->out[0].type == t &&
		    value_const(&op->out[0], &other) &&
		    other.size == data.size &&
		    !memcmp(other.data, data.data, data.size))
			return &op->out[0];
	return NULL;
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
	struct blob turned = permuted(c, type, data, order);
	const struct type *to = type_tensor(c, type->dtype, type->rank, dim);
	struct value *v = same_const(compute, to, turned);

	if (!v) {
		v = build_const(&b, to, turned);
		v->name = old->name;
	}
	op_set_in(load, 0, v);
	op_set_exprs(c, load, A_idx, type->rank, idx);
	return true;
}
