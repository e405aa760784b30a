/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which tensors of a graph are quantized, and how.  The records of the ops say
 * so by the names of their operands and results: X, X_scale, X_zero_point.
 */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "inspect.h"
#include "passes/graph/quantize/profile.h"

static const char scale_suffix[] = "_scale";
static const char zero_suffix[] = "_zero_point";

/* Length of the stem when the name ends with the suffix, else 0. */
static size_t stem_of(const char *name, const char *suffix)
{
	size_t n = strlen(name), k = strlen(suffix);

	return n > k && !strcmp(name + n - k, suffix) ? n - k : 0;
}

static bool has_port(const struct op_def *d, const char *stem, size_t n,
		     const char *suffix)
{
	for (unsigned i = 0; i < MAX_PORTS && d->in[i].name; i++)
		if (!strncasecmp(d->in[i].name, stem, n) &&
		    !strcmp(d->in[i].name + n, suffix))
			return true;
	return false;
}

/* The operand or result whose name is the stem and then the suffix, in either
 * case of letters: records follow ONNX. */
static struct value *by_name(const struct op *op, const char *stem, size_t n,
			     const char *suffix)
{
	const struct op_def *d = op_def(op);

	for (unsigned i = 0; i < MAX_PORTS && d->in[i].name; i++)
		if (!strncasecmp(d->in[i].name, stem, n) &&
		    !strcmp(d->in[i].name + n, suffix))
			return op_in(op, i);
	for (unsigned i = 0; i < MAX_OUTS && d->out[i].name; i++)
		if (!strncasecmp(d->out[i].name, stem, n) &&
		    !strcmp(d->out[i].name + n, suffix))
			return i < op->n_out ? &op->out[i] : NULL;
	return NULL;
}

static void add(struct ctx *c, struct held_list *all, struct op *op,
		const char *name, size_t n)
{
	struct held h = {
		op, arena_str(&c->perm, name, n), by_name(op, name, n, ""),
		by_name(op, name, n, scale_suffix),
		by_name(op, name, n, zero_suffix),
	};

	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].op == op && !strcasecmp(all->v[i].name, h.name))
			return;
	if (value_is_absent(h.tensor))
		h.tensor = NULL;
	/* A product of integers has no scale, and perhaps no zero point. */
	if (!value_is_absent(h.scale) || !value_is_absent(h.zero) ||
	    !has_port(op_def(op), name, n, scale_suffix))
		vec_push(all, h);
}

/* Weights in blocks: the one constant of integers beside its scales. */
static void add_blocks(struct held_list *all, struct op *op)
{
	struct held h = { op, "weight", NULL, by_name(op, "scales", 6, ""),
			  by_name(op, "zero_points", 11, "") };
	struct blob data;

	if (!h.scale)
		h.scale = by_name(op, "absmax", 6, "");
	for (unsigned i = 0; i < op->n_in && !h.tensor; i++) {
		struct value *v = op_in(op, i);

		if (v != h.scale && v != h.zero && value_const(v, &data) &&
		    !dtype_is_float(v->type->dtype))
			h.tensor = v;
	}
	vec_push(all, h);
}

/* What a DequantizeLinear says of the result of a QuantizeLinear was said. */
static bool is_repeated(const struct op *op)
{
	const struct op *q = op->code == OP_DequantizeLinear
				     ? def_of(op_in(op, 0), OP_QuantizeLinear)
				     : NULL;

	return q && op_in(q, 1) == op_in(op, 1) && op_in(q, 2) == op_in(op, 2);
}

struct held_list held_find(struct ctx *c, struct block *b)
{
	struct held_list all = { 0 };

	for (struct op *op = b->first; op; op = op->next) {
		const struct op_def *d = op_def(op);
		bool blocks = false;

		if (!d->domain || is_repeated(op))
			continue;
		for (unsigned i = 0; i < MAX_PORTS + MAX_OUTS; i++) {
			const char *name = i < MAX_PORTS
						   ? d->in[i].name
						   : d->out[i - MAX_PORTS].name;
			size_t n = name ? stem_of(name, scale_suffix) : 0;

			if (name && !n)
				n = stem_of(name, zero_suffix);
			if (n)
				add(c, &all, op, name, n);
			blocks |= name && (!strcmp(name, "zero_points") ||
					   !strcmp(name, "absmax"));
		}
		if (blocks)
			add_blocks(&all, op);
	}
	return all;
}

/* ---- the table ------------------------------------------------------ */

static bool declares(const struct op *op, enum attr_name name)
{
	return op_attr_def(op_def(op), name);
}

static int64_t block_of(const struct held *h)
{
	return declares(h->op, A_block_size) ? op_int(h->op, A_block_size) : 0;
}

static int64_t elems(const struct value *v)
{
	int64_t n = 1, d;

	for (uint32_t i = 0; !value_is_absent(v) && i < v->type->rank; i++) {
		if (!expr_is_const(v->type->dim[i], &d))
			return -1;
		n *= d;
	}
	return n;
}

int held_axis(const struct held *h)
{
	const struct type *t = h->tensor ? h->tensor->type : NULL;
	const struct value *s = value_is_absent(h->scale) ? h->zero : h->scale;
	int64_t n = elems(s);

	if (!t || n <= 1 || block_of(h))
		return -1;
	if (declares(h->op, A_axis)) {
		int64_t a = t->rank == 1 ? 0 : op_int(h->op, A_axis);

		return (int)(a < 0 ? a + t->rank : a);
	}
	/* Convolutions count output channels first, products of two matrices
	 * last, unless the second one is transposed. */
	bool first = declares(h->op, A_group) ||
		     (declares(h->op, A_transB) && op_int(h->op, A_transB) &&
		      h->tensor != op_in(h->op, 0));
	int last = (int)t->rank - 1;

	for (int i = 0; i < 2 && last >= 0; i++, first = !first)
		if (expr_is(t->dim[first ? 0 : last], n))
			return first ? 0 : last;
	return -1;
}

static const char *granularity(struct arena *a, const struct held *h)
{
	const struct value *s = value_is_absent(h->scale) ? h->zero : h->scale;
	int64_t n = elems(s);

	if (block_of(h))
		return arena_fmt(a, "block %lld", (long long)block_of(h));
	if (n == 1)
		return "tensor";
	if (n < 0 || !h->tensor)
		return "computed";
	if (held_axis(h) < 0)
		return arena_fmt(a, "%lld numbers", (long long)n);
	return arena_fmt(a, "axis %d (%lld)", held_axis(h), (long long)n);
}

/* "0.5", or "0.25 .. 0.5". */
static const char *range(struct arena *a, const struct value *v)
{
	struct blob data;
	double lo = INFINITY, hi = -INFINITY;
	size_t n;

	if (value_is_absent(v))
		return "-";
	if (!value_const(v, &data))
		return "computed";
	n = (size_t)elems(v);
	for (size_t i = 0; i < n; i++) {
		union scalar s = scalar_get(v->type->dtype, data.data, i);
		double x = dtype_is_float(v->type->dtype) ? s.d : (double)s.i;

		lo = fmin(lo, x);
		hi = fmax(hi, x);
	}
	return lo == hi ? arena_fmt(a, "%.6g", lo)
			: arena_fmt(a, "%.6g .. %.6g", lo, hi);
}

/* Is 0 in the middle of what the type holds? */
static const char *symmetric(const struct held *h)
{
	const struct value *z = h->zero;
	enum dtype t = h->tensor ? h->tensor->type->dtype : DT_I8;
	struct blob data;

	if (dtype_is_float(t))
		return "yes";
	/* Two or more in a byte, around the middle where nothing is said. */
	if (declares(h->op, A_bits))
		return value_is_absent(z) ? "yes" : "no";
	if (value_is_absent(z))
		return dtype_is_signed(t) ? "yes" : "no";
	if (!value_const(z, &data))
		return "-";
	for (int64_t i = 0; i < elems(z); i++)
		if (scalar_get(z->type->dtype, data.data, (size_t)i).i !=
		    (dtype_is_signed(t) ? 0
					: 1 << (dtype_info[t].bits - 1)))
			return "no";
	return "yes";
}

void held_print(struct ctx *c, const struct held_list *all)
{
	struct arena *a = &c->temp;
	struct blob data;

	printf("%-28s %-8s %-10s %-6s %-14s %-9s %-26s %s\n", "node", "tensor",
	       "role", "type", "granularity", "symmetric", "scale",
	       "zero point");
	for (size_t i = 0; i < all->n; i++) {
		const struct held *h = &all->v[i];

		printf("%-28s %-8s %-10s %-6s %-14s %-9s %-26s %s\n",
		       op_label(c, h->op), h->name,
		       value_const(h->tensor, &data) ? "weight" : "activation",
		       h->tensor ? dtype_info[h->tensor->type->dtype].name
				 : "-",
		       granularity(a, h), symmetric(h), range(a, h->scale),
		       range(a, h->zero));
	}
}

/* ---- suspects ------------------------------------------------------- */

static float scale_at(const struct held *h, const struct blob *s, int64_t i)
{
	return (float)scalar_get(h->scale->type->dtype, s->data, (size_t)i).d;
}

static bool check_scales(struct ctx *c, const struct held *h)
{
	struct blob s;
	int64_t n, zero = 0, tiny = 0, odd = 0;

	if (!value_const(h->scale, &s))
		return false;
	n = elems(h->scale);
	for (int64_t i = 0; i < n; i++) {
		float x = scale_at(h, &s, i);

		if (x == 0)
			zero++;
		else if (!(x > 0) || isinf(x))
			odd++;
		else if (x < 0x1p-126f)
			tiny++;
	}
	if (zero)
		printf("  %s: %lld of %lld scales of %s are 0\n",
		       op_label(c, h->op), (long long)zero, (long long)n,
		       h->name);
	if (odd)
		printf("  %s: %lld of %lld scales of %s are negative, infinite "
		       "or NaN\n",
		       op_label(c, h->op), (long long)odd, (long long)n,
		       h->name);
	if (tiny)
		printf("  %s: %lld of %lld scales of %s are subnormal\n",
		       op_label(c, h->op), (long long)tiny, (long long)n,
		       h->name);
	return zero || odd || tiny;
}

static int64_t zero_at(const struct held *h, const struct blob *z, int64_t i)
{
	if (!z->data)
		return 0;
	return scalar_get(h->zero->type->dtype, z->data,
			  elems(h->zero) == 1 ? 0 : (size_t)i).i;
}

/* Channels of a weight of which every element stands for 0. */
static int64_t dead_channels(const struct held *h, int axis, int64_t *n)
{
	const struct type *t = h->tensor->type;
	struct blob w, z = { 0 };
	int64_t inner = 1, total = elems(h->tensor), dead = 0, d;

	if (!expr_is_const(t->dim[axis], n) || *n < 1)
		return 0;
	for (uint32_t i = (uint32_t)axis + 1; i < t->rank; i++) {
		expr_is_const(t->dim[i], &d);
		inner *= d;
	}
	value_const(h->tensor, &w);
	if (!value_is_absent(h->zero) &&
	    (!value_const(h->zero, &z) ||
	     (elems(h->zero) != 1 && elems(h->zero) != *n)))
		return 0;
	for (int64_t k = 0; k < *n; k++) {
		bool live = total == 0;

		for (int64_t e = k * inner; e < total && !live;
		     e += *n * inner)
			for (int64_t i = 0; i < inner && !live; i++)
				live = scalar_get(t->dtype, w.data,
						  (size_t)(e + i)).i !=
				       zero_at(h, &z, k);
		dead += !live;
	}
	return dead;
}

/* The first zero point of a u8 weight that is not 128; -1. */
static int64_t odd_zero(const struct held *h)
{
	struct blob z;

	if (h->tensor->type->dtype != DT_U8 || block_of(h) ||
	    h->tensor->type->rank < 2 || !value_const(h->zero, &z))
		return -1;
	for (int64_t i = 0; i < elems(h->zero); i++)
		if (zero_at(h, &z, i) != 128)
			return zero_at(h, &z, i);
	return -1;
}

static bool check_weight(struct ctx *c, const struct held *h)
{
	int axis = held_axis(h);
	struct blob w;
	int64_t n, dead, zero;

	if (!value_const(h->tensor, &w) ||
	    dtype_is_float(h->tensor->type->dtype))
		return false;
	zero = odd_zero(h);
	if (zero >= 0)
		printf("  %s: %s is a weight of u8 with the zero point %lld, "
		       "not 128: sums of the other operand are needed\n",
		       op_label(c, h->op), h->name, (long long)zero);
	dead = axis >= 0 && h->tensor->type->rank > 1
		       ? dead_channels(h, axis, &n)
		       : 0;
	if (dead)
		printf("  %s: %lld of %lld channels of %s are all zeros\n",
		       op_label(c, h->op), (long long)dead, (long long)n,
		       h->name);
	return zero >= 0 || dead;
}

/* The scale of an operand that DequantizeLinear makes. */
static const struct value *operand_scale(const struct op *op, unsigned i)
{
	const struct op *dq = def_of(op_in(op, i), OP_DequantizeLinear);

	return dq ? op_in(dq, 1) : NULL;
}

static float nth(const struct value *v, struct blob s, int64_t i)
{
	return (float)scalar_get(v->type->dtype, s.data,
				 elems(v) == 1 ? 0 : (size_t)i).d;
}

/*
 * A bias of 32 bits has the scale of the products, sx * sw, or it cannot be
 * added to their sum.  It may be quantized in double or in f32.
 */
static bool check_bias(struct ctx *c, const struct held *h)
{
	struct blob b, sx, sw;
	bool any = false;

	if (h->op->code != OP_DequantizeLinear || !h->tensor ||
	    h->tensor->type->dtype != DT_I32 || !value_const(h->scale, &b))
		return false;
	for (const struct use *u = h->op->out[0].uses; u; u = u->next) {
		const struct value *x = operand_scale(u->user, 0);
		const struct value *w = operand_scale(u->user, 1);
		int64_t n = elems(h->tensor), wrong = 0;

		if (u != &u->user->in[2] || !x || !w || !value_const(x, &sx) ||
		    !value_const(w, &sw) || elems(x) != 1 ||
		    (elems(w) != 1 && elems(w) != n) ||
		    (elems(h->scale) != 1 && elems(h->scale) != n))
			continue;
		for (int64_t i = 0; i < n; i++) {
			float want = nth(x, sx, 0) * nth(w, sw, i);

			wrong += !(fabsf(nth(h->scale, b, i) - want) <=
				   1e-6f * fabsf(want));
		}
		any |= wrong > 0;
		if (wrong)
			printf("  %s: %lld of %lld scales of the bias are not "
			       "the product of the other two\n",
			       op_label(c, u->user), (long long)wrong,
			       (long long)n);
	}
	return any;
}

bool suspects_print(struct ctx *c, const struct held_list *all)
{
	bool any = false;

	for (size_t i = 0; i < all->n; i++) {
		const struct held *h = &all->v[i];

		any |= check_scales(c, h);
		any |= check_weight(c, h);
		any |= check_bias(c, h);
	}
	return any;
}
