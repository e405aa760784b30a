/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout: statements between contractions keep the memory order that the
 * contractions chose, and constants follow the statements that read them.
 *
 * A statement follows the first operand that has a layout and is read dim by
 * dim (pooling windows included).  Model inputs and outputs stay row-major.
 * A constant whose dim along the innermost variable is not its last one (the
 * weights of a depthwise convolution) is transposed here, once.
 */
#include "ir/layout.h"
#include "ir/target.h"
#include "passes/loop/lower.h"
#include "passes/nest/body.h"

struct follow {
	struct ctx *ctx;
	struct op *compute;
	const struct layout *found;
};

/*
 * Where a load takes a variable apart into digits (a reshape, the shuffle of
 * channels), the variables in the order in which the operand's memory has
 * their last digits.
 */
static const struct layout *digits_order(struct ctx *c, const struct op *load,
					 const struct op *compute)
{
	const struct block *b = op_body(compute);
	const struct value *from = load->in[0].val;
	size_t n;
	const struct expr *const *idx = op_exprs(load, A_idx, &n);
	uint8_t perm[MAX_RANK];
	unsigned k = b->n_iv;
	uint32_t taken = 0;

	for (unsigned i = (unsigned)n; i-- > 0;)
		for (unsigned d = b->n_iv; d-- > 0;)
			if (!(taken >> d & 1) &&
			    expr_uses(idx[layout_dim(from, i)],
				      expr_atom(b->iv[d]))) {
				taken |= 1u << d;
				perm[--k] = (uint8_t)d;
			}
	if ((taken & block_real_ivs(b)) != block_real_ivs(b))
		return NULL;
	for (unsigned d = b->n_iv; d-- > 0;)
		if (!(taken >> d & 1))
			perm[--k] = (uint8_t)d;
	return layout_make(c, compute->out[0].type, perm);
}

static void look(void *arg, struct op *op)
{
	struct follow *f = arg;
	const struct block *b = op_body(f->compute);
	size_t n;

	if (f->found || op->code != OP_nest_load || !op->in[0].val->layout)
		return;
	const struct expr *const *idx = op_exprs(op, A_idx, &n);

	if (n > b->n_iv) {
		f->found = digits_order(f->ctx, op, f->compute);
		return;
	}
	if (n != b->n_iv)
		return;
	for (size_t i = 0; i < n; i++)
		if (!expr_is(expr_atom(b->iv[i])->a, 1) &&
		    !expr_uses(idx[i], expr_atom(b->iv[i])))
			return;
	f->found = op->in[0].val->layout;
}

static bool leaves_the_block(const struct value *v)
{
	for (const struct use *u = v->uses; u; u = u->next)
		if (u->user->code != OP_nest_load)
			return true;
	return false;
}

static void follow_operand(struct ctx *c, struct op *op)
{
	struct follow f = { c, op, NULL };

	for (unsigned i = 0; i < op->n_out; i++)
		if (leaves_the_block(&op->out[i]))
			return;
	if (body_has_partial_fold(op_body(op)))
		return;
	block_walk(op_body(op), look, &f);
	if (!f.found)
		return;
	for (unsigned i = 0; i < op->n_out; i++)
		op->out[i].layout = layout_make(c, op->out[i].type,
						f.found->perm);
}

/* ---- constants ------------------------------------------------------ */

/* v with dim `last` moved to the end. */
static struct value *moved(struct builder *b, struct value *v, unsigned last)
{
	struct ctx *c = b->ctx;
	const struct type *t = v->type;
	const struct expr *dim[MAX_RANK];
	int64_t n[MAX_RANK], outer = 1, mid, inner = 1;
	struct blob data;
	unsigned k = 0;

	if (!value_const(v, &data))
		return NULL;
	for (unsigned i = 0; i < t->rank; i++) {
		if (!expr_is_const(t->dim[i], &n[i]))
			return NULL;
		if (i < last)
			outer *= n[i];
		if (i > last)
			inner *= n[i];
		if (i != last)
			dim[k++] = t->dim[i];
	}
	dim[k] = t->dim[last];
	mid = n[last];
	char *dst = arena_alloc(&c->perm, data.size + 1);

	for (int64_t o = 0; o < outer; o++)
		for (int64_t i = 0; i < inner; i++)
			for (int64_t m = 0; m < mid; m++)
				element_copy(t->dtype, dst,
					     (size_t)((o * inner + i) * mid +
						      m),
					     data.data,
					     (size_t)((o * mid + m) * inner +
						      i));
	return build_const(b, type_tensor(c, t->dtype, t->rank, dim),
			   (struct blob){ dst, data.size });
}

struct follow_const {
	struct ctx *ctx;
	struct op *compute;
	const struct expr *iv;		/* innermost in memory */
};

static void move_const(void *arg, struct op *op)
{
	struct follow_const *f = arg;
	size_t n;

	if (op->code != OP_nest_load || op->n_in > 2 ||
	    !def_of(op->in[0].val, OP_core_const))
		return;
	const struct expr *const *idx = op_exprs(op, A_idx, &n);
	const struct type *t = op->in[0].val->type;
	unsigned at = 0, last = (unsigned)n;

	while (at < n && idx[at] != f->iv)
		at++;
	while (last > 0 && expr_is(t->dim[last - 1], 1))
		last--;
	if (at == n || at + 1 >= last)
		return;
	struct builder b = { f->ctx, f->compute->parent, f->compute, op->loc };
	struct value *v = moved(&b, op->in[0].val, at);
	const struct expr *e[MAX_RANK];
	unsigned k = 0;

	if (!v)
		return;
	for (unsigned i = 0; i < n; i++)
		if (i != at)
			e[k++] = idx[i];
	e[k] = idx[at];
	op_set_exprs(f->ctx, op, A_idx, n, e);
	op_set_in(op, 0, v);
}

static bool is_permuted(const struct value *v)
{
	unsigned n = v->type->rank;

	return v->layout && n && v->layout->perm[n - 1] + 1u != n;
}

static void constants_follow(struct ctx *c, struct op *op)
{
	const struct block *b = op_body(op);
	const struct layout *l = op->out[0].layout;
	struct tile_form tile;
	unsigned k = b->n_iv;

	/* Threads of a GPU that share a point read rows of weights, and tensor
	 * cores want theirs along the sum. */
	if (c->target && c->target->gpu[0] &&
	    (!is_permuted(&op->out[0]) ||
	     (tile_form(c, op, &tile) && tile.tensor_cores)))
		return;

	/* The innermost dim with more than one element. */
	while (k > 0 && expr_is(expr_atom(b->iv[l ? l->perm[k - 1]
						  : k - 1])->a, 1))
		k--;
	if (!k || op_has(op, A_panel))
		return;
	struct follow_const f = { c, op, b->iv[l ? l->perm[k - 1] : k - 1] };

	block_walk(op_body(op), move_const, &f);
}

static void layout_block(struct ctx *c, struct block *b)
{
	for (struct op *op = b->first; op; op = op->next) {
		if (op->code == OP_core_scan)
			layout_block(c, op_body(op));
		if (op->code != OP_nest_compute)
			continue;
		/* Whose dims are no variables was laid out with care. */
		if (op_has(op, A_idx))
			continue;
		if (!op->out[0].layout)
			follow_operand(c, op);
		constants_follow(c, op);
	}
}

static bool layout_run(struct module *m, const struct pass_args *args)
{
	(void)args;
	layout_block(m->ctx, op_body(m->func));
	return true;
}

PASS(layout,
	.summary = "Keep the memory order of contractions between them",
	.needs = LEVEL_NEST, .leaves = LEVEL_NEST,
	.run = layout_run);
