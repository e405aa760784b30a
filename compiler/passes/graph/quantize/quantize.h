/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the pass `quantize` share. */
#ifndef PASSES_GRAPH_QUANTIZE_QUANTIZE_H
#define PASSES_GRAPH_QUANTIZE_QUANTIZE_H

#include "base/vec.h"
#include "passes/graph/quantize/linear.h"
#include "passes/graph/quantize/profile.h"
#include "passes/pass.h"

struct linears {
	struct linear *v;
	size_t n, cap;
};

/* Every linear op of the block, in order; vec_free() frees the list. */
struct linears linears_find(struct ctx *c, struct block *b);

/* ---- constants (weights.c) ------------------------------------------ */

/* A constant's floats as a copy to change, in the temp arena, which the pass
 * frees after each op. */
float *const_floats(struct ctx *c, const struct value *v);
/* A constant of that type before op with these n floats, which are copied. */
struct value *floats_const(struct builder *b, const struct type *t,
			   const float *v);
/* The same as a list, or along one dim of a tensor of that rank. */
struct value *floats_along(struct builder *b, unsigned rank, int axis,
			   size_t n, const float *v);
/* Steps over a constant's dims in elements: index along an axis of element e
 * is e / stride[axis] % dim[axis]. */
struct shape {
	unsigned rank;
	int64_t dim[MAX_RANK], stride[MAX_RANK], n;
};
struct shape const_shape(const struct value *v);
static inline int64_t shape_at(const struct shape *s, int64_t e, int axis)
{
	return axis < 0 ? 0 : e / s->stride[axis] % s->dim[axis];
}

/*
 * How weights are held: integers of `bits` and a scale for each output channel
 * or, with `block`, for each block of that many along k_axis.
 */
struct grid {
	unsigned bits;
	int64_t block;
	bool asymmetric;
};

/*
 * The weight, with the elements w[], as integers read through a
 * DequantizeLinear before l's op.  gram, of k x k, is of the inputs, or NULL;
 * held[] gets what the integers stand for.
 */
struct value *weight_quantize(struct ctx *c, const struct linear *l,
			      struct grid grid, const float *w,
			      const double *gram, float *held);
/* gptq.c: the values w[k][n] of the weight as whole steps of their grid, with
 * the error of each row k carried into those that follow. */
struct gptq {
	int64_t k, n, block;
	const double *gram;
	/* Sets the grid of rows [k0, k0 + block) of column n. */
	void (*set_grid)(void *arg, int64_t k0, int64_t n, const float *col);
	/* The nearest step to v, as an integer and as what it stands for. */
	float (*round)(void *arg, int64_t k, int64_t n, float v, int *q);
	void *arg;
};
bool gptq_run(const struct gptq *g, float *w, int *q);

/* ---- inputs (inputs.c) ---------------------------------------------- */

/* What the linear ops that read one value read in its place. */
struct input {
	struct value *x;
	int axis;
	struct value *held;		/* through Q and DQ, or x itself */
	struct value *rest;		/* the channels kept float, or NULL */
	struct value *from;		/* what held stands for: x, or x with
					 * zeros in those channels */
	float lo, hi;			/* of a static form; else both 0 */
	int64_t *channel;		/* which these are */
	int64_t n_rest;
	float *mean;			/* of the channels, or NULL */
};

enum input_form { INPUT_FLOAT, INPUT_DYNAMIC, INPUT_STATIC };

/* False after an error. */
struct form;
bool input_quantize(struct ctx *c, const struct linear *l,
		    const struct form *f, const struct stats *s,
		    struct input *in);

/* ---- one op (quantize.c) -------------------------------------------- */

struct work {
	struct ctx *ctx;
	const int64_t *param;
	struct quantize_data *data;	/* or NULL */
	struct map inputs;		/* of a value and form -> struct input */
	bool *kept;			/* that pattern matched a node */
	unsigned n_done;
};

/* What an op's operands become on a rung. */
struct form {
	unsigned bits;
	enum input_form inputs;
	int64_t block, split;
	enum range_way range;		/* of a static input */
	double beyond;
};
struct form form_of(const struct work *w, const struct linear *l,
		    enum quant_rung rung);
/* Finds or makes what l's op reads in place of its input; NULL after an
 * error. */
struct input *input_get(struct work *w, const struct linear *l,
			const struct form *f);
/* False after an error.  An op whose input was never seen stays as it is. */
bool quantize_one(struct work *w, struct linear *l, const struct form *f);

/* ---- forms to choose from ------------------------------------------- */

/* cost.c: fills in which rungs are open to l's op and what each costs. */
void rungs_describe(const struct work *w, const struct linear *l,
		    struct quant_op *op);
/* trial.c: makes each op one of all its open forms, see quantize_data. */
bool trial_build(struct work *w, struct module *m, struct linears *all);

/* ---- rewrites that keep the function -------------------------------- */

/* halves.c: linear ops of half floats become ops of f32 between casts, which
 * is how half floats are summed; false after an error. */
bool halves_widen(struct ctx *c, struct linears *all, struct profile *p);
/* An op that stays float takes its weight as half floats again. */
bool halves_keep(struct ctx *c, const struct linear *l);

/* equalize.c: factors move between linear ops that follow each other. */
void equalize(struct ctx *c, struct linears *all, struct profile *p);
/* smooth.c: factors move from the result of a normalization to weights. */
void smooth(struct ctx *c, struct linears *all, double alpha,
	    struct profile *p);

#endif
