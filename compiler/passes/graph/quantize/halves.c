/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear ops of half floats, before they are quantized:
 *
 *	%y = onnx.MatMul(%x, %w) : f16
 * ->
 *	%a = onnx.Cast(%x) : f32
 *	%b = onnx.MatMul(%a, %v) : f32		the weight's numbers as f32
 *	%y = onnx.Cast(%b) : f16
 *
 * Sums of half floats are summed in f32 anyhow, so this rounds where the op
 * did.  What follows has to know one type of float alone.
 */
#include "passes/graph/quantize/quantize.h"

static struct value *cast(struct builder *b, struct value *x, enum dtype t)
{
	struct named_attr to = { A_to,
				 attr_int(b->ctx, dtype_info[t].onnx) };

	return build_op(b, OP_Cast, 1, &x, 1, &to);
}

/* An operand as f32: a constant, or one cast for all who read it. */
static struct value *widened(struct builder *b, struct map *casts,
			     struct value *x)
{
	struct ctx *c = b->ctx;
	struct blob data;

	if (value_is_absent(x) || !dtype_is_half(x->type->dtype))
		return x;
	if (value_const(x, &data)) {
		struct value *v = floats_const(
			b, type_tensor(c, DT_F32, x->type->rank, x->type->dim),
			const_floats(c, x));

		v->name = x->name;
		return v;
	}
	struct value *v = map_get(casts, x->id);

	if (v)
		return v;
	struct builder behind = { c, x->block, x->block ? x->block->first
							: NULL, b->loc };

	if (x->def)
		behind = (struct builder){ c, x->def->parent, x->def->next,
					   b->loc };
	v = cast(&behind, x, DT_F32);
	map_put(casts, x->id, v);
	return v;
}

static void keep_stats(struct profile *p, const struct value *from,
		       const struct value *to)
{
	struct stats *s = stats_of(p, from);

	if (s)
		map_put(&p->of_value, to->id, s);
}

static bool widen_one(struct ctx *c, struct linear *l, struct map *casts,
		      struct profile *p)
{
	struct op *op = l->op;
	struct builder b = { c, op->parent, op, op->loc };
	struct value *in[MAX_PORTS] = { 0 };

	for (unsigned i = 0; i < op->n_in; i++)
		in[i] = widened(&b, casts, op_in(op, i));
	struct value *y = build_op(&b, op->code, op->n_in, in, op->n_attr,
				   op->attr);

	if (!y)
		return false;
	struct value *narrow = cast(&b, y, op->out[0].type->dtype);

	keep_stats(p, linear_x(l), in[l->x]);
	keep_stats(p, &op->out[0], y);
	keep_stats(p, &op->out[0], narrow);
	value_replace(&op->out[0], narrow);
	l->half_w = linear_w(l);
	op_erase(op);
	l->op = y->def;
	arena_free(&c->temp);
	return true;
}

bool halves_widen(struct ctx *c, struct linears *all, struct profile *p)
{
	struct map casts = { 0 };
	bool ok = true;

	for (size_t i = 0; i < all->n && ok; i++)
		if (dtype_is_half(linear_w(&all->v[i])->type->dtype))
			ok = widen_one(c, &all->v[i], &casts, p);
	map_free(&casts);
	return ok;
}

bool halves_keep(struct ctx *c, const struct linear *l)
{
	struct builder b = { c, l->op->parent, l->op, l->op->loc };
	struct blob was, is;

	if (!l->half_w || !value_const(linear_w(l), &is))
		return true;
	/* Equalized weights need not be half floats. */
	const float *v = is.data;
	enum dtype t = l->half_w->type->dtype;

	value_const(l->half_w, &was);
	for (size_t i = 0; i < is.size / sizeof(*v); i++)
		if ((double)v[i] != scalar_get(t, was.data, i).d)
			return true;
	struct value *w = cast(&b, l->half_w, DT_F32);

	op_set_in(l->op, l->w, w);
	return w;
}
