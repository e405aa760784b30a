/* SPDX-License-Identifier: Apache-2.0 */
#include "passes/graph/quantize/linear.h"

#include "ir/eval_run.h"
#include "passes/nest/body.h"

int64_t const_dim(const struct value *v, int axis)
{
	int64_t n = 1;

	if (axis >= 0)
		expr_is_const(v->type->dim[axis], &n);
	return n;
}

static bool is_factor(const struct value *v)
{
	return v->type->dtype == DT_F32 || dtype_is_half(v->type->dtype);
}

/* Lowering is only worth a try where a float matrix is constant. */
static bool may_be_linear(const struct op *op)
{
	struct blob data;

	if (!op_def(op)->domain || op->n_in < 2 || op->n_out < 1)
		return false;
	for (unsigned i = 0; i < op->n_in; i++) {
		const struct value *v = op_in(op, i);

		if (value_const(v, &data) && is_factor(v) &&
		    v->type->rank > 1 && data.size)
			return true;
	}
	return false;
}

/* The operand that a block argument stands for. */
static int operand_of(const struct op *op, const struct block *b,
		      const struct value *v)
{
	uint32_t k = 0;

	for (unsigned i = 0; i < op->n_in; i++) {
		if (!op_in(op, i))
			continue;
		if (b->arg[k++] == v)
			return (int)i;
	}
	return -1;
}

/* ---- index maps ----------------------------------------------------- */

struct map_of {
	struct ctx *c;
	const struct block *out, *fold;
	const struct expr *const *x, *const *w;
	size_t n_x, n_w;
};

static bool uses_block(const struct expr *e, const struct block *b)
{
	for (uint32_t i = 0; i < b->n_iv; i++)
		if (expr_uses(e, expr_atom(b->iv[i])))
			return true;
	return false;
}

/* The one variable of the block that e is, or NULL. */
static const struct atom *variable(const struct expr *e, const struct block *b)
{
	const struct atom *a = expr_atom(e);

	for (uint32_t i = 0; a && i < b->n_iv; i++)
		if (expr_atom(b->iv[i]) == a)
			return a;
	return NULL;
}

static bool in_weight(const struct map_of *m, const struct atom *a)
{
	for (size_t i = 0; i < m->n_w; i++)
		if (expr_uses(m->w[i], a))
			return true;
	return false;
}

/* The longest dim of w whose index no summed variable is part of; one that x
 * does not share with it where there is one. */
static int find_o_axis(const struct map_of *m, const struct value *w)
{
	int best = -1;
	int64_t score = 0;

	for (size_t i = 0; i < m->n_w; i++) {
		const struct atom *a = variable(m->w[i], m->out);
		int64_t n = const_dim(w, (int)i);
		bool shared = false;

		if (uses_block(m->w[i], m->fold) ||
		    !uses_block(m->w[i], m->out))
			continue;
		for (size_t k = 0; a && k < m->n_x; k++)
			shared |= expr_atom(m->x[k]) == a;
		n = 2 * n + !shared * (INT64_C(1) << 40);
		if (n > score) {
			score = n;
			best = (int)i;
		}
	}
	return best;
}

/*
 * A channel's index moves with a summed variable or with the weight's own
 * variables, and with nothing that counts positions in the result.
 */
static bool is_channel(const struct map_of *m, const struct expr *e,
		       bool summed)
{
	bool any = false;

	for (uint32_t i = 0; i < m->out->n_iv; i++) {
		const struct atom *a = expr_atom(m->out->iv[i]);

		if (!expr_uses(e, a))
			continue;
		if (!in_weight(m, a))
			return false;
		any = true;
	}
	return summed ? uses_block(e, m->fold) : any;
}

/* The one such dim; a sum over one channel (depthwise) leaves no variable. */
static int find_x_axis(const struct map_of *m)
{
	for (int summed = 1; summed >= 0; summed--) {
		int found = -1, n = 0;

		for (size_t i = 0; i < m->n_x; i++)
			if (is_channel(m, m->x[i], summed)) {
				found = (int)i;
				n++;
			}
		if (n)
			return n == 1 ? found : -1;
	}
	return -1;
}

/* w's dim that is summed with x's channel. */
static int find_k_axis(const struct map_of *m, const struct expr *channel,
		       bool *direct)
{
	for (size_t i = 0; i < m->n_w; i++)
		if (m->w[i] == channel) {
			*direct = true;
			return (int)i;
		}
	for (size_t i = 0; i < m->n_w; i++) {
		const struct atom *a = variable(m->w[i], m->fold);

		if (a && expr_uses(channel, a))
			return (int)i;
	}
	return -1;
}

static void read_maps(const struct map_of *m, const struct op *compute,
		      bool is_result, struct linear *l)
{
	const struct expr *const *at = point_index(compute);
	unsigned summed = 0;

	l->o_axis = find_o_axis(m, linear_w(l));
	l->x_axis = find_x_axis(m);
	l->k_axis = l->y_axis = -1;
	if (l->o_axis >= 0) {
		l->o_iv = variable(m->w[l->o_axis], m->out);
		for (unsigned i = 0; is_result && l->o_iv &&
				     i < compute->out[0].type->rank; i++)
			if (expr_atom(at[i]) == l->o_iv)
				l->y_axis = (int)i;
	}
	if (l->x_axis >= 0) {
		l->channel = m->x[l->x_axis];
		l->k_axis = find_k_axis(m, l->channel, &l->direct);
		if (l->k_axis >= 0)
			l->k_iv = variable(m->w[l->k_axis], m->fold);
	}
	for (size_t i = 0; i < m->n_x; i++)
		summed += uses_block(m->x[i], m->fold);
	l->rows = l->x_axis >= 0 && summed == 1 &&
		  uses_block(m->x[l->x_axis], m->fold);
	l->whole = true;
	for (size_t i = 0; i < m->n_w; i++)
		if ((int)i != l->o_axis)
			l->whole &= !uses_block(m->w[i], m->out);
	l->batch = m->n_x && !uses_block(m->x[0], m->fold);
}

/* ---- the op --------------------------------------------------------- */

static struct value *uncast(struct value *v)
{
	while (def_of(v, OP_arith_cast))
		v = v->def->in[0].val;
	return v;
}

/* Is the element the fold, or the fold plus a load? */
static bool is_plain(const struct op *compute, const struct op *fold)
{
	struct value *v = uncast(op_body(compute)->last->in[0].val);

	if (v == &fold->out[0])
		return true;
	return def_of(v, OP_arith_add) &&
	       uncast(v->def->in[0].val) == &fold->out[0] &&
	       def_of(uncast(v->def->in[1].val), OP_nest_load);
}

static bool read_statement(struct ctx *c, const struct block *b,
			   struct op *compute, const struct op *ret,
			   struct linear *l)
{
	struct op *fold = body_product(op_body(compute)), *x, *w;
	struct map_of m = { .c = c, .out = op_body(compute) };
	struct blob data;

	if (!fold || compute->n_out != 1 || !fold_is_product(fold, &x, &w))
		return false;
	int ix = operand_of(l->op, b, x->in[0].val);
	int iw = operand_of(l->op, b, w->in[0].val);

	if (ix < 0 || iw < 0)
		return false;
	if (!value_const(op_in(l->op, (unsigned)iw), &data)) {
		struct op *t = x;
		int i = ix;

		x = w, w = t;
		ix = iw, iw = i;
	}
	l->x = (unsigned)ix;
	l->w = (unsigned)iw;
	/* Each is read here and nowhere else. */
	if (!value_const(linear_w(l), &data) ||
	    value_const(linear_x(l), &data) ||
	    !is_factor(linear_w(l)) ||
	    linear_x(l)->type->dtype != linear_w(l)->type->dtype ||
	    linear_w(l)->type->rank < 2 ||
	    !value_has_one_use(x->in[0].val) ||
	    !value_has_one_use(w->in[0].val))
		return false;
	m.fold = op_body(fold);
	m.x = op_exprs(x, A_idx, &m.n_x);
	m.w = op_exprs(w, A_idx, &m.n_w);
	read_maps(&m, compute, ret->in[0].val == &compute->out[0], l);
	l->plain = ret->in[0].val == &compute->out[0] &&
		   is_plain(compute, fold);
	return true;
}

bool linear_of(struct ctx *c, struct op *op, struct linear *l)
{
	struct op *ret;
	bool found = false;

	*l = (struct linear){ .op = op };
	if (!may_be_linear(op))
		return false;
	struct block *b = eval_scratch(c, op, &ret);

	if (eval_lower(c, b))
		for (struct op *s = b->first; s && !found; s = s->next)
			found = s->code == OP_nest_compute &&
				read_statement(c, b, s, ret, l);
	while (b->last)
		op_erase(b->last);
	return found;
}

struct place {
	const struct linear *l;
	int64_t o, k;
};

static bool place_value(void *arg, const struct atom *a, int64_t *v)
{
	const struct place *p = arg;

	*v = a == p->l->o_iv ? p->o : p->k;
	return a == p->l->o_iv || a == p->l->k_iv;
}

int64_t linear_channel(const struct linear *l, int64_t o, int64_t k)
{
	struct place p = { l, o, k };
	int64_t v;

	if (l->direct)
		return k;
	return l->channel && expr_eval(l->channel, place_value, &p, &v) ? v
									: -1;
}

bool linear_bias_is_plain(const struct linear *l, struct value **bias)
{
	struct value *b = op_in(l->op, 2);
	struct blob data;
	int64_t n = const_dim(linear_w(l), l->o_axis);

	*bias = NULL;
	if (!l->plain || l->x > 1 || l->w > 1 || l->op->n_in > 3)
		return false;
	if (value_is_absent(b))
		return true;
	*bias = b;
	return value_const(b, &data) && b->type->dtype == DT_F32 &&
	       l->o_axis >= 0 && data.size == (size_t)n * sizeof(float) &&
	       b->type->rank && const_dim(b, (int)b->type->rank - 1) == n;
}
