/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a linear op multiplies its weight with, as unsigned bytes:
 *
 *	q = QuantizeLinear(x, scale, zero)	x' = DequantizeLinear(q, ..)
 *
 * Static: scale and zero point are constants from the range that a profile
 * saw.  Dynamic: they are computed from the values at hand, for each row of a
 * matrix product, else for each entry of a batch; so one entry's result does
 * not depend on the others.  Either way 0 is in the range, exactly.
 *
 * Split: the channels of the largest values are zeros in x' and are gathered
 * for a product of floats of their own.
 */
#include "passes/graph/quantize/quantize.h"

#include <math.h>
#include <stdlib.h>

enum { STEPS = 255 };

static struct builder behind(struct ctx *c, const struct linear *l)
{
	struct value *x = linear_x(l);

	if (x->def)
		return (struct builder){ c, x->def->parent, x->def->next,
					 l->op->loc };
	return (struct builder){ c, x->block, x->block->first, l->op->loc };
}

static struct value *op1(struct builder *b, enum opcode code, struct value *x)
{
	return build_op(b, code, 1, &x, 0, NULL);
}

static struct value *op2(struct builder *b, enum opcode code, struct value *x,
			 struct value *y)
{
	return build_op(b, code, 2, (struct value *[]){ x, y }, 0, NULL);
}

/* ---- static --------------------------------------------------------- */

static struct value *byte_const(struct builder *b, int v)
{
	return build_scalar_const(b, DT_U8, v);
}

/* The range of the channels that are not split off. */
static void held_range(const struct input *in, const struct stats *s,
		       float *lo, float *hi)
{
	*lo = *hi = 0;
	for (int64_t k = 0; k < s->n_channel; k++) {
		bool split = false;

		for (int64_t i = 0; i < in->n_rest; i++)
			split |= in->channel[i] == k;
		if (split)
			continue;
		*lo = fminf(*lo, s->min[k]);
		*hi = fmaxf(*hi, s->max[k]);
	}
}

static struct value *hold(struct builder *b, struct value *x,
			  struct value *scale, struct value *zero,
			  int64_t axis, int64_t block)
{
	struct named_attr attr[] = { { A_axis, attr_int(b->ctx, axis) },
				     { A_block_size,
				       attr_int(b->ctx, block) } };
	unsigned n = block ? 2 : 1;
	struct value *q = build_op(b, OP_QuantizeLinear, 3,
				   (struct value *[]){ x, scale, zero }, n,
				   attr);

	if (!q)
		return NULL;
	return build_op(b, OP_DequantizeLinear, 3,
			(struct value *[]){ q, scale, zero }, n, attr);
}

static struct value *hold_static(struct builder *b, struct value *x,
				 float lo, float hi)
{
	float scale = (hi - lo) / STEPS;

	if (!(scale >= 0x1p-100f) || !isfinite(scale))
		scale = 1;
	struct value *z = byte_const(b, (int)rintf(-lo / scale));

	return hold(b, x, build_scalar_const(b, DT_F32, (double)scale), z, 0,
		    0);
}

/* ---- dynamic -------------------------------------------------------- */

static struct value *reduce(struct builder *b, enum opcode code,
			    struct value *x, const struct linear *l)
{
	int64_t axes[MAX_RANK], n = 0;
	int64_t first = l->rows ? l->x_axis : l->batch;
	int64_t end = l->rows ? first + 1 : x->type->rank;
	struct named_attr keep = { A_keepdims, attr_int(b->ctx, l->rows) };

	for (int64_t i = first; i < end; i++)
		axes[n++] = i;
	struct value *in[2] = { x, build_ints(b, (int)n, axes) };

	return build_op(b, code, 2, in, 1, &keep);
}

static struct value *hold_dynamic(struct builder *b, struct value *x,
				  const struct linear *l)
{
	struct ctx *c = b->ctx;
	struct value *none = build_scalar_const(b, DT_F32, 0);
	struct value *lo = reduce(b, OP_ReduceMin, x, l);
	struct value *hi = reduce(b, OP_ReduceMax, x, l);

	if (!lo || !hi)
		return NULL;
	lo = op2(b, OP_Min, lo, none);
	hi = op2(b, OP_Max, hi, none);
	/* One after the other: a call's arguments have no order. */
	struct value *scale = op2(b, OP_Sub, hi, lo);
	struct value *steps = build_scalar_const(b, DT_F32, STEPS);

	scale = op2(b, OP_Div, scale, steps);
	/* A row of zeros has a scale, too. */
	struct value *empty = op2(b, OP_Equal, scale, none);
	struct value *one = build_scalar_const(b, DT_F32, 1);

	scale = build_op(b, OP_Where, 3,
			 (struct value *[]){ empty, one, scale }, 0, NULL);
	struct value *zero = op1(b, OP_Neg, lo);
	struct named_attr to = { A_to, attr_int(c, dtype_info[DT_U8].onnx) };

	zero = op1(b, OP_Round, op2(b, OP_Div, zero, scale));
	zero = build_op(b, OP_Cast, 1, &zero, 1, &to);
	return hold(b, x, scale, zero, l->rows ? l->x_axis : 0,
		    l->rows ? const_dim(linear_w(l), l->k_axis) : 0);
}

/* ---- split ---------------------------------------------------------- */

struct reach {
	float most;
	int64_t channel;
};

static int by_reach(const void *a, const void *b)
{
	const struct reach *x = a, *y = b;

	if (x->most != y->most)
		return x->most < y->most ? 1 : -1;
	return (x->channel > y->channel) - (x->channel < y->channel);
}

static int by_channel(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* The channels of the largest absolute values. */
static void choose(struct ctx *c, const struct stats *s, int64_t n,
		   struct input *in)
{
	struct reach *r = NEW_ARRAY(&c->temp, (size_t)s->n_channel,
				    struct reach);

	for (int64_t k = 0; k < s->n_channel; k++)
		r[k] = (struct reach){ fmaxf(-s->min[k], s->max[k]), k };
	qsort(r, (size_t)s->n_channel, sizeof(*r), by_reach);
	in->channel = NEW_ARRAY(&c->perm, (size_t)n + 1, int64_t);
	in->n_rest = n;
	for (int64_t i = 0; i < n; i++)
		in->channel[i] = r[i].channel;
	qsort(in->channel, (size_t)n, sizeof(*in->channel), by_channel);
}

/* x with zeros in these channels. */
static struct value *mask(struct builder *b, struct input *in,
			  int64_t n_channel)
{
	unsigned rank = in->x->type->rank - (unsigned)in->axis;
	float *keep = NEW_ARRAY(&b->ctx->temp, (size_t)n_channel, float);

	for (int64_t k = 0; k < n_channel; k++)
		keep[k] = 1;
	for (int64_t i = 0; i < in->n_rest; i++)
		keep[in->channel[i]] = 0;
	return op2(b, OP_Mul, in->x,
		   floats_along(b, rank, 0, (size_t)n_channel, keep));
}

static struct value *gather(struct builder *b, const struct input *in)
{
	struct named_attr axis = { A_axis, attr_int(b->ctx, in->axis) };
	struct value *i = build_ints(b, (int)in->n_rest, in->channel);

	return build_op(b, OP_Gather, 2, (struct value *[]){ in->x, i }, 1,
			&axis);
}

/* ---- all of it ------------------------------------------------------ */

static void take_means(struct ctx *c, const struct stats *s, struct input *in)
{
	double seen = (double)(s->count - s->n_nan - s->n_inf) /
		      (double)(s->n_channel ? s->n_channel : 1);

	if (!(seen > 0))
		return;
	in->mean = NEW_ARRAY(&c->perm, (size_t)s->n_channel, float);
	for (int64_t k = 0; k < s->n_channel; k++)
		in->mean[k] = (float)(s->sum[k] / seen);
}

bool input_quantize(struct ctx *c, const struct linear *l,
		    const struct form *f, const struct stats *s,
		    struct input *in)
{
	struct builder b = behind(c, l);
	struct value *x = linear_x(l);

	*in = (struct input){ .x = x, .axis = l->x_axis, .held = x,
			       .from = x };
	if (s)
		take_means(c, s, in);
	if (f->inputs == INPUT_FLOAT)
		return true;
	if (f->split && s && f->split < s->n_channel) {
		choose(c, s, f->split, in);
		in->rest = gather(&b, in);
		x = mask(&b, in, s->n_channel);
		if (!in->rest || !x)
			return false;
		in->from = x;
	}
	if (f->inputs == INPUT_STATIC) {
		held_range(in, s, &in->lo, &in->hi);
		/* The histogram counts the channels that were split off. */
		if (!in->n_rest && !stats_narrow(s, f->range, f->beyond,
						 &in->lo, &in->hi))
			diag_warn(&c->diag, l->op->loc, "the channels of its "
				  "input were equalized, which --cle=off "
				  "prevents: its range is that of all values");
		in->held = hold_static(&b, x, in->lo, in->hi);
	} else {
		in->held = hold_dynamic(&b, x, l);
	}
	return in->held;
}
