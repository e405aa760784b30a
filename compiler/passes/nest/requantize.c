/* SPDX-License-Identifier: Apache-2.0 */
/*
 * requantize: a sum of integers is brought to the scale of the result by one
 * multiplication.
 *
 *	round((f32(sum) * S + B) / s)
 * ->
 *	round(f32(sum + b) * (S / s))		where B = f32(b) * S
 *
 * S and s are constants, b integers: the bias as the file had it.  That is the
 * arithmetic of ONNX's quantized operators (QLinearConv, QLinearMatMul) as ONNX
 * Runtime computes it, bit for bit: the bias joins the sum before anything is
 * rounded, S is rounded once and S / s once.  Between the two a value may be
 * clamped to constants, which are divided, too: division keeps the order.
 *
 * With q31 the product is one of integers, for machines that have no others:
 *
 *	(i64(sum) * m) >> k, to the nearest, halves to even
 *
 * where S / s, as above, is m * 2^-k exactly, with 31 bits for m.  It is within
 * one of the other form, which rounds f32(sum) and the product, too.  The zero
 * point is added and the result saturated as integers, too.
 */
#include <math.h>
#include <string.h>

#include "passes/nest/body.h"
#include "passes/nest/quantized.h"

/* Beyond this f32 does not tell integers apart. */
static const float max_exact = 16777216;

/* A constant scalar of the body: one number, or the elements of a tensor at
 * the indices of `load`. */
struct coef {
	size_t n;
	union scalar one;
	const void *data;
	struct op *load;
};

struct requantize {
	struct ctx *c;
	struct op *compute;
	struct lower lo;	/* where new scalars go */
	float s;		/* scale of the result */
	bool q31;		/* results are rounded already, and i32 */
};

static bool coefficient(const struct value *v, struct coef *k)
{
	struct op *load = def_of(v, OP_nest_load);
	struct blob data;

	*k = (struct coef){ .n = 1 };
	if (scalar_const(v, &k->one))
		return true;
	if (!load || load->n_in != 1 || !value_const(load->in[0].val, &data))
		return false;
	k->load = load;
	k->data = data.data;
	k->n = data.size / dtype_size(v->type->dtype);
	return true;
}

static float at(const struct coef *k, size_t i)
{
	return k->load ? ((const float *)k->data)[i] : (float)k->one.d;
}

static int32_t int_at(const struct coef *k, size_t i)
{
	return k->load ? ((const int32_t *)k->data)[i] : (int32_t)k->one.i;
}

/* The load that gives the indices of both, or of one: false when they have
 * different ones. */
static bool common(const struct coef *a, const struct coef *b, struct op **load,
		   size_t *n)
{
	*load = a->load ? a->load : b->load;
	*n = a->n > b->n ? a->n : b->n;
	return !a->load || !b->load ||
	       (a->load->in[0].val->type->rank ==
			b->load->in[0].val->type->rank &&
		a->n == b->n &&
		attrs_equal(NULL, op_attr(a->load, A_idx),
			    op_attr(b->load, A_idx)));
}

/* The elements as a scalar of the body, read as `load` reads its own. */
static struct value *constant(struct requantize *r, enum dtype t,
			      const void *data, size_t n, struct op *load)
{
	struct ctx *c = r->c;
	size_t rank, size = n * dtype_size(t);
	struct builder b = { c, r->compute->parent, r->compute,
			     r->compute->loc };

	if (!load) {
		union scalar s = scalar_load(t, data);

		return dtype_is_float(t) ? s_const(&r->lo, t, s.d)
					 : s_int(&r->lo, t, s.i);
	}
	const struct type *from = load->in[0].val->type;
	const struct type *type = type_tensor(c, t, from->rank, from->dim);
	struct value *v = build_const(&b, type,
				      (struct blob){ arena_copy(&c->perm, data,
								size),
						     size });

	return nest_load(&r->lo, v, op_exprs(load, A_idx, &rank));
}

/* A coefficient, or the product or quotient of such in f32, as QLinearConv
 * makes its one of three scales. */
static bool evaluated(struct requantize *r, const struct value *v,
		      struct coef *k)
{
	struct op *op = v->def;
	struct coef x, y;

	if (coefficient(v, k))
		return true;
	if (!op || (op->code != OP_arith_mul && op->code != OP_arith_div) ||
	    v->type->dtype != DT_F32 || !evaluated(r, op->in[0].val, &x) ||
	    !evaluated(r, op->in[1].val, &y))
		return false;
	*k = (struct coef){ .n = 1 };
	if (!common(&x, &y, &k->load, &k->n))
		return false;
	float *data = NEW_ARRAY(&r->c->temp, k->n, float);

	for (size_t i = 0; i < k->n; i++)
		data[i] = op->code == OP_arith_mul ? at(&x, i) * at(&y, i)
						   : at(&x, i) / at(&y, i);
	k->data = data;
	k->one.d = k->n ? (double)data[0] : 0;
	return true;
}

/* f32(sum) * S: the sum and the coefficient. */
static bool scaled_sum(struct requantize *r, struct value *v,
		       struct value **sum, struct coef *scale)
{
	struct op *mul = def_of(v, OP_arith_mul), *cast;

	for (int i = 0; mul && i < 2; i++) {
		cast = def_of(mul->in[i].val, OP_arith_cast);
		if (!cast || cast->in[0].val->type->dtype != DT_I32 ||
		    v->type->dtype != DT_F32)
			continue;
		*sum = cast->in[0].val;
		return r->q31 ? evaluated(r, mul->in[1 - i].val, scale)
			      : coefficient(mul->in[1 - i].val, scale);
	}
	return false;
}

/* ---- the product ---------------------------------------------------- */

/* Beyond this all types of up to 16 bits are saturated, whatever the zero
 * point. */
enum { Q31_MAX = 1 << 20 };

/* v = m * 2^-k, 2^30 <= |m| < 2^31; false where k is not from 1 to 62. */
static bool fixed_point(float v, int32_t *m, int32_t *k)
{
	int e;

	if (!isfinite(v))
		return false;
	/* Such a product is below a half for every sum. */
	if (fabsf(v) < 0x1p-32f) {
		*m = 0;
		*k = 1;
		return true;
	}
	*m = (int32_t)(frexp((double)v, &e) * 0x1p31);
	*k = 31 - e;
	return *k >= 1 && *k <= 62;
}

/* (p >> k), to the nearest, halves to even: adding half of 2^k carries into
 * the result where the rest is more than a half, or a half and the result is
 * odd. */
static struct value *rounded_shift(struct lower *lo, struct value *p,
				   struct value *k)
{
	struct value *one = s_int(lo, DT_I64, 1);
	struct value *half = s_op2(lo, OP_arith_shl, one, s_sub(lo, k, one));
	struct value *odd = s_op2(lo, OP_arith_and,
				  s_op2(lo, OP_arith_shr, p, k), one);

	p = s_add(lo, s_add(lo, p, s_sub(lo, half, one)), odd);
	return s_op2(lo, OP_arith_shr, p, k);
}

static struct value *clamp(struct lower *lo, struct value *v, int64_t least,
			   int64_t most)
{
	enum dtype t = v->type->dtype;

	v = s_op2(lo, OP_arith_max, v, s_int(lo, t, least));
	return s_op2(lo, OP_arith_min, v, s_int(lo, t, most));
}

static struct value *rescaled_q31(struct requantize *r, struct value *sum,
				  const struct coef *scale)
{
	struct lower *lo = &r->lo;
	int32_t *m = NEW_ARRAY(&r->c->temp, scale->n, int32_t);
	int32_t *k = NEW_ARRAY(&r->c->temp, scale->n, int32_t);

	for (size_t i = 0; i < scale->n; i++)
		if (!fixed_point(at(scale, i) / r->s, &m[i], &k[i]))
			return NULL;
	struct value *vm = constant(r, DT_I32, m, scale->n, scale->load);
	struct value *vk = constant(r, DT_I32, k, scale->n, scale->load);
	struct value *p = s_mul(lo, s_cast(lo, DT_I64, sum),
				s_cast(lo, DT_I64, vm));

	p = rounded_shift(lo, p, s_cast(lo, DT_I64, vk));
	return s_cast(lo, DT_I32, clamp(lo, p, -Q31_MAX, Q31_MAX));
}

/* f32(sum) * (S / s), or that as a whole number. */
static struct value *rescaled(struct requantize *r, struct value *sum,
			      const struct coef *scale)
{
	float *m = NEW_ARRAY(&r->c->temp, scale->n, float);

	if (r->q31)
		return rescaled_q31(r, sum, scale);
	for (size_t i = 0; i < scale->n; i++)
		m[i] = at(scale, i) / r->s;
	return s_mul(&r->lo, s_cast(&r->lo, DT_F32, sum),
		     constant(r, DT_F32, m, scale->n, scale->load));
}

/* The integers b with f32(b) * S = B, or NULL. */
static int32_t *integer_bias(struct requantize *r, const struct coef *bias,
			     const struct coef *scale, size_t n)
{
	int32_t *b = NEW_ARRAY(&r->c->temp, n, int32_t);

	for (size_t i = 0; i < n; i++) {
		float k = rintf(at(bias, i) / at(scale, i));

		if (!(fabsf(k) < max_exact) ||
		    k * at(scale, i) != at(bias, i))
			return NULL;
		b[i] = (int32_t)k;
	}
	return b;
}

/* sum + b, where the constant correction of a zero point, if there is one,
 * takes b in. */
static struct value *with_bias(struct requantize *r, struct value *sum,
			       int32_t *b, size_t n, struct op *load)
{
	struct op *sub = def_of(sum, OP_arith_sub), *both;
	struct coef own = { .n = n, .data = b, .load = load }, k;
	size_t m;

	if (!load)
		own.one.i = *b;
	if (sub && coefficient(sub->in[1].val, &k) &&
	    common(&own, &k, &both, &m)) {
		int32_t *v = NEW_ARRAY(&r->c->temp, m, int32_t);

		for (size_t i = 0; i < m; i++)
			v[i] = (int32_t)((uint32_t)int_at(&own, i) -
					 (uint32_t)int_at(&k, i));
		return s_add(&r->lo, sub->in[0].val,
			     constant(r, DT_I32, v, m, both));
	}
	return s_add(&r->lo, sum, constant(r, DT_I32, b, n, load));
}

static struct value *divided(struct requantize *r, struct value *v);

static struct value *biased(struct requantize *r, const struct op *add)
{
	struct coef scale, bias;
	struct value *sum;
	struct op *load;
	size_t n;

	for (int i = 0; i < 2; i++) {
		if (!scaled_sum(r, add->in[i].val, &sum, &scale) ||
		    !coefficient(add->in[1 - i].val, &bias) ||
		    !common(&bias, &scale, &load, &n))
			continue;
		int32_t *b = integer_bias(r, &bias, &scale, n);

		if (b)
			return rescaled(r, with_bias(r, sum, b, n, load),
					&scale);
	}
	return NULL;
}

/* What a quotient is clamped to.  Rounding keeps the order, too. */
static struct value *limit(struct requantize *r, float k)
{
	if (!r->q31)
		return s_const(&r->lo, DT_F32, (double)k);
	return s_int(&r->lo, DT_I32,
		     (int64_t)rintf(fminf(fmaxf(k, -Q31_MAX), Q31_MAX)));
}

/* max(x, k), min(x, k), or k where x is beyond k, else x. */
static struct value *clamped(struct requantize *r, const struct op *op)
{
	struct op *cmp = NULL;
	struct value *x, *k, *y;
	union scalar s;

	if (op->code == OP_arith_select) {
		cmp = def_of(op->in[0].val, OP_arith_lt);
		if (!cmp)
			cmp = def_of(op->in[0].val, OP_arith_gt);
		x = op->in[2].val;
		k = op->in[1].val;
		if (!cmp || cmp->in[0].val != x || cmp->in[1].val != k)
			return NULL;
	} else {
		x = op->in[0].val;
		k = op->in[1].val;
	}
	if (!scalar_const(k, &s) || isnan(s.d) || !(y = divided(r, x)))
		return NULL;
	k = limit(r, (float)s.d / r->s);
	if (!cmp)
		return s_op2(&r->lo, op->code, y, k);
	return s_select(&r->lo, s_op2(&r->lo, cmp->code, y, k), k, y);
}

/* v / s, or NULL where nothing is gained. */
static struct value *divided(struct requantize *r, struct value *v)
{
	struct coef scale;
	struct value *sum;

	if (!v->def)
		return NULL;
	switch ((int)v->def->code) {
	case OP_arith_mul:
		return scaled_sum(r, v, &sum, &scale) ? rescaled(r, sum, &scale)
						   : NULL;
	case OP_arith_add: return biased(r, v->def);
	case OP_arith_select: case OP_arith_max: case OP_arith_min:
		return clamped(r, v->def);
	default: return NULL;
	}
}

static bool is_rounded(const struct value *v)
{
	return value_has_one_use(v) && v->uses->user->code == OP_arith_round;
}

/* ---- saturation of integers ----------------------------------------- */

static struct op *only_user(const struct value *v)
{
	return value_has_one_use(v) ? v->uses->user : NULL;
}

/* The two uses of v are x >= low and the selection by it; that one. */
static struct op *raised(const struct value *v, int64_t *low)
{
	const struct use *u = v->uses;
	union scalar s;

	for (; u && u->user->code != OP_arith_select; u = u->next)
		;
	struct op *select = u ? u->user : NULL;
	struct op *ge = select ? def_of(select->in[0].val, OP_arith_ge) : NULL;

	if (!ge || !v->uses->next || v->uses->next->next ||
	    ge->in[0].val != v || select->in[1].val != v ||
	    ge->in[1].val != select->in[2].val ||
	    !scalar_const(ge->in[1].val, &s))
		return NULL;
	*low = (int64_t)s.d;
	return select;
}

/*
 * What is made of the rounded number is made of v in its place: with the zero
 * point added and saturated as integers where that is all, else as a float.
 */
static void saturate(struct requantize *r, struct op *round, struct value *v)
{
	struct lower *lo = &r->lo;
	struct value *x = &round->out[0];
	struct op *add = only_user(x), *select, *cast;
	union scalar zero = { .d = 0 };
	int64_t low = 0;

	/* As the operators of integers do it. */
	if (add && add->code == OP_arith_cast &&
	    add->out[0].type->dtype == DT_I32) {
		value_replace(&add->out[0], v);
		return;
	}
	if (add && add->code == OP_arith_add && add->in[0].val == x &&
	    scalar_const(add->in[1].val, &zero))
		x = &add->out[0];
	select = raised(x, &low);
	cast = select ? only_user(&select->out[0]) : NULL;
	enum dtype t = cast && cast->code == OP_arith_cast
			       ? cast->out[0].type->dtype
			       : DT_F32;
	unsigned bits = dtype_info[t].bits;

	if (dtype_is_float(t) || bits > 16 || t == DT_BOOL) {
		value_replace(&round->out[0], s_cast(lo, DT_F32, v));
		return;
	}
	v = s_add(lo, v, s_int(lo, DT_I32, (int64_t)zero.d));
	v = clamp(lo, v, low, (INT64_C(1) << (bits - dtype_is_signed(t))) - 1);
	value_replace(&cast->out[0], s_cast(lo, t, v));
}

/* Is it f32(sum) times something, clamped or not, which is requantized by
 * the f32 rule as it stands? */
static bool is_rescaled(const struct value *v)
{
	const struct op *op = v->def, *cast;

	while (op && (op->code == OP_arith_max || op->code == OP_arith_min))
		op = op->in[0].val->def;
	if (!op || op->code != OP_arith_mul)
		return false;
	cast = def_of(op->in[0].val, OP_arith_cast);
	return cast && cast->in[0].val->type->dtype == DT_I32 &&
	       cast->out[0].type->dtype == DT_F32;
}

/* A rounded product of the sum with one coefficient. */
static bool rescale_round(struct requantize *r, struct op *round)
{
	struct value *v;

	r->s = 1;
	if (!is_rescaled(round->in[0].val))
		return false;
	if (!r->q31)
		return true;
	v = divided(r, round->in[0].val);
	if (v)
		saturate(r, round, v);
	return v;
}

static bool requantize_statement(struct ctx *c, struct op *compute, bool q31)
{
	struct block *body = op_body(compute);
	bool changed = false;

	for (struct op *op = body->first; op; op = op->next) {
		struct requantize r = {
			c, compute, { .b = { c, body, op, op->loc } }, 0, q31,
		};
		union scalar s;
		struct value *v;

		if (op->code == OP_arith_round)
			changed |= rescale_round(&r, op);
		if (op->code != OP_arith_div ||
		    op->out[0].type->dtype != DT_F32 ||
		    !is_rounded(&op->out[0]) ||
		    !scalar_const(op->in[1].val, &s) || !(s.d > 0) ||
		    isinf(s.d))
			continue;
		r.s = (float)s.d;
		v = divided(&r, op->in[0].val);
		if (!v)
			continue;
		if (q31)
			saturate(&r, op->out[0].uses->user, v);
		else
			value_replace(&op->out[0], v);
		changed = true;
	}
	if (changed)
		body_tidy(c, body);
	return changed;
}

static bool requantize_block(struct ctx *c, struct block *b, bool q31)
{
	bool changed = false;

	for (struct op *op = b->first; op; op = op->next) {
		if (op->code == OP_core_scan)
			changed |= requantize_block(c, op_body(op), q31);
		if (op->code == OP_nest_compute)
			changed |= requantize_statement(c, op, q31);
	}
	return changed;
}

static bool requantize_run(struct module *m, const struct pass_args *args)
{
	bool q31 = args->param[0];

	if (!m->ctx->strict_qdq &&
	    requantize_block(m->ctx, op_body(m->func), q31))
		op_set_attr(m->ctx, m->func, A_requant,
			    attr_str(m->ctx, q31 ? "q31" : "f32"));
	erase_dead(op_body(m->func));
	return true;
}

PASS(requantize,
	.summary = "Bring sums of integers to the result's scale at once",
	.needs = LEVEL_NEST, .leaves = LEVEL_NEST,
	.param = { { "q31", 0, "1: by a product of integers" } },
	.run = requantize_run);
