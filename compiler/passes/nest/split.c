/* SPDX-License-Identifier: Apache-2.0 */
/*
 * split: a variable that a contraction knows by its digits becomes two.
 *
 *	y[n] = sum c: x[4*div(n, 6) + c] * w[n, c]
 * ->
 *	y[6*g + m] = sum c: x[4*g + c] * w[6*g + m, c]
 *
 * The channels of a grouped convolution are such a variable: its group is a
 * quotient by a constant, so that no index is affine and the statement is no
 * contraction.  As two variables the group is a batch variable and the rest
 * are columns.  The result keeps its shape; the statement says which element
 * a point is.
 *
 * A statement is split only when that makes it a contraction whose row operand
 * is read where it is.
 */
#include "passes/nest/body.h"
#include "passes/nest/contraction.h"

void find_divisor(void *arg, const struct atom *a)
{
	struct digit *d = arg;
	const struct atom *x;
	int64_t k, n;

	if ((a->kind != ATOM_DIV && a->kind != ATOM_MOD) ||
	    !expr_is_const(a->b, &k))
		return;
	x = expr_atom(a->a);
	for (unsigned i = 0; x && i < d->of->n_iv; i++)
		if (expr_atom(d->of->iv[i]) == x &&
		    expr_is_const(x->a, &n) && n % k == 0 && k < n &&
		    (!d->by || k < d->by)) {
			d->iv = i;
			d->by = k;
		}
}

static struct digit digit_of(const struct op *compute, const struct op *fold)
{
	struct digit d = { .of = op_body(compute) };
	const struct op *load[2] = { NULL };
	size_t n;

	fold_is_product(fold, (struct op **)&load[0], (struct op **)&load[1]);
	for (int i = 0; i < 2; i++) {
		const struct expr *const *idx = op_exprs(load[i], A_idx, &n);

		for (size_t k = 0; k < n; k++)
			expr_visit(idx[k], find_divisor, &d);
	}
	return d;
}

struct op *with_digits(struct ctx *c, struct op *op,
			      const struct digit *d)
{
	struct builder b = { c, op->parent, op, op->loc };
	struct cloner cl = { .ctx = c };
	const struct block *from = op_body(op);
	const struct type *t = op->out[0].type;
	const struct expr *idx[MAX_RANK];
	struct op *made = build(&b, &(struct op_spec){
					    .code = OP_nest_compute,
					    .n_out = 1, .out = &t,
					    .n_region = 1 });
	struct block *to = op_body(made);

	for (unsigned i = 0; i < from->n_iv; i++) {
		const struct expr *n = expr_atom(from->iv[i])->a, *hi, *lo;
		const struct expr *by = expr_const(c, d->by);

		if (i != d->iv) {
			clone_iv(&cl, from->iv[i], block_add_iv(c, to, n));
			continue;
		}
		hi = block_add_iv(c, to, expr_div(c, n, by));
		lo = block_add_iv(c, to, by);
		clone_iv(&cl, from->iv[i],
			 expr_add(c, expr_mul(c, hi, by), lo));
	}
	struct builder in = { c, to, NULL, op->loc };

	clone_op(&cl, &in, clone_body(&cl, &in, from));
	for (unsigned i = 0; i < t->rank; i++)
		idx[i] = clone_expr(&cl, point_index(op)[i]);
	op_set_exprs(c, made, A_idx, t->rank, idx);
	made->out[0].layout = op->out[0].layout;
	made->out[0].name = op->out[0].name;
	cloner_free(&cl);
	return made;
}

static bool reads_in_place(const struct contraction *con)
{
	size_t n;
	const struct expr *const *idx = op_exprs(con->a, A_idx, &n);

	for (size_t i = 0; i < n; i++)
		if (!expr_is_affine(idx[i]))
			return false;
	return true;
}

/* The statement with its digits apart, before it, where that makes it a
 * contraction; else NULL. */
static struct op *as_contraction(struct ctx *c, struct op *op,
				 struct contraction *con)
{
	struct op *fold = op->n_out == 1 ? body_product(op_body(op)) : NULL;
	struct digit d;

	if (!fold || op_has(op, A_panel) || op_body(op)->n_iv == MAX_RANK)
		return NULL;
	d = digit_of(op, fold);
	if (!d.by)
		return NULL;
	struct op *made = with_digits(c, op, &d);

	if (contraction_match(c, made, con) && reads_in_place(con))
		return made;
	op_erase(made);
	return NULL;
}

int contraction_row_factor(struct ctx *c, struct op *compute)
{
	struct op *made = NULL, *a, *b;
	struct contraction con;

	if (!contraction_match(c, compute, &con)) {
		made = as_contraction(c, compute, &con);
		if (!made)
			return -1;
	}
	fold_is_product(con.fold, &a, &b);
	int k = con.a == a ? 0 : 1;

	if (made)
		op_erase(made);
	return k;
}

/* The statement or what took its place. */
static struct op *split_compute(struct ctx *c, struct op *op)
{
	struct contraction con;
	struct op *made;

	if (contraction_match(c, op, &con))
		return op;
	made = as_contraction(c, op, &con);
	if (!made)
		return op;
	value_replace(&op->out[0], &made->out[0]);
	op_erase(op);
	return made;
}

static void split_block(struct ctx *c, struct block *b)
{
	for (struct op *op = b->first; op; op = op->next) {
		if (op->code == OP_core_scan)
			split_block(c, op_body(op));
		if (op->code == OP_nest_compute)
			op = split_compute(c, op);
	}
}

static bool split_run(struct module *m, const struct pass_args *args)
{
	(void)args;
	split_block(m->ctx, op_body(m->func));
	return true;
}

PASS(split,
	.summary = "Split variables so that statements become contractions",
	.needs = LEVEL_NEST, .leaves = LEVEL_NEST,
	.run = split_run);
