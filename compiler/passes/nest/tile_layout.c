/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tile_layout: what the tiles of a GPU multiply lies along the sum.
 *
 *	y[n, m, h, w] = sum c, r, s: x[n, c, h + r, w + s] * k[m, c, r, s]
 * ->
 *	y[n, m, h, w] = sum r, s, c: x[n, c, h + r, w + s] * k[m, c, r, s]
 *
 * with x in memory as (n, h, w, c) and y as (n, h, w, m).  A variable of the
 * fold that is an index of x by itself, a channel, is counted last and becomes
 * the innermost dim: then 16 bytes of x at a time are there or not, whatever
 * the window, and are copied to shared memory as they are.
 *
 * x gets its layout where it is made, and what it is made of does, where that
 * may be in any order; else it is copied, where each element is multiplied
 * often enough.  Channels too few for 16 bytes are copied with zeros behind
 * them, and so are the weights.  Constants are turned by lower_tile().  What
 * is between contractions follows in pass layout.
 *
 * Tensors whose readers want them row by row stay row-major: folds over part
 * of a statement, and sums over a dim that was several.
 */
#include "base/vec.h"
#include "ir/layout.h"
#include "ir/target.h"
#include "passes/loop/lower.h"
#include "passes/loop/schedule.h"
#include "passes/nest/body.h"

enum {
	VECTOR_BYTES = 16,	/* of a copy to shared memory */
	WORTH = 256,		/* products of an element that pay a copy */
	WIDER = 3,		/* times the channels, at most */
};

/* A tensor with a dim moved to the end, as wide as that. */
struct copy {
	struct block *in;
	struct value *from, *to;
	unsigned last;
	const struct expr *width;
};

struct state {
	struct ctx *ctx;
	VEC(struct copy) copies;
};

struct product {
	struct op *compute;
	struct tile_form form;
	struct op *x, *k;	/* what moves over the result; the weights */
	int64_t x_uses, k_uses;	/* products of an element, but for the taps */
};

/* ---- questions ------------------------------------------------------ */

static bool is_const(const struct op *load)
{
	return def_of(load->in[0].val, OP_core_const);
}

static bool uses_any(const struct expr *e, const struct block *b)
{
	for (uint32_t i = 0; i < b->n_iv; i++)
		if (expr_uses(e, expr_atom(b->iv[i])))
			return true;
	return false;
}

/* Has an index variables of the result and of the fold? */
static bool is_window(const struct product *t, const struct op *load)
{
	size_t n;
	const struct expr *const *idx = op_exprs(load, A_idx, &n);

	for (size_t i = 0; i < n; i++)
		if (uses_any(idx[i], op_body(t->compute)) &&
		    uses_any(idx[i], op_body(t->form.fold)))
			return true;
	return false;
}

/* Which factor is the image: the one that is no constant, or is a window. */
static bool find_image(struct product *t)
{
	struct op *const *load = t->form.load;
	int x;

	if (!load[0] || !load[1])
		return false;
	if (is_const(load[0]) != is_const(load[1]))
		x = is_const(load[0]);
	else if (is_window(t, load[0]) != is_window(t, load[1]))
		x = is_window(t, load[1]);
	else
		return false;
	t->x = load[x];
	t->k = load[1 - x];
	t->x_uses = t->form.side[1 - x];
	t->k_uses = t->form.side[x];
	return !is_const(t->x);
}

/* The dim of the load along which the fold's variable counts, alone but for
 * variables of the result that both factors use (a group); -1: none. */
static int dim_of(struct ctx *c, const struct product *t,
		  const struct op *load, const struct expr *iv)
{
	const struct block *fold = op_body(t->form.fold);
	const struct block *body = op_body(t->compute);
	const struct expr *step, *rest;
	uint32_t both = op_uses_ivs(t->x, body) & op_uses_ivs(t->k, body);
	size_t n, n_guard;
	const struct expr *const *idx = op_exprs(load, A_idx, &n);
	const struct expr *const *guard = op_exprs(load, A_guard, &n_guard);
	int d = -1;

	for (size_t i = 0; i < n; i++) {
		if (!expr_uses(idx[i], expr_atom(iv)))
			continue;
		if (d >= 0 || !expr_linear(c, idx[i], expr_atom(iv), &step,
					   &rest) ||
		    !expr_is(step, 1) || uses_any(rest, fold))
			return -1;
		for (uint32_t k = 0; k < body->n_iv; k++)
			if (!(both >> k & 1) &&
			    expr_uses(rest, expr_atom(body->iv[k])))
				return -1;
		d = (int)i;
	}
	for (size_t i = 0; i < n_guard; i++)
		if (expr_uses(guard[i], expr_atom(iv)))
			return -1;
	return d;
}

/* Is the variable all of the load's index there? */
static bool is_whole_dim(const struct op *load, unsigned d,
			 const struct expr *iv)
{
	size_t n;

	return op_exprs(load, A_idx, &n)[d] == iv;
}

static int64_t vector(const struct op *load)
{
	return VECTOR_BYTES / (int64_t)dtype_size(load->out[0].type->dtype);
}

static int64_t round_up(int64_t n, int64_t by)
{
	return (n + by - 1) / by * by;
}

/* The longest variable of known extent that is a dim of both factors, of
 * vectors if there is such a one; -1: none. */
static int channel(struct ctx *c, const struct product *t)
{
	const struct block *fold = op_body(t->form.fold);
	int64_t v = vector(t->x), best = 0;
	int found = -1;

	for (uint32_t i = 0; i < fold->n_iv; i++) {
		int64_t n = extent_or(fold->iv[i], 0), rank;

		if (n < 2 || dim_of(c, t, t->x, fold->iv[i]) < 0 ||
		    dim_of(c, t, t->k, fold->iv[i]) < 0)
			continue;
		rank = n % v ? n : n + INT32_MAX;
		if (rank > best) {
			best = rank;
			found = (int)i;
		}
	}
	return found;
}

/* Products of an element of the image by each of its uses: the window. */
static int64_t taps(const struct product *t, int k)
{
	const struct block *fold = op_body(t->form.fold);
	int64_t n = 1;

	for (int i = 0; i < (int)fold->n_iv; i++)
		if (i != k)
			n = work_times(n, extent_or(fold->iv[i], 1));
	return n;
}

static bool lies_along(struct ctx *c, const struct op *load,
		       const struct expr *iv)
{
	const struct expr *step, *rest;
	size_t n;

	return expr_linear(c, layout_offset(c, load->in[0].val,
					    op_exprs(load, A_idx, &n)),
			   expr_atom(iv), &step, &rest) && expr_is(step, 1);
}

/* ---- who wants a tensor row-major ----------------------------------- */

struct along {
	struct ctx *ctx;
	const struct value *v;
	const struct op *compute;
	const struct block *fold;
	bool yes;
};

/* A dim that was several: the fold's variable has its digits. */
static void find_digit(void *arg, const struct atom *x)
{
	struct along *a = arg;

	if (x->kind == ATOM_DIV || x->kind == ATOM_MOD)
		a->yes |= uses_any(x->a, a->fold);
}

/* Is the tensor read along its last dim by a fold that counts on it? */
static void find_along(void *arg, struct op *op)
{
	struct along *a = arg;
	const struct op *fold = op_parent(op);
	size_t n;

	if (op->code != OP_nest_load || op->in[0].val != a->v ||
	    fold->code != OP_nest_reduce)
		return;
	const struct block *b = op_body(fold);
	const struct expr *const *idx = op_exprs(op, A_idx, &n);

	a->fold = b;
	for (size_t i = 0; i < n; i++)
		expr_visit(idx[i], find_digit, a);
	a->yes |= body_has_partial_fold(op_body(a->compute)) &&
		  lies_along(a->ctx, op, b->iv[b->n_iv - 1]);
}

static bool stays_row_major(struct ctx *c, const struct value *v)
{
	struct along a = { .ctx = c, .v = v };

	for (const struct use *u = v->uses; u && !a.yes; u = u->next) {
		struct op *op = u->user;

		while (op && op->code != OP_nest_compute)
			op = op_parent(op);
		if (!op)
			continue;
		a.compute = op;
		block_walk(op_body(op), find_along, &a);
	}
	return a.yes;
}

/* ---- layouts -------------------------------------------------------- */

/* Can the statement that makes the tensor store it in any order? */
static bool is_free(struct ctx *c, const struct value *v)
{
	const struct op *def = def_of(v, OP_nest_compute);

	return !v->layout && def && !value_is_returned(v) && def->n_out == 1 &&
	       !dtype_is_packed(v->type->dtype) &&
	       !body_has_partial_fold(op_body(def)) &&
	       !stays_row_major(c, v);
}

struct request {
	struct ctx *ctx;
	const struct block *body;
	unsigned last;
};

static void ask(struct ctx *c, struct value *v, unsigned last);

/* A tensor that is read dim by dim where one is made gets its layout. */
static void ask_operand(void *arg, struct op *op)
{
	struct request *r = arg;
	size_t n;

	if (op->code != OP_nest_load || !is_free(r->ctx, op->in[0].val))
		return;
	const struct expr *const *idx = op_exprs(op, A_idx, &n);

	if (n != r->body->n_iv)
		return;
	for (size_t i = 0; i < n; i++)
		if (!expr_is(expr_atom(r->body->iv[i])->a, 1) &&
		    !expr_uses(idx[i], expr_atom(r->body->iv[i])))
			return;
	ask(r->ctx, op->in[0].val, r->last);
}

static void ask(struct ctx *c, struct value *v, unsigned last)
{
	struct request r = { c, op_body(v->def), last };
	struct tile_form f;

	v->layout = layout_with_last(c, v->type, last);
	/* A tile stores its columns wherever they go. */
	if (!tile_form(c, v->def, &f))
		block_walk(op_body(v->def), ask_operand, &r);
}

/* ---- copies --------------------------------------------------------- */

/* The load whose casts are all that the statement is, or NULL. */
static const struct op *only_casts(const struct value *v)
{
	const struct op *def = def_of(v, OP_nest_compute), *load;
	size_t n;

	if (!def || def->n_out != 1 || op_has(def, A_idx))
		return NULL;
	load = op_body(def)->first;
	for (const struct op *op = load->next; op; op = op->next)
		if (op != op_body(def)->last &&
		    (op->code != OP_arith_cast || op->in[0].val->def !=
							  op->prev))
			return NULL;
	op_exprs(load, A_guard, &n);
	return load->code == OP_nest_load && load->n_in == 1 && !n ? load
								   : NULL;
}

/* The tensor's element at iv[], from what it is cast from where that is all;
 * 0 where `left` (NULL: nowhere) is negative. */
static struct value *element(struct lower *lo, struct value *v,
			     const struct expr *const *iv,
			     const struct expr *left)
{
	struct ctx *c = lo->b.ctx;
	const struct op *load = only_casts(v), *op;
	struct value *from = load ? load->in[0].val : v, *zero, *x;
	const struct expr *at[MAX_RANK];
	struct rename rn = { .n = 0 };
	size_t n;

	if (load)
		for (; rn.n < v->type->rank; rn.n++) {
			rn.from[rn.n] = op_body(v->def)->iv[rn.n];
			rn.to[rn.n] = iv[rn.n];
		}
	const struct expr *const *idx = load ? op_exprs(load, A_idx, &n) : iv;

	for (unsigned i = 0; i < from->type->rank; i++)
		at[i] = expr_subst(c, idx[i], expr_renamed, &rn);
	zero = left ? s_const(lo, from->type->dtype, 0) : NULL;
	x = left ? nest_load_guarded(lo, from, at, 1, &left, zero)
		 : nest_load(lo, from, at);
	for (op = load ? load->next : NULL; op && op->next; op = op->next)
		x = s_cast(lo, op->out[0].type->dtype, x);
	return x;
}

/* The tensor with dim `last` innermost, zeros beyond its end. */
static struct value *copy_of(struct state *s, struct op *before,
			     struct value *v, unsigned last,
			     const struct expr *width)
{
	struct ctx *c = s->ctx;
	const struct type *t = v->type, *type;
	struct lower lo = { .b = { c, before->parent, before, before->loc } };
	const struct expr *dim[MAX_RANK], *left = NULL;
	struct value *x, *to, *known;

	for (size_t i = 0; i < s->copies.n; i++) {
		const struct copy *o = &s->copies.v[i];

		if (o->from == v && o->last == last && o->width == width &&
		    o->in == before->parent)
			return o->to;
	}
	for (unsigned i = 0; i < t->rank; i++)
		dim[i] = i == last ? width : t->dim[i];
	type = type_tensor(c, t->dtype, t->rank, dim);
	struct nest n = nest_begin(&lo, 1, &type);

	if (width != t->dim[last])
		left = expr_addc(c, expr_sub(c, t->dim[last], n.iv[last]), -1);
	x = element(&lo, v, n.iv, left);
	nest_end(&lo, &n, 1, &x, &to);
	to->name = v->name;
	known = def_of(v, OP_core_const) ? statement_const(&lo.b, n.op) : NULL;
	if (known) {
		op_erase(n.op);
		to = known;
	} else {
		to->layout = layout_with_last(c, to->type, last);
	}
	vec_push(&s->copies, ((struct copy){ before->parent, v, to, last,
					     width }));
	return to;
}

static void read_copy(struct state *s, const struct product *t, struct op *load,
		      unsigned last, const struct expr *width)
{
	op_set_in(load, 0, copy_of(s, t->compute, load->in[0].val, last,
				   width));
}

/* ---- statements ----------------------------------------------------- */

/* Does the factor lie along its dim d, or can it be made to? */
static bool can_lie(const struct state *s, struct op *load, unsigned d,
		    int64_t uses)
{
	const struct value *v = load->in[0].val;

	return layout_dim(v, v->type->rank - 1) == d || is_const(load) ||
	       is_free(s->ctx, load->in[0].val) || uses >= WORTH;
}

static void make_lie(struct state *s, const struct product *t, struct op *load,
		     unsigned d)
{
	struct value *v = load->in[0].val;

	if (layout_dim(v, v->type->rank - 1) == d || is_const(load))
		return;
	if (is_free(s->ctx, v))
		ask(s->ctx, v, d);
	else
		read_copy(s, t, load, d, v->type->dim[d]);
}

/* Variable k of the fold is counted last, so far. */
static void count_last(struct ctx *c, struct product *t, unsigned k,
		       const struct expr *width)
{
	const struct block *b = op_body(t->form.fold);
	const struct expr *extent[MAX_RANK];
	unsigned order[MAX_RANK], n = 0;

	for (uint32_t i = 0; i < b->n_iv; i++)
		if (i != k)
			order[n++] = i;
	order[n++] = k;
	for (unsigned i = 0; i < n; i++)
		extent[i] = expr_atom(b->iv[order[i]])->a;
	extent[n - 1] = width;
	fold_arrange(c, t->form.fold, order, extent);
}

/* The columns go innermost where vectors of them can be read again. */
static void lay_result(struct ctx *c, const struct product *t)
{
	const struct block *body = op_body(t->compute);
	const struct expr *const *at = point_index(t->compute);
	struct value *y = &t->compute->out[0];
	uint32_t own = op_uses_ivs(t->k, body) & ~op_uses_ivs(t->x, body) &
		       block_real_ivs(body);
	unsigned k = 0, d = 0;

	if (!is_free(c, y) || __builtin_popcount(own) != 1)
		return;
	while (!(own >> k & 1))
		k++;
	while (d < y->type->rank && !expr_uses(at[d], expr_atom(body->iv[k])))
		d++;
	if (d < y->type->rank &&
	    extent_or(body->iv[k], 1) %
			    (VECTOR_BYTES /
			     (int64_t)dtype_size(y->type->dtype)) == 0)
		ask(c, y, d);
}

static void lay_statement(struct state *s, struct op *op)
{
	struct product t = { .compute = op };
	struct ctx *c = s->ctx;

	if (op->n_out != 1 || !tile_form(c, op, &t.form) || !find_image(&t))
		return;
	int k = channel(c, &t);

	if (k < 0)
		return;
	const struct block *fold = op_body(t.form.fold);
	const struct expr *iv = fold->iv[k];
	unsigned dx = (unsigned)dim_of(c, &t, t.x, iv);
	unsigned dk = (unsigned)dim_of(c, &t, t.k, iv);
	int64_t n = extent_or(iv, 0), wide = round_up(n, vector(t.x));
	int64_t x_uses = work_times(t.x_uses, taps(&t, k));
	bool window = is_window(&t, t.x);

	if (wide == n) {
		if (!can_lie(s, t.x, dx, x_uses) ||
		    !can_lie(s, t.k, dk, t.k_uses))
			return;
		make_lie(s, &t, t.x, dx);
		make_lie(s, &t, t.k, dk);
		if ((uint32_t)k + 1 < fold->n_iv)
			count_last(c, &t, (unsigned)k, expr_const(c, n));
	} else if (window && t.form.tensor_cores && wide <= WIDER * n &&
		   x_uses >= WORTH && is_whole_dim(t.x, dx, iv) &&
		   is_whole_dim(t.k, dk, iv) &&
		   (is_const(t.k) || t.k_uses >= WORTH)) {
		const struct expr *width = expr_const(c, wide);

		read_copy(s, &t, t.x, dx, width);
		read_copy(s, &t, t.k, dk, width);
		count_last(c, &t, (unsigned)k, width);
	}
	/* A fold that was arranged is another one, with other loads. */
	if (tile_form(c, op, &t.form) && find_image(&t))
		lay_result(c, &t);
}

static void lay_block(struct state *s, struct block *b)
{
	for (struct op *op = b->first; op; op = op->next) {
		if (op->code == OP_core_scan)
			lay_block(s, op_body(op));
		if (op->code == OP_nest_compute)
			lay_statement(s, op);
	}
}

static bool tile_layout_run(struct module *m, const struct pass_args *args)
{
	struct state s = { .ctx = m->ctx };

	(void)args;
	if (m->ctx->target && m->ctx->target->gpu[0] && !m->ctx->strict_qdq)
		lay_block(&s, op_body(m->func));
	vec_free(&s.copies);
	erase_dead(op_body(m->func));
	return true;
}

PASS(tile_layout,
	.summary = "Lay out what a GPU multiplies along the sum",
	.needs = LEVEL_NEST, .leaves = LEVEL_NEST,
	.run = tile_layout_run);
