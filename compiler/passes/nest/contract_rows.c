/* SPDX-License-Identifier: Apache-2.0 */
/* The row operand of a contraction, copied where a kernel cannot read it. */
#include <string.h>

#include "ir/layout.h"
#include "passes/nest/body.h"
#include "passes/nest/contraction.h"
#include "passes/nest/quantized.h"

enum { FEW_CHANNELS = 8 };

/* The statement that makes the copy, and how the kernel reads it. */
struct copy {
	struct contraction *con;
	const struct group *group;
	enum dtype dtype;
	struct lower lo;
	unsigned rank;
	const struct expr *dim[MAX_RANK], *at[MAX_RANK];
	const struct expr *src[MAX_RANK];	/* of an element */
	unsigned n_guard;
	const struct expr *guard[2 * MAX_RANK + 1];
	struct value *other;		/* where a guard is negative, or 0 */
};

static struct nest copy_begin(struct copy *cp)
{
	const struct type *t = type_tensor(cp->lo.b.ctx, cp->dtype, cp->rank,
					   cp->dim);

	return nest_begin(&cp->lo, 1, &t);
}

static struct value *copy_end(struct copy *cp, struct nest *s)
{
	struct value *from = cp->con->a->in[0].val, *other, *to, *v;
	struct cloner cl = { .ctx = cp->lo.b.ctx };

	other = cp->other ? clone_scalar(&cl, &cp->lo.b, cp->other)
			  : s_const(&cp->lo, from->type->dtype, 0);
	cloner_free(&cl);
	v = nest_load_guarded(&cp->lo, from, cp->src, cp->n_guard, cp->guard,
			      other);
	v = s_cast(&cp->lo, cp->dtype, v);
	nest_end(&cp->lo, s, 1, &v, &to);
	erase_dead(op_body(s->op));
	contraction_replace_load(cp->lo.b.ctx, cp->con->a, to, cp->rank,
				 cp->at);
	return to;
}

/* One dim per variable that the operand uses. */
static bool copy_by_variable(struct copy *cp)
{
	const struct contraction *con = cp->con;
	struct ctx *c = cp->lo.b.ctx;
	const struct block *bs[] = { op_body(con->compute),
				     op_body(con->fold) };
	struct rename rn = { .n = 0 };
	size_t n, n_guard;
	const struct expr *const *idx = op_exprs(con->a, A_idx, &n);
	const struct expr *const *guard = op_exprs(con->a, A_guard, &n_guard);

	for (int w = 0; w < 2; w++)
		for (uint32_t i = 0; i < bs[w]->n_iv; i++) {
			const struct expr *iv = bs[w]->iv[i];
			bool used = false;

			for (size_t j = 0; j < n; j++)
				used |= expr_uses(idx[j], expr_atom(iv));
			if (!used)
				continue;
			if (cp->rank == MAX_RANK)
				return false;
			rn.from[cp->rank] = cp->at[cp->rank] = iv;
			cp->dim[cp->rank++] = expr_atom(iv)->a;
		}
	struct nest s = copy_begin(cp);

	rn.n = cp->rank;
	memcpy(rn.to, s.iv, cp->rank * sizeof(*rn.to));
	for (size_t i = 0; i < n; i++)
		cp->src[i] = expr_subst(c, idx[i], expr_renamed, &rn);
	for (size_t i = 0; i < n_guard; i++)
		cp->guard[i] = expr_subst(c, guard[i], expr_renamed, &rn);
	cp->n_guard = (unsigned)n_guard;
	if (cp->group->inside)
		cp->guard[cp->n_guard++] = expr_subst(c, cp->group->inside,
						      expr_renamed, &rn);
	copy_end(cp, &s);
	return true;
}

/* The smallest and the largest value of a sum of variables. */
static bool reach(struct ctx *c, const struct expr *e, const struct expr **lo,
		  const struct expr **hi)
{
	*lo = *hi = expr_const(c, 0);
	for (uint32_t k = 0; k < e->n; k++) {
		const struct term *t = &e->term[k];

		if (!t->n) {
			*lo = expr_addc(c, *lo, t->coef);
			*hi = expr_addc(c, *hi, t->coef);
			continue;
		}
		if (t->n != 1 || t->atom[0]->kind != ATOM_IV)
			return false;
		const struct expr *top = expr_scale(
			c, expr_addc(c, t->atom[0]->a, -1), t->coef);

		if (t->coef > 0)
			*hi = expr_add(c, *hi, top);
		else
			*lo = expr_add(c, *lo, top);
	}
	return true;
}

int contraction_channel(const struct contraction *con)
{
	const struct block *kb = op_body(con->fold);
	size_t n;
	const struct expr *const *idx = op_exprs(con->a, A_idx, &n);

	for (size_t i = n; i-- > 0;)
		for (uint32_t k = 0; k < kb->n_iv; k++)
			if (!(con->window >> k & 1) &&
			    expr_uses(idx[i], expr_atom(kb->iv[k])))
				return (int)i;
	return -1;
}

int contraction_channel_variable(const struct contraction *con)
{
	const struct block *kb = op_body(con->fold);
	int at = contraction_channel(con);
	size_t n;
	const struct expr *const *idx = op_exprs(con->a, A_idx, &n);

	for (uint32_t k = 0; at >= 0 && k < kb->n_iv; k++)
		if (!(con->window >> k & 1) &&
		    expr_uses(idx[at], expr_atom(kb->iv[k])))
			return (int)k;
	return -1;
}

/* Channels go innermost; a few would make short rows and stay outside. */
static void set_copy_layout(const struct copy *cp, struct value *to,
			    int channel)
{
	int64_t channels;

	if (channel < 0 || (unsigned)channel + 1 == cp->rank ||
	    (cp->group->size == 1 &&
	     expr_is_const(cp->dim[channel], &channels) &&
	     channels < FEW_CHANNELS))
		return;
	to->layout = layout_with_last(cp->lo.b.ctx, to->type,
				      (unsigned)channel);
}

/* One dim per index, with the padding in it. */
static bool copy_by_index(struct copy *cp)
{
	struct contraction *con = cp->con;
	struct ctx *c = cp->lo.b.ctx;
	const struct type *from = con->a->in[0].val->type;
	const struct expr *low[MAX_RANK], *hi;
	size_t n;
	const struct expr *const *idx = op_exprs(con->a, A_idx, &n);
	const struct block *kb = op_body(con->fold);
	int channel = contraction_channel(con);
	int64_t pad;

	/* The group has to be consecutive. */
	for (size_t i = 0; i < n && cp->group->size > 1; i++)
		if (expr_uses(idx[i], expr_atom(kb->iv[kb->n_iv - 1])))
			channel = (int)i;

	for (size_t i = 0; i < n; i++) {
		if (!reach(c, idx[i], &low[i], &hi) ||
		    !expr_is_const(low[i], &pad))
			return false;
		cp->dim[i] = expr_addc(c, expr_sub(c, hi, low[i]), 1);
		cp->at[i] = expr_sub(c, idx[i], low[i]);
	}
	cp->rank = (unsigned)n;
	struct nest s = copy_begin(cp);

	for (size_t i = 0; i < n; i++) {
		const struct expr *e = expr_add(c, s.iv[i], low[i]);

		cp->src[i] = e;
		cp->guard[cp->n_guard++] = e;
		cp->guard[cp->n_guard++] =
			expr_addc(c, expr_sub(c, from->dim[i], e), -1);
	}
	set_copy_layout(cp, copy_end(cp, &s), channel);
	return true;
}

bool contraction_needs_copy(struct ctx *c, const struct contraction *con)
{
	size_t n, n_guard;
	const struct expr *const *idx = op_exprs(con->a, A_idx, &n);

	op_exprs(con->a, A_guard, &n_guard);
	for (size_t i = 0; i < n; i++)
		if (!expr_is_affine(idx[i]))
			return true;
	return n_guard || con->a->in[0].val->type->dtype !=
				  contraction_row_dtype(c, con);
}

/* Are the group's elements consecutive, and all there? */
static bool reads_groups(struct ctx *c, const struct contraction *con,
			 const struct group *g)
{
	const struct block *kb = op_body(con->fold);
	size_t n;
	const struct expr *off, *step, *rest;

	if (g->size == 1 ||
	    (con->fold->out[0].type->dtype != DT_I32 && !g->inside))
		return true;
	off = layout_offset(c, con->a->in[0].val, op_exprs(con->a, A_idx, &n));
	return !g->inside &&
	       expr_linear(c, off, expr_atom(kb->iv[kb->n_iv - 1]), &step,
			   &rest) &&
	       expr_is(step, 1);
}

/* Can the copy be made with this value in its border? */
static bool is_movable(const struct value *v, const struct block *body)
{
	return v->def && !scalar_ivs(v, body);
}

bool contraction_copy_rows(struct ctx *c, struct contraction *con,
			   const struct group *g)
{
	struct copy cp = { .con = con, .group = g,
			   .dtype = contraction_row_dtype(c, con),
			   .lo.b = { c, con->compute->parent, con->compute,
				     con->compute->loc } };
	size_t n, n_guard;
	const struct expr *const *idx = op_exprs(con->a, A_idx, &n);
	bool affine = true;

	op_exprs(con->a, A_guard, &n_guard);
	if (con->a->n_in > 2)
		return false;
	if (!contraction_needs_copy(c, con) && reads_groups(c, con, g))
		return true;
	cp.other = n_guard ? con->a->in[1].val : NULL;
	if (cp.other && !is_movable(cp.other, op_body(con->compute)))
		return false;
	for (size_t i = 0; i < n; i++)
		affine &= expr_is_affine(idx[i]);
	return affine ? copy_by_index(&cp) : copy_by_variable(&cp);
}
