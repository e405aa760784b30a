/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions: the normal form, simplifications, and random trees whose value
 * is also computed from the tree, so that every rewrite and every proof is
 * checked against plain arithmetic.
 */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "ir/ir.h"

static struct ctx *c;
static const struct expr *N, *M, *S, *I, *J, *K, *A;

static void setup(void)
{
	c = ctx_new();
	N = expr_sym(c, "N");
	M = expr_sym(c, "M");
	S = expr_sym_signed(c, "s");
	I = expr_iv(c, N);
	J = expr_iv(c, expr_const(c, 3));
	K = expr_iv(c, expr_addc(c, M, 1));
	A = expr_arg(c, 0, expr_const(c, 4));
}

static void teardown(void)
{
	ctx_free(c);
}

TestSuite(expr, .init = setup, .fini = teardown);

#define CONST(k) expr_const(c, k)
#define ADD(a, b) expr_add(c, a, b)
#define MUL(a, b) expr_mul(c, a, b)

Test(expr, normal_form)
{
	cr_assert_eq(ADD(N, M), ADD(M, N));
	cr_assert_eq(MUL(ADD(N, M), ADD(N, M)),
		     ADD(ADD(MUL(N, N), MUL(M, M)),
			 expr_scale(c, MUL(N, M), 2)));
	cr_assert_eq(expr_sub(c, N, N), CONST(0));
	cr_assert_eq(expr_addc(c, expr_addc(c, N, 5), -5), N);
	cr_assert_eq(expr_sym(c, "N"), N);
	cr_assert_neq(expr_sym_signed(c, "N"), N);
	cr_assert_neq(expr_iv(c, N), I);
	cr_assert_eq(expr_min(c, N, M), expr_min(c, M, N));
	cr_assert_eq(expr_max(c, N, N), N);
	cr_assert(expr_is(CONST(INT64_MIN), INT64_MIN));
}

Test(expr, text)
{
	const struct expr *e = ADD(MUL(CONST(4), N), CONST(-2));

	cr_assert_str_eq(expr_str(c, e), "4*N - 2");
	cr_assert_str_eq(expr_str(c, CONST(0)), "0");
	cr_assert_str_eq(expr_str(c, CONST(INT64_MIN)), "-9223372036854775808");
	cr_assert_str_eq(expr_str(c, expr_scale(c, MUL(M, N), -1)), "-M*N");
	cr_assert_str_eq(expr_str(c, expr_div(c, ADD(N, M), CONST(2))),
			 "div(M + N, 2)");
	cr_assert_str_eq(expr_str(c, S), "~s");
	cr_assert_str_eq(expr_str(c, expr_sym(c, "batch size")),
			 "\"batch size\"");
	cr_assert_str_eq(expr_str(c, expr_sym(c, "i7")), "\"i7\"");
	cr_assert_str_eq(expr_str(c, expr_sym(c, "a\"\n")), "\"a\\\"\\x0a\"");
	cr_assert_str_eq(expr_str(c, A), "$0<4>");
}

Test(expr, division)
{
	const struct expr *e = ADD(MUL(I, CONST(3)), J);

	cr_assert_eq(expr_div(c, e, CONST(3)), I);
	cr_assert_eq(expr_mod(c, e, CONST(3)), J);
	cr_assert_eq(expr_div(c, MUL(N, M), N), M);
	cr_assert_eq(expr_mod(c, MUL(N, M), M), CONST(0));
	cr_assert_eq(expr_div(c, ADD(MUL(M, N), I), N), M);
	cr_assert_eq(expr_mod(c, ADD(MUL(M, N), I), N), I);
	cr_assert_eq(expr_div(c, expr_div(c, N, CONST(2)), CONST(3)),
		     expr_div(c, N, CONST(6)));
	cr_assert_eq(expr_mod(c, expr_mod(c, N, CONST(6)), CONST(3)),
		     expr_mod(c, N, CONST(3)));
	cr_assert_eq(expr_div(c, expr_addc(c, MUL(N, CONST(2)), 1), CONST(2)),
		     N);
	cr_assert_eq(expr_ceildiv(c, MUL(N, CONST(4)), CONST(4)), N);
	cr_assert_eq(expr_exact_div(c, expr_addc(c, MUL(N, N), -1),
				    expr_addc(c, N, 1)),
		     expr_addc(c, N, -1));
	cr_assert_null(expr_exact_div(c, expr_addc(c, N, 1), CONST(2)));
	for (int64_t a = -9; a <= 9; a++)
		for (int64_t b = -4; b <= 4; b++) {
			int64_t r = b ? (a % b + b) % b : 0;
			int64_t q = b ? (a - r) / b : 0;

			if (!b)
				continue;

			cr_assert(expr_is(expr_div(c, CONST(a), CONST(b)), q));
			cr_assert(expr_is(expr_mod(c, CONST(a), CONST(b)),
					  a - b * q));
		}
}

Test(expr, overflow_is_poison)
{
	const struct expr *big = CONST(INT64_MAX), *e;

	cr_assert(expr_is_poison(expr_addc(c, big, 1)));
	cr_assert(expr_is_poison(MUL(big, CONST(2))));
	cr_assert(expr_is_poison(expr_sub(c, CONST(0), CONST(INT64_MIN))));
	e = expr_addc(c, big, 1);
	cr_assert(expr_is_poison(ADD(e, N)));
	cr_assert(expr_is_poison(MUL(e, CONST(0))) ||
		  expr_is(MUL(e, CONST(0)), 0));
	cr_assert(expr_is_poison(expr_div(c, e, N)));
	cr_assert(expr_is_poison(expr_min(c, e, N)));
	cr_assert(!expr_ge0(c, e));
	cr_assert(expr_is_poison(expr_div(c, N, CONST(0))));
	/* No operation traps, whatever the constants are. */
	static const int64_t edge[] = { INT64_MIN, INT64_MIN + 1, -2, -1, 0, 1,
					2, INT64_MAX - 1, INT64_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(edge); i++)
		for (size_t j = 0; j < ARRAY_SIZE(edge); j++) {
			const struct expr *a = CONST(edge[i]);
			const struct expr *b = CONST(edge[j]);

			expr_div(c, a, b);
			expr_mod(c, a, b);
			expr_ceildiv(c, a, b);
			expr_exact_div(c, a, b);
			expr_exact_div(c, MUL(N, a), MUL(N, b));
			expr_div(c, ADD(N, a), b);
			expr_mod(c, ADD(N, a), b);
			expr_ge0(c, expr_min(c, ADD(I, a), b));
			expr_upper(c, ADD(J, a), &(int64_t){ 0 });
			expr_lower(c, ADD(J, a), &(int64_t){ 0 });
		}
}

static bool three(void *arg, const struct atom *a, int64_t *v)
{
	(void)arg;
	*v = a->kind == ATOM_SYM ? 3 : 0;
	return a->kind == ATOM_SYM;
}

static const struct expr *all_two(void *arg, const struct atom *a)
{
	(void)arg;
	return a->kind == ATOM_SYM ? CONST(2) : NULL;
}

Test(expr, computed_dims)
{
	const struct expr *e = expr_max(c, N, MUL(M, M)), *d = expr_dim(c, e);
	int64_t v;

	cr_assert_eq(expr_dim(c, e), d);
	cr_assert_neq(d, e);
	cr_assert_eq(expr_dim(c, d), d);
	cr_assert_eq(expr_dim(c, N), N);
	cr_assert(expr_is(expr_dim(c, CONST(-4)), 0));
	/* Nothing that changes within a call is a dim. */
	cr_assert_eq(expr_dim(c, ADD(I, N)), ADD(I, N));
	cr_assert(!expr_is_late(d) && expr_is_late(expr_dim(c, ADD(d, S))));
	/* Opaque, yet proofs know what it is. */
	cr_assert(expr_ge0(c, ADD(d, N)) && expr_ge0(c, expr_sub(c, d, N)));
	cr_assert(!expr_ge0(c, expr_sub(c, N, d)));
	cr_assert(expr_uses(d, expr_atom(M)) && !expr_uses(d, expr_atom(K)));
	cr_assert(expr_eval(ADD(d, N), three, NULL, &v) && v == 12);
	cr_assert(expr_is(expr_subst_all(c, ADD(d, N), all_two, NULL), 6));
	cr_assert_eq(expr_subst(c, d, all_two, NULL), d);
	/* The value of an expression below 0 is 0. */
	d = expr_dim(c, expr_addc(c, S, -4));
	cr_assert(expr_ge0(c, d));
	cr_assert(expr_eval(d, three, NULL, &v) && v == 0);
}

/* Each mentions the one before it twice: the work is that of one each. */
Test(expr, long_chains_of_dims)
{
	const struct expr *d = N;
	int64_t v;

	for (int i = 0; i < 2000; i++)
		d = expr_dim(c, expr_div(c, ADD(MUL(d, M), expr_min(c, d, M)),
					 expr_addc(c, M, 1)));
	cr_assert(expr_uses(d, expr_atom(N)));
	cr_assert(!expr_uses(d, expr_atom(K)));
	cr_assert(expr_eval(d, three, NULL, &v) && v == 3);
	cr_assert(expr_is_const(expr_subst_all(c, d, all_two, NULL), &v));
	cr_assert(!expr_ge0(c, expr_addc(c, d, -100)));
	for (int i = 0; i < 100000 && !expr_is_poison(d); i++)
		d = expr_dim(c, MUL(d, M));
	cr_assert(expr_is_poison(d));
}

Test(expr, linear)
{
	const struct expr *coef, *rest, *e = ADD(MUL(I, N), expr_addc(c, J, 2));

	cr_assert(expr_linear(c, e, expr_atom(I), &coef, &rest));
	cr_assert_eq(coef, N);
	cr_assert_eq(rest, expr_addc(c, J, 2));
	cr_assert(expr_linear(c, J, expr_atom(I), &coef, &rest));
	cr_assert_eq(coef, CONST(0));
	cr_assert_not(expr_linear(c, MUL(I, I), expr_atom(I), &coef, &rest));
	cr_assert_not(expr_linear(c, expr_div(c, I, CONST(2)), expr_atom(I),
				  &coef, &rest));
}

Test(expr, proofs_that_ops_rely_on)
{
	int64_t v;

	cr_assert(expr_ge0(c, expr_sub(c, expr_addc(c, N, -1), I)));
	cr_assert(expr_ge0(c, expr_sub(c, CONST(2), J)));
	cr_assert_not(expr_ge0(c, expr_addc(c, I, -1)));
	cr_assert_not(expr_ge0(c, S));
	cr_assert(expr_ge0(c, expr_max(c, S, CONST(0))));
	cr_assert(expr_ge0(c, expr_sub(c, N, expr_min(c, N, S))));
	cr_assert(expr_ge0(c, expr_sub(c, N, expr_div(c, N, CONST(2)))));
	cr_assert(expr_upper(c, J, &v) && v == 2);
	cr_assert(expr_lower(c, expr_addc(c, J, 5), &v) && v == 5);
	cr_assert(expr_upper(c, expr_mod(c, N, CONST(7)), &v) && v == 6);
	cr_assert_not(expr_upper(c, N, &v));
	/* A window of 3 over a padded row stays inside of it. */
	cr_assert(expr_ge0(c, expr_sub(c, expr_addc(c, N, 1), ADD(I, J))));
}

/* ---- random trees --------------------------------------------------- */

enum { LEAF, PLUS, MINUS, TIMES, DIV, MOD, MIN, MAX, N_KINDS };
enum { N_ATOMS = 7, MAX_NODES = 64 };

struct node {
	int kind;
	int atom;		/* LEAF: below N_ATOMS, else the constant k */
	int64_t k;
	int l, r;
};

struct tree {
	struct node node[MAX_NODES];
	int n;
};

static uint64_t rnd_state = 88172645463325252u;

static unsigned rnd(unsigned n)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return (unsigned)(rnd_state >> 32) % n;
}

static int leaf(struct tree *t, int atom, int64_t k)
{
	t->node[t->n] = (struct node){ LEAF, atom, k, 0, 0 };
	return t->n++;
}

static int grow(struct tree *t, unsigned depth)
{
	if (!depth || !rnd(5) || t->n > MAX_NODES - 8)
		return rnd(3) ? leaf(t, (int)rnd(N_ATOMS), 0)
			      : leaf(t, N_ATOMS, (int64_t)rnd(9) - 4);
	struct node x = { .kind = 1 + (int)rnd(N_KINDS - 1) };

	x.l = grow(t, depth - 1);
	if (x.kind != DIV && x.kind != MOD) {
		x.r = grow(t, depth - 1);
	} else if (rnd(2)) {
		x.r = leaf(t, N_ATOMS, 1 + rnd(5));
	} else {
		int a = leaf(t, (int)rnd(2), 0), b = leaf(t, N_ATOMS, 1);

		t->node[t->n] = (struct node){ PLUS, 0, 0, a, b };
		x.r = t->n++;
	}
	t->node[t->n] = x;
	return t->n++;
}

static const struct expr *to_expr(const struct tree *t, int i)
{
	const struct expr *atom[N_ATOMS] = { N, M, S, I, J, K, A };
	const struct node *x = &t->node[i];

	if (x->kind == LEAF)
		return x->atom < N_ATOMS ? atom[x->atom] : CONST(x->k);
	const struct expr *a = to_expr(t, x->l), *b = to_expr(t, x->r);

	switch (x->kind) {
	case PLUS: return ADD(a, b);
	case MINUS: return expr_sub(c, a, b);
	case TIMES: return MUL(a, b);
	case DIV: return expr_div(c, a, b);
	case MOD: return expr_mod(c, a, b);
	case MIN: return expr_min(c, a, b);
	default: return expr_max(c, a, b);
	}
}

static int64_t tree_value(const struct tree *t, int i, const int64_t *v)
{
	const struct node *x = &t->node[i];

	if (x->kind == LEAF)
		return x->atom < N_ATOMS ? v[x->atom] : x->k;
	int64_t a = tree_value(t, x->l, v), b = tree_value(t, x->r, v);

	switch (x->kind) {
	case PLUS: return a + b;
	case MINUS: return a - b;
	case TIMES: return a * b;
	case DIV: return (a - (a % b + b) % b) / b;
	case MOD: return (a % b + b) % b;
	case MIN: return a < b ? a : b;
	default: return a > b ? a : b;
	}
}

static bool atom_value(void *arg, const struct atom *a, int64_t *v)
{
	const struct expr *atom[N_ATOMS] = { N, M, S, I, J, K, A };
	const int64_t *val = arg;

	for (int i = 0; i < N_ATOMS; i++)
		if (expr_atom(atom[i]) == a) {
			*v = val[i];
			return true;
		}
	return false;
}

/* All assignments in which every atom is inside of its range. */
static bool next_point(int64_t *v)
{
	static const int64_t lo[N_ATOMS] = { 0, 0, -2, 0, 0, 0, 0 };
	static const int64_t hi[N_ATOMS] = { 3, 3, 2, 2, 2, 3, 3 };

	do {
		int i = N_ATOMS - 1;

		while (i >= 0 && v[i] == hi[i]) {
			v[i] = lo[i];
			i--;
		}
		if (i < 0)
			return false;
		v[i]++;
	} while (v[3] >= v[0] || v[5] > v[1]);
	return true;
}

static void check_tree(const struct tree *t, int root, const struct expr *e)
{
	int64_t v[N_ATOMS] = { 1, 0, -2, 0, 0, 0, 0 }, hi, lo;
	bool ge0 = expr_ge0(c, e);
	bool upper = expr_upper(c, e, &hi), lower = expr_lower(c, e, &lo);

	do {
		int64_t want = tree_value(t, root, v), got;

		cr_assert(expr_eval(e, atom_value, v, &got) && got == want,
			  "%s is %lld, should be %lld", expr_str(c, e),
			  (long long)got, (long long)want);
		cr_assert(!ge0 || want >= 0, "%s >= 0 is no theorem",
			  expr_str(c, e));
		cr_assert(!upper || want <= hi, "%s <= %lld is no theorem",
			  expr_str(c, e), (long long)hi);
		cr_assert(!lower || want >= lo, "%s >= %lld is no theorem",
			  expr_str(c, e), (long long)lo);
	} while (next_point(v));
}

Test(expr, random_trees, .timeout = 120)
{
	unsigned n_proved = 0;

	for (int i = 0; i < 3000; i++) {
		struct tree t = { .n = 0 };
		int root = grow(&t, 1 + rnd(4));
		const struct expr *e = to_expr(&t, root);

		if (expr_is_poison(e))
			continue;
		n_proved += expr_ge0(c, e);
		check_tree(&t, root, e);
	}
	cr_assert_gt(n_proved, 300);
}

static const struct expr *swap(void *arg, const struct atom *a)
{
	(void)arg;
	return a == expr_atom(I) ? expr_addc(c, J, 0)
	       : a == expr_atom(S) ? expr_sub(c, N, M) : NULL;
}

Test(expr, substitution)
{
	for (int i = 0; i < 500; i++) {
		struct tree t = { .n = 0 };
		int root = grow(&t, 4);
		const struct expr *e = to_expr(&t, root);
		const struct expr *r = expr_subst(c, e, swap, NULL);
		/* I below N must hold of what replaces it. */
		int64_t v[N_ATOMS] = { 3, rnd(4), 0, 0, rnd(3), 0, rnd(4) };
		int64_t w[N_ATOMS], a, b;

		v[5] = rnd((unsigned)v[1] + 1);
		memcpy(w, v, sizeof(v));
		w[3] = v[4];
		w[2] = v[0] - v[1];
		if (expr_is_poison(e) || expr_is_poison(r))
			continue;
		cr_assert(expr_eval(r, atom_value, v, &a) &&
			  expr_eval(e, atom_value, w, &b) && a == b);
	}
}
