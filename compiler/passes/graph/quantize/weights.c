/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights as integers.  Eight bits are symmetric: [-127, 127] without a zero
 * point, so that a product of integers needs no correction for them.  Four
 * bits take the range as it is.
 */
#include "passes/graph/quantize/quantize.h"

#include <math.h>
#include <string.h>

/* A channel of zeros has a scale, too: not so small that products of two are
 * subnormal. */
static const float least_scale = 0x1p-60f;

/* ---- constants ------------------------------------------------------ */

struct shape const_shape(const struct value *v)
{
	struct shape s = { .rank = v->type->rank, .n = 1 };

	for (unsigned i = s.rank; i-- > 0;) {
		expr_is_const(v->type->dim[i], &s.dim[i]);
		s.stride[i] = s.n;
		s.n *= s.dim[i];
	}
	return s;
}

float *const_floats(struct ctx *c, const struct value *v)
{
	enum dtype t = v->type->dtype;
	struct blob data;

	value_const(v, &data);
	if (t == DT_F32)
		return arena_copy(&c->temp, data.data, data.size);
	size_t n = data.size / dtype_size(t);
	float *f = NEW_ARRAY(&c->temp, n + 1, float);

	for (size_t i = 0; i < n; i++)
		f[i] = (float)scalar_get(t, data.data, i).d;
	return f;
}

struct value *floats_const(struct builder *b, const struct type *t,
			   const float *v)
{
	int64_t n = 1;

	expr_is_const(type_elems(b->ctx, t), &n);
	size_t size = (size_t)n * sizeof(*v);

	return build_const(b, t, (struct blob){
				 arena_copy(&b->ctx->perm, v, size), size });
}

struct value *floats_along(struct builder *b, unsigned rank, int axis,
			   size_t n, const float *v)
{
	const struct expr *dim[MAX_RANK];

	for (unsigned i = 0; i < rank; i++)
		dim[i] = expr_const(b->ctx, (int)i == axis ? (int64_t)n : 1);
	return floats_const(b, type_tensor(b->ctx, DT_F32, rank, dim), v);
}

/* ---- grids ---------------------------------------------------------- */

/* The groups of a weight's elements that have a scale in common. */
struct groups {
	const struct linear *l;
	struct grid grid;
	struct shape w, s;		/* of the weight and of the scales */
	float *scale;
	int *zero;
	int lo, hi;
};

static int64_t group_of(const struct groups *g, int64_t e)
{
	int64_t at = 0;

	if (!g->grid.block)
		return shape_at(&g->w, e, g->l->o_axis);
	for (unsigned i = 0; i < g->w.rank; i++) {
		int64_t k = shape_at(&g->w, e, (int)i);

		if ((int)i == g->l->k_axis)
			k /= g->grid.block;
		at += k * g->s.stride[i];
	}
	return at;
}

static void groups_init(struct ctx *c, struct groups *g,
			const struct linear *l, struct grid grid)
{
	*g = (struct groups){ .l = l, .grid = grid };
	g->w = g->s = const_shape(linear_w(l));
	g->s.n = const_dim(linear_w(l), l->o_axis);
	if (grid.block) {
		g->s.n = 1;
		g->s.dim[l->k_axis] = (g->s.dim[l->k_axis] + grid.block - 1) /
				      grid.block;
		for (unsigned i = g->s.rank; i-- > 0;) {
			g->s.stride[i] = g->s.n;
			g->s.n *= g->s.dim[i];
		}
	}
	g->scale = NEW_ARRAY(&c->temp, (size_t)g->s.n + 1, float);
	g->zero = NEW_ARRAY(&c->temp, (size_t)g->s.n + 1, int);
	g->hi = grid.asymmetric ? (1 << grid.bits) - 1
				: (1 << (grid.bits - 1)) - 1;
	g->lo = grid.asymmetric ? 0 : -g->hi;
}

/* The grid of a group whose values lie in [lo, hi]. */
static void group_set(struct groups *g, int64_t k, float lo, float hi)
{
	float scale;

	if (!g->grid.asymmetric) {
		scale = fmaxf(-lo, hi) / (float)g->hi;
	} else {
		/* Half floats hold these scales. */
		lo = fminf(lo, 0);
		hi = fmaxf(hi, 0);
		scale = (float)narrow_value(
			DT_F16, narrow_bits(DT_F16, fmin((hi - lo) /
								 (float)g->hi,
							 65504)));
	}
	if (!(scale >= least_scale))
		scale = g->grid.asymmetric ? 0x1p-14f : least_scale;
	g->scale[k] = scale;
	g->zero[k] = g->grid.asymmetric
			     ? (int)fminf(rintf(-lo / scale), (float)g->hi)
			     : 0;
}

static float group_round(const struct groups *g, int64_t k, float v, int *q)
{
	float x = rintf(v / g->scale[k]) + (float)g->zero[k];

	*q = (int)fminf(fmaxf(x, (float)g->lo), (float)g->hi);
	return (float)(*q - g->zero[k]) * g->scale[k];
}

static void round_nearest(struct ctx *c, struct groups *g, const float *w,
			  int *q, float *held)
{
	float *lo = NEW_ARRAY(&c->temp, (size_t)g->s.n + 1, float);
	float *hi = NEW_ARRAY(&c->temp, (size_t)g->s.n + 1, float);

	for (int64_t e = 0; e < g->w.n; e++) {
		int64_t k = group_of(g, e);

		lo[k] = fminf(lo[k], w[e]);
		hi[k] = fmaxf(hi[k], w[e]);
	}
	for (int64_t k = 0; k < g->s.n; k++)
		group_set(g, k, lo[k], hi[k]);
	for (int64_t e = 0; e < g->w.n; e++)
		held[e] = group_round(g, group_of(g, e), w[e], &q[e]);
}

/* ---- the ops -------------------------------------------------------- */

static struct value *ints_const(struct builder *b, const struct type *t,
				int64_t n, const int *v)
{
	size_t size = dtype_bytes(t->dtype, (size_t)n);
	char *p = arena_alloc(&b->ctx->perm, size + 1);

	for (int64_t i = 0; i < n; i++)
		scalar_put(t->dtype, p, (size_t)i,
			   (union scalar){ .i = v[i] });
	return build_const(b, t, (struct blob){ p, size });
}

static const struct type *scale_type(struct ctx *c, const struct groups *g,
				     enum dtype t)
{
	const struct expr *dim[MAX_RANK];

	for (unsigned i = 0; i < g->s.rank; i++)
		dim[i] = expr_const(c, g->s.dim[i]);
	if (!g->grid.block)
		dim[0] = expr_const(c, g->s.n);
	return type_tensor(c, t, g->grid.block ? g->s.rank
					       : g->l->o_axis >= 0, dim);
}

static struct value *scales_const(struct builder *b, const struct groups *g)
{
	enum dtype t = g->grid.asymmetric ? DT_F16 : DT_F32;
	size_t size = dtype_size(t);
	char *p = arena_alloc(&b->ctx->perm, (size_t)g->s.n * size + 1);

	for (int64_t i = 0; i < g->s.n; i++)
		scalar_store(t, p + (size_t)i * size,
			     (union scalar){ .d = g->scale[i] });
	return build_const(b, scale_type(b->ctx, g, t),
			   (struct blob){ p, (size_t)g->s.n * size });
}

static struct value *build_dequantize(struct ctx *c, const struct groups *g,
				      const int *q)
{
	struct op *op = g->l->op;
	struct builder b = { c, op->parent, op, op->loc };
	const struct type *wt = linear_w(g->l)->type;
	enum dtype t = g->grid.asymmetric ? DT_U4 : DT_I8;
	struct value *in[3] = {
		ints_const(&b, type_tensor(c, t, wt->rank, wt->dim), g->w.n,
			   q),
		scales_const(&b, g),
	};
	int axis = g->grid.block ? g->l->k_axis : g->l->o_axis;
	struct named_attr attr[3] = {
		{ A_axis, attr_int(c, axis < 0 ? 0 : axis) },
		{ A_output_dtype, attr_int(c, dtype_info[DT_F32].onnx) },
		{ A_block_size, attr_int(c, g->grid.block) },
	};

	in[0]->name = linear_w(g->l)->name;
	if (g->grid.asymmetric)
		in[2] = ints_const(&b, scale_type(c, g, t), g->s.n, g->zero);
	return build_op(&b, OP_DequantizeLinear, in[2] ? 3 : 2, in,
			g->grid.block ? 3 : 2, attr);
}

/* ---- with a Gram matrix --------------------------------------------- */

static void gptq_grid(void *arg, int64_t k0, int64_t n, const float *col)
{
	struct groups *g = arg;
	int64_t end = g->grid.block ? k0 + g->grid.block
				    : g->w.dim[g->l->k_axis];
	float lo = 0, hi = 0;

	if (end > g->w.dim[g->l->k_axis])
		end = g->w.dim[g->l->k_axis];
	for (int64_t k = k0; k < end; k++) {
		lo = fminf(lo, col[k]);
		hi = fmaxf(hi, col[k]);
	}
	group_set(g, group_of(g, k0 * g->w.stride[g->l->k_axis] +
					 n * g->w.stride[g->l->o_axis]),
		  lo, hi);
}

static float gptq_round(void *arg, int64_t k, int64_t n, float v, int *q)
{
	struct groups *g = arg;
	int64_t e = k * g->w.stride[g->l->k_axis] +
		    n * g->w.stride[g->l->o_axis];

	return group_round(g, group_of(g, e), v, q);
}

/* As rows k of columns n, whichever way the weight lies. */
static bool round_carrying(struct ctx *c, struct groups *g, const float *w,
			   const double *gram, int *q, float *held)
{
	int64_t nk = g->w.dim[g->l->k_axis], nn = g->w.dim[g->l->o_axis];
	int64_t sk = g->w.stride[g->l->k_axis], sn = g->w.stride[g->l->o_axis];
	struct gptq run = { nk, nn, g->grid.block, gram, gptq_grid, gptq_round,
			    g };
	float *t = NEW_ARRAY(&c->temp, (size_t)g->w.n + 1, float);
	int *tq = NEW_ARRAY(&c->temp, (size_t)g->w.n + 1, int);

	for (int64_t n = 0; n < nn; n++)
		for (int64_t k = 0; k < nk; k++)
			t[n * nk + k] = w[k * sk + n * sn];
	if (!gptq_run(&run, t, tq))
		return false;
	for (int64_t n = 0; n < nn; n++)
		for (int64_t k = 0; k < nk; k++) {
			held[k * sk + n * sn] = t[n * nk + k];
			q[k * sk + n * sn] = tq[n * nk + k];
		}
	return true;
}

struct value *weight_quantize(struct ctx *c, const struct linear *l,
			      struct grid grid, const float *w,
			      const double *gram, float *held)
{
	struct groups g;

	groups_init(c, &g, l, grid);
	int *q = NEW_ARRAY(&c->temp, (size_t)g.w.n + 1, int);

	if (!gram || g.w.rank != 2 || l->o_axis < 0 ||
	    !round_carrying(c, &g, w, gram, q, held))
		round_nearest(c, &g, w, q, held);
	return build_dequantize(c, &g, q);
}
