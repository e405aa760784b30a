/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cross-layer equalization (Nagel et al. 2019, section 4.1): between two linear
 * ops a channel may carry a factor, which the first one's weight puts in and
 * the second one's takes out again, as long as what lies between keeps it:
 *
 *	conv(relu(conv(x, w1)), w2)  ->  conv(relu(conv(x, f*w1)), w2/f)
 *
 * Factors are chosen so that a channel's weights are as large before as after.
 * Where training left channels of very different size, which one scale for all
 * would serve badly, both the weights and the values between them gain.
 *
 * Factors are powers of two, so that the function stays the same to the bit;
 * to be off by up to the square root of two costs a quarter of a bit.  A Clip
 * keeps no factor: its bounds become those of each channel.
 *
 * quantize does this first, for the statistics of a profile change with it; the
 * pass of this name is the rewrite alone.
 */
#include "passes/graph/quantize/quantize.h"

#include <math.h>

enum { MAX_SWEEPS = 20 };

/* A channel k of `from`'s result is the channels k * inner .. of `to`. */
struct pair {
	struct linear *from, *to;
	int64_t n, inner;
	float *factor;		/* of the values between */
	float *first, *second;	/* the two weights, as they become */
	float *bias;		/* or NULL */
	struct op *clip;	/* on the way, or NULL */
};

/* ---- the way between ------------------------------------------------ */

/* The result has the operand's channels where they were, or has them merged
 * with all dims behind, in row-major order. */
static bool keeps_channels(struct ctx *c, const struct op *op, int axis,
			   int64_t *inner)
{
	const struct type *x = op_in(op, 0)->type, *y = op->out[0].type;
	const struct expr *behind = expr_const(c, 1);
	int64_t n;

	for (int i = 0; i < axis; i++)
		if ((uint32_t)i >= y->rank || x->dim[i] != y->dim[i])
			return false;
	if (y->rank == x->rank && x->dim[axis] == y->dim[axis])
		return true;
	for (uint32_t i = (uint32_t)axis; i < x->rank; i++)
		behind = expr_mul(c, behind, x->dim[i]);
	if (y->rank != (uint32_t)axis + 1 || y->dim[axis] != behind ||
	    *inner != 1)
		return false;
	return expr_is_const(expr_exact_div(c, behind, x->dim[axis]), &n) &&
	       (*inner = n) > 0;
}

static bool scalar_bound(const struct op *op, unsigned i, float *v)
{
	struct blob data;

	if (value_is_absent(op_in(op, i)))
		return true;
	if (!value_const(op_in(op, i), &data) || data.size != sizeof(*v) ||
	    op_in(op, i)->type->dtype != DT_F32)
		return false;
	*v = *(const float *)data.data;
	return true;
}

/* Follows the one use of a result as far as a factor goes. */
static struct value *follow(struct ctx *c, struct pair *p)
{
	struct value *v = &p->from->op->out[0];

	p->inner = 1;
	for (;;) {
		if (!v->uses || !value_has_one_use(v))
			return NULL;
		struct op *op = v->uses->user;
		float bound;

		if (op_in(op, 0) != v || !op->n_out)
			return v;
		if (op->code == OP_Clip && !p->clip && p->inner == 1 &&
		    scalar_bound(op, 1, &bound) && scalar_bound(op, 2, &bound))
			p->clip = op;
		else if (!op_def(op)->keeps_factors)
			return v;
		if (op->n_out != 1 ||
		    !keeps_channels(c, op, p->from->y_axis, &p->inner))
			return NULL;
		v = &op->out[0];
	}
}

static bool find_pair(struct ctx *c, struct linears *all, size_t i,
		      struct pair *p)
{
	struct linear *l = &all->v[i];
	struct value *bias, *end;

	*p = (struct pair){ .from = l };
	if (l->y_axis < 0 || l->op->n_out != 1 ||
	    !linear_bias_is_plain(l, &bias))
		return false;
	p->n = const_dim(linear_w(l), l->o_axis);
	end = follow(c, p);
	for (size_t k = i + 1; end && k < all->n && !p->to; k++)
		if (linear_x(&all->v[k]) == end)
			p->to = &all->v[k];
	return p->to && p->to->k_axis >= 0 &&
	       p->to->x_axis == l->y_axis &&
	       expr_is(end->type->dim[l->y_axis], p->n * p->inner);
}

/* ---- factors -------------------------------------------------------- */

static void reach(const struct linear *l, const float *w, int axis,
		  const struct pair *p, float *most)
{
	struct shape s = const_shape(linear_w(l));

	for (int64_t k = 0; k < p->n; k++)
		most[k] = 0;
	for (int64_t e = 0; e < s.n; e++) {
		int64_t o = shape_at(&s, e, l->o_axis);
		int64_t k = axis == l->o_axis
				    ? o
				    : linear_channel(l, o,
						     shape_at(&s, e, axis)) /
					      p->inner;

		if (isfinite(w[e]) && k >= 0 && k < p->n)
			most[k] = fmaxf(most[k], fabsf(w[e]));
	}
}

/* The power of two nearest to sqrt(b / a); 1 for channels that do nothing. */
static float balance(float a, float b)
{
	if (!(a > 0) || !(b > 0))
		return 1;
	double e = rint(log2((double)b / (double)a) / 2);

	return ldexpf(1, (int)fmin(fmax(e, -40), 40));
}

static void apply_first(const struct pair *p, const float *f)
{
	struct shape s = const_shape(linear_w(p->from));

	for (int64_t e = 0; e < s.n; e++)
		p->first[e] *= f[shape_at(&s, e, p->from->o_axis)];
	for (int64_t k = 0; p->bias && k < p->n; k++)
		p->bias[k] *= f[k];
}

static void apply_second(const struct pair *p, const float *f)
{
	const struct linear *l = p->to;
	struct shape s = const_shape(linear_w(l));

	for (int64_t e = 0; e < s.n; e++) {
		int64_t k = linear_channel(l, shape_at(&s, e, l->o_axis),
					   shape_at(&s, e, l->k_axis));

		p->second[e] /= f[k / p->inner];
	}
}

/* Is every channel of the second weight known? */
static bool all_known(const struct pair *p)
{
	const struct linear *l = p->to;
	struct shape s = const_shape(linear_w(l));

	for (int64_t e = 0; e < s.n; e++) {
		int64_t k = linear_channel(l, shape_at(&s, e, l->o_axis),
					   shape_at(&s, e, l->k_axis));

		if (k < 0 || k >= p->n * p->inner)
			return false;
	}
	return true;
}

static bool sweep(struct ctx *c, struct pair *p)
{
	float *a = NEW_ARRAY(&c->temp, (size_t)p->n + 1, float);
	float *b = NEW_ARRAY(&c->temp, (size_t)p->n + 1, float);
	bool any = false;

	reach(p->from, p->first, p->from->o_axis, p, a);
	reach(p->to, p->second, p->to->k_axis, p, b);
	for (int64_t k = 0; k < p->n; k++) {
		a[k] = balance(a[k], b[k]);
		p->factor[k] *= a[k];
		any |= a[k] != 1;
	}
	if (any) {
		apply_first(p, a);
		apply_second(p, a);
	}
	return any;
}

/* ---- the graph ------------------------------------------------------ */

static void set_floats(struct ctx *c, struct op *op, unsigned i,
		       const float *v)
{
	struct builder b = { c, op->parent, op, op->loc };
	struct value *was = op_in(op, i);

	op_set_in(op, i, floats_const(&b, was->type, v));
	op_in(op, i)->name = was->name;
}

static void split_clip(struct ctx *c, const struct pair *p)
{
	struct op *op = p->clip;
	struct builder b = { c, op->parent, op, op->loc };
	static const enum opcode code[] = { OP_Max, OP_Min };
	struct value *v = op_in(op, 0);
	unsigned rank = v->type->rank - (unsigned)p->from->y_axis;
	float *each = NEW_ARRAY(&c->temp, (size_t)p->n + 1, float);

	for (unsigned i = 0; i < 2; i++) {
		float bound = 0;

		if (value_is_absent(op_in(op, i + 1)))
			continue;
		scalar_bound(op, i + 1, &bound);
		for (int64_t k = 0; k < p->n; k++)
			each[k] = bound * p->factor[k];
		v = build_op(&b, code[i], 2,
			     (struct value *[]){
				     v, floats_along(&b, rank, 0,
						     (size_t)p->n, each) },
			     0, NULL);
	}
	value_replace(&op->out[0], v);
}

static void scale_stats(struct ctx *c, struct profile *prof,
			const struct pair *p)
{
	struct stats *y = stats_of(prof, &p->from->op->out[0]);
	struct stats *x = stats_of(prof, linear_x(p->to));
	float *f = NEW_ARRAY(&c->temp, (size_t)(p->n * p->inner) + 1, float);

	for (int64_t k = 0; k < p->n * p->inner; k++)
		f[k] = p->factor[k / p->inner];
	if (y && y->n_channel == p->n)
		stats_scale(y, p->factor);
	if (x && x != y && x->n_channel == p->n * p->inner)
		stats_scale(x, f);
}

static void finish(struct ctx *c, struct pair *p, struct profile *prof)
{
	bool any = false;

	for (int64_t k = 0; k < p->n; k++)
		any |= p->factor[k] != 1;
	if (!any)
		return;
	set_floats(c, p->from->op, p->from->w, p->first);
	set_floats(c, p->to->op, p->to->w, p->second);
	if (p->bias)
		set_floats(c, p->from->op, 2, p->bias);
	struct stats *s = stats_of(prof, linear_x(p->to));

	scale_stats(c, prof, p);
	if (p->clip)
		split_clip(c, p);
	if (s)
		map_put(&prof->of_value, linear_x(p->to)->id, s);
}

/* The floats of each op's weight, which two pairs may have in common. */
static float *weight_copy(struct ctx *c, struct map *seen, struct linear *l)
{
	uint64_t key = l->op->out[0].id;
	float *w = map_get(seen, key);

	if (!w) {
		w = const_floats(c, linear_w(l));
		map_put(seen, key, w);
	}
	return w;
}

void equalize(struct ctx *c, struct linears *all, struct profile *prof)
{
	struct map seen = { 0 };
	VEC(struct pair) pairs = { 0 };
	struct pair p;
	struct value *bias;
	bool any = true;

	for (size_t i = 0; i < all->n; i++) {
		if (!find_pair(c, all, i, &p) || !all_known(&p))
			continue;
		p.first = weight_copy(c, &seen, p.from);
		p.second = weight_copy(c, &seen, p.to);
		linear_bias_is_plain(p.from, &bias);
		p.bias = bias ? const_floats(c, bias) : NULL;
		p.factor = NEW_ARRAY(&c->temp, (size_t)p.n + 1, float);
		for (int64_t k = 0; k < p.n; k++)
			p.factor[k] = 1;
		vec_push(&pairs, p);
	}
	for (int n = 0; any && n < MAX_SWEEPS; n++) {
		any = false;
		for (size_t i = 0; i < pairs.n; i++)
			any |= sweep(c, &pairs.v[i]);
	}
	for (size_t i = 0; i < pairs.n; i++)
		finish(c, &pairs.v[i], prof);
	vec_free(&pairs);
	map_free(&seen);
}

static bool equalize_run(struct module *m, const struct pass_args *args)
{
	struct linears all = linears_find(m->ctx, op_body(m->func));

	(void)args;
	equalize(m->ctx, &all, NULL);
	vec_free(&all);
	erase_dead(op_body(m->func));
	return true;
}

PASS(equalize,
	.summary = "Balance channels between linear ops that follow each other",
	.needs = LEVEL_GRAPH, .leaves = LEVEL_GRAPH,
	.run = equalize_run);
