/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chain: gives the tiles whose instruction saturates their panels as chains.
 *
 *	kern.contract(%a, %p) {group = 4}
 * ->
 *	kern.contract(%a, %p, %chains) {group = 4, chains = 1}
 *
 * %chains has the weights of %p in the order of passes/nest/chains.h and, as a
 * chain may hold quads from anywhere in the sum, where in %a each is.  Its
 * bytes are, in the machine's order:
 *
 *	struct { i32 offsets, quads, n[3], unused[3]; } panel[];
 *	i32 offset[];			in %a, from the first element
 *	i8 quad[][columns][4];		at a multiple of 64
 *
 * with the first two of a panel in bytes, and then how many chains of 1, 2 and
 * 3 quads it has.  %p is not read by such a tile.
 */
#include <stdlib.h>
#include <string.h>

#include "ir/layout.h"
#include "ir/target.h"
#include "passes/nest/chains.h"
#include "passes/pass.h"

enum { HEAD = 8, ALIGN = 64 };

/* The steps of a sum, but for the group. */
struct steps {
	unsigned n;
	int64_t extent[MAX_RANK], a[MAX_RANK], p[MAX_RANK];
};

/* A panel's constant with the steps through it, and its chains. */
struct made {
	struct value *panel, *chains;
	struct steps steps;
};

struct chaining {
	struct ctx *c;
	VEC(struct made) made;
};

static bool find_steps(struct ctx *c, const struct op *op, struct steps *s)
{
	const struct block *b = op_body(op);
	size_t n;
	const struct expr *a = layout_offset(c, op->in[0].val,
					     op_exprs(op, A_a_idx, &n));
	const struct expr *p = layout_offset(c, op->in[1].val,
					     op_exprs(op, A_b_idx, &n));
	const struct expr *ka, *kp, *rest;
	int64_t one;

	memset(s, 0, sizeof(*s));
	for (uint32_t i = 2; i < b->n_iv; i++, s->n++) {
		const struct atom *iv = expr_atom(b->iv[i]);

		if (s->n == MAX_RANK ||
		    !expr_is_const(iv->a, &s->extent[s->n]) ||
		    !expr_linear(c, a, iv, &ka, &rest) ||
		    !expr_linear(c, p, iv, &kp, &rest) ||
		    !expr_is_const(ka, &s->a[s->n]) ||
		    !expr_is_const(kp, &s->p[s->n]))
			return false;
	}
	one = s->a[--s->n];
	return one == 1 && s->p[s->n] == 1;
}

/* Where the k-th step is in both operands. */
static void step_at(const struct steps *s, int64_t k, int64_t *a, int64_t *p)
{
	*a = *p = 0;
	for (unsigned i = s->n; i-- > 0; k /= s->extent[i]) {
		*a += k % s->extent[i] * s->a[i];
		*p += k % s->extent[i] * s->p[i];
	}
}

/* All panels as chains; false where they are too large. */
static bool pack_panels(const struct steps *s, const struct blob *p,
			unsigned cols, struct blob *out, struct arena *arena)
{
	VEC(struct chains) all = { 0 };
	size_t quad = 4 * (size_t)cols, n = 1, n_quads = 0, at, first;
	/* Steps through neighbours. */
	size_t run = s->n && s->a[s->n - 1] == 4
			     ? (size_t)s->extent[s->n - 1] : 1;
	int64_t a, b;
	bool fits;

	for (unsigned i = 0; i < s->n; i++)
		n *= (size_t)s->extent[i];
	int8_t *w = xrealloc(NULL, n * quad, 1);

	for (at = 0; n && at + n * quad <= p->size; at += n * quad) {
		struct chains ch;

		for (size_t k = 0; k < n; k++) {
			step_at(s, (int64_t)k, &a, &b);
			memcpy(w + k * quad,
			       (const char *)p->data + at + (size_t)b, quad);
		}
		chains_pack(w, n, run, cols, &ch);
		vec_push(&all, ch);
		n_quads += ch.first.n;
	}
	free(w);
	first = (all.n * HEAD + n_quads) * sizeof(int32_t);
	first = (first + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	*out = (struct blob){ NULL, first + n_quads * quad };
	fits = out->size <= INT32_MAX;
	char *bytes = fits ? arena_alloc(arena, out->size) : NULL;
	int32_t *word = (int32_t *)(void *)bytes;

	if (fits)
		memset(bytes, 0, first);
	n_quads = 0;
	for (size_t i = 0; i < all.n; i++) {
		struct chains *ch = &all.v[i];
		size_t from = all.n * HEAD + n_quads;

		if (fits) {
			word[i * HEAD] = (int32_t)(from * sizeof(*word));
			word[i * HEAD + 1] = (int32_t)(first + n_quads * quad);
			for (unsigned k = MIN_CHAIN; k <= MAX_CHAIN; k++)
				word[i * HEAD + 2 + k - MIN_CHAIN] =
					(int32_t)ch->n[k];
			for (size_t k = 0; k < ch->first.n; k++) {
				step_at(s, ch->first.v[k] / 4, &a, &b);
				a += ch->first.v[k] % 4;
				word[from + k] = (int32_t)a;
				fits &= a == (int32_t)a;
			}
			memcpy(bytes + first + n_quads * quad, ch->w.v,
			       ch->w.n);
			out->data = bytes;
		}
		n_quads += ch->first.n;
		chains_free(ch);
	}
	vec_free(&all);
	return fits;
}

/* The panels as chains; NULL where that cannot be. */
static struct value *chains_of(struct chaining *g, const struct op *op)
{
	struct ctx *c = g->c;
	struct value *panel = op->in[1].val;
	unsigned cols = (unsigned)op_int(op, A_nr);
	struct made m = { .panel = panel };
	struct blob data, bytes;
	int64_t most = 4 * (int64_t)cols, size = most;

	if (!value_const(panel, &data) || panel->layout ||
	    !find_steps(c, op, &m.steps))
		return NULL;
	for (size_t i = 0; i < g->made.n; i++)
		if (g->made.v[i].panel == panel &&
		    !memcmp(&g->made.v[i].steps, &m.steps, sizeof(m.steps)))
			return g->made.v[i].chains;
	/* A panel is all of its steps, in some order. */
	for (unsigned i = 0; i < m.steps.n; i++) {
		size *= m.steps.extent[i];
		most += (m.steps.extent[i] - 1) * m.steps.p[i];
		if (m.steps.extent[i] < 1 || m.steps.p[i] < 0)
			return NULL;
	}
	if (size != most || !data.size || data.size % (size_t)size ||
	    !pack_panels(&m.steps, &data, cols, &bytes, &c->perm))
		return NULL;
	struct builder b = { c, panel->def->parent, panel->def->next,
			     panel->def->loc };
	const struct expr *dim = expr_const(c, (int64_t)bytes.size);

	m.chains = build_const(&b, type_tensor(c, DT_U8, 1, &dim), bytes);
	vec_push(&g->made, m);
	return m.chains;
}

static void chain_op(void *arg, struct op *op)
{
	struct chaining *g = arg;
	const struct target *t = g->c->target;
	struct value *v;

	if (op->code != OP_kern_contract || op->n_in != 2)
		return;
	const struct dot *dot = target_dot(t, op->in[0].val->type->dtype,
					   op->in[1].val->type->dtype);

	if (!dot || !dot->saturates || op_int(op, A_group) != dot->group ||
	    op_int(op, A_nr) != target_lanes(t, 32) ||
	    op_int(op, A_nr) > MAX_CHAIN_COLS)
		return;
	v = chains_of(g, op);
	if (!v)
		return;
	op_add_in(g->c, op, v);
	op_set_int(g->c, op, A_chains, 1);
}

static bool chain_run(struct module *m, const struct pass_args *args)
{
	struct chaining g = { .c = m->ctx };

	(void)args;
	block_walk(op_body(m->func), chain_op, &g);
	vec_free(&g.made);
	return true;
}

PASS(chain,
	.summary = "Order products of bytes so that no instruction saturates",
	.needs = LEVEL_LOOP, .leaves = LEVEL_LOOP,
	.run = chain_run);
