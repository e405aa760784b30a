/* SPDX-License-Identifier: Apache-2.0 */
/*
 * precision: the operands of linear ops are rounded to a half float.
 *
 *	%y = onnx.MatMul(%x, %w)
 * ->
 *	%a = onnx.Cast(%x) {to = bf16}		%c = onnx.Cast(%a) {to = f32}
 *	%d = onnx.Cast(%narrow) {to = f32}
 *	%y = onnx.MatMul(%c, %d)
 *
 * Only products with a constant weight are touched, found by their index maps;
 * what they sum to stays f32, as does all else.  The weight is stored narrow
 * and widened where it is read (pass widen), and each input is rounded once for
 * all that read it.  A weight that the type cannot hold stays f32.
 */
#include <fnmatch.h>
#include <math.h>

#include "base/vec.h"
#include "passes/graph/quantize/linear.h"
#include "passes/pass.h"

struct work {
	struct ctx *ctx;
	enum dtype to;
	struct map rounded;	/* value id -> its half floats, as f32 */
};

static struct value *cast(struct builder *b, struct value *x, enum dtype to)
{
	struct named_attr attr = { A_to,
				   attr_int(b->ctx, dtype_info[to].onnx) };

	return build_op(b, OP_Cast, 1, &x, 1, &attr);
}

/* A cursor behind what makes v. */
static struct builder behind(struct ctx *c, const struct value *v,
			     const struct loc *loc)
{
	if (v->def)
		return (struct builder){ c, v->def->parent, v->def->next, loc };
	return (struct builder){ c, v->block, v->block->first, loc };
}

/* The constant in half floats; NULL where one of them would be infinite. */
static struct value *narrow(const struct work *w, struct builder *b,
			    const struct value *v)
{
	struct ctx *c = w->ctx;
	struct blob data;

	value_const(v, &data);
	size_t n = data.size / sizeof(float);
	size_t size = n * dtype_size(w->to);
	const float *from = data.data;
	char *to = arena_alloc(&c->perm, size + 1);

	for (size_t i = 0; i < n; i++) {
		union scalar s = { .d = (double)from[i] };

		scalar_put(w->to, to, i, s);
		if (!isfinite(scalar_get(w->to, to, i).d))
			return NULL;
	}
	return build_const(b, type_tensor(c, w->to, v->type->rank,
					  v->type->dim),
			   (struct blob){ to, size });
}

static struct value *round_weight(struct work *w, const struct linear *l)
{
	struct value *v = linear_w(l), *y = map_get(&w->rounded, v->id);
	struct builder b = behind(w->ctx, v, l->op->loc);

	if (y)
		return y;
	y = narrow(w, &b, v);
	if (!y) {
		diag_warn(&w->ctx->diag, l->op->loc, "its weight does not fit "
			  "%s: it stays f32", dtype_info[w->to].name);
		return NULL;
	}
	y = cast(&b, y, DT_F32);
	map_put(&w->rounded, v->id, y);
	return y;
}

static struct value *round_input(struct work *w, const struct linear *l)
{
	struct value *v = linear_x(l), *y = map_get(&w->rounded, v->id);
	struct builder b = behind(w->ctx, v, l->op->loc);

	if (y)
		return y;
	y = cast(&b, cast(&b, v, w->to), DT_F32);
	map_put(&w->rounded, v->id, y);
	return y;
}

static bool stays_float(const struct ctx *c, const struct op *op)
{
	const char *name = op->loc && op->loc->name ? op->loc->name : "";
	const struct quantize_data *d = c->quantize;

	for (unsigned i = 0; d && i < d->n_keep; i++)
		if (!fnmatch(d->keep[i], name, 0))
			return true;
	return false;
}

static bool precision_run(struct module *m, const struct pass_args *args)
{
	struct work w = { .ctx = m->ctx };
	struct block *body = op_body(m->func);
	struct linear l;
	unsigned n = 0;

	if (args->param[0] != dtype_info[DT_BF16].onnx &&
	    args->param[0] != dtype_info[DT_F16].onnx)
		return diag_error(&m->ctx->diag, EXIT_USAGE, NULL,
				  "a parameter of precision is out of range");
	dtype_from_onnx((int)args->param[0], &w.to);
	for (struct op *op = body->first; op; op = op->next) {
		struct value *v;

		if (stays_float(m->ctx, op) || !linear_of(m->ctx, op, &l) ||
		    !(v = round_weight(&w, &l)))
			continue;
		op_set_in(op, l.w, v);
		v = round_input(&w, &l);
		op_set_in(op, l.x, v);
		n++;
	}
	if (!n)
		diag_warn(&m->ctx->diag, NULL, "nothing was rounded to %s: no "
			  "product with a constant was found",
			  dtype_info[w.to].name);
	map_free(&w.rounded);
	erase_dead(body);
	return true;
}

PASS(precision,
	.summary = "Round the operands of products with constants to half "
		   "floats",
	.needs = LEVEL_GRAPH, .leaves = LEVEL_GRAPH,
	.param = { { "to", 16, "ONNX's number of the type: 16 is bf16, 10 is "
			       "f16" } },
	.run = precision_run);
