/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which variables of a statement are rows of its tiles on a GPU, and which are
 * columns: as many as can be counted as one.
 */
#include "ir/layout.h"
#include "passes/loop/schedule.h"
#include "passes/loop/tile.h"

void gemm_side_add(struct gemm *t, struct side *s, const struct expr *iv)
{
	const struct expr *n = expr_atom(iv)->a;

	s->iv[s->n++] = iv;
	s->extent = s->n == 1 ? n : expr_mul(t->ctx, s->extent, n);
	s->guess = work_times(s->guess ? s->guess : 1, extent_or(iv, UNKNOWN));
}

/* Those of known extent together, or the innermost symbol, where that is alone
 * larger: a batch of one is common, a sequence of one element is not. */
void gemm_side(struct gemm *t, struct side *s, uint32_t own,
	       const uint8_t *order, unsigned n)
{
	const struct block *body = op_body(t->compute);
	const struct expr *symbol = NULL;
	int64_t k;

	*s = (struct side){ 0 };
	for (unsigned i = 0; i < n; i++) {
		const struct expr *iv = body->iv[order[i]];

		if (!(own >> order[i] & 1))
			continue;
		if (expr_is_const(expr_atom(iv)->a, &k))
			gemm_side_add(t, s, iv);
		else
			symbol = iv;
	}
	if (!symbol || s->guess >= UNKNOWN)
		return;
	*s = (struct side){ 0 };
	gemm_side_add(t, s, symbol);
}

struct joining {
	struct ctx *ctx;
	const struct expr *outer, *inner;	/* neighbouring variables */
	bool ok;
};

/* Does a step of the outer variable go as far as all of the inner one? */
static void visit_joined(void *arg, struct op *op)
{
	struct joining *j = arg;
	const struct expr *off, *far, *near, *rest;
	size_t n;

	if (op->code != OP_nest_load || !j->ok)
		return;
	off = layout_offset(j->ctx, op->in[0].val, op_exprs(op, A_idx, &n));
	j->ok = expr_linear(j->ctx, off, expr_atom(j->outer), &far, &rest) &&
		expr_linear(j->ctx, off, expr_atom(j->inner), &near, &rest) &&
		far == expr_mul(j->ctx, near, expr_atom(j->inner)->a);
}

/* Do the elements of both variables lie one after the other in all that is read
 * for each step of the sum? */
static bool are_joined(struct gemm *t, const struct expr *outer,
		       const struct expr *inner)
{
	struct joining j = { t->ctx, outer, inner, true };

	block_walk(op_body(t->fold), visit_joined, &j);
	return j.ok;
}

/*
 * All of the variables together, symbols too, where that costs no division by a
 * symbol for each step: the outermost one may be one, others where they are
 * joined to the one around them, as a batch and a sequence are.  Of a symbol
 * there are so many that there are UNKNOWN rows, or BATCH.
 */
static bool whole_side(struct gemm *t, struct side *s, uint32_t own,
		       const uint8_t *order, unsigned n)
{
	const struct block *body = op_body(t->compute);
	int64_t known = 1;

	*s = (struct side){ 0 };
	for (unsigned i = 0; i < n; i++) {
		const struct expr *iv = body->iv[order[i]];
		int64_t k = extent_or(iv, 0);

		if (!(own >> order[i] & 1))
			continue;
		if (s->n && !k && !are_joined(t, s->iv[s->n - 1], iv))
			return false;
		gemm_side_add(t, s, iv);
		known = work_times(known, k ? k : 1);
	}
	s->guess = known;
	for (unsigned i = s->n; i-- > 0;)
		if (!extent_or(s->iv[i], 0))
			s->guess = work_times(
				s->guess, s->guess * BATCH < UNKNOWN
						  ? (UNKNOWN - 1) / s->guess + 1
						  : BATCH);
	return s->n > 0;
}

void gemm_whole_side(struct gemm *t, struct side *s, uint32_t own,
		     const uint8_t *order, unsigned n)
{
	if (!whole_side(t, s, own, order, n))
		gemm_side(t, s, own, order, n);
}

uint32_t gemm_side_bits(const struct gemm *t, const struct side *s)
{
	const struct block *body = op_body(t->compute);
	uint32_t bits = 0;

	for (unsigned i = 0; i < body->n_iv; i++)
		for (unsigned k = 0; k < s->n; k++)
			if (body->iv[i] == s->iv[k])
				bits |= 1u << i;
	return bits;
}

bool gemm_never_few(const struct side *s)
{
	int64_t known = 1;
	bool symbol = false;

	for (unsigned i = 0; i < s->n; i++) {
		int64_t n = extent_or(s->iv[i], 0);

		symbol |= !n;
		known = work_times(known, n ? n : 1);
	}
	return !symbol || known >= MIN_SIDE;
}
