/* SPDX-License-Identifier: Apache-2.0 */
#include "codegen/kernel.h"

struct collect {
	struct op *kernel;
	struct kernel_args *args;
	struct map own;		/* serials of the kernel's variables */
};

static void add_atom(void *arg, const struct atom *a)
{
	struct collect *col = arg;
	struct kernel_args *k = col->args;

	/* An extent may mention symbols as well. */
	if (a->kind == ATOM_IV || a->kind == ATOM_ARG)
		if (a->a)
			expr_visit(a->a, add_atom, arg);
	if (a->kind != ATOM_SYM && a->kind != ATOM_DIM && a->kind != ATOM_IV)
		return;
	if (map_get(&col->own, a->serial))
		return;
	for (size_t i = 0; i < k->atoms.n; i++)
		if (k->atoms.v[i] == a)
			return;
	vec_push(&k->atoms, a);
}

static void add_buf(struct collect *col, struct value *v)
{
	struct kernel_args *k = col->args;

	for (size_t i = 0; i < k->bufs.n; i++)
		if (k->bufs.v[i] == v)
			return;
	vec_push(&k->bufs, v);
	/* Strides come from the dims. */
	for (uint32_t i = 0; i < v->type->rank; i++)
		expr_visit(v->type->dim[i], add_atom, col);
}

static void own_ivs(struct collect *col, const struct block *b)
{
	for (unsigned i = 0; i < b->n_iv; i++)
		map_put(&col->own, expr_atom(b->iv[i])->serial, col);
}

static void own_op(void *arg, struct op *op)
{
	for (unsigned r = 0; r < op->n_region; r++)
		own_ivs(arg, op->region[r].block);
}

static void collect_op(void *arg, struct op *op)
{
	struct collect *col = arg;

	for (unsigned i = 0; i < op->n_in; i++) {
		struct value *v = op->in[i].val;

		if (v && v->type->kind == TY_TENSOR &&
		    value_is_outside(v, col->kernel))
			add_buf(col, v);
	}
	for (unsigned i = 0; i < op->n_attr; i++)
		if (op->attr[i].val->kind == AT_EXPRS)
			for (size_t j = 0; j < op->attr[i].val->n; j++)
				expr_visit(op->attr[i].val->exprs[j], add_atom,
					   col);
	for (unsigned r = 0; r < op->n_region; r++)
		for (unsigned i = 0; i < op->region[r].block->n_iv; i++)
			expr_visit(
				expr_atom(op->region[r].block->iv[i])->a,
				add_atom, col);
}

void kernel_args(struct op *kernel, struct kernel_args *args)
{
	struct block *body = op_body(kernel);
	struct collect col = { kernel, args, { 0 } };

	*args = (struct kernel_args){ 0 };
	own_ivs(&col, body);
	block_walk(body, own_op, &col);
	block_walk(body, collect_op, &col);
	for (unsigned i = 0; i < body->n_iv; i++)
		expr_visit(expr_atom(body->iv[i])->a, add_atom, &col);
	map_free(&col.own);
}

void kernel_args_free(struct kernel_args *args)
{
	vec_free(&args->bufs);
	vec_free(&args->atoms);
}

const struct expr *kernel_points(struct ctx *c, const struct op *kernel)
{
	const struct block *body = op_body(kernel);
	const struct expr *points = expr_const(c, 1);

	for (unsigned i = 0; i < body->n_iv; i++)
		points = expr_mul(c, points, expr_atom(body->iv[i])->a);
	return points;
}

const struct expr *kernel_runs(struct ctx *c, const struct op *kernel)
{
	size_t n;
	const struct expr *const *when = op_exprs(kernel, A_when, &n), *once;
	const struct expr *points = kernel_points(c, kernel);

	if (!n)
		return points;
	once = expr_max(c, expr_const(c, 0),
			expr_min(c, expr_const(c, 1), when[0]));
	return expr_mul(c, points, once);
}

uint32_t kernel_node(const struct op *op)
{
	return op->loc && op->loc->node >= 0 && op->loc->node < 0x7ffffe
		       ? (uint32_t)op->loc->node + 1
		       : 0;
}

/* That of a tile is a sum already. */
bool kernel_is_sum(const struct op *op)
{
	const struct op *loop = op_parent(op);

	if (op->code != OP_arith_add && op->code != OP_arith_sub)
		return false;
	for (unsigned i = 0; i < 2; i++)
		if (!op->in[i].val->def && loop->code == OP_loop_for &&
		    op->in[i].val->block == op->parent)
			return true;
	return op_int(op, A_sum);
}

bool kernel_is_serial(const struct op *kernel)
{
	return op_int(kernel, A_grain) == INT64_MAX;
}
