/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SmoothQuant (Xiao et al. 2022): the channels of a normalization's result are
 * divided by factors that the weights which read it are multiplied with,
 *
 *	factor[k] = max |x[k]| ^ alpha / max |w[k]| ^ (1 - alpha)
 *
 * so that one scale serves all channels of x.  Only a normalization's own scale
 * and shift take the factors for nothing: in place when all who read the
 * result are such products, else as one product behind it, which its loop takes
 * in.  Factors are powers of two, so that the function stays the same.
 */
#include "passes/graph/quantize/quantize.h"

#include <math.h>

/* A product with, then a sum with constants ends a decomposed one. */
static bool is_normalization(const struct value *x)
{
	const struct op *op = x->def;
	struct blob data;

	if (!op || x->index)
		return false;
	if (op->code == OP_LayerNormalization ||
	    op->code == OP_RMSNormalization)
		return true;
	if (op->code == OP_Add && value_const(op_in(op, 1), &data))
		op = op_in(op, 0)->def;
	if (!op || op->code != OP_Mul || !value_const(op_in(op, 1), &data))
		return false;
	/* The mean is taken out, the deviation divided by. */
	op = op_in(op, 0)->def;
	return op && (op->code == OP_Div || op->code == OP_Mul) &&
	       op_in(op, 1)->def && !value_const(op_in(op, 1), &data);
}

static bool fits(const struct linear *l)
{
	return l->rows && l->direct && l->k_axis != l->o_axis;
}

struct group {
	struct value *x;
	int axis;
	int64_t n;
	float *factor;
};

static void weight_reach(struct ctx *c, const struct linears *all,
			 const struct group *g, float *most)
{
	for (size_t i = 0; i < all->n; i++) {
		const struct linear *l = &all->v[i];

		if (linear_x(l) != g->x || !fits(l))
			continue;
		struct shape s = const_shape(linear_w(l));
		const float *w = const_floats(c, linear_w(l));

		for (int64_t e = 0; e < s.n; e++) {
			int64_t k = shape_at(&s, e, l->k_axis);

			most[k] = fmaxf(most[k], fabsf(w[e]));
		}
	}
}

static void choose_factors(struct ctx *c, const struct linears *all,
			   struct group *g, const struct stats *s,
			   double alpha)
{
	float *most = NEW_ARRAY(&c->temp, (size_t)g->n + 1, float);

	g->factor = NEW_ARRAY(&c->temp, (size_t)g->n + 1, float);
	weight_reach(c, all, g, most);
	for (int64_t k = 0; k < g->n; k++) {
		double a = fmax((double)-s->min[k], (double)s->max[k]);
		double w = (double)most[k];
		double e = 0;

		if (a > 0 && w > 0)
			e = rint(alpha * log2(a) - (1 - alpha) * log2(w));
		g->factor[k] = ldexpf(1, (int)fmin(fmax(e, -40), 40));
	}
}

static void scale_weight(struct ctx *c, struct linear *l,
			 const struct group *g)
{
	struct builder b = { c, l->op->parent, l->op, l->op->loc };
	struct value *was = linear_w(l);
	struct shape s = const_shape(was);
	float *w = const_floats(c, was);

	for (int64_t e = 0; e < s.n; e++)
		w[e] *= g->factor[shape_at(&s, e, l->k_axis)];
	op_set_in(l->op, l->w, floats_const(&b, was->type, w));
	linear_w(l)->name = was->name;
}

/* Divides the constants of the norm; false when it has others. */
static bool into_norm(struct ctx *c, const struct group *g)
{
	struct op *op = g->x->def;
	struct builder b = { c, op->parent, op, op->loc };
	struct blob data;

	if (op->code != OP_LayerNormalization &&
	    op->code != OP_RMSNormalization)
		return false;
	for (unsigned i = 1; i < op->n_in; i++)
		if (!value_is_absent(op_in(op, i)) &&
		    (!value_const(op_in(op, i), &data) ||
		     op_in(op, i)->type->dtype != DT_F32 ||
		     data.size != (size_t)g->n * sizeof(float)))
			return false;
	for (unsigned i = 1; i < op->n_in; i++) {
		if (value_is_absent(op_in(op, i)))
			continue;
		float *v = const_floats(c, op_in(op, i));

		for (int64_t k = 0; k < g->n; k++)
			v[k] /= g->factor[k];
		op_set_in(op, i, floats_const(&b, op_in(op, i)->type, v));
	}
	return true;
}

static struct value *divided(struct ctx *c, const struct group *g)
{
	struct op *op = g->x->def;
	struct builder b = { c, op->parent, op->next, op->loc };
	unsigned rank = g->x->type->rank - (unsigned)g->axis;
	float *v = NEW_ARRAY(&c->temp, (size_t)g->n + 1, float);

	for (int64_t k = 0; k < g->n; k++)
		v[k] = 1 / g->factor[k];
	struct value *in[2] = {
		g->x, floats_along(&b, rank, 0, (size_t)g->n, v),
	};

	return build_op(&b, OP_Mul, 2, in, 0, NULL);
}

static void smooth_group(struct ctx *c, struct linears *all, struct group *g,
			 struct profile *p)
{
	struct stats *s = stats_of(p, g->x);
	unsigned readers = 0, uses = 0;
	struct value *x = g->x;
	float *inverse = NEW_ARRAY(&c->temp, (size_t)g->n + 1, float);

	for (const struct use *u = g->x->uses; u; u = u->next)
		uses++;
	for (size_t i = 0; i < all->n; i++)
		readers += linear_x(&all->v[i]) == g->x && fits(&all->v[i]);
	if (uses != readers || !into_norm(c, g))
		x = divided(c, g);
	for (size_t i = 0; i < all->n; i++)
		if (linear_x(&all->v[i]) == g->x && fits(&all->v[i])) {
			scale_weight(c, &all->v[i], g);
			op_set_in(all->v[i].op, all->v[i].x, x);
		}
	/* A copy: the float result may be read elsewhere. */
	struct stats *own = stats_new(&p->a, s->name, s->axis, s->n_channel,
				      s->gram);

	own->exp = s->exp;
	stats_merge(own, s);
	for (int64_t k = 0; k < g->n; k++)
		inverse[k] = 1 / g->factor[k];
	stats_scale(own, inverse);
	map_put(&p->of_value, x->id, own);
}

void smooth(struct ctx *c, struct linears *all, double alpha,
	    struct profile *p)
{
	for (size_t i = 0; i < all->n; i++) {
		const struct linear *l = &all->v[i];
		struct group g = { linear_x(l), l->x_axis, 0, NULL };
		const struct stats *s = stats_of(p, g.x);
		bool done = false;

		for (size_t k = 0; k < i; k++)
			done |= linear_x(&all->v[k]) == g.x;
		if (done || !s || !fits(l) || !is_normalization(g.x))
			continue;
		g.n = s->n_channel;
		choose_factors(c, all, &g, s, alpha);
		smooth_group(c, all, &g, p);
	}
}
