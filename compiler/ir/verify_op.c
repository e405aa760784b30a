/* SPDX-License-Identifier: Apache-2.0 */
/* The verifier's rules for ops that are not ONNX's, as in docs/ir.md. */
#include "ir/verify.h"

#include <math.h>
#include <string.h>

#define E(...) verify_error(v, op, __VA_ARGS__)

static const struct type *in_type(const struct op *op, unsigned i)
{
	const struct value *x = op_in(op, i);

	return x ? x->type : NULL;
}

static bool is_scalar(const struct type *t, enum dtype dt)
{
	return t && t->kind == TY_SCALAR && t->dtype == dt;
}

static bool is_tensor(const struct type *t)
{
	return t && t->kind == TY_TENSOR;
}

/* ---- scalars -------------------------------------------------------- */

enum scalar_rule {
	NOT_SCALAR,
	CONSTANT,	/* one result */
	UNARY,		/* operand and result of one type */
	UNARY_FLOAT,
	UNARY_INT,
	BINARY,
	BINARY_FLOAT,
	BINARY_INT,	/* integers or bool */
	COMPARE,	/* the result is a bool */
	SELECT,
	CAST,
};

static const unsigned char scalar_rule[OP_COUNT] = {
	[OP_arith_const] = CONSTANT, [OP_arith_cast] = CAST,
	[OP_arith_select] = SELECT,
	[OP_arith_add] = BINARY, [OP_arith_sub] = BINARY,
	[OP_arith_mul] = BINARY, [OP_arith_div] = BINARY,
	[OP_arith_rem] = BINARY, [OP_arith_min] = BINARY,
	[OP_arith_max] = BINARY,
	[OP_arith_neg] = UNARY, [OP_arith_abs] = UNARY,
	[OP_arith_and] = BINARY_INT, [OP_arith_or] = BINARY_INT,
	[OP_arith_xor] = BINARY_INT, [OP_arith_not] = UNARY_INT,
	[OP_arith_shl] = BINARY_INT, [OP_arith_shr] = BINARY_INT,
	[OP_arith_eq] = COMPARE, [OP_arith_ne] = COMPARE,
	[OP_arith_lt] = COMPARE, [OP_arith_le] = COMPARE,
	[OP_arith_gt] = COMPARE, [OP_arith_ge] = COMPARE,
	[OP_arith_floor] = UNARY_FLOAT, [OP_arith_ceil] = UNARY_FLOAT,
	[OP_arith_round] = UNARY_FLOAT, [OP_arith_trunc] = UNARY_FLOAT,
	[OP_arith_sqrt] = UNARY_FLOAT,
	[OP_math_exp] = UNARY_FLOAT, [OP_math_log] = UNARY_FLOAT,
	[OP_math_log1p] = UNARY_FLOAT, [OP_math_expm1] = UNARY_FLOAT,
	[OP_math_tanh] = UNARY_FLOAT, [OP_math_erf] = UNARY_FLOAT,
	[OP_math_sin] = UNARY_FLOAT, [OP_math_cos] = UNARY_FLOAT,
	[OP_math_tan] = UNARY_FLOAT, [OP_math_asin] = UNARY_FLOAT,
	[OP_math_acos] = UNARY_FLOAT, [OP_math_atan] = UNARY_FLOAT,
	/* ONNX's Pow takes integers. */
	[OP_math_pow] = BINARY,
};

static unsigned scalar_arity(enum scalar_rule rule)
{
	static const unsigned char n[] = {
		[CONSTANT] = 0, [UNARY] = 1, [UNARY_FLOAT] = 1, [UNARY_INT] = 1,
		[BINARY] = 2, [BINARY_FLOAT] = 2, [BINARY_INT] = 2,
		[COMPARE] = 2, [SELECT] = 3, [CAST] = 1,
	};

	return n[rule];
}

static bool scalar(struct verifier *v, const struct op *op,
		   enum scalar_rule rule)
{
	const struct type *t = in_type(op, rule == SELECT), *out;
	unsigned n = scalar_arity(rule);

	if (op->n_in != n || op->n_out != 1 || op->n_region)
		return E("needs %u operands and one result", n);
	out = op->out[0].type;
	for (unsigned i = 0; i < n; i++)
		if (!in_type(op, i) || in_type(op, i)->kind != TY_SCALAR)
			return E("operand %u is no scalar", i);
	if (out->kind != TY_SCALAR)
		return E("the result is no scalar");
	if (rule == CONSTANT)
		return op_has(op, A_value) || E("has no value");
	if (rule == CAST)
		return true;
	if (rule == SELECT && !is_scalar(in_type(op, 0), DT_BOOL))
		return E("the condition is no bool");
	for (unsigned i = rule == SELECT; i < n; i++)
		if (in_type(op, i) != t)
			return E("operands have different types");
	if (rule == COMPARE ? out->dtype != DT_BOOL : out != t)
		return E("the result has the wrong type");
	if (dtype_is_float(t->dtype)
		    ? rule == UNARY_INT || rule == BINARY_INT
		    : rule == UNARY_FLOAT || rule == BINARY_FLOAT)
		return E("takes no %s", dtype_info[t->dtype].name);
	return true;
}

/* ---- bodies --------------------------------------------------------- */

/* The yield that ends the op's only region, or NULL after an error. */
static struct op *yield_of(struct verifier *v, const struct op *op, unsigned n)
{
	struct op *y;

	if (op->n_region != 1) {
		E("has %u regions, needs one", op->n_region);
		return NULL;
	}
	y = op_body(op)->last;
	if (!y || y->code != OP_nest_yield) {
		E("the body does not end in nest.yield");
		return NULL;
	}
	if (y->n_in != n) {
		E("the body yields %u values, not %u", y->n_in, n);
		return NULL;
	}
	for (unsigned i = 0; i < n; i++)
		if (!in_type(y, i)) {
			E("the body yields nothing for result %u", i);
			return NULL;
		}
	return y;
}

/* Is e a number whose digits are some of the block's variables, each used
 * once, and which counts to n? */
static bool counts_to(struct ctx *c, const struct block *b,
		      const struct expr *e, const struct expr *n,
		      uint32_t *taken)
{
	const struct expr *unit = expr_const(c, 1), *coef, *rest;

	for (uint32_t k = 0; k < b->n_iv;) {
		const struct atom *iv = expr_atom(b->iv[k]);

		if (*taken >> k & 1 || !expr_linear(c, e, iv, &coef, &rest) ||
		    coef != unit) {
			k++;
			continue;
		}
		*taken |= 1u << k;
		unit = expr_mul(c, unit, iv->a);
		e = rest;
		k = 0;
	}
	return expr_is(e, 0) && unit == n;
}

static bool is_element(struct verifier *v, const struct op *op,
		       const struct type *t, unsigned i)
{
	const struct block *b = op_body(op);
	uint32_t taken = 0, all = 0;
	size_t n;
	const struct expr *const *idx = op_exprs(op, A_idx, &n);

	if (b->n_iv > 31 || n != t->rank)
		return E("result %u has %u dims, idx has %zu", i, t->rank, n);
	for (uint32_t k = 0; k < b->n_iv; k++)
		if (!expr_is(expr_atom(b->iv[k])->a, 1))
			all |= 1u << k;
	for (uint32_t k = 0; k < t->rank; k++)
		if (!counts_to(v->m->ctx, b, idx[k], t->dim[k], &taken))
			return E("idx %u does not count through dim %u of "
				 "result %u", k, k, i);
	return (taken & all) == all ||
	       E("idx leaves out an iteration variable");
}

static bool is_point(struct verifier *v, const struct op *op,
		     const struct type *t, unsigned i)
{
	const struct block *b = op_body(op);

	if (t->rank != b->n_iv)
		return E("result %u is no tensor of rank %u", i, b->n_iv);
	for (uint32_t k = 0; k < t->rank; k++)
		if (expr_atom(b->iv[k])->a != t->dim[k])
			return E("dim %u of result %u is not the extent of "
				 "its iteration variable", k, i);
	return true;
}

static bool compute(struct verifier *v, const struct op *op)
{
	const struct block *b;
	const struct op *y = yield_of(v, op, op->n_out);

	if (!y)
		return false;
	b = op_body(op);
	if (op->n_in || b->n_arg || !op->n_out)
		return E("takes no operands and has results");
	for (unsigned i = 0; i < op->n_out; i++) {
		const struct type *t = op->out[i].type;

		if (!is_tensor(t))
			return E("result %u is no tensor", i);
		if (!(op_has(op, A_idx) ? is_element(v, op, t, i)
					: is_point(v, op, t, i)))
			return false;
		if (!is_scalar(in_type(y, i), t->dtype))
			return E("the body yields another type for result %u",
				 i);
	}
	return true;
}

static bool reduce(struct verifier *v, const struct op *op)
{
	const struct op *y = yield_of(v, op, op->n_out);
	const struct block *b;

	if (!y)
		return false;
	b = op_body(op);
	if (op->n_in != op->n_out || b->n_arg != op->n_out)
		return E("operands, arguments and results differ in number");
	for (unsigned i = 0; i < op->n_out; i++) {
		const struct type *t = op->out[i].type;

		if (t->kind != TY_SCALAR || in_type(op, i) != t ||
		    b->arg[i]->type != t || in_type(y, i) != t)
			return E("carried value %u changes its type", i);
	}
	return true;
}

static bool scan(struct verifier *v, const struct op *op)
{
	const struct op *y = yield_of(v, op, op->n_out);
	const struct block *b;

	if (!y)
		return false;
	b = op_body(op);
	if (b->n_iv != 1 || b->n_arg != op->n_in || op->n_out < op->n_in)
		return E("needs one iteration variable, and an argument and a "
			 "result for each state");
	for (unsigned i = 0; i < op->n_out; i++) {
		const struct type *t = op->out[i].type, *s = in_type(y, i);

		if (!is_tensor(t) || !is_tensor(s))
			return E("result %u is no tensor", i);
		if (i < op->n_in) {
			if (in_type(op, i) != t || b->arg[i]->type != t ||
			    s != t)
				return E("state %u changes its type", i);
			continue;
		}
		if (t->rank != s->rank + 1 || t->dtype != s->dtype ||
		    t->dim[0] != expr_atom(b->iv[0])->a ||
		    (s->rank && memcmp(t->dim + 1, s->dim,
				       s->rank * sizeof(*s->dim)) != 0))
			return E("output %u is not its steps, stacked", i);
	}
	return true;
}

static bool load(struct verifier *v, const struct op *op)
{
	const struct type *t = in_type(op, 0);
	size_t n, n_guard;

	op_exprs(op, A_idx, &n);
	op_exprs(op, A_guard, &n_guard);
	if (!is_tensor(t) || op->n_out != 1)
		return E("operand 0 is no tensor");
	if (n != t->rank)
		return E("has %zu indices, the tensor has rank %u", n, t->rank);
	if (!is_scalar(op->out[0].type, t->dtype))
		return E("the result is no %s", dtype_info[t->dtype].name);
	if (n_guard && !is_scalar(in_type(op, 1), t->dtype))
		return E("a guarded load needs another %s",
			 dtype_info[t->dtype].name);
	return true;
}

/* nest.index and nest.value */
static bool index_value(struct verifier *v, const struct op *op)
{
	bool index = op->code == OP_nest_index;
	size_t n;

	op_exprs(op, index ? A_extent : A_idx, &n);
	if (n != 1 || op->n_out != 1 || !is_scalar(op->out[0].type, DT_I64))
		return E("needs one expression and gives an i64");
	if (index && (op->n_in != 1 || !is_scalar(in_type(op, 0), DT_I64)))
		return E("needs an i64 scalar");
	return true;
}

/* ---- loop level ----------------------------------------------------- */

static bool store(struct verifier *v, const struct op *op)
{
	const struct type *t = in_type(op, 1);
	size_t n;

	op_exprs(op, A_idx, &n);
	if (!is_tensor(t) || op->n_out)
		return E("operand 1 is no buffer");
	if (n != t->rank)
		return E("has %zu indices, the buffer has rank %u", n, t->rank);
	return is_scalar(in_type(op, 0), t->dtype) ||
	       E("stores no %s", dtype_info[t->dtype].name);
}

static bool loop_for(struct verifier *v, const struct op *op)
{
	const struct block *b = op->n_region == 1 ? op_body(op) : NULL;
	const struct op *y = b ? b->last : NULL;

	if (!y || y->code != OP_loop_yield || b->n_iv != 1)
		return E("needs one variable and a body that ends in "
			 "loop.yield");
	if (op->n_in != op->n_out || b->n_arg != op->n_out ||
	    y->n_in != op->n_out)
		return E("operands, arguments, yields and results differ in "
			 "number");
	for (unsigned i = 0; i < op->n_out; i++) {
		const struct type *t = op->out[i].type;

		if (t->kind != TY_SCALAR || in_type(op, i) != t ||
		    b->arg[i]->type != t || in_type(y, i) != t)
			return E("carried value %u changes its type", i);
	}
	return true;
}

static bool loop_lanes(struct verifier *v, const struct op *op)
{
	enum { MAX_WIDTH = 512, MAX_GROUPS = 8 };
	int64_t width = op_int(op, A_width), unroll = op_int(op, A_unroll);

	if (width < 1 || width > MAX_WIDTH || unroll < 1 ||
	    (width > 1 && unroll > MAX_GROUPS))
		return E("has width %lld and unroll %lld", (long long)width,
			 (long long)unroll);
	return width == 1 || !op->n_in || fold_is_free(op) ||
	       E("its carried values cannot be folded in lanes");
}

/* Is the op part of a kernel? */
static bool in_kernel(const struct op *op)
{
	while ((op = op_parent(op)))
		if (op->code == OP_loop_kernel)
			return true;
	return false;
}

static bool kernel(struct verifier *v, const struct op *op)
{
	const struct op *parent = op_parent(op);

	if (parent != v->m->func && parent->code != OP_loop_seq)
		return E("stands inside of %s",
			 op_name(v->m->ctx, parent->code));
	if (op->n_in || op->n_out || op->n_region != 1 ||
	    op_body(op)->n_arg || op_body(op)->n_iv > MAX_RANK)
		return E("takes no operands, has no results and one body over "
			 "at most %d variables", MAX_RANK);
	return op_int(op, A_grain) > 0 || E("has no positive grain");
}

static bool seq(struct verifier *v, const struct op *op)
{
	const struct block *b = op->n_region == 1 ? op_body(op) : NULL;

	return (b && b->n_iv == 1 && !b->n_arg && !op->n_in && !op->n_out &&
		b->last && b->last->code == OP_loop_yield &&
		!b->last->n_in) ||
	       E("needs one variable and a body that ends in loop.yield");
}

/* Kernels walk the k's by adding a step to a pointer. */
static bool steps_linearly(struct verifier *v, const struct op *op,
			   enum attr_name name)
{
	struct ctx *c = v->m->ctx;
	const struct block *b = op_body(op);
	size_t n;
	const struct expr *const *idx = op_exprs(op, name, &n), *step, *rest;

	for (size_t i = 0; i < n; i++)
		for (uint32_t k = 2; k < b->n_iv; k++)
			if (!expr_linear(c, idx[i], expr_atom(b->iv[k]),
					 &step, &rest))
				return E("index '%s' is not linear in k",
					 expr_str(c, idx[i]));
	return true;
}

static bool is_small_int(enum dtype t)
{
	return !dtype_is_float(t) && dtype_info[t].bits <= 16;
}

/* Scales and zero points of a contraction's second buffer. */
static bool decodes(struct verifier *v, const struct op *op)
{
	enum dtype half;
	size_t n;

	op_exprs(op, A_s_idx, &n);
	for (unsigned i = 2; i < op->n_in; i++) {
		const struct type *t = in_type(op, i);

		if (!is_tensor(t) || t->rank != n ||
		    (t->dtype != DT_F32 && t->dtype != DT_F16 &&
		     t->dtype != DT_U8))
			return E("has a scale or zero point that is %s",
				 type_str(v->m->ctx, t));
	}
	if (in_type(op, 0)->dtype != DT_F32 ||
	    dtype_is_float(in_type(op, 1)->dtype))
		return E("scales what is no integer");
	if (op_has(op, A_round) &&
	    (!dtype_from_onnx((int)op_int(op, A_round), &half) ||
	     !dtype_is_half(half)))
		return E("rounds to what is no half float");
	return steps_linearly(v, op, A_s_idx);
}

/* A region over two variables that ends in loop.yield; what it yields. */
static const struct block *tile_region(const struct op *op, unsigned i,
				       unsigned n_arg, unsigned n_yield)
{
	const struct block *b = op->region[i].block;

	return b->n_iv == 2 && b->n_arg == n_arg && b->last &&
			       b->last->code == OP_loop_yield &&
			       b->last->n_in == n_yield
		       ? b
		       : NULL;
}

static bool tile(struct verifier *v, const struct op *op)
{
	const struct block *a, *b, *body;
	const struct type *ta, *tb, *sum;

	if (op->n_in || op->n_out || op->n_region != 3 ||
	    !(a = tile_region(op, 0, 0, 1)) ||
	    !(b = tile_region(op, 1, 0, 1)) ||
	    !(body = tile_region(op, 2, 1, 0)))
		return E("needs a region for each factor, over two variables, "
			 "and one for the sum");
	ta = a->last->in[0].val->type;
	tb = b->last->in[0].val->type;
	sum = body->arg[0]->type;
	if (!(ta == sum && tb == sum) &&
	    !(ta == tb && sum->dtype == DT_F32 && dtype_is_half(ta->dtype)) &&
	    !(sum->dtype == DT_I32 && dtype_is_byte(ta->dtype) && dtype_is_byte(tb->dtype)))
		return E("adds products of %s and %s to %s",
			 type_str(v->m->ctx, ta), type_str(v->m->ctx, tb),
			 type_str(v->m->ctx, sum));
	if (op_int(op, A_mr) < 32 || op_int(op, A_mr) % 32 ||
	    op_int(op, A_nr) < 32 || op_int(op, A_nr) % 32 ||
	    op_int(op, A_mr) > 128 || op_int(op, A_nr) > 128 ||
	    op_int(op, A_kr) < 8 || op_int(op, A_kr) % 8 ||
	    op_int(op, A_kr) > 128)
		return E("has a tile that no block of threads computes");
	return expr_atom(a->iv[1])->a == expr_atom(b->iv[1])->a ||
	       E("sums over two extents");
}

/* Have two variables of regions the same extent? */
static bool same_extent(const struct block *a, unsigned i,
			const struct block *b, unsigned k)
{
	return expr_atom(a->iv[i])->a == expr_atom(b->iv[k])->a;
}

/* Sizes that a block of threads has room for. */
static bool attend_fits(struct verifier *v, const struct op *op)
{
	enum { MAX_DEPTH = 256, FEW = 8, AT_ONCE = 4 };
	int64_t mr = op_int(op, A_mr), nr = op_int(op, A_nr), m, d, e;
	bool few = mr >= 1 && mr <= FEW && nr >= 1 && nr <= AT_ONCE &&
		   op_int(op, A_fp32) == 0;

	return ((few || ((mr == 32 || mr == 64) && (nr == 32 || nr == 64))) &&
		expr_is_const(expr_atom(op->region[0].block->iv[0])->a, &m) &&
		expr_is_const(expr_atom(op->region[0].block->iv[1])->a, &d) &&
		expr_is_const(expr_atom(op->region[3].block->iv[1])->a, &e) &&
		m == mr && d > 0 && e > 0 && d <= MAX_DEPTH &&
		e <= MAX_DEPTH) ||
	       E("has a tile that no block of threads computes");
}

/* A part of the keys has a beginning, an end and a region for its maximum. */
static bool attend_part(struct verifier *v, const struct op *op)
{
	const struct block *b, *m = op->region[0].block;
	size_t n_first, n_seen;

	op_exprs(op, A_first, &n_first);
	op_exprs(op, A_seen, &n_seen);
	if (n_first > 1 || n_seen > 1 || n_first > n_seen)
		return E("begins at %zu numbers and sees %zu", n_first,
			 n_seen);
	if (op->n_region != 5 + n_first)
		return E("has %u regions", op->n_region);
	if (!n_first)
		return true;
	b = op->region[5].block;
	return (b->n_iv == 1 && same_extent(m, 0, b, 0) && b->n_arg == 2 &&
		is_scalar(b->arg[0]->type, DT_F32) &&
		is_scalar(b->arg[1]->type, DT_F32) && b->last &&
		b->last->code == OP_loop_yield && !b->last->n_in) ||
	       E("has no region for the maximum and the total");
}

static bool attend(struct verifier *v, const struct op *op)
{
	static const unsigned char args[] = { 0, 0, 1, 0, 2 };
	const struct block *b[5];
	const struct type *t;
	size_t n_along, n_vector;

	if (op->n_in || op->n_out || op->n_region < ARRAY_SIZE(b))
		return E("needs five regions");
	for (unsigned i = 0; i < ARRAY_SIZE(b); i++) {
		b[i] = tile_region(op, i, args[i], i != 4);
		if (!b[i])
			return E("region %u is not over two variables", i);
		for (unsigned k = 0; k < args[i]; k++)
			if (!is_scalar(b[i]->arg[k]->type, DT_F32))
				return E("sums in other numbers than f32");
	}
	if (!same_extent(b[0], 1, b[1], 1) || !same_extent(b[1], 0, b[2], 1) ||
	    !same_extent(b[1], 0, b[3], 0) || !same_extent(b[3], 1, b[4], 1) ||
	    !same_extent(b[0], 0, b[2], 0) || !same_extent(b[0], 0, b[4], 0))
		return E("its regions have other extents");
	t = b[0]->last->in[0].val->type;
	if (t->kind != TY_SCALAR ||
	    (t->dtype != DT_F32 && !dtype_is_half(t->dtype)) ||
	    b[1]->last->in[0].val->type != t ||
	    b[3]->last->in[0].val->type != t ||
	    !is_scalar(b[2]->last->in[0].val->type, DT_F32))
		return E("multiplies %s", type_str(v->m->ctx, t));
	op_ints(op, A_along, &n_along);
	op_ints(op, A_vector, &n_vector);
	return attend_fits(v, op) && attend_part(v, op) &&
	       ((n_along == 3 && n_vector == 3) ||
		E("does not say how its three factors lie in memory"));
}

static bool contract(struct verifier *v, const struct op *op)
{
	enum { MAX_TILE = 1 << 10 };
	const struct type *a = in_type(op, 0), *b = in_type(op, 1);
	const struct block *body = op->n_region == 1 ? op_body(op) : NULL;
	int64_t mr = op_int(op, A_mr), nr = op_int(op, A_nr);
	int64_t group = op_int(op, A_group);
	enum dtype sum;
	size_t n_a, n_b, n_origin;

	op_exprs(op, A_a_idx, &n_a);
	op_exprs(op, A_b_idx, &n_b);
	op_exprs(op, A_origin, &n_origin);
	if (op->n_in < 2 || op->n_in > 4 || op->n_out || !is_tensor(a) ||
	    !is_tensor(b))
		return E("needs two to four buffers");
	if (op_int(op, A_chains)) {
		if (op->n_in != 3 || !is_tensor(in_type(op, 2)) ||
		    in_type(op, 2)->dtype != DT_U8)
			return E("has no chains as its third operand");
	} else if (op->n_in > 2 && !decodes(v, op)) {
		return false;
	}
	sum = is_small_int(a->dtype) ? DT_I32 : a->dtype;
	if (sum == DT_I32 ? !is_small_int(b->dtype)
			  : (sum != DT_F32 && sum != DT_F64) ||
				    (sum != b->dtype &&
				     !(sum == DT_F32 &&
				       (dtype_is_half(b->dtype) ||
					is_small_int(b->dtype)))))
		return E("needs two buffers of f32 or f64, of which the second "
			 "may be narrower than f32, or of integers below i32");
	if (!body || body->n_iv < 2 || body->n_iv > MAX_RANK + 2 ||
	    body->n_arg != 1 || !is_scalar(body->arg[0]->type, sum))
		return E("needs a body over m, n and the k's that takes the "
			 "sum");
	if (n_a != a->rank || n_b != b->rank || n_origin != 3)
		return E("has %zu and %zu indices, and %zu origins", n_a, n_b,
			 n_origin);
	if (mr < 1 || mr > MAX_TILE || nr < 1 || nr > MAX_TILE)
		return E("has a tile of %lld by %lld", (long long)mr,
			 (long long)nr);
	if (group != 1 &&
	    (group < 1 || (sum != DT_I32 && op->n_in < 3) || body->n_iv < 3 ||
	     !expr_is(expr_atom(body->iv[body->n_iv - 1])->a, group) ||
	     op_exprs(op, A_b_idx, &n_b)[n_b - 1] !=
		     body->iv[body->n_iv - 1]))
		return E("has a group of %lld that is not its last variable",
			 (long long)group);
	return steps_linearly(v, op, A_a_idx) && steps_linearly(v, op, A_b_idx);
}

static bool alloc(struct verifier *v, const struct op *op)
{
	const struct op *ret = op_body(v->m->func)->last;
	int64_t output = op_int(op, A_output);
	size_t n;

	op_exprs(op, A_offset, &n);
	if (in_kernel(op) || op->n_in || op->n_out != 1 ||
	    !is_tensor(op->out[0].type))
		return E("gives one buffer, outside of kernels");
	if (op_has(op, A_offset) && n != 1)
		return E("has %zu offsets", n);
	return output < 0 || output < ret->n_in ||
	       E("is output %lld of %u", (long long)output, ret->n_in);
}

static bool loop(struct verifier *v, const struct op *op)
{
	switch ((int)op->code) {
	case OP_loop_kernel: return kernel(v, op);
	case OP_loop_seq: return seq(v, op);
	case OP_mem_alloc: return alloc(v, op);
	case OP_loop_yield:
		return !op->next || E("does not end a body");
	default: break;
	}
	if (!in_kernel(op))
		return E("stands outside of a kernel");
	switch ((int)op->code) {
	case OP_mem_load: return load(v, op);
	case OP_mem_store: return store(v, op);
	case OP_loop_for: return loop_for(v, op) && loop_lanes(v, op);
	case OP_kern_contract: return contract(v, op);
	case OP_kern_tile: return tile(v, op);
	case OP_kern_attend: return attend(v, op);
	default: return true;
	}
}

/* ---- core ops ------------------------------------------------------- */

/* Scale and zero point of each input and output, or none at all. */
static bool func_io(struct verifier *v, const struct op *op, size_t n)
{
	const struct attr *scale = op_attr(op, A_io_scale);
	const struct attr *zero = op_attr(op, A_io_zero);

	if (!scale && !zero)
		return true;
	if (!scale || !zero || scale->n != n || zero->n != n)
		return E("has no scale and zero point for each of its %zu "
			 "inputs and outputs", n);
	for (size_t i = 0; i < n; i++)
		if (!(scale->floats[i] >= 0) || isinf(scale->floats[i]) ||
		    zero->ints[i] < -128 || zero->ints[i] > 255)
			return E("scale or zero point %zu is out of range", i);
	return true;
}

static bool func(struct verifier *v, const struct op *op)
{
	const struct op *ret;
	size_t n;

	op_exprs(op, A_workspace, &n);
	if (op_has(op, A_workspace) && n != 2)
		return E("has %zu sizes of the workspace, needs 2", n);
	if (op != v->m->func)
		return E("a function inside of another");
	ret = op_body(op)->last;
	if (op_body(op)->n_iv || !ret || ret->code != OP_core_return)
		return E("the body does not end in core.return");
	for (uint32_t i = 0; i < op_body(op)->n_arg; i++)
		if (op_body(op)->arg[i]->type->kind == TY_SCALAR)
			return E("argument %u is no tensor", i);
	return func_io(v, op, (size_t)op_body(op)->n_arg + ret->n_in);
}

static bool bind(struct verifier *v, const struct op *op)
{
	const struct type *t = in_type(op, 0);
	size_t n;
	const struct expr *const *sym = op_exprs(op, A_syms, &n);
	int64_t k;

	if (op->n_in != 1 || op->n_out || !is_tensor(t) ||
	    dtype_is_float(t->dtype))
		return E("needs one tensor of integers");
	if (!op_has(op, A_counts_from) &&
	    expr_is_const(type_elems(v->m->ctx, t), &k) && (uint64_t)k != n)
		return E("names %zu elements of %s", n,
			 type_str(v->m->ctx, t));
	for (size_t i = 0; i < n; i++) {
		const struct atom *a = expr_atom(sym[i]);

		if (!a || a->kind != ATOM_SYM)
			return E("'%s' is no symbol",
				 expr_str(v->m->ctx, sym[i]));
	}
	return true;
}

static bool is_last(const struct op *op)
{
	return !op->next;
}

/* Is the op part of a statement's body? */
static bool in_statement(const struct op *op)
{
	while ((op = op_parent(op)))
		if (op->code == OP_nest_compute)
			return true;
	return false;
}

static bool core(struct verifier *v, struct op *op)
{
	const struct op *parent = op_parent(op);

	if (op->code == OP_core_func)
		return func(v, op);
	if (op->code == OP_core_bind)
		return bind(v, op);
	if (op->code == OP_core_scan)
		return scan(v, op);
	if (op->code == OP_core_check)
		return (!op->n_in && !op->n_out) ||
		       E("takes no operands and has no results");
	if (op->code == OP_core_return)
		return (is_last(op) && parent == v->m->func && !op->n_out) ||
		       E("does not end the function");
	return true;
}

static bool nest(struct verifier *v, struct op *op)
{
	const struct op *parent = op_parent(op);

	if (op->code == OP_nest_yield)
		return (is_last(op) && !op->n_out && parent != v->m->func) ||
		       E("does not end a body");
	if (op->code == OP_nest_compute)
		return (!in_statement(op) || E("a statement inside of a "
					       "statement")) &&
		       compute(v, op);
	if (!in_statement(op) && !in_kernel(op))
		return E("stands outside of a statement");
	if (op->code == OP_nest_reduce)
		return reduce(v, op);
	if (op->code == OP_nest_load)
		return load(v, op);
	return index_value(v, op);
}

bool verify_op(struct verifier *v, struct op *op)
{
	enum scalar_rule rule = scalar_rule[op->code];
	const char *name = op_def(op)->name;

	if (op_def(op)->domain)
		return !in_statement(op) || E("stands inside of a statement");
	if (rule != NOT_SCALAR)
		return (in_statement(op) || in_kernel(op) ||
			E("stands outside of a statement")) &&
		       scalar(v, op, rule);
	if (!strncmp(name, "core_", 5))
		return core(v, op);
	if (!strncmp(name, "nest_", 5))
		return nest(v, op);
	return loop(v, op);
}
