/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recognises attention from index maps and folds: y is a contraction, one
 * factor of which is a softmax along the variable that it sums over, of what
 * comes of another contraction.
 */
#include <math.h>

#include "passes/loop/attend.h"
#include "passes/nest/body.h"
#include "passes/nest/quantized.h"

/* ---- the statements ------------------------------------------------- */

/* Is everything that reads v inside of op? */
static bool read_inside(const struct value *v, const struct op *op)
{
	for (const struct use *u = v->uses; u; u = u->next) {
		const struct op *p = u->user;

		while (p && p != op)
			p = op_parent(p);
		if (!p)
			return false;
	}
	return v->uses;
}

/* The statement of the same block that the load reads an element of, at an
 * index that no number of the run is part of. */
static struct op *statement(const struct op *load, const struct op *reader)
{
	struct op *s = load->n_in == 1
			       ? def_of(load->in[0].val, OP_nest_compute)
			       : NULL;

	return s && s->parent == reader->parent && s->n_out == 1 &&
			       !op_has(s, A_idx) &&
			       read_inside(&s->out[0], reader)
		       ? s
		       : NULL;
}

/* The variable of the read statement that is iv, which no other index uses. */
static bool counts(const struct op *load, const struct expr *iv, unsigned *at)
{
	size_t n;
	const struct expr *const *idx = op_exprs(load, A_idx, &n);
	unsigned found = 0;

	for (size_t i = 0; i < n; i++) {
		if (!expr_uses(idx[i], expr_atom(iv)))
			continue;
		if (idx[i] != iv)
			return false;
		*at = (unsigned)i;
		found++;
	}
	return found == 1;
}

/* What v is but for roundings of floats. */
static struct value *unrounded(struct value *v)
{
	struct op *cast;

	while ((cast = def_of(v, OP_arith_cast)) &&
	       dtype_is_float(v->type->dtype) &&
	       dtype_is_float(cast->in[0].val->type->dtype))
		v = cast->in[0].val;
	return v;
}

static bool is_f32(const struct value *v)
{
	return v->type->kind == TY_SCALAR && v->type->dtype == DT_F32;
}

/* y: which factor is an element of a statement, at the variable of the sum. */
static bool match_y(struct attend *a)
{
	struct gemm *y = &a->y;
	const struct block *fold;

	if (!gemm_match(y) || !is_f32(&y->fold->out[0]) ||
	    dtype_is_packed(y->compute->out[0].type->dtype))
		return false;
	fold = op_body(y->fold);
	if (fold->n_iv != 1)
		return false;
	for (a->p = 0; a->p < 2; a->p++) {
		a->p_load = def_of(unrounded(y->factor[a->p]), OP_nest_load);
		a->v = 1 - a->p;
		if (!a->p_load)
			continue;
		a->probs = statement(a->p_load, y->compute);
		if (a->probs && value_has_one_use(&a->probs->out[0]) &&
		    counts(a->p_load, fold->iv[0], &a->p_key))
			return true;
	}
	return false;
}

/* ---- the softmax ---------------------------------------------------- */

static bool depends(const struct value *v, const struct value *on)
{
	if (v == on)
		return true;
	if (!v || !v->def || v->type->kind != TY_SCALAR)
		return false;
	for (unsigned i = 0; i < v->def->n_in; i++)
		if (depends(v->def->in[i].val, on))
			return true;
	return false;
}

/* A fold over one variable that combines its value with what the result is,
 * from `init` on. */
static struct value *folded(struct op *fold, enum opcode code, double init)
{
	const struct block *b = fold ? op_body(fold) : NULL;
	union scalar s;
	struct op *f;

	if (!b || fold->n_in != 1 || b->n_iv != 1 ||
	    !is_f32(&fold->out[0]) || !scalar_const(fold->in[0].val, &s) ||
	    s.d != init)
		return NULL;
	f = def_of(b->last->in[0].val, code);
	if (!f || (f->in[0].val == b->arg[0]) == (f->in[1].val == b->arg[0]))
		return NULL;
	return f->in[f->in[0].val == b->arg[0]].val;
}

/* exp(x - top): x. */
static struct value *exponent(const struct value *v, struct op **top)
{
	struct op *exp = def_of(v, OP_math_exp), *sub;

	if (!exp || !is_f32(v))
		return NULL;
	sub = def_of(exp->in[0].val, OP_arith_sub);
	*top = sub ? def_of(sub->in[1].val, OP_nest_reduce) : NULL;
	return *top ? sub->in[0].val : NULL;
}

/* Two expressions under substitutions of variables. */
struct pair {
	struct cloner a, b;
};

static bool same_attr(struct pair *p, const struct attr *a,
		      const struct attr *b)
{
	if (a->kind != AT_EXPRS || b->kind != AT_EXPRS)
		return attrs_equal(NULL, a, b);
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (clone_expr(&p->a, a->exprs[i]) !=
		    clone_expr(&p->b, b->exprs[i]))
			return false;
	return true;
}

static bool same(struct pair *p, const struct value *a, const struct value *b)
{
	const struct op *x = a->def, *y = b->def;

	if (a->type->kind != TY_SCALAR || !x || !y ||
	    x->code == OP_nest_reduce)
		return a == b;
	if (x->code != y->code || a->type != b->type || x->n_in != y->n_in ||
	    x->n_attr != y->n_attr || x->n_region || y->n_region)
		return false;
	for (unsigned i = 0; i < x->n_attr; i++)
		if (x->attr[i].name != y->attr[i].name ||
		    !same_attr(p, x->attr[i].val, y->attr[i].val))
			return false;
	for (unsigned i = 0; i < x->n_in; i++)
		if (!same(p, x->in[i].val, y->in[i].val))
			return false;
	return true;
}

/* Is v, in a fold over all keys, the score at the fold's key? */
static bool is_score(struct attend *a, const struct op *fold,
		     const struct value *v)
{
	const struct block *body = op_body(a->probs), *in = op_body(fold);
	struct ctx *c = a->y.ctx;
	struct pair p = { { .ctx = c }, { .ctx = c } };
	const struct expr *key = body->iv[a->p_key];
	bool ok;

	if (expr_atom(in->iv[0])->a != expr_atom(key)->a || !v->def ||
	    op_uses_ivs(v->def, body) >> a->p_key & 1)
		return false;
	/* A variable of one value may be written as that. */
	for (uint32_t i = 0; i < body->n_iv; i++) {
		if (!expr_is(expr_atom(body->iv[i])->a, 1))
			continue;
		clone_iv(&p.a, body->iv[i], expr_const(c, 0));
		clone_iv(&p.b, body->iv[i], expr_const(c, 0));
	}
	clone_iv(&p.b, in->iv[0], key);
	ok = same(&p, a->score, v);
	cloner_free(&p.a);
	cloner_free(&p.b);
	return ok;
}

/* Products and quotients of `exp` with what is the same for all keys. */
static bool match_factors(struct attend *a)
{
	const struct block *body = op_body(a->probs);
	struct value *v = a->prob = unrounded(body->last->in[0].val);
	struct op *op;

	while ((op = v->def) && op->code != OP_math_exp) {
		unsigned i = 0;

		if (!is_f32(v) ||
		    (op->code != OP_arith_mul && op->code != OP_arith_div))
			return false;
		/* The exponential depends on the key, the rest does not. */
		if (op->code == OP_arith_mul && op->in[0].val->def &&
		    !(op_uses_ivs(op->in[0].val->def, body) >> a->p_key & 1))
			i = 1;
		struct value *rest = op->in[1 - i].val;

		if (!rest->def || op_uses_ivs(rest->def, body) >> a->p_key & 1)
			return false;
		v = op->in[i].val;
	}
	a->exp = v;
	return op;
}

/* The folds of probs: the maximum and the sum. */
static bool match_softmax(struct attend *a)
{
	const struct block *body = op_body(a->probs);
	struct op *top = NULL;
	struct value *each;
	unsigned n = 0;

	if (!match_factors(a))
		return false;
	a->score = exponent(a->exp, &a->top);
	if (!a->score || !a->score->def)
		return false;
	for (struct op *op = body->first; op; op = op->next) {
		if (op->code != OP_nest_reduce)
			continue;
		n++;
		if (op != a->top)
			a->total = op;
	}
	if (n != 2 || a->top->parent != body)
		return false;
	each = folded(a->top, OP_arith_max, -(double)INFINITY);
	if (!each || !is_score(a, a->top, each))
		return false;
	each = folded(a->total, OP_arith_add, 0);
	each = each ? exponent(each, &top) : NULL;
	return each && top == a->top && is_score(a, a->total, each) &&
	       !depends(a->score, &a->top->out[0]) &&
	       !depends(a->score, &a->total->out[0]);
}

/* ---- the scores ----------------------------------------------------- */

/* The loads of statements that are contractions, in what makes v. */
static unsigned find_scores(struct attend *a, struct value *v)
{
	unsigned n = 0;

	if (!v->def || v->type->kind != TY_SCALAR)
		return 0;
	if (v->def->code == OP_nest_load) {
		struct op *s = statement(v->def, a->probs);

		if (s && body_fold(op_body(s)) && v->def != a->s_load) {
			a->s_load = v->def;
			n++;
		}
	}
	for (unsigned i = 0; i < v->def->n_in; i++)
		n += find_scores(a, v->def->in[i].val);
	return n;
}

/* What is multiplied into the exponential must not read the scores, too: they
 * are nowhere. */
static bool factors_read(const struct attend *a)
{
	const struct value *scores = a->s_load->in[0].val;

	for (struct value *v = a->prob; v != a->exp;) {
		unsigned i = depends(v->def->in[0].val, a->exp) ? 0 : 1;

		if (depends(v->def->in[1 - i].val, &a->top->out[0]) ||
		    depends(v->def->in[1 - i].val, scores))
			return true;
		v = v->def->in[i].val;
	}
	return false;
}

static bool match_scores(struct attend *a)
{
	const struct expr *key = op_body(a->probs)->iv[a->p_key];
	struct gemm *s = &a->s;
	uint32_t uses[2];

	if (find_scores(a, a->score) != 1 || factors_read(a) ||
	    !counts(a->s_load, key, &a->s_key))
		return false;
	s->compute = a->s_load->in[0].val->def;
	if (!gemm_match(s) || !is_f32(&s->fold->out[0]))
		return false;
	for (unsigned i = 0; i < 2; i++)
		uses[i] = gemm_uses(s, s->factor[i]) >> a->s_key & 1;
	a->k = uses[1];
	a->q = 1 - a->k;
	return uses[0] + uses[1] == 1;
}

/* ---- together ------------------------------------------------------- */

/* The type that a factor is widened from, or its own. */
static enum dtype narrow(const struct value *v)
{
	const struct op *cast = def_of(v, OP_arith_cast);

	return (cast ? cast->in[0].val : v)->type->dtype;
}

void attend_bind_scores(struct attend *a)
{
	struct cloner *cl = &a->y.cl;
	const struct op *load[] = { a->p_load, a->s_load };
	size_t n;

	for (unsigned i = 0; i < 2; i++) {
		const struct block *b =
			op_body(load[i]->in[0].val->def);
		const struct expr *const *idx = op_exprs(load[i], A_idx, &n);

		for (uint32_t k = 0; k < b->n_iv; k++)
			clone_iv(cl, b->iv[k], clone_expr(cl, idx[k]));
	}
}

bool attend_match(struct attend *a)
{
	enum dtype t;

	if (!match_y(a) || !match_softmax(a) || !match_scores(a))
		return false;
	t = narrow(a->y.factor[a->v]);
	a->halves = dtype_is_half(t) && t == narrow(a->s.factor[a->q]) &&
		    t == narrow(a->s.factor[a->k]);
	return true;
}
