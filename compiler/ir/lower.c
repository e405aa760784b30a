/* SPDX-License-Identifier: Apache-2.0 */
/* What op records use to state their meaning as nest-level statements. */
#include <string.h>

#include "ir/op.h"

struct value *lower_in(struct lower *lo, unsigned i)
{
	struct value *v = op_in(lo->op, i);

	return value_is_absent(v) ? NULL : v;
}

const struct type *lower_type(struct lower *lo, unsigned result)
{
	return result < lo->op->n_out ? lo->op->out[result].type
				      : type_none(lo->b.ctx);
}

unsigned lower_axis(const struct lower *lo, enum attr_name name, unsigned rank)
{
	int64_t a = op_int(lo->op, name);

	return (unsigned)(a < 0 ? a + rank : a);
}

struct nest nest_begin(struct lower *lo, unsigned n,
		       const struct type *const *out)
{
	struct nest s = { .saved_block = lo->b.block,
			  .saved_before = lo->b.before,
			  .rank = out[0]->rank };

	s.op = build(&lo->b, &(struct op_spec){ .code = OP_nest_compute,
						.n_out = n, .out = out,
						.n_region = 1 });
	struct block *body = op_body(s.op);

	for (unsigned i = 0; i < s.rank; i++)
		block_add_iv(lo->b.ctx, body, out[0]->dim[i]);
	s.iv = body->iv;
	lo->b.block = body;
	lo->b.before = NULL;
	return s;
}

void nest_end(struct lower *lo, struct nest *s, unsigned n,
	      struct value *const *val, struct value **result)
{
	build(&lo->b, &(struct op_spec){ .code = OP_nest_yield, .n_in = n,
					 .in = val });
	lo->b.block = s->saved_block;
	lo->b.before = s->saved_before;
	for (unsigned i = 0; i < n; i++)
		result[i] = &s->op->out[i];
}

struct reduce nest_reduce_begin(struct lower *lo, unsigned n_iv,
				const struct expr *const *extent,
				unsigned n_acc, struct value *const *init)
{
	struct ctx *c = lo->b.ctx;
	struct reduce r = { .saved_block = lo->b.block,
			    .saved_before = lo->b.before };
	const struct type *t[MAX_RANK];

	for (unsigned i = 0; i < n_acc; i++)
		t[i] = init[i]->type;
	r.op = build(&lo->b, &(struct op_spec){ .code = OP_nest_reduce,
						.n_in = n_acc, .in = init,
						.n_out = n_acc, .out = t,
						.n_region = 1 });
	struct block *body = op_body(r.op);

	for (unsigned i = 0; i < n_iv; i++)
		block_add_iv(c, body, extent[i]);
	for (unsigned i = 0; i < n_acc; i++)
		block_add_arg(c, body, t[i], NULL);
	r.iv = body->iv;
	r.acc = body->arg;
	lo->b.block = body;
	lo->b.before = NULL;
	return r;
}

void nest_reduce_end(struct lower *lo, struct reduce *r,
		     struct value *const *next, struct value **result)
{
	build(&lo->b, &(struct op_spec){ .code = OP_nest_yield,
					 .n_in = r->op->n_in, .in = next });
	lo->b.block = r->saved_block;
	lo->b.before = r->saved_before;
	for (unsigned i = 0; i < r->op->n_out; i++)
		result[i] = &r->op->out[i];
}

struct scan scan_begin(struct lower *lo, const struct expr *extent,
		       unsigned n_state, struct value *const *init,
		       unsigned n_out, const struct type *const *step_type)
{
	struct ctx *c = lo->b.ctx;
	struct scan s = { .saved_block = lo->b.block,
			  .saved_before = lo->b.before };
	const struct type *t[MAX_RANK];

	for (unsigned i = 0; i < n_state; i++)
		t[i] = init[i]->type;
	for (unsigned i = 0; i < n_out; i++) {
		const struct type *st = step_type[i];
		const struct expr *dim[MAX_RANK + 1] = { extent };

		if (st->rank)
			memcpy(dim + 1, st->dim, st->rank * sizeof(*dim));
		t[n_state + i] = type_tensor(c, st->dtype, st->rank + 1, dim);
	}
	s.op = build(&lo->b, &(struct op_spec){ .code = OP_core_scan,
						.n_in = n_state, .in = init,
						.n_out = n_state + n_out,
						.out = t, .n_region = 1 });
	struct block *body = op_body(s.op);

	s.t = block_add_iv(c, body, extent);
	for (unsigned i = 0; i < n_state; i++)
		block_add_arg(c, body, t[i], NULL);
	s.state = body->arg;
	lo->b.block = body;
	lo->b.before = NULL;
	return s;
}

void scan_end(struct lower *lo, struct scan *s, unsigned n,
	      struct value *const *next, struct value **result)
{
	build(&lo->b, &(struct op_spec){ .code = OP_nest_yield, .n_in = n,
					 .in = next });
	lo->b.block = s->saved_block;
	lo->b.before = s->saved_before;
	for (unsigned i = 0; i < n; i++)
		result[i] = &s->op->out[i];
}

/* Run-time scalars inside index expressions become operands. */
struct to_args {
	struct ctx *ctx;
	struct value *in[MAX_RANK * 2];
	unsigned n;
};

static const struct expr *val_to_arg(void *arg, const struct atom *a)
{
	struct to_args *t = arg;
	unsigned i = 0;

	if (a->kind != ATOM_VAL)
		return NULL;
	while (i < t->n && t->in[i] != a->val)
		i++;
	if (i == t->n)
		t->in[t->n++] = a->val;
	return expr_arg(t->ctx, i, a->a);
}

static bool is_empty(const struct type *t)
{
	for (unsigned i = 0; t->kind == TY_TENSOR && i < t->rank; i++)
		if (expr_is(t->dim[i], 0))
			return true;
	return false;
}

struct value *nest_load_guarded(struct lower *lo, struct value *tensor,
				const struct expr *const *idx, unsigned n_guard,
				const struct expr *const *guard,
				struct value *other)
{
	struct ctx *c = lo->b.ctx;
	struct to_args args = { .ctx = c, .in = { tensor, other },
				.n = other ? 2 : 1 };
	const struct expr *e[MAX_RANK], *g[MAX_RANK * 4];
	const struct type *t = type_scalar(c, tensor->type->dtype);
	struct named_attr attr[2];
	unsigned n = 0;

	/* No point reaches this, and an index may divide by an extent of 0. */
	if (is_empty(tensor->type))
		return other ? other : s_const(lo, t->dtype, 0);
	for (unsigned i = 0; i < tensor->type->rank; i++)
		e[i] = expr_subst(c, idx[i], val_to_arg, &args);
	attr[0] = (struct named_attr){ A_idx, attr_exprs(c, tensor->type->rank,
							 e) };
	for (unsigned i = 0; i < n_guard; i++)
		if (!expr_ge0(c, guard[i]))
			g[n++] = expr_subst(c, guard[i], val_to_arg, &args);
	if (!n && other) {
		/* No guard is left: the load is unconditional. */
		return nest_load(lo, tensor, idx);
	}
	attr[1] = (struct named_attr){ A_guard, attr_exprs(c, n, g) };
	struct op *op = build(&lo->b, &(struct op_spec){ .code = OP_nest_load,
							 .n_in = args.n,
							 .in = args.in,
							 .n_out = 1,
							 .out = &t,
							 .n_attr = 1 + (n > 0),
							 .attr = attr });

	return &op->out[0];
}

struct value *nest_load(struct lower *lo, struct value *tensor,
			const struct expr *const *idx)
{
	return nest_load_guarded(lo, tensor, idx, 0, NULL, NULL);
}

struct value *nest_load_broadcast(struct lower *lo, struct value *tensor,
				  unsigned rank, const struct expr *const *iv)
{
	const struct expr *idx[MAX_RANK];
	const struct type *t = tensor->type;

	for (unsigned i = 0; i < t->rank; i++)
		idx[i] = expr_is(t->dim[i], 1)
				 ? expr_const(lo->b.ctx, 0)
				 : broadcast_index(lo->b.ctx, t->dim[i],
						   iv[rank - t->rank + i]);
	return nest_load(lo, tensor, idx);
}

static const struct expr *index_of(struct lower *lo, struct value *v,
				   const struct expr *extent, bool wrap)
{
	struct ctx *c = lo->b.ctx;
	struct named_attr attr[] = { { A_extent, attr_exprs(c, 1, &extent) },
				     { A_wrap, attr_int(c, wrap) } };
	const struct type *t = type_scalar(c, DT_I64);

	if (v->type->dtype != DT_I64)
		v = s_cast(lo, DT_I64, v);
	struct op *op = build(&lo->b, &(struct op_spec){ .code = OP_nest_index,
							 .n_in = 1, .in = &v,
							 .n_out = 1, .out = &t,
							 .n_attr = 2,
							 .attr = attr });

	return expr_val(c, &op->out[0], extent);
}

const struct expr *nest_index(struct lower *lo, struct value *v,
			      const struct expr *extent)
{
	return index_of(lo, v, extent, false);
}

const struct expr *nest_index_wrap(struct lower *lo, struct value *v,
				   const struct expr *extent)
{
	return index_of(lo, v, extent, true);
}

struct value *nest_value(struct lower *lo, const struct expr *e)
{
	struct ctx *c = lo->b.ctx;
	struct to_args args = { .ctx = c };
	const struct expr *x = expr_subst(c, e, val_to_arg, &args);
	const struct type *t = type_scalar(c, DT_I64);
	struct named_attr attr = { A_idx, attr_exprs(c, 1, &x) };
	struct op *op = build(&lo->b, &(struct op_spec){ .code = OP_nest_value,
							 .n_in = args.n,
							 .in = args.in,
							 .n_out = 1, .out = &t,
							 .n_attr = 1,
							 .attr = &attr });

	return &op->out[0];
}

/* ---- scalars -------------------------------------------------------- */

static struct value *scalar_op(struct lower *lo, enum opcode code, unsigned n,
			       struct value *const *in, enum dtype t,
			       const struct named_attr *attr)
{
	const struct type *type = type_scalar(lo->b.ctx, t);
	struct op *op = build(&lo->b, &(struct op_spec){ .code = code,
							 .n_in = n, .in = in,
							 .n_out = 1,
							 .out = &type,
							 .n_attr = attr != NULL,
							 .attr = attr });

	return &op->out[0];
}

struct value *s_const(struct lower *lo, enum dtype t, double v)
{
	if (!dtype_is_float(t))
		return s_int(lo, t, (int64_t)v);
	struct named_attr a = { A_value, attr_float(lo->b.ctx, v) };

	return scalar_op(lo, OP_arith_const, 0, NULL, t, &a);
}

struct value *s_int(struct lower *lo, enum dtype t, int64_t v)
{
	if (dtype_is_float(t))
		return s_const(lo, t, (double)v);
	struct named_attr a = { A_value, attr_int(lo->b.ctx, v) };

	return scalar_op(lo, OP_arith_const, 0, NULL, t, &a);
}

struct value *s_op(struct lower *lo, enum opcode code, struct value *a)
{
	return scalar_op(lo, code, 1, &a, a->type->dtype, NULL);
}

static bool is_compare(enum opcode code)
{
	return code == OP_arith_eq || code == OP_arith_ne ||
	       code == OP_arith_lt || code == OP_arith_le ||
	       code == OP_arith_gt || code == OP_arith_ge;
}

struct value *s_op2(struct lower *lo, enum opcode code, struct value *a,
		    struct value *b)
{
	struct value *in[] = { a, b };

	if (a->type != b->type)
		bug(&lo->b.ctx->diag, "%s of %s and %s", op_defs[code]->name,
		    type_str(lo->b.ctx, a->type), type_str(lo->b.ctx, b->type));
	return scalar_op(lo, code, 2, in,
			 is_compare(code) ? DT_BOOL : a->type->dtype, NULL);
}

struct value *s_select(struct lower *lo, struct value *cond, struct value *a,
		       struct value *b)
{
	struct value *in[] = { cond, a, b };

	return scalar_op(lo, OP_arith_select, 3, in, a->type->dtype, NULL);
}

struct value *s_cast(struct lower *lo, enum dtype to, struct value *a)
{
	if (a->type->dtype == to)
		return a;
	return scalar_op(lo, OP_arith_cast, 1, &a, to, NULL);
}

struct value *s_clamp(struct lower *lo, struct value *a, double low,
		      double high)
{
	enum dtype t = a->type->dtype;

	a = s_op2(lo, OP_arith_max, a, s_const(lo, t, low));
	return s_op2(lo, OP_arith_min, a, s_const(lo, t, high));
}

struct value *s_cast_saturate(struct lower *lo, enum dtype to, struct value *a)
{
	if (!(T_FLOAT8 >> to & 1) || a->type->dtype == to)
		return s_cast(lo, to, a);
	/* Integers that an f32 does not hold are beyond the bounds anyway. */
	if (!(T_FLOAT >> a->type->dtype & 1))
		a = s_cast(lo, DT_F32, a);
	return s_cast(lo, to, s_clamp(lo, a, -dtype_max(to), dtype_max(to)));
}

struct value *g_op(struct lower *lo, enum opcode code, unsigned n_in,
		   struct value *const *in, unsigned n_attr,
		   const struct named_attr *attr)
{
	return build_op(&lo->b, code, n_in, in, n_attr, attr);
}

/* ---- dispatch ------------------------------------------------------- */

static bool lower_scalar(struct lower *lo)
{
	struct op *op = lo->op;
	const struct type *t = op->out[0].type;
	struct nest s = nest_begin(lo, 1, &t);
	struct value **x = NEW_ARRAY(&lo->b.ctx->temp, op->n_in + 1u,
				     struct value *);

	for (unsigned i = 0; i < op->n_in; i++)
		if (lower_in(lo, i))
			x[i] = nest_load_broadcast(lo, lower_in(lo, i), s.rank,
						   s.iv);
	struct value *y = op_def(op)->scalar(lo, x);

	if (!y)
		return false;
	nest_end(lo, &s, 1, &y, lo->result);
	return true;
}

/* Results without elements need no meaning, whose indices might divide by 0. */
static bool lower_empty(struct lower *lo)
{
	for (unsigned i = 0; i < lo->op->n_out; i++) {
		const struct type *t = lower_type(lo, i);

		if (t->kind == TY_TENSOR && !is_empty(t))
			return false;
	}
	for (unsigned i = 0; i < lo->op->n_out; i++) {
		const struct type *t = lower_type(lo, i);

		if (t->kind != TY_TENSOR)
			continue;
		struct nest s = nest_begin(lo, 1, &t);
		struct value *v = s_const(lo, t->dtype, 0);

		nest_end(lo, &s, 1, &v, &lo->result[i]);
	}
	return true;
}

bool op_lower(struct lower *lo)
{
	const struct op_def *d = op_def(lo->op);

	lo->b.loc = lo->op->loc;
	if (lower_empty(lo))
		return true;
	if (d->scalar)
		return lower_scalar(lo);
	if (d->lower)
		return d->lower(lo);
	if (d->decompose)
		return d->decompose(lo);
	bug(&lo->b.ctx->diag, "%s has no meaning", d->name);
}
