/* SPDX-License-Identifier: Apache-2.0 */
/* What the evaluator is asked for: an op, a statement, or the elements of small
 * integer tensors that are known when the model is compiled. */
#include "ir/eval_run.h"

enum eval_result eval_op(struct ctx *c, struct op *op, const struct tensor *in,
			 struct tensor *out, struct arena *arena)
{
	struct eval ev = { .env = { .c = c }, .c = c, .arena = arena };
	struct block *b = NULL;
	struct op *ret = NULL;
	unsigned k = 0;

	if (op->code == OP_nest_compute)
		return EVAL_UNKNOWN;
	b = eval_scratch(c, op, &ret);
	for (unsigned i = 0; i < op->n_in; i++) {
		if (!op_in(op, i))
			continue;
		struct tens *t = NEW(arena, struct tens);

		t->t = in[i];
		map_put(&ev.tensors, b->arg[k++]->id, t);
	}
	if (!eval_lower(c, b))
		ev.env.err = EVAL_UNKNOWN;
	else
		eval_block(&ev, b);
	for (unsigned i = 0; i < op->n_out && !ev.env.err; i++) {
		struct tens *t = op->out[i].type->kind == TY_NONE
					 ? NULL
					 : eval_tens(&ev, ret->in[i].val);

		out[i] = t ? t->t : (struct tensor){ 0 };
	}
	eval_free(&ev);
	while (b->last)
		op_erase(b->last);
	return ev.env.err;
}

/* ---- statements ----------------------------------------------------- */

static bool no_symbol(void *arg, const struct atom *a, int64_t *v)
{
	(void)arg;
	(void)a;
	(void)v;
	return false;
}

static bool const_tensor(void *arg, const struct value *v, struct tensor *t)
{
	struct blob data;

	(void)arg;
	if (!value_const(v, &data) || !tensor_dims(v->type, t))
		return false;
	t->data = (void *)data.data;
	return true;
}

struct enter {
	struct eval *ev;
	const struct op *statement;
};

static void enter_outer(void *arg, struct op *op)
{
	struct enter *e = arg;
	struct eval *ev = e->ev;

	for (unsigned i = 0; i < op->n_in; i++) {
		struct value *v = op->in[i].val;
		struct tens *t;

		if (!v || v->type->kind != TY_TENSOR || eval_tens(ev, v) ||
		    (op != e->statement && !value_is_outside(v, e->statement)))
			continue;
		t = NEW(ev->arena, struct tens);
		if (ev->outer->tensor(ev->outer->arg, v, &t->t))
			map_put(&ev->tensors, v->id, t);
		else
			ev->env.err = EVAL_UNKNOWN;
	}
}

enum eval_result eval_statement(struct ctx *c, struct op *op,
				const struct eval_outer *outer,
				struct tensor *out, struct arena *arena)
{
	struct eval ev = { .env = { .c = c }, .c = c, .arena = arena,
			   .outer = outer };
	struct enter enter = { &ev, op };

	enter_outer(&enter, op);
	block_walk(op_body(op), enter_outer, &enter);
	if (!ev.env.err && op->code == OP_nest_compute)
		eval_nest(&ev, op);
	else if (!ev.env.err)
		eval_scan(&ev, op);
	for (unsigned i = 0; i < op->n_out && !ev.env.err; i++)
		out[i] = eval_tens(&ev, &op->out[i])->t;
	eval_free(&ev);
	return ev.env.err;
}

enum eval_result eval_compute(struct ctx *c, struct op *op, struct tensor *out,
			      struct arena *arena)
{
	static const struct eval_outer constants = { const_tensor, no_symbol,
						     NULL };

	return eval_statement(c, op, &constants, out, arena);
}

/* ---- known elements ------------------------------------------------- */

enum { MAX_KNOWN = 64 };

static bool can_know(const struct type *t, int64_t *n)
{
	struct tensor s;

	if (t->kind != TY_TENSOR ||
	    (t->dtype != DT_I64 && t->dtype != DT_I32 && t->dtype != DT_BOOL) ||
	    !tensor_dims(t, &s))
		return false;
	*n = tensor_elems(&s);
	return *n <= MAX_KNOWN;
}

static void know_const(struct ctx *c, struct value *v)
{
	const struct attr *a = op_attr(v->def, A_value);
	struct known *k = NEW(&c->perm, struct known);
	int64_t n;

	/* Axes and shapes may be longer than what is computed with. */
	if (!dtype_is_float(v->type->dtype) && type_is_static(v->type) &&
	    expr_is_const(type_elems(c, v->type), &n) && n <= 4096) {
		k->n = (size_t)n;
		k->elem = NEW_ARRAY(&c->perm, k->n + 1, const struct expr *);
		for (size_t i = 0; i < k->n; i++)
			k->elem[i] = expr_const(
				c,
				scalar_get(v->type->dtype,
					   a->tensor.blob.data, i).i);
		v->known = k;
	}
}

/* With `whole` only when each of the elements is known. */
static void to_known(struct ctx *c, struct value *v, const struct tens *t,
		     size_t n, bool whole)
{
	struct known *k = NEW(&c->perm, struct known);

	k->n = n;
	k->elem = NEW_ARRAY(&c->perm, n + 1, const struct expr *);
	for (size_t i = 0; i < n; i++) {
		struct sval x = { 0 };

		/* A constant has bytes even in symbolic mode. */
		if (t->sym)
			x = t->sym[i];
		else
			x.s = scalar_get(t->t.dtype, t->t.data, i);
		if (x.unknown && whole)
			return;
		if (!x.unknown)
			k->elem[i] = x.e ? x.e : expr_const(c, x.s.i);
	}
	v->known = k;
}

/* Of other tensors there is only the shape, which may be all that counts. */
static struct tens *from_known(struct arena *a, const struct value *v)
{
	struct tens *t = NEW(a, struct tens);
	int64_t n;

	if (v->type->kind != TY_TENSOR || (!v->known && !can_know(v->type, &n)))
		return t;
	if (v->known)
		n = (int64_t)v->known->n;
	tensor_dims(v->type, &t->t);
	t->sym = NEW_ARRAY(a, (size_t)n + 1, struct sval);
	for (int64_t j = 0; j < n; j++) {
		const struct expr *e = v->known ? v->known->elem[j] : NULL;
		int64_t x;

		if (!e)
			t->sym[j] = sval_unknown;
		else if (expr_is_const(e, &x))
			t->sym[j] = sval_int(x);
		else
			t->sym[j].e = e;
	}
	return t;
}

void known_compute(struct ctx *c, struct op *op)
{
	struct eval ev = { .env = { .c = c }, .c = c, .symbolic = true };
	struct arena tmp = { 0 };
	struct op *ret;
	int64_t n;
	bool any = false, whole = false;
	unsigned k = 0;

	if (op->code == OP_core_const) {
		know_const(c, &op->out[0]);
		return;
	}
	if (!op_def(op)->domain || op->n_out > 64)
		return;
	for (unsigned i = 0; i < op->n_out; i++)
		any |= can_know(op->out[i].type, &n);
	if (!any)
		return;
	ev.arena = &tmp;
	struct block *b = eval_scratch(c, op, &ret);

	for (unsigned i = 0; i < op->n_in; i++) {
		struct value *v = op_in(op, i);

		if (!v)
			continue;
		/* An op may want nothing but the shape of such an operand. */
		whole |= !v->known && can_know(v->type, &n);
		map_put(&ev.tensors, b->arg[k++]->id, from_known(&tmp, v));
	}
	if (eval_lower(c, b)) {
		eval_block(&ev, b);
		for (unsigned i = 0; i < op->n_out && !ev.env.err; i++) {
			struct tens *t = eval_tens(&ev, ret->in[i].val);

			if (t && (t->sym || t->t.data) &&
			    can_know(op->out[i].type, &n))
				to_known(c, &op->out[i], t, (size_t)n, whole);
		}
	}
	eval_free(&ev);
	arena_free(&tmp);
	while (b->last)
		op_erase(b->last);
}
