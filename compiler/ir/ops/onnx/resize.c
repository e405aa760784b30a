/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resize.  The result's dims come from sizes, or from scales that multiply
 * the input's dims; resize_lower.c has the interpolation.
 */
#include <math.h>
#include <string.h>

#include "ir/ops/onnx/movement.h"
#include "ir/ops/onnx/resize.h"

/* ---- inference ------------------------------------------------------ */

static bool given(struct infer *in, unsigned i)
{
	const struct type *t = infer_type(in, i);

	/* Before opset 13 an absent list was an empty one. */
	return t && !expr_is(type_elems(in->ctx, t), 0);
}

static bool read_axes(struct infer *in, size_t *n, const int64_t **axes)
{
	const struct type *x = infer_type(in, 0);
	bool seen[MAX_RANK] = { false };

	*axes = op_ints(in->op, A_axes, n);
	if (!*axes)
		*n = x->rank;
	for (size_t k = 0; *axes && k < *n; k++) {
		unsigned a;

		if (!infer_axis(in, (*axes)[k], x->rank, &a))
			return false;
		if (seen[a])
			return infer_error(in, "axis %u is given twice", a);
		seen[a] = true;
	}
	return true;
}

unsigned resize_axis_at(const int64_t *axes, unsigned rank, size_t k)
{
	int64_t a = axes ? axes[k] : (int64_t)k;

	return (unsigned)(a < 0 ? a + rank : a);
}

bool resize_const_scale(struct value *v, size_t k, float *s)
{
	struct blob b;

	if (!value_const(v, &b) || b.size < (k + 1) * sizeof(*s))
		return false;
	memcpy(s, (const char *)b.data + k * sizeof(*s), sizeof(*s));
	return true;
}

/* floor(dim * scale) where an expression can say it, else NULL. */
static const struct expr *scaled(struct ctx *c, const struct expr *dim,
				 float scale)
{
	int64_t k;

	if (expr_is_const(dim, &k)) {
		float size = floorf((float)k * scale);

		return size < 0x1p62f ? expr_const(c, (int64_t)size) : NULL;
	}
	if (scale == floorf(scale) && scale < 0x1p30f)
		return expr_scale(c, dim, (int64_t)scale);
	if (1 / scale == floorf(1 / scale) && 1 / scale < 0x1p30f &&
	    1 / (1 / scale) == scale)
		return expr_div(c, dim, expr_const(c, (int64_t)(1 / scale)));
	return NULL;
}

/* floor(Cast(Shape(x)) * scales), by ops that run before this one. */
static const struct expr **computed_dims(struct infer *in, unsigned i)
{
	struct ctx *c = in->ctx;
	struct value *x = op_in(in->op, 0), *v;
	struct named_attr f32 = { A_to, attr_int(c, dtype_info[DT_F32].onnx) };
	struct named_attr i64 = { A_to, attr_int(c, dtype_info[DT_I64].onnx) };

	if (!(v = infer_helper(in, OP_Shape, 1, &x, 0, NULL)) ||
	    !(v = infer_helper(in, OP_Cast, 1, &v, 1, &f32)) ||
	    !(v = infer_helper(in, OP_Mul, VALUES(v, op_in(in->op, i)), 0,
			       NULL)) ||
	    !(v = infer_helper(in, OP_Floor, 1, &v, 0, NULL)) ||
	    !(v = infer_helper(in, OP_Cast, 1, &v, 1, &i64)))
		return NULL;
	return infer_elements_of(in, v, x->type->rank);
}

bool resize_scaled_dims(struct infer *in, unsigned i, size_t n,
			const int64_t *axes, const struct expr **dim)
{
	const struct type *x = infer_type(in, 0), *list = infer_type(in, i);
	const struct expr **slow = NULL, *len = expr_const(in->ctx, (int64_t)n);

	if (list->rank != 1)
		return infer_error(in, "scales must be a list of %zu, are %s",
				   n, type_str(in->ctx, list));
	if (!infer_same_dim(in, &len, list->dim[0], "number of scales"))
		return false;
	for (size_t k = 0; k < n; k++) {
		unsigned a = resize_axis_at(axes, x->rank, k);
		const struct expr *e = NULL;
		float s;

		if (resize_const_scale(op_in(in->op, i), k, &s)) {
			if (!(s > 0))
				return infer_error(in, "scale %zu is %g", k,
						   (double)s);
			e = scaled(in->ctx, x->dim[a], s);
		}
		if (!e && axes)
			return infer_unsupported(
				in, "scales of chosen axes must be constant");
		if (!e && !slow && !(slow = computed_dims(in, i)))
			return false;
		dim[a] = e ? e : slow[k];
		if (!infer_require_ge0(in, dim[a], "negative size"))
			return false;
	}
	return true;
}

/*
 * One scale for all axes: the smallest or the largest that sizes imply.  The
 * size of axis i is then the smallest or largest of size[k] * dim[i] / dim[k],
 * each rounded with halves up, since rounding keeps the order.
 */
static void keep_aspect(struct infer *in, size_t n, const int64_t *axes,
			bool smaller, const struct expr *const *size,
			const struct expr **dim)
{
	struct ctx *c = in->ctx;
	const struct type *x = infer_type(in, 0);
	const struct expr *one = expr_const(c, 1);

	for (size_t i = 0; i < n; i++) {
		unsigned to = resize_axis_at(axes, x->rank, i);
		const struct expr *best = NULL;

		for (size_t k = 0; k < n; k++) {
			const struct expr *from = expr_max(
				c, x->dim[resize_axis_at(axes, x->rank, k)],
				one);
			const struct expr *e = expr_scale(
				c, expr_mul(c, size[k], x->dim[to]), 2);

			e = expr_div(c, expr_add(c, e, from),
				     expr_scale(c, from, 2));
			best = !best	 ? e
			       : smaller ? expr_min(c, best, e)
					 : expr_max(c, best, e);
		}
		dim[to] = infer_dim(c, best);
	}
}

static bool known_word(const char *s, const char *const *words)
{
	for (; *words; words++)
		if (!strcmp(s, *words))
			return true;
	return false;
}

static bool check_words(struct infer *in)
{
	static const struct {
		enum attr_name name;
		const char *words[8];	/* ends with NULL */
	} all[] = {
		{ A_mode, { "nearest", "linear", "cubic" } },
		{ A_nearest_mode,
		  { "round_prefer_floor", "round_prefer_ceil", "floor",
		    "ceil" } },
		{ A_coordinate_transformation_mode,
		  { "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel",
		    "align_corners", "asymmetric", "tf_half_pixel_for_nn",
		    "tf_crop_and_resize" } },
		{ A_keep_aspect_ratio_policy,
		  { "stretch", "not_larger", "not_smaller" } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (!known_word(op_str(in->op, all[i].name), all[i].words))
			return infer_error(in, "%s is '%s'",
					   attr_names[all[i].name],
					   op_str(in->op, all[i].name));
	return true;
}

static bool resize_infer(struct infer *in)
{
	const struct type *x = infer_type(in, 0);
	const struct type *roi = infer_type(in, RESIZE_ROI);
	const char *keep = op_str(in->op, A_keep_aspect_ratio_policy);
	const char *how = op_str(in->op, A_coordinate_transformation_mode);
	const struct expr *dim[MAX_RANK], **size;
	const int64_t *axes;
	size_t n, n_size;

	if (!check_words(in) || !read_axes(in, &n, &axes))
		return false;
	if (given(in, RESIZE_SCALES) == given(in, RESIZE_SIZES))
		return infer_error(in, "needs either scales or sizes");
	if (!strcmp(how, "tf_crop_and_resize")) {
		const struct expr *len = expr_const(in->ctx, 2 * (int64_t)n);

		if (!roi || roi->rank != 1)
			return infer_error(in, "roi must be a list");
		if (!infer_same_dim(in, &len, roi->dim[0], "length of roi"))
			return false;
	}
	if (x->dtype == DT_BOOL && strcmp(op_str(in->op, A_mode), "nearest"))
		return infer_error(in, "bools cannot be interpolated");
	for (unsigned i = 0; i < x->rank; i++)
		dim[i] = x->dim[i];
	if (given(in, RESIZE_SCALES)) {
		if (!resize_scaled_dims(in, RESIZE_SCALES, n, axes, dim))
			return false;
	} else {
		if (!(size = infer_list(in, RESIZE_SIZES, n, &n_size)))
			return false;
		if (n_size != n)
			return infer_error(in, "%zu sizes for %zu axes",
					   n_size, n);
		for (size_t k = 0; k < n; k++) {
			dim[resize_axis_at(axes, x->rank, k)] = size[k];
			if (!infer_require_ge0(in, size[k], "negative size"))
				return false;
		}
		if (strcmp(keep, "stretch"))
			keep_aspect(in, n, axes, !strcmp(keep, "not_larger"),
				    size, dim);
	}
	for (size_t k = 0; k < n; k++) {
		unsigned a = resize_axis_at(axes, x->rank, k);

		/* There must be an element to interpolate from. */
		if (dim[a] != x->dim[a] &&
		    !infer_require_ge0(in, expr_addc(in->ctx, x->dim[a], -1),
				       "an empty dim cannot be resized"))
			return false;
	}
	infer_set(in, 0, x->dtype, x->rank, dim);
	return true;
}

/* Opset 10 has no roi, and one coordinate transformation. */
static bool resize_older(struct older *o)
{
	struct ctx *c = o->b.ctx;

	if (o->opset >= 11)
		return true;
	if (o->n_in != 2)
		return older_error(o, "has %u inputs, needs 2", o->n_in);
	o->in[RESIZE_SCALES] = o->in[1];
	o->in[RESIZE_ROI] = NULL;
	o->n_in = 3;
	older_set_attr(o, A_coordinate_transformation_mode,
		       attr_str(c, "asymmetric"));
	older_set_attr(o, A_nearest_mode, attr_str(c, "floor"));
	return true;
}

OP(Resize, .domain = "", .since = 19, .first = 10,
	.in = { { "X", T_BASIC },
		{ "roi", T(F16) | T(F32) | T(F64) | P_OPTIONAL },
		{ "scales", T(F32) | P_OPTIONAL },
		{ "sizes", T(I64) | P_OPTIONAL } },
	.out = { { "Y", T_BASIC } },
	.attr = {
		ATTR(antialias, AT_INT, .i = 0),
		ATTR(axes, AT_INTS),
		ATTR(coordinate_transformation_mode, AT_STR,
		     .s = "half_pixel"),
		ATTR(cubic_coeff_a, AT_FLOAT, .f = -0.75),
		ATTR(exclude_outside, AT_INT, .i = 0),
		ATTR(extrapolation_value, AT_FLOAT, .f = 0),
		ATTR(keep_aspect_ratio_policy, AT_STR, .s = "stretch"),
		ATTR(mode, AT_STR, .s = "nearest"),
		ATTR(nearest_mode, AT_STR, .s = "round_prefer_floor"),
	},
	.infer = resize_infer,
	.lower = resize_lower,
	.older = resize_older);
