/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ConvTranspose: each input element adds a scaled kernel to the output.
 *
 * Pulled from the output: position o gets x[i] * w[k] where
 * i * stride + k * dilation = o + border.  Without holes in the kernel the
 * fitting k are k = (o + border) mod stride + j * stride, so the fold runs
 * over j alone; with both holes and strides it tries all k.
 */
#include <string.h>

#include "ir/ops/onnx/fold.h"
#include "ir/ops/onnx/window.h"

struct geometry {
	unsigned n;
	const struct expr *in[MAX_RANK], *kernel[MAX_RANK], *out[MAX_RANK];
	const struct expr *border[MAX_RANK];	/* cut off before */
	int64_t stride[MAX_RANK], dilation[MAX_RANK];
};

struct lists {
	int64_t pads[2 * MAX_RANK], extra[MAX_RANK], shape[MAX_RANK];
	int64_t kernel[MAX_RANK];
	bool has_shape, has_kernel;
};

static const char *read_lists(struct ctx *c, const struct op *op,
			      struct geometry *g, struct lists *l)
{
	unsigned n = g->n;
	const char *why;
	size_t m;

	op_ints(op, A_output_shape, &m);
	l->has_shape = m;
	op_ints(op, A_kernel_shape, &m);
	l->has_kernel = m;
	if ((why = window_list(c, op, A_strides, n, 1, 1, g->stride)) ||
	    (why = window_list(c, op, A_dilations, n, 1, 1, g->dilation)) ||
	    (why = window_list(c, op, A_pads, 2 * n, 0, 0, l->pads)) ||
	    (why = window_list(c, op, A_output_padding, n, 0, 0, l->extra)) ||
	    (why = window_list(c, op, A_kernel_shape, n, 1, 1, l->kernel)))
		return why;
	return window_list(c, op, A_output_shape, n, 0, 0, l->shape);
}

/* The result's dim i, and how much of the full sum is cut off before it. */
static void out_dim(struct ctx *c, struct geometry *g, const struct lists *l,
		    unsigned i, const char *mode)
{
	const struct expr *zero = expr_const(c, 0), *cut;
	const struct expr *full = expr_add(
		c, expr_scale(c, expr_addc(c, g->in[i], -1), g->stride[i]),
		expr_scale(c, expr_addc(c, g->kernel[i], -1), g->dilation[i]));
	bool same = !strncmp(mode, "SAME_", 5);

	full = expr_addc(c, full, 1 + l->extra[i]);
	if (!same && !l->has_shape) {
		bool valid = !strcmp(mode, "VALID");

		g->border[i] = expr_const(c, valid ? 0 : l->pads[i]);
		g->out[i] = full;
		if (!valid)
			g->out[i] = expr_addc(
				c, full, -l->pads[i] - l->pads[g->n + i]);
		return;
	}
	/* SAME aims at in * stride, but does not widen a smaller result. */
	cut = expr_sub(c, full, l->has_shape ? expr_const(c, l->shape[i])
					     : expr_scale(c, g->in[i],
							  g->stride[i]));
	cut = expr_max(c, cut, zero);
	g->out[i] = l->has_shape ? expr_const(c, l->shape[i])
				 : expr_sub(c, full, cut);
	g->border[i] = expr_div(c, cut, expr_const(c, 2));
	if (strcmp(mode, "SAME_UPPER"))
		g->border[i] = expr_sub(c, cut, g->border[i]);
}

static const char *read_geometry(struct ctx *c, const struct op *op,
				 const struct type *x, const struct type *w,
				 struct geometry *g)
{
	const char *why, *mode = op_str(op, A_auto_pad);
	struct lists l;

	g->n = x->rank - 2;
	if ((why = read_lists(c, op, g, &l)))
		return why;
	if (strcmp(mode, "SAME_UPPER") && strcmp(mode, "SAME_LOWER") &&
	    strcmp(mode, "VALID") && strcmp(mode, "NOTSET") && *mode)
		return arena_fmt(&c->temp, "auto_pad is '%.40s'", mode);
	for (unsigned i = 0; i < g->n; i++) {
		int64_t k;

		g->in[i] = x->dim[2 + i];
		g->kernel[i] = w->dim[2 + i];
		if (l.has_kernel && expr_is_const(g->kernel[i], &k) &&
		    k != l.kernel[i])
			return arena_fmt(&c->temp,
					 "kernel_shape has %lld for dim %u, "
					 "the weight has %lld",
					 (long long)l.kernel[i], i,
					 (long long)k);
		out_dim(c, g, &l, i, mode);
	}
	return NULL;
}

static bool transpose_infer(struct infer *in)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, 0), *w = infer_type(in, 1);
	const struct expr *dim[MAX_RANK];
	int64_t group = op_int(in->op, A_group), channels;
	struct geometry g;
	const char *why;

	if (x->rank < 3 || w->rank != x->rank)
		return infer_error(in, "input has type %s, weight has %s",
				   type_str(c, x), type_str(c, w));
	if (group < 1 ||
	    (expr_is_const(x->dim[1], &channels) && channels % group))
		return infer_error(in, "group is %lld for %s channels",
				   (long long)group, expr_str(c, x->dim[1]));
	infer_require_eq(in, expr_mod(c, x->dim[1], expr_const(c, group)),
			 expr_const(c, 0));
	if (!infer_dims_agree(in, w->dim[0], x->dim[1],
			      "dim 0 of the weight"))
		return false;
	dim[0] = x->dim[0];
	dim[1] = expr_scale(c, w->dim[1], group);
	if (!infer_dims(in, 2, 1, &dim[1]))
		return false;
	if ((why = read_geometry(c, in->op, x, w, &g)))
		return infer_error(in, "%s", why);
	for (unsigned i = 0; i < g.n; i++) {
		if (!infer_require_ge0(in, g.out[i],
				       "a spatial dim of the result would be "
				       "negative"))
			return false;
		dim[2 + i] = g.out[i];
	}
	infer_set(in, 0, x->dtype, x->rank, dim);
	return true;
}

/* Can dim i run over every stride-th kernel position only? */
static bool strided_fold(const struct geometry *g, unsigned i)
{
	return g->dilation[i] == 1 || g->stride[i] == 1;
}

static const struct expr *fold_extent(struct ctx *c, const struct geometry *g,
				      unsigned i)
{
	if (!strided_fold(g, i))
		return g->kernel[i];
	return expr_ceildiv(c, g->kernel[i], expr_const(c, g->stride[i]));
}

/*
 * For output position o and fold variable j of dim i: the kernel position,
 * the input position, and the guards under which both exist.
 */
struct place {
	const struct expr *k[MAX_RANK], *x[MAX_RANK];
	unsigned n_guard, n_kernel_guard;
	const struct expr *guard[4 * MAX_RANK], *kernel_guard[MAX_RANK];
};

static void place_dim(struct ctx *c, const struct geometry *g, unsigned i,
		      const struct expr *o, const struct expr *j,
		      struct place *p)
{
	const struct expr *stride = expr_const(c, g->stride[i]);
	const struct expr *e = expr_add(c, o, g->border[i]);

	if (strided_fold(g, i)) {
		const struct expr *k = expr_add(
			c, expr_mod(c, e, stride),
			expr_scale(c, j, g->stride[i]));
		const struct expr *inside = expr_addc(
			c, expr_sub(c, g->kernel[i], k), -1);

		p->k[i] = k;
		p->x[i] = expr_sub(c, expr_div(c, e, stride),
				   expr_scale(c, j, g->dilation[i]));
		p->guard[p->n_guard++] = inside;
		p->kernel_guard[p->n_kernel_guard++] = inside;
	} else {
		e = expr_sub(c, e, expr_scale(c, j, g->dilation[i]));
		p->k[i] = j;
		p->x[i] = expr_div(c, e, stride);
		p->guard[p->n_guard++] =
			expr_scale(c, expr_mod(c, e, stride), -1);
	}
	p->guard[p->n_guard++] = p->x[i];
	p->guard[p->n_guard++] = expr_addc(
		c, expr_sub(c, g->in[i], p->x[i]), -1);
}

static bool transpose_lower(struct lower *lo)
{
	struct ctx *c = lo->b.ctx;
	struct value *x = lower_in(lo, 0), *w = lower_in(lo, 1);
	struct value *v, *u;
	const struct type *out = lower_type(lo, 0);
	enum dtype acc = acc_dtype(out->dtype);
	const struct expr *extent[MAX_RANK];
	struct place p = { .n_guard = 0 };
	struct geometry g;

	if (read_geometry(c, lo->op, x->type, w->type, &g))
		return false;
	extent[0] = expr_div(c, x->type->dim[1],
			     expr_const(c, op_int(lo->op, A_group)));
	for (unsigned i = 0; i < g.n; i++)
		extent[1 + i] = fold_extent(c, &g, i);
	struct nest n = nest_begin(lo, 1, &out);
	struct value *zero = s_const(lo, out->dtype, 0);

	v = s_const(lo, acc, 0);
	struct fold f = fold_begin(lo, 1 + g.n, extent, 1, &v);
	const struct expr *per_group = w->type->dim[1];
	const struct expr *ci = expr_add(
		c, expr_mul(c, expr_div(c, n.iv[1], per_group), extent[0]),
		f.iv[0]);
	const struct expr *ix[MAX_RANK] = { n.iv[0], ci };
	const struct expr *iw[MAX_RANK] = {
		ci, expr_mod(c, n.iv[1], per_group) };

	for (unsigned i = 0; i < g.n; i++) {
		place_dim(c, &g, i, n.iv[2 + i], f.iv[1 + i], &p);
		ix[2 + i] = p.x[i];
		iw[2 + i] = p.k[i];
	}
	v = nest_load_guarded(lo, x, ix, p.n_guard, p.guard, zero);
	u = nest_load_guarded(lo, w, iw, p.n_kernel_guard, p.kernel_guard,
			      zero);
	v = s_mul(lo, s_cast(lo, acc, v), s_cast(lo, acc, u));
	window_sum_end(lo, &n, &f, v);
	return true;
}

OP(ConvTranspose, .domain = "", .since = 22,
	.in = { { "X", T_FLOAT }, { "W", T_FLOAT | P_SAME },
		{ "B", T_FLOAT | P_SAME | P_OPTIONAL } },
	.out = { { "Y", T_FLOAT } },
	.attr = {
		ATTR(auto_pad, AT_STR, .s = "NOTSET"),
		ATTR(dilations, AT_INTS),
		ATTR(group, AT_INT, .i = 1),
		ATTR(kernel_shape, AT_INTS),
		ATTR(output_padding, AT_INTS),
		ATTR(output_shape, AT_INTS),
		ATTR(pads, AT_INTS),
		ATTR(strides, AT_INTS),
	},
	.infer = transpose_infer,
	.lower = transpose_lower);
