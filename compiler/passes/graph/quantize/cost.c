/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which forms an op can take, and about how long each takes: the gate weighs
 * what a layer loses against that.  The times are estimates from counts and
 * the target's vectors, not measurements, so that they are the same twice.
 */
#include "ir/target.h"
#include "passes/graph/quantize/quantize.h"

enum {
	UNKNOWN_DIM = 32,	/* what a symbolic dim counts as */
	PER_CYCLE = 2,		/* vector instructions */
	CYCLES_PER_US = 3000,
	/* Vector instructions for each vector of an input. */
	ROUND = 4, FIND_RANGE = 2, SPLIT_OFF = 2,
};

/* Where the code's machine is not known. */
static const struct isa plain_isa = { .vector_bits = 128 };
static const struct dot plain_dot = { .group = 1, .steps = 2 };

static bool some_size(void *arg, const struct atom *a, int64_t *v)
{
	(void)arg;
	(void)a;
	*v = UNKNOWN_DIM;
	return true;
}

static double elems(struct ctx *c, const struct value *v)
{
	int64_t n;

	return expr_eval(type_elems(c, v->type), some_size, NULL, &n)
		       ? (double)n
		       : UNKNOWN_DIM;
}

/* Instructions of the target for one that multiplies and adds floats. */
static double int_ratio(const struct dot *dot, const struct linear *l)
{
	/* Sums over one channel have no use for sums of pairs. */
	if (l->k_axis < 0 || l->k_axis == l->o_axis)
		return 1;
	return (double)dot->steps / dot->group;
}

static double form_us(const struct work *w, const struct linear *l,
		      const struct form *f, bool is_float)
{
	const struct target *t = w->data ? w->data->target : NULL;
	const struct isa *isa = t ? t->isa : &plain_isa;
	const struct dot *dot = t ? t->dot[0] : &plain_dot;
	double lanes = isa->vector_bits / 32, n_w = elems(w->ctx, linear_w(l));
	double x = elems(w->ctx, linear_x(l)) / lanes;
	double sum = elems(w->ctx, &l->op->out[0]) * n_w /
		     (double)const_dim(linear_w(l), l->o_axis) / lanes;
	double most = sum;

	if (!is_float && f->inputs == INPUT_FLOAT)
		most += n_w / lanes;
	if (!is_float && f->inputs != INPUT_FLOAT)
		most = sum * int_ratio(dot, l) + x * ROUND;
	if (f->inputs == INPUT_DYNAMIC)
		most += x * FIND_RANGE;
	if (f->split)
		most += x * SPLIT_OFF + sum * (double)f->split /
					(double)const_dim(linear_w(l),
							  l->k_axis);
	return most / PER_CYCLE / CYCLES_PER_US;
}

static bool is_open(const struct form *asked, const struct form *f,
		    enum quant_rung rung, const struct linear *l)
{
	switch (rung) {
	case RUNG_ASKED: case RUNG_FLOAT: return true;
	case RUNG_SPLIT:
		return f->split > asked->split &&
		       f->split < const_dim(linear_w(l), l->k_axis);
	case RUNG_DYNAMIC: return asked->inputs == INPUT_STATIC;
	case RUNG_WEIGHTS: return asked->inputs || asked->bits < 8;
	case N_RUNG: break;
	}
	return false;
}

void rungs_describe(const struct work *w, const struct linear *l,
		    struct quant_op *op)
{
	struct form asked = form_of(w, l, RUNG_ASKED);

	for (int i = 0; i < N_RUNG; i++) {
		enum quant_rung rung = (enum quant_rung)i;
		struct form f = form_of(w, l, rung);

		op->open[i] = rung == RUNG_FLOAT ||
			      (!op->why_float && is_open(&asked, &f, rung, l));
		if (rung == RUNG_FLOAT)
			f = (struct form){ .bits = 32 };
		op->us[i] = form_us(w, l, &f, rung == RUNG_FLOAT);
		op->is_static[i] = rung != RUNG_FLOAT &&
				   f.inputs == INPUT_STATIC;
		op->sums_ints[i] = f.inputs != INPUT_FLOAT;
	}
}
