/* SPDX-License-Identifier: Apache-2.0 */
/* Shape inference over dims that are only known at run time. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "ir/op.h"

static struct ctx *c;
static struct module *m;
static struct builder b;

static void setup(void)
{
	c = ctx_new();
	m = module_new(c, "main");
	b = (struct builder){ .ctx = c, .block = op_body(m->func) };
}

static void teardown(void)
{
	ctx_free(c);
}

TestSuite(infer, .init = setup, .fini = teardown);

static struct value *argument(enum dtype t, unsigned rank,
			      const struct expr *const *dim)
{
	return block_add_arg(c, b.block, type_tensor(c, t, rank, dim), NULL);
}

static struct value *vector(const char *dim)
{
	const struct expr *d = expr_sym(c, dim);

	return argument(DT_F32, 1, &d);
}

static unsigned checks(void)
{
	unsigned n = 0;

	for (const struct op *op = b.block->first; op; op = op->next)
		n += op->code == OP_core_check;
	return n;
}

/* Each result's dims depend on those before in several ways. */
Test(infer, reshapes_in_a_row_stay_short)
{
	enum { ROW = 40, BYTES_EACH = 4000 };
	const struct expr *dim[] = { expr_sym(c, "N"), expr_sym(c, "M"),
				     expr_sym(c, "K") };
	const struct expr *three = expr_const(c, 3);
	struct value *x = argument(DT_F32, 3, dim);

	for (int i = 0; i < ROW; i++) {
		x = build_op(&b, OP_Reshape,
			     VALUES(x, argument(DT_I64, 1, &three)), 0, NULL);
		cr_assert(x);
	}
	char *text = module_print(m);

	cr_assert_lt(strlen(text), ROW * BYTES_EACH);
	free(text);
}

Test(infer, broadcasts_of_symbols)
{
	struct value *x = vector("N"), *y = vector("M"), *z;
	const struct expr *k = expr_const(c, 5);

	z = build_op(&b, OP_Add, VALUES(x, y), 0, NULL);
	cr_assert_eq(checks(), 1);
	cr_assert(broadcast_covers(z->type->dim[0], x->type->dim[0]));
	/* Either order is the same dim; what took part joins for nothing. */
	cr_assert_eq(build_op(&b, OP_Add, VALUES(y, x), 0, NULL)->type,
		     z->type);
	cr_assert_eq(build_op(&b, OP_Mul, VALUES(x, z), 0, NULL)->type,
		     z->type);
	cr_assert_eq(build_op(&b, OP_Mul, VALUES(x, x), 0, NULL)->type,
		     x->type);
	cr_assert_eq(checks(), 1);
	/* A number that is not 1 is the result's. */
	z = build_op(&b, OP_Add, VALUES(argument(DT_F32, 1, &k), x), 0, NULL);
	cr_assert_eq(z->type->dim[0], k);
	cr_assert_eq(checks(), 2);
	/* So is one of two dims that cannot be 1. */
	k = expr_addc(c, expr_sym(c, "N"), 2);
	z = build_op(&b, OP_Add, VALUES(y, argument(DT_F32, 1, &k)), 0, NULL);
	cr_assert_eq(z->type->dim[0], k);
}

/* The first N of 512 positions are N, or the call is refused. */
Test(infer, clipped_dims_do_not_broadcast)
{
	const struct expr *n = expr_sym(c, "N");
	const struct expr *clipped = expr_min(c, n, expr_const(c, 512));
	struct value *z = build_op(&b, OP_Add,
				   VALUES(vector("N"),
					  argument(DT_F32, 1, &clipped)),
				   0, NULL);

	cr_assert_eq(z->type->dim[0], n);
	cr_assert_eq(checks(), 1);
	/* min(N, 1) may be 1 where N is not. */
	clipped = expr_min(c, n, expr_const(c, 1));
	z = build_op(&b, OP_Add,
		     VALUES(vector("N"), argument(DT_F32, 1, &clipped)), 0,
		     NULL);
	cr_assert_neq(z->type->dim[0], n);
}

struct pair {
	int64_t n, m;
};

static bool pair_value(void *arg, const struct atom *a, int64_t *v)
{
	struct pair *p = arg;

	*v = *a->name == 'N' ? p->n : p->m;
	return a->kind == ATOM_SYM;
}

/* What is checked and computed is what numpy says, for all small dims. */
Test(infer, broadcasts_as_numpy_does)
{
	struct value *x = vector("N"), *y = vector("M");
	struct value *z = build_op(&b, OP_Add, VALUES(x, y), 0, NULL);
	struct op *check = b.block->first;
	size_t n;
	const struct expr *const *fact = op_exprs(check, A_zero, &n);
	int64_t v;

	cr_assert(check->code == OP_core_check && n == 1);
	for (struct pair p = { 0, 0 }; p.n < 5; p.n += p.m == 4,
			  p.m = (p.m + 1) % 5) {
		bool fits = p.n == p.m || p.n == 1 || p.m == 1;

		cr_assert(expr_eval(fact[0], pair_value, &p, &v) &&
			  !v == fits);
		cr_assert(expr_eval(z->type->dim[0], pair_value, &p, &v));
		cr_assert(!fits || v == (p.n == 1 ? p.m : p.n));
		cr_assert(expr_eval(broadcast_step(c, x->type->dim[0]),
				    pair_value, &p, &v));
		cr_assert(!p.n || v == (p.n != 1));
	}
}
