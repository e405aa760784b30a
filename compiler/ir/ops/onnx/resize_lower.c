/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The meaning of Resize: interpolation along each axis in turn.
 *
 * Output position o along an axis corresponds to a coordinate x of the input
 * (the coordinate transformation).  Nearest takes the element at x rounded;
 * linear, cubic and their antialiased forms take a weighted sum of taps about
 * x.  Indices and weights depend on o alone, so they are small tables that
 * are computed first, in f64.
 */
#include <string.h>

#include "ir/ops/onnx/resize.h"

/* ---- scalars in f64 ------------------------------------------------- */

static struct value *real(struct lower *lo, double v)
{
	return s_const(lo, DT_F64, v);
}

static struct value *real_of(struct lower *lo, const struct expr *e)
{
	return s_cast(lo, DT_F64, nest_value(lo, e));
}

static struct value *load_entry(struct lower *lo, unsigned i, size_t k)
{
	const struct expr *at = expr_const(lo->b.ctx, (int64_t)k);

	return s_cast(lo, DT_F64, nest_load(lo, lower_in(lo, i), &at));
}

static bool has_scales(const struct lower *lo)
{
	const struct value *v = op_in(lo->op, RESIZE_SCALES);

	return !value_is_absent(v) && !expr_is(v->type->dim[0], 0);
}

static struct value *scale_of(struct lower *lo, const struct resize_axis *a)
{
	float s;

	if (!has_scales(lo))
		return s_div(lo, real_of(lo, a->out), real_of(lo, a->in));
	if (resize_const_scale(lower_in(lo, RESIZE_SCALES), a->entry, &s))
		return real(lo, (double)s);
	return load_entry(lo, RESIZE_SCALES, a->entry);
}

/* ---- coordinates ---------------------------------------------------- */

static bool transform_is(const struct lower *lo, const char *name)
{
	return !strcmp(op_str(lo->op, A_coordinate_transformation_mode), name);
}

/* y where the output is longer than one element, else `single`. */
static struct value *unless_single(struct lower *lo, struct value *width,
				   struct value *y, struct value *single)
{
	return s_select(lo, s_op2(lo, OP_arith_eq, width, real(lo, 1)), single,
			y);
}

static struct value *crop_coord(struct lower *lo, const struct resize_axis *a,
				struct value *o, struct value *width)
{
	struct value *start = load_entry(lo, RESIZE_ROI, a->entry);
	struct value *end = load_entry(lo, RESIZE_ROI, a->entry + a->n);
	struct value *last = s_sub(lo, real_of(lo, a->in), real(lo, 1));
	struct value *span = s_mul(lo, s_sub(lo, end, start), last);
	struct value *steps = s_sub(lo, width, real(lo, 1));
	struct value *x = unless_single(
		lo, width, s_div(lo, s_mul(lo, o, span), steps),
		s_mul(lo, span, real(lo, 0.5)));

	return s_add(lo, x, s_mul(lo, start, last));
}

/* The coordinate in the input of output position o. */
static struct value *coord(struct lower *lo, const struct resize_axis *a,
			   const struct expr *pos)
{
	struct value *o = real_of(lo, pos), *half = real(lo, 0.5);
	struct value *scale = scale_of(lo, a), *in = real_of(lo, a->in);
	struct value *width = s_mul(lo, scale, in), *one = real(lo, 1), *x;

	if (transform_is(lo, "asymmetric"))
		return s_div(lo, o, scale);
	if (transform_is(lo, "tf_crop_and_resize"))
		return crop_coord(lo, a, o, width);
	if (transform_is(lo, "align_corners"))
		return unless_single(
			lo, width,
			s_div(lo, s_mul(lo, o, s_sub(lo, in, one)),
			      s_sub(lo, width, one)),
			real(lo, 0));
	x = s_div(lo, s_add(lo, o, half), scale);
	if (transform_is(lo, "tf_half_pixel_for_nn"))
		return x;
	x = s_sub(lo, x, half);
	if (transform_is(lo, "pytorch_half_pixel"))
		return unless_single(lo, real_of(lo, a->out), x, real(lo, 0));
	if (transform_is(lo, "half_pixel_symmetric")) {
		struct value *adjust = s_div(lo, real_of(lo, a->out), width);
		struct value *centre = s_mul(lo, in, half);

		x = s_add(lo, x, s_mul(lo, centre, s_sub(lo, one, adjust)));
	}
	return x;
}

/* Is the coordinate outside of the input?  tf_crop_and_resize only. */
static struct value *is_outside(struct lower *lo, const struct resize_axis *a,
				struct value *x)
{
	struct value *last = s_sub(lo, real_of(lo, a->in), real(lo, 1));

	return s_op2(lo, OP_arith_or,
		     s_op2(lo, OP_arith_lt, x, real(lo, 0)),
		     s_op2(lo, OP_arith_gt, x, last));
}

static struct value *rounded(struct lower *lo, struct value *x)
{
	const char *mode = op_str(lo->op, A_nearest_mode);
	struct value *half = real(lo, 0.5);

	if (!strcmp(mode, "round_prefer_floor"))
		return s_op(lo, OP_arith_ceil, s_sub(lo, x, half));
	if (!strcmp(mode, "round_prefer_ceil"))
		return s_op(lo, OP_arith_floor, s_add(lo, x, half));
	return s_op(lo, !strcmp(mode, "floor") ? OP_arith_floor
					       : OP_arith_ceil, x);
}

/* v brought into [0, extent). */
static struct value *clamped(struct lower *lo, struct value *v,
			     const struct expr *extent)
{
	struct value *last = nest_value(lo, expr_addc(lo->b.ctx, extent, -1));

	v = s_op2(lo, OP_arith_max, v, s_int(lo, DT_I64, 0));
	return s_op2(lo, OP_arith_min, v, last);
}

/*
 * Does the size depend on the elements of a tensor?  Then nobody knows the
 * size of a table or of a tensor between two axes before the model runs, and
 * all is computed in one step.
 */
static bool is_run_time(const struct expr *size)
{
	return expr_is_late(size);
}

/* ---- nearest -------------------------------------------------------- */

/*
 * Enlarging by a whole number repeats each element: floor(o / k), for which
 * no table is needed.  With half_pixel the coordinate never falls on a tie.
 */
static const struct expr *repeated(struct lower *lo,
				   const struct resize_axis *a,
				   const struct expr *pos)
{
	struct ctx *c = lo->b.ctx;
	const char *mode = op_str(lo->op, A_nearest_mode);
	const struct expr *k = expr_exact_div(c, a->out, a->in);
	int64_t times;
	float s;

	if (!k || !expr_is_const(k, &times) || times < 1)
		return NULL;
	if (has_scales(lo) &&
	    (!resize_const_scale(lower_in(lo, RESIZE_SCALES), a->entry, &s) ||
	     s != (float)times))
		return NULL;
	if ((transform_is(lo, "asymmetric") && !strcmp(mode, "floor")) ||
	    (transform_is(lo, "half_pixel") && !strncmp(mode, "round", 5)) ||
	    (times == 1 && (transform_is(lo, "asymmetric") ||
			    transform_is(lo, "half_pixel"))))
		return expr_div(c, pos, k);
	return NULL;
}

/* The index for an output position, or -1 outside of the input. */
static struct value *nearest_index(struct lower *lo,
				   const struct resize_axis *a,
				   const struct expr *pos)
{
	struct value *x = coord(lo, a, pos);
	struct value *v = clamped(lo, s_cast(lo, DT_I64, rounded(lo, x)),
				  a->in);

	if (!transform_is(lo, "tf_crop_and_resize"))
		return v;
	return s_select(lo, is_outside(lo, a, x), s_int(lo, DT_I64, -1), v);
}

static struct value *nearest_table(struct lower *lo,
				   const struct resize_axis *a)
{
	const struct type *t = type_tensor(lo->b.ctx, DT_I64, 1, &a->out);
	struct nest n = nest_begin(lo, 1, &t);
	struct value *v = nearest_index(lo, a, n.iv[0]), *table;

	nest_end(lo, &n, 1, &v, &table);
	return table;
}

static void nearest(struct lower *lo, const struct resize_axis *axis,
		    size_t n_axis)
{
	const struct type *t = lower_type(lo, 0);
	bool crop = transform_is(lo, "tf_crop_and_resize");
	struct value *table[MAX_RANK], *outside = NULL;
	const struct expr *idx[MAX_RANK];

	for (size_t k = 0; k < n_axis; k++) {
		table[k] = NULL;
		if (!repeated(lo, &axis[k], expr_const(lo->b.ctx, 0)) &&
		    !is_run_time(axis[k].out))
			table[k] = nearest_table(lo, &axis[k]);
	}
	struct nest n = nest_begin(lo, 1, &t);

	for (unsigned i = 0; i < t->rank; i++)
		idx[i] = n.iv[i];
	for (size_t k = 0; k < n_axis; k++) {
		const struct resize_axis *a = &axis[k];
		const struct expr *pos = n.iv[a->dim];
		struct value *at;

		if ((idx[a->dim] = repeated(lo, a, pos)))
			continue;
		at = table[k] ? nest_load(lo, table[k], &pos)
			      : nearest_index(lo, a, pos);
		if (crop) {
			struct value *zero = s_int(lo, DT_I64, 0);
			struct value *no = s_op2(lo, OP_arith_lt, at, zero);

			at = s_op2(lo, OP_arith_max, at, zero);
			outside = outside ? s_op2(lo, OP_arith_or, outside, no)
					  : no;
		}
		idx[a->dim] = nest_index(lo, at, a->in);
	}
	struct value *v = nest_load(lo, lower_in(lo, 0), idx);

	if (outside)
		v = s_select(lo, outside,
			     s_const(lo, t->dtype,
				     op_float(lo->op, A_extrapolation_value)),
			     v);
	nest_end(lo, &n, 1, &v, lo->result);
}

/* ---- weighted sums -------------------------------------------------- */

struct kernel {
	int64_t reach;			/* 1 for linear, 2 for cubic */
	const struct expr *half;	/* taps on either side */
	bool antialias;
};

/* How many input elements the kernel reaches on one side; when shrinking with
 * antialias, as many more as the input is longer. */
static struct kernel kernel_of(struct lower *lo, const struct resize_axis *a)
{
	struct ctx *c = lo->b.ctx;
	struct kernel k = { .antialias = op_int(lo->op, A_antialias) };
	const struct expr *one = expr_const(c, 1);

	k.reach = strcmp(op_str(lo->op, A_mode), "cubic") ? 1 : 2;
	k.half = expr_const(c, k.reach);
	if (k.antialias)
		k.half = expr_max(c, k.half,
				  expr_ceildiv(c,
					       expr_scale(c, a->in, k.reach),
					       expr_max(c, a->out, one)));
	return k;
}

/* The triangle, or the piecewise cubic with parameter a; d >= 0. */
static struct value *kernel_at(struct lower *lo, const struct kernel *k,
			       struct value *d)
{
	struct value *one = real(lo, 1), *zero = real(lo, 0);

	if (k->reach == 1)
		return s_op2(lo, OP_arith_max, s_sub(lo, one, d), zero);
	double a = op_float(lo->op, A_cubic_coeff_a);
	/* ((a + 2) d - (a + 3)) d^2 + 1 and ((a d - 5 a) d + 8 a) d - 4 a */
	struct value *near = s_sub(lo, s_mul(lo, d, real(lo, a + 2)),
				   real(lo, a + 3));
	struct value *far = s_sub(lo, s_mul(lo, d, real(lo, a)),
				  real(lo, 5 * a));

	near = s_add(lo, s_mul(lo, s_mul(lo, near, d), d), one);
	far = s_add(lo, s_mul(lo, far, d), real(lo, 8 * a));
	far = s_sub(lo, s_mul(lo, far, d), real(lo, 4 * a));
	far = s_select(lo, s_op2(lo, OP_arith_lt, d, real(lo, 2)), far, zero);
	return s_select(lo, s_op2(lo, OP_arith_le, d, one), near, far);
}

/* The input position of a tap, for the coordinate x. */
static struct value *tap_position(struct lower *lo, const struct kernel *k,
				  struct value *x, const struct expr *tap)
{
	struct ctx *c = lo->b.ctx;
	const struct expr *off = expr_addc(c, expr_sub(c, tap, k->half), 1);

	return s_add(lo, s_op(lo, OP_arith_floor, x), real_of(lo, off));
}

static struct value *tap_weight(struct lower *lo, const struct resize_axis *a,
				const struct kernel *k, struct value *x,
				const struct expr *tap)
{
	struct value *at = tap_position(lo, k, x, tap);
	struct value *d = s_op(lo, OP_arith_abs, s_sub(lo, at, x));

	if (k->antialias)
		d = s_mul(lo, d, s_op2(lo, OP_arith_min, scale_of(lo, a),
				       real(lo, 1)));
	struct value *w = kernel_at(lo, k, d);

	if (op_int(lo->op, A_exclude_outside))
		w = s_select(lo, is_outside(lo, a, at), real(lo, 0), w);
	return w;
}

/* The sum of all weights for the coordinate x. */
static struct value *weight_sum(struct lower *lo, const struct resize_axis *a,
				const struct kernel *k, struct value *x)
{
	const struct expr *count = expr_scale(lo->b.ctx, k->half, 2);
	struct value *zero = real(lo, 0), *sum;
	struct reduce r = nest_reduce_begin(lo, 1, &count, 1, &zero);
	struct value *next = s_add(lo, r.acc[0],
				   tap_weight(lo, a, k, x, r.iv[0]));

	nest_reduce_end(lo, &r, &next, &sum);
	return sum;
}

/* table[0]: weights; table[1]: indices, -1 where all is outside. */
static void tap_tables(struct lower *lo, const struct resize_axis *a,
		       const struct kernel *k, enum dtype wide,
		       struct value **table)
{
	struct ctx *c = lo->b.ctx;
	const struct expr *dim[2] = { a->out, expr_scale(c, k->half, 2) };
	const struct type *t[2] = { type_tensor(c, wide, 2, dim),
				    type_tensor(c, DT_I64, 2, dim) };
	struct nest n = nest_begin(lo, 2, t);
	struct value *x = coord(lo, a, n.iv[0]);
	struct value *w = tap_weight(lo, a, k, x, n.iv[1]);
	struct value *at = s_cast(lo, DT_I64,
				  tap_position(lo, k, x, n.iv[1]));

	if (k->antialias || op_int(lo->op, A_exclude_outside))
		w = s_div(lo, w, weight_sum(lo, a, k, x));
	at = clamped(lo, at, a->in);
	if (transform_is(lo, "tf_crop_and_resize"))
		at = s_select(lo, is_outside(lo, a, x), s_int(lo, DT_I64, -1),
			      at);
	nest_end(lo, &n, 2, (struct value *[]){ s_cast(lo, wide, w), at },
		 table);
}

/* Weight times element for one tap; *outside when x has no tap inside. */
static struct value *tap_term(struct lower *lo, const struct resize_axis *a,
			      struct value *x, struct value *const *table,
			      const struct expr *const *iv,
			      const struct expr *tap, struct value **outside)
{
	const struct expr *at[2] = { iv[a->dim], tap }, *idx[MAX_RANK];
	struct value *w = nest_load(lo, table[0], at);
	struct value *i = nest_load(lo, table[1], at);
	struct value *zero = s_int(lo, DT_I64, 0);

	if (transform_is(lo, "tf_crop_and_resize")) {
		*outside = s_op2(lo, OP_arith_lt, i, zero);
		i = s_op2(lo, OP_arith_max, i, zero);
	}
	for (unsigned d = 0; d < x->type->rank; d++)
		idx[d] = iv[d];
	idx[a->dim] = nest_index(lo, i, a->in);
	return s_mul(lo, w, s_cast(lo, w->type->dtype, nest_load(lo, x, idx)));
}

/* x resized along one axis, as a tensor of dtype `to`. */
static struct value *along_axis(struct lower *lo, const struct resize_axis *a,
				struct value *x, enum dtype wide,
				enum dtype to)
{
	struct ctx *c = lo->b.ctx;
	struct kernel k = kernel_of(lo, a);
	const struct expr *dim[MAX_RANK], *count = expr_scale(c, k.half, 2);
	struct value *table[2], *outside = NULL, *sum, *y;
	int64_t taps;

	tap_tables(lo, a, &k, wide, table);
	for (unsigned i = 0; i < x->type->rank; i++)
		dim[i] = i == a->dim ? a->out : x->type->dim[i];
	const struct type *t = type_tensor(c, to, x->type->rank, dim);
	struct nest n = nest_begin(lo, 1, &t);

	if (expr_is_const(count, &taps) && taps <= 4) {
		sum = tap_term(lo, a, x, table, n.iv, expr_const(c, 0),
			       &outside);
		for (int64_t i = 1; i < taps; i++)
			sum = s_add(lo, sum,
				    tap_term(lo, a, x, table, n.iv,
					     expr_const(c, i), &outside));
	} else {
		struct value *zero = s_const(lo, wide, 0), *inner = NULL;
		struct reduce r = nest_reduce_begin(lo, 1, &count, 1, &zero);
		struct value *next = s_add(lo, r.acc[0],
					   tap_term(lo, a, x, table, n.iv,
						    r.iv[0], &inner));

		nest_reduce_end(lo, &r, &next, &sum);
		if (inner)
			tap_term(lo, a, x, table, n.iv, expr_const(c, 0),
				 &outside);
	}
	if (outside)
		sum = s_select(lo, outside,
			       s_const(lo, wide,
				       op_float(lo->op,
						A_extrapolation_value)),
			       sum);
	sum = s_cast(lo, to, sum);
	nest_end(lo, &n, 1, &sum, &y);
	return y;
}

/* One output element from the taps of all axes, without tables. */
static void one_step(struct lower *lo, const struct resize_axis *axis,
		     size_t n_axis, enum dtype wide)
{
	struct ctx *c = lo->b.ctx;
	struct value *x = lower_in(lo, 0), *outside = NULL, *sum;
	const struct type *t = lower_type(lo, 0);
	struct kernel kernel[MAX_RANK];
	const struct expr *count[MAX_RANK], *idx[MAX_RANK];
	struct nest n = nest_begin(lo, 1, &t);
	struct value *coords[MAX_RANK], *scale[MAX_RANK], *zero = real(lo, 0);

	for (size_t k = 0; k < n_axis; k++) {
		const struct resize_axis *a = &axis[k];
		struct value *out;

		kernel[k] = kernel_of(lo, a);
		count[k] = expr_scale(c, kernel[k].half, 2);
		coords[k] = coord(lo, a, n.iv[a->dim]);
		scale[k] = NULL;
		if (kernel[k].antialias || op_int(lo->op, A_exclude_outside))
			scale[k] = weight_sum(lo, a, &kernel[k], coords[k]);
		if (!transform_is(lo, "tf_crop_and_resize"))
			continue;
		out = is_outside(lo, a, coords[k]);
		outside = outside ? s_op2(lo, OP_arith_or, outside, out) : out;
	}
	struct reduce r = nest_reduce_begin(lo, (unsigned)n_axis, count, 1,
					    &zero);
	struct value *term = real(lo, 1);

	for (unsigned i = 0; i < t->rank; i++)
		idx[i] = n.iv[i];
	for (size_t k = 0; k < n_axis; k++) {
		const struct resize_axis *a = &axis[k];
		struct value *w = tap_weight(lo, a, &kernel[k], coords[k],
					     r.iv[k]);
		struct value *at = tap_position(lo, &kernel[k], coords[k],
						r.iv[k]);

		term = s_mul(lo, term, scale[k] ? s_div(lo, w, scale[k]) : w);
		at = clamped(lo, s_cast(lo, DT_I64, at), a->in);
		idx[a->dim] = nest_index(lo, at, a->in);
	}
	term = s_mul(lo, term, s_cast(lo, DT_F64, nest_load(lo, x, idx)));
	term = s_add(lo, r.acc[0], term);
	nest_reduce_end(lo, &r, &term, &sum);
	if (outside)
		sum = s_select(lo, outside,
			       real(lo, op_float(lo->op,
						 A_extrapolation_value)),
			       sum);
	sum = s_cast(lo, t->dtype, s_cast(lo, wide, sum));
	nest_end(lo, &n, 1, &sum, lo->result);
}

/* ---- all axes ------------------------------------------------------- */

/* Does the axis stay as it is? */
static bool is_kept(struct lower *lo, const struct resize_axis *a)
{
	float s;

	return a->in == a->out && !transform_is(lo, "tf_crop_and_resize") &&
	       !transform_is(lo, "tf_half_pixel_for_nn") &&
	       (!has_scales(lo) ||
		(resize_const_scale(lower_in(lo, RESIZE_SCALES), a->entry,
				    &s) &&
		 s == 1));
}

bool resize_lower(struct lower *lo)
{
	struct value *x = lower_in(lo, 0);
	const struct type *t = lower_type(lo, 0);
	enum dtype wide = t->dtype == DT_F64 ? DT_F64 : DT_F32;
	struct resize_axis axis[MAX_RANK];
	size_t n, n_axis = 0;
	const int64_t *axes = op_ints(lo->op, A_axes, &n);

	if (!axes)
		n = t->rank;
	for (size_t k = 0; k < n; k++) {
		unsigned d = resize_axis_at(axes, t->rank, k);

		axis[n_axis] = (struct resize_axis){ d, k, n, x->type->dim[d],
						     t->dim[d] };
		n_axis += !is_kept(lo, &axis[n_axis]);
	}
	if (!strcmp(op_str(lo->op, A_mode), "nearest")) {
		nearest(lo, axis, n_axis);
		return true;
	}
	for (size_t k = 0; k < n_axis; k++)
		if (is_run_time(axis[k].out)) {
			one_step(lo, axis, n_axis, wide);
			return true;
		}
	for (size_t k = 0; k < n_axis; k++)
		x = along_axis(lo, &axis[k], x, wide,
			       k + 1 < n_axis ? wide : t->dtype);
	lo->result[0] = x;
	return true;
}
