/* SPDX-License-Identifier: Apache-2.0 */
/* Window geometry; see window.h.  The formulas are those of the ONNX operator
 * pages of Conv, MaxPool and AveragePool. */
#include "ir/ops/onnx/window.h"

#include <string.h>

#include "ir/ops/onnx/fold.h"

/* Beyond this no model is meaningful and products could overflow. */
static const int64_t max_step = INT64_C(1) << 31;

const char *window_list(struct ctx *c, const struct op *op,
			enum attr_name name, unsigned n, int64_t least,
			int64_t other, int64_t *v)
{
	size_t m = 0;
	const int64_t *list = NULL;

	if (op_attr_def(op_def(op), name))
		list = op_ints(op, name, &m);
	if (m && m != n)
		return arena_fmt(&c->temp,
				 "attribute '%s' has %zu values, expected %u",
				 attr_names[name], m, n);
	for (unsigned i = 0; i < n; i++) {
		v[i] = m ? list[i] : other;
		if (v[i] < least || v[i] > max_step)
			return arena_fmt(&c->temp,
					 "attribute '%s' has value %lld",
					 attr_names[name], (long long)v[i]);
	}
	return NULL;
}

/* Extent of the kernel with its holes. */
static const struct expr *spread(struct ctx *c, const struct window *w,
				 unsigned i)
{
	return expr_addc(c, expr_scale(c, expr_addc(c, w->kernel[i], -1),
				       w->dilation[i]), 1);
}

static void out_dim(struct ctx *c, struct window *w, unsigned i, bool ceil)
{
	const struct expr *stride = expr_const(c, w->stride[i]);
	const struct expr *room = expr_add(c, w->in[i],
					   expr_add(c, w->lo[i], w->hi[i]));

	room = expr_sub(c, room, spread(c, w, i));
	if (!ceil) {
		w->out[i] = expr_addc(c, expr_div(c, room, stride), 1);
		return;
	}
	/* The last window must begin inside the image or its left border. */
	w->out[i] = expr_min(
		c, expr_addc(c, expr_ceildiv(c, room, stride), 1),
		expr_ceildiv(c, expr_add(c, w->in[i], w->lo[i]), stride));
}

/* x / 2 towards zero. */
static const struct expr *half(struct ctx *c, const struct expr *x)
{
	const struct expr *zero = expr_const(c, 0), *two = expr_const(c, 2);

	return expr_add(c, expr_max(c, expr_div(c, x, two), zero),
			expr_min(c, expr_ceildiv(c, x, two), zero));
}

/*
 * Borders so that the result has ceil(in / stride) elements.  Where strides
 * skip input, pools crop by a negative border, which convolutions do not:
 * ONNX is silent, ONNX Runtime does so.
 */
static void same_dim(struct ctx *c, struct window *w, unsigned i, bool upper,
		     bool crop)
{
	w->out[i] = expr_ceildiv(c, w->in[i], expr_const(c, w->stride[i]));
	const struct expr *need = expr_add(
		c, expr_scale(c, expr_addc(c, w->out[i], -1), w->stride[i]),
		expr_sub(c, spread(c, w, i), w->in[i]));

	if (!crop)
		need = expr_max(c, need, expr_const(c, 0));
	w->lo[i] = half(c, expr_addc(c, need, !upper));
	w->hi[i] = expr_sub(c, need, w->lo[i]);
}

static const char *read_kernel(struct ctx *c, const struct op *op,
			       const struct expr *const *kernel,
			       struct window *w)
{
	int64_t v[MAX_RANK];
	const char *why = window_list(c, op, A_kernel_shape, w->n, 1, 1, v);
	size_t m;

	if (why)
		return why;
	op_ints(op, A_kernel_shape, &m);
	if (!m && !kernel)
		return "attribute 'kernel_shape' is missing";
	for (unsigned i = 0; i < w->n; i++) {
		int64_t k;

		w->kernel[i] = kernel ? kernel[i] : expr_const(c, v[i]);
		if (kernel && m && expr_is_const(kernel[i], &k) && k != v[i])
			return arena_fmt(&c->temp,
					 "kernel_shape has %lld for dim %u, "
					 "the weight has %lld",
					 (long long)v[i], i, (long long)k);
	}
	return NULL;
}

const char *window_read(struct ctx *c, const struct op *op,
			const struct type *x, const struct expr *const *kernel,
			struct window *w)
{
	const char *why, *mode = op_str(op, A_auto_pad);
	int64_t pads[2 * MAX_RANK];
	bool ceil = op_attr_def(op_def(op), A_ceil_mode) &&
		    op_int(op, A_ceil_mode);

	w->n = x->rank - 2;
	for (unsigned i = 0; i < w->n; i++)
		w->in[i] = x->dim[2 + i];
	if ((why = read_kernel(c, op, kernel, w)) ||
	    (why = window_list(c, op, A_strides, w->n, 1, 1, w->stride)) ||
	    (why = window_list(c, op, A_dilations, w->n, 1, 1, w->dilation)) ||
	    (why = window_list(c, op, A_pads, 2 * w->n, -max_step, 0, pads)))
		return why;
	bool same = !strcmp(mode, "SAME_UPPER") || !strcmp(mode, "SAME_LOWER");
	bool valid = !strcmp(mode, "VALID");

	if (!same && !valid && strcmp(mode, "NOTSET") && *mode)
		return arena_fmt(&c->temp, "auto_pad is '%.40s'", mode);
	for (unsigned i = 0; i < w->n; i++) {
		if (same) {
			same_dim(c, w, i, !strcmp(mode, "SAME_UPPER"),
				 !kernel);
			continue;
		}
		w->lo[i] = expr_const(c, valid ? 0 : pads[i]);
		w->hi[i] = expr_const(c, valid ? 0 : pads[w->n + i]);
		out_dim(c, w, i, ceil);
	}
	return NULL;
}

bool window_infer(struct infer *in, const struct expr *const *kernel,
		  struct window *w)
{
	return window_infer_of(in, infer_type(in, 0), kernel, w);
}

bool window_infer_of(struct infer *in, const struct type *x,
		     const struct expr *const *kernel, struct window *w)
{
	const char *why;

	if (x->rank < 3)
		return infer_error(in, "input is %s, expected at least one "
				   "spatial dim", type_str(in->ctx, x));
	why = window_read(in->ctx, in->op, x, kernel, w);
	if (why)
		return infer_error(in, "%s", why);
	for (unsigned i = 0; i < w->n; i++)
		if (!infer_require_ge0(in, w->out[i],
				       "a spatial dim of the result would be "
				       "negative"))
			return false;
	return true;
}

const struct expr *window_first(struct ctx *c, const struct window *w,
				unsigned i, const struct expr *o)
{
	const struct expr *before = expr_sub(
		c, w->lo[i], expr_scale(c, o, w->stride[i]));

	return expr_max(c, expr_const(c, 0),
			expr_ceildiv(c, before,
				     expr_const(c, w->dilation[i])));
}

const struct expr *window_pos(struct ctx *c, const struct window *w,
			      unsigned i, const struct expr *o,
			      const struct expr *k)
{
	return expr_sub(c, expr_add(c, expr_scale(c, o, w->stride[i]),
				    expr_scale(c, k, w->dilation[i])),
			w->lo[i]);
}

/*
 * How many positions of the window at o are counted along dim i: those inside
 * the image, or also those in its borders.  Positions beyond both, which
 * ceil_mode makes, never count.
 */
static const struct expr *counted(struct ctx *c, const struct window *w,
				  unsigned i, const struct expr *o,
				  bool border)
{
	const struct expr *d = expr_const(c, w->dilation[i]);
	const struct expr *begin = expr_const(c, 0);
	const struct expr *start = expr_scale(c, o, w->stride[i]);
	const struct expr *end = expr_add(c, w->in[i], w->lo[i]);

	if (border)
		end = expr_add(c, end, w->hi[i]);
	else
		begin = window_first(c, w, i, o);
	end = expr_ceildiv(c, expr_sub(c, end, start), d);
	return expr_sub(c, expr_min(c, w->kernel[i], end), begin);
}

const struct expr *window_count(struct ctx *c, const struct window *w,
				const struct expr *const *o, bool border)
{
	const struct expr *all = expr_const(c, 1);

	for (unsigned i = 0; i < w->n; i++)
		all = expr_mul(c, all, counted(c, w, i, o[i], border));
	return all;
}

struct value *window_load(struct lower *lo, const struct window *w,
			  struct value *x, const struct expr *batch,
			  const struct expr *channel,
			  const struct expr *const *o,
			  const struct expr *const *k, struct value *other)
{
	struct ctx *c = lo->b.ctx;
	const struct expr *idx[MAX_RANK] = { batch, channel };
	const struct expr *guard[2 * MAX_RANK];

	for (unsigned i = 0; i < w->n; i++) {
		idx[2 + i] = window_pos(c, w, i, o[i], k[i]);
		guard[2 * i] = idx[2 + i];
		guard[2 * i + 1] = expr_addc(
			c, expr_sub(c, w->in[i], idx[2 + i]), -1);
	}
	return nest_load_guarded(lo, x, idx, 2 * w->n, guard, other);
}

void window_sum_end(struct lower *lo, struct nest *n, struct fold *f,
		    struct value *v)
{
	struct value *bias = lower_in(lo, 2);

	v = s_add(lo, f->acc[0], v);
	fold_end(lo, f, &v, &v);
	if (bias)
		v = s_add(lo, v, load_as(lo, v->type->dtype, bias, &n->iv[1]));
	v = s_cast(lo, lower_type(lo, 0)->dtype, v);
	nest_end(lo, n, 1, &v, lo->result);
}
