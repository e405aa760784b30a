/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A register tile as plain loops, in which each load can have a guard of its
 * own:
 *
 *	kern.contract(%a, %p) {origin = [m0, n0, left], mr, nr}
 * ->	loop.for [m < mr] { loop.for [n < min(nr, left)] {
 *	  %sum = loop.for [k..] { load %a, load %p, multiply, add }
 *	  the body, with m0 + m and n0 + n
 *	} }
 *
 * Slow, and the last resort: no index map that we make needs it.
 */
#include "passes/poly/prove.h"

struct plain {
	struct ctx *c;
	struct builder b;
	struct cloner cl;
};

static struct value *op2(struct plain *p, enum opcode code, struct value *x,
			 struct value *y)
{
	struct value *in[] = { x, y };

	return &build(&p->b, &(struct op_spec){ .code = code, .n_in = 2,
						.in = in, .n_out = 1,
						.out = &x->type })->out[0];
}

static struct value *cast_to(struct plain *p, struct value *x,
			     const struct type *t)
{
	return &build(&p->b, &(struct op_spec){ .code = OP_arith_cast,
						.n_in = 1, .in = &x,
						.n_out = 1,
						.out = &t })->out[0];
}

/* The element of the tile's operand i, in the type of the sum. */
static struct value *element(struct plain *p, const struct op *op, unsigned i,
			     const struct type *sum)
{
	struct ctx *c = p->c;
	struct value *buf = op->in[i].val, *x;
	const struct type *t = type_scalar(c, buf->type->dtype);
	size_t n;
	const struct expr *const *idx = op_exprs(op, i > 1 ? A_s_idx
						 : i       ? A_b_idx
							   : A_a_idx, &n);
	const struct expr *e[MAX_RANK];

	for (size_t k = 0; k < n; k++)
		e[k] = clone_expr(&p->cl, idx[k]);
	struct named_attr attr = { A_idx, attr_exprs(c, n, e) };

	x = &build(&p->b, &(struct op_spec){ .code = OP_mem_load, .n_in = 1,
					     .in = &buf, .n_out = 1, .out = &t,
					     .n_attr = 1,
					     .attr = &attr })->out[0];
	return t == sum ? x : cast_to(p, x, sum);
}

/* The tile's second factor may be decoded. */
static struct value *factor(struct plain *p, const struct op *op, unsigned i,
			    const struct type *sum)
{
	struct value *x = element(p, op, i, sum);
	enum dtype half;

	if (i && op->n_in > 3)
		x = op2(p, OP_arith_sub, x, element(p, op, 3, sum));
	if (i && op->n_in > 2)
		x = op2(p, OP_arith_mul, x, element(p, op, 2, sum));
	if (i && op_has(op, A_round) &&
	    dtype_from_onnx((int)op_int(op, A_round), &half))
		x = cast_to(p, cast_to(p, x, type_scalar(p->c, half)), sum);
	return x;
}

static struct value *emit_sum(struct plain *p, const struct op *op)
{
	const struct block *b = op_body(op);
	const struct type *t = b->arg[0]->type;
	struct op *loop[MAX_RANK];
	struct named_attr zero = { A_value, dtype_is_float(t->dtype)
						    ? attr_float(p->c, 0)
						    : attr_int(p->c, 0) };
	struct value *sum = &build(&p->b, &(struct op_spec){
						  .code = OP_arith_const,
						  .n_out = 1, .out = &t,
						  .n_attr = 1,
						  .attr = &zero })->out[0];

	for (uint32_t k = 2; k < b->n_iv; k++) {
		const struct expr *n = clone_expr(&p->cl,
						  expr_atom(b->iv[k])->a), *iv;

		loop[k] = build_for(&p->b, n, 1, 1, 1, &sum, &iv);
		clone_iv(&p->cl, b->iv[k], iv);
		sum = op_body(loop[k])->arg[0];
	}
	sum = op2(p, OP_arith_add, sum,
		  op2(p, OP_arith_mul, factor(p, op, 0, t),
		      factor(p, op, 1, t)));
	for (uint32_t k = b->n_iv; k-- > 2;) {
		build_for_end(&p->b, loop[k], 1, &sum);
		sum = &loop[k]->out[0];
	}
	return sum;
}

struct op *plain_contract(struct ctx *c, struct op *op)
{
	struct plain p = { .c = c, .b = { c, op->parent, op, op->loc },
			   .cl = { .ctx = c } };
	const struct block *b = op_body(op);
	size_t n;
	const struct expr *const *o = op_exprs(op, A_origin, &n);
	const struct expr *nr = expr_const(c, op_int(op, A_nr)), *iv;
	struct op *rows, *cols;

	rows = build_for(&p.b, expr_const(c, op_int(op, A_mr)), 1, 1, 0, NULL,
			 &iv);
	clone_iv(&p.cl, b->iv[0], expr_add(c, o[0], iv));
	cols = build_for(&p.b,
			 expr_max(c, expr_const(c, 0), expr_min(c, nr, o[2])),
			 1, 1, 0, NULL, &iv);
	clone_iv(&p.cl, b->iv[1], expr_add(c, o[1], iv));
	clone_value(&p.cl, b->arg[0], emit_sum(&p, op));
	for (const struct op *x = b->first; x; x = x->next)
		clone_op(&p.cl, &p.b, x);
	build_for_end(&p.b, cols, 0, NULL);
	build_for_end(&p.b, rows, 0, NULL);
	cloner_free(&p.cl);
	op_erase(op);
	return rows;
}
