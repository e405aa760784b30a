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

/* f32(sum) * S: the sum and the coefficient. */
static bool scaled_sum(struct value *v, struct value **sum, struct coef *scale)
{
	struct op *mul = def_of(v, OP_arith_mul), *cast;

	for (int i = 0; mul && i < 2; i++) {
		cast = def_of(mul->in[i].val, OP_arith_cast);
		if (!cast || cast->in[0].val->type->dtype != DT_I32 ||
		    v->type->dtype != DT_F32)
			continue;
		*sum = cast->in[0].val;
		return coefficient(mul->in[1 - i].val, scale);
	}
	return false;
}

/* f32(sum) * (S / s). */
static struct value *rescaled(struct requantize *r, struct value *sum,
			      const struct coef *scale)
{
	float *m = NEW_ARRAY(&r->c->temp, scale->n, float);

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
		if (!scaled_sum(add->in[i].val, &sum, &scale) ||
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
	if (!scalar_const(k, &s) || !(y = divided(r, x)))
		return NULL;
	k = s_const(&r->lo, DT_F32, (float)s.d / r->s);
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
		return scaled_sum(v, &sum, &scale) ? rescaled(r, sum, &scale)
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

static bool requantize_statement(struct ctx *c, struct op *compute)
{
	struct block *body = op_body(compute);
	bool changed = false;

	for (struct op *op = body->first; op; op = op->next) {
		struct requantize r = { c, compute,
					{ .b = { c, body, op, op->loc } }, 0 };
		union scalar s;
		struct value *v;

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
		value_replace(&op->out[0], v);
		changed = true;
	}
	if (changed)
		body_tidy(c, body);
	return changed;
}

static bool requantize_block(struct ctx *c, struct block *b)
{
	bool changed = false;

	for (struct op *op = b->first; op; op = op->next) {
		if (op->code == OP_core_scan)
			changed |= requantize_block(c, op_body(op));
		if (op->code == OP_nest_compute)
			changed |= requantize_statement(c, op);
	}
	return changed;
}

static bool requantize_run(struct module *m, const struct pass_args *args)
{
	(void)args;
	if (requantize_block(m->ctx, op_body(m->func)))
		op_set_attr(m->ctx, m->func, A_requant,
			    attr_str(m->ctx, "f32"));
	erase_dead(op_body(m->func));
	return true;
}

PASS(requantize,
	.summary = "Bring sums of integers to the result's scale at once",
	.needs = LEVEL_NEST, .leaves = LEVEL_NEST,
	.run = requantize_run);
