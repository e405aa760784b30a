/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model in which each op takes one of its forms at run time, so that the
 * gate tries many choices after one compile:
 *
 *	%y = onnx.MatMul(%x, %w)
 * ->
 *	%f = onnx.MatMul(%x, %w)
 *	%q = onnx.MatMul(%a, %b)		quantized, for each form
 *	%y = onnx.Where(%rung[i] == RUNG, %q, %f)
 *
 * Each op also returns sums over the form that was taken: squares of its input
 * and of its result as float, and of what rounding took from them.
 */
#include "passes/graph/quantize/quantize.h"

struct trial {
	struct work *w;
	struct op *ret;
	struct value *choice;		/* the last argument */
	VEC(struct value *) sums;
};

static struct value *op1(struct builder *b, enum opcode code, struct value *x)
{
	return build_op(b, code, 1, &x, 0, NULL);
}

static struct value *op2(struct builder *b, enum opcode code, struct value *x,
			 struct value *y)
{
	return build_op(b, code, 2, (struct value *[]){ x, y }, 0, NULL);
}

static struct value *where(struct builder *b, struct value *cond,
			   struct value *x, struct value *y)
{
	return build_op(b, OP_Where, 3, (struct value *[]){ cond, x, y }, 0,
			NULL);
}

/* ---- sums ----------------------------------------------------------- */

static struct value *sum(struct builder *b, enum opcode code, struct value *x)
{
	struct named_attr keep = { A_keepdims, attr_int(b->ctx, 0) };

	return build_op(b, code, 1, &x, 1, &keep);
}

static struct value *zero(struct builder *b)
{
	return build_scalar_const(b, DT_F32, 0);
}

static struct value *count(struct builder *b, struct value *x)
{
	struct named_attr to = { A_to,
				 attr_int(b->ctx, dtype_info[DT_F32].onnx) };
	struct value *n = op1(b, OP_Size, x);

	return build_op(b, OP_Cast, 1, &n, 1, &to);
}

/* How many elements of a static input lie beyond its range: rounding alone
 * takes no more than half a step. */
static struct value *clipped(struct builder *b, const struct input *in)
{
	double step = ((double)in->hi - (double)in->lo) / 255;
	struct value *off = op1(b, OP_Abs, op2(b, OP_Sub, in->from, in->held));
	struct value *most = build_scalar_const(b, DT_F32, step * 0.501);
	struct value *is = op2(b, OP_Greater, off, most);
	struct value *one = build_scalar_const(b, DT_F32, 1);

	return sum(b, OP_ReduceSum, where(b, is, one, zero(b)));
}

/* The sums of an op on one rung, or with f NULL as float; y is its result as
 * float, q the other. */
static void form_sums(struct builder *b, const struct input *in,
		      const struct form *f, struct value *y, struct value *q,
		      struct value *s[N_TRIAL_SUM])
{
	for (int i = 0; i < N_TRIAL_SUM; i++)
		s[i] = zero(b);
	s[SUM_X] = sum(b, OP_ReduceSumSquare, in->from);
	s[SUM_COUNT] = count(b, in->from);
	s[SUM_Y] = sum(b, OP_ReduceSumSquare, y);
	if (q)
		s[SUM_Y_NOISE] = sum(b, OP_ReduceSumSquare,
				     op2(b, OP_Sub, y, q));
	if (in->held != in->from)
		s[SUM_X_NOISE] = sum(b, OP_ReduceSumSquare,
				     op2(b, OP_Sub, in->from, in->held));
	if (f && f->inputs == INPUT_STATIC)
		s[SUM_CLIPPED] = clipped(b, in);
}

/* ---- one op --------------------------------------------------------- */

static struct op *copy(struct builder *b, const struct op *op)
{
	struct cloner cl = { .ctx = b->ctx };
	struct op *k = clone_op(&cl, b, op);

	cloner_free(&cl);
	return k;
}

static struct value *is_rung(struct trial *t, struct builder *b, size_t i,
			     int rung)
{
	struct value *k = build_ints(b, -1, (int64_t[]){ (int64_t)i });
	struct value *mine = op2(b, OP_Gather, t->choice, k);

	return op2(b, OP_Equal, mine, build_scalar_const(b, DT_I32, rung));
}

/* Adds the form of that rung to what *y and s[] choose from. */
static bool add_form(struct trial *t, const struct linear *l, size_t i,
		     int rung, struct value **y, struct value *s[])
{
	struct ctx *c = t->w->ctx;
	struct builder b = { c, l->op->parent, t->ret, l->op->loc };
	struct form f = form_of(t->w, l, (enum quant_rung)rung);
	struct quant_op *op = &t->w->data->op[i];
	struct value *of[N_TRIAL_SUM];
	struct linear own = *l;

	b.before = (*y)->def->next;
	own.op = copy(&b, l->op);
	struct value *cond = is_rung(t, &b, i, rung);

	*y = where(&b, cond, &own.op->out[0], *y);
	if (!quantize_one(t->w, &own, &f))
		return false;
	const struct input *in = input_get(t->w, l, &f);

	op->lo[rung] = in->lo;
	op->hi[rung] = in->hi;
	b.before = t->ret;
	form_sums(&b, in, &f, &l->op->out[0], (*y)->def->in[1].val, of);
	for (int k = 0; k < N_TRIAL_SUM; k++)
		s[k] = where(&b, cond, of[k], s[k]);
	arena_free(&c->temp);
	return true;
}

static bool add_op(struct trial *t, struct linear *l, size_t i)
{
	struct builder b = { t->w->ctx, l->op->parent, t->ret, l->op->loc };
	struct value *first = &l->op->out[0], *y = first;
	struct profile *p = t->w->data->profile;
	struct stats *s = stats_of(p, first);
	struct value *sums[N_TRIAL_SUM];
	struct input plain = { .from = linear_x(l), .held = linear_x(l) };

	/* Who reads the op reads the choice, which is made before this. */
	b.before = l->op->next;
	struct value *all = op1(&b, OP_Identity, first);

	value_replace(first, all);
	op_set_in(all->def, 0, first);
	b.before = t->ret;
	form_sums(&b, &plain, NULL, first, NULL, sums);
	for (int rung = 0; rung < RUNG_FLOAT; rung++)
		if (t->w->data->op[i].open[rung] &&
		    !add_form(t, l, i, rung, &y, sums))
			return false;
	op_set_in(all->def, 0, y);
	if (s)
		map_put(&p->of_value, all->id, s);
	for (int k = 0; k < N_TRIAL_SUM; k++)
		vec_push(&t->sums, sums[k]);
	return true;
}

/* ---- the model ------------------------------------------------------ */

/* The model's outputs, then the sums. */
static void add_outputs(struct trial *t)
{
	struct ctx *c = t->w->ctx;
	const struct attr *old = op_attr(t->ret, A_names);
	struct attr *names = NEW(&c->perm, struct attr);
	size_t n = t->ret->n_in;
	const char **name = NEW_ARRAY(&c->perm, n + t->sums.n + 1,
				      const char *);

	for (size_t i = 0; i < n; i++)
		name[i] = old && i < old->n ? old->strs[i] : "";
	for (size_t i = 0; i < t->sums.n; i++) {
		name[n + i] = arena_fmt(&c->perm, "sum %zu", i);
		op_add_in(c, t->ret, t->sums.v[i]);
	}
	*names = (struct attr){ .kind = AT_STRS, .n = n + t->sums.n,
				.strs = name };
	op_set_attr(c, t->ret, A_names, names);
}

bool trial_build(struct work *w, struct module *m, struct linears *all)
{
	struct ctx *c = w->ctx;
	struct block *b = op_body(m->func);
	struct trial t = { .w = w, .ret = b->last };
	const struct expr *n = expr_const(c, (int64_t)all->n);
	bool ok = true;

	t.choice = block_add_arg(c, b, type_tensor(c, DT_I32, 1, &n), "rungs");
	for (size_t i = 0; i < all->n && ok; i++)
		ok = add_op(&t, &all->v[i], i);
	if (ok)
		add_outputs(&t);
	vec_free(&t.sums);
	return ok;
}
