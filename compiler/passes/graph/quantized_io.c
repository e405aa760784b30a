/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quantized_io: inputs and outputs that are quantized anyway are so in the
 * caller's memory.
 *
 *	func @main(%x: tensor<[N] f32> "x") {
 *	  %q = onnx.QuantizeLinear(%x, %s, %z)
 *	  ...
 *	  %y = onnx.DequantizeLinear(%p, %t, %u)
 *	  core.return(%y)
 * ->
 *	func @main(%q: tensor<[N] u8> "x") {
 *	  ...
 *	  core.return(%p)
 *
 * An input is changed where only QuantizeLinear reads it, always with the same
 * constant scale and zero point for all elements, to 8 bits; an output where
 * DequantizeLinear makes it so.  What the caller has to know stands on
 * core.func: `io_scale` and `io_zero`, of the inputs and then of the outputs,
 * with a scale of 0 for those that stay, and in `io_notes` why these do.
 */
#include <math.h>

#include "base/vec.h"
#include "ir/op.h"
#include "passes/pass.h"

struct io {
	struct ctx *c;
	double *scale;
	int64_t *zero;
	VEC(const char *) notes;
};

/* How 8-bit numbers stand for floats. */
struct grid {
	float scale;
	int64_t zero;
	enum dtype dtype;
};

static bool one_element(const struct value *v, union scalar *s)
{
	struct blob data;

	if (!value_const(v, &data) ||
	    data.size != dtype_size(v->type->dtype))
		return false;
	*s = scalar_load(v->type->dtype, data.data);
	return true;
}

/* Reads the grid of a QuantizeLinear or DequantizeLinear whose integers are
 * `q`; returns why it is none for a caller, or NULL. */
static const char *read_grid(const struct op *op, const struct value *q,
			     struct grid *g)
{
	const struct value *scale = op_in(op, 1), *zero = op_in(op, 2);
	union scalar s, z = { .i = 0 };
	struct blob data;
	int64_t precision = op->code == OP_QuantizeLinear
				    ? op_int(op, A_precision)
				    : 0;

	if (q->type->dtype != DT_I8 && q->type->dtype != DT_U8)
		return "its integers are not of 8 bits";
	if (!value_const(scale, &data) ||
	    (!value_is_absent(zero) && !value_const(zero, &data)))
		return "its scale or zero point is not constant";
	if (!one_element(scale, &s) ||
	    (!value_is_absent(zero) && !one_element(zero, &z)))
		return "it has more than one scale";
	if (scale->type->dtype != DT_F32 ||
	    (precision && precision != dtype_info[DT_F32].onnx))
		return "its scale is not f32";
	if (!(s.d > 0) || isinf(s.d))
		return "its scale is not above 0 and finite";
	*g = (struct grid){ (float)s.d, z.i, q->type->dtype };
	return NULL;
}

static void note(struct io *io, const char *what, const char *name,
		 const struct value *v, const char *why)
{
	vec_push(&io->notes,
		 arena_fmt(&io->c->perm, "%s '%s' stays %s: %s", what,
			   name ? name : "", dtype_info[v->type->dtype].name,
			   why));
}

/* ---- inputs --------------------------------------------------------- */

/* The one grid on which the input is read, or why there is none. */
static const char *input_grid(const struct value *x, struct grid *g)
{
	bool first = true;

	if (x->type->kind != TY_TENSOR || x->type->dtype != DT_F32)
		return "it is not f32";
	if (!x->uses)
		return "nothing reads it";
	for (const struct use *u = x->uses; u; u = u->next, first = false) {
		const struct op *op = u->user;
		struct grid own;

		if (op->code != OP_QuantizeLinear || u != &op->in[0])
			return "not only QuantizeLinear reads it";
		const char *why = read_grid(op, &op->out[0], &own);

		if (why)
			return why;
		if (!first && (own.scale != g->scale || own.zero != g->zero ||
			       own.dtype != g->dtype))
			return "it is quantized in more than one way";
		*g = own;
	}
	return NULL;
}

/* The input takes the place of what its readers make of it. */
static void drop_quantizers(struct value *x)
{
	VEC(struct op *) q = { 0 };

	while (x->uses) {
		vec_push(&q, x->uses->user);
		op_set_in(x->uses->user, 0, NULL);
	}
	for (size_t i = 0; i < q.n; i++) {
		value_replace(&q.v[i]->out[0], x);
		op_erase(q.v[i]);
	}
	vec_free(&q);
}

static void quantize_input(struct io *io, struct value *x, unsigned i)
{
	struct grid g;
	const char *why = io->scale[i] != 0 ? "it is so already"
					    : input_grid(x, &g);

	if (why) {
		note(io, "input", x->name, x, why);
		return;
	}
	drop_quantizers(x);
	x->type = type_tensor(io->c, g.dtype, x->type->rank, x->type->dim);
	io->scale[i] = (double)g.scale;
	io->zero[i] = g.zero;
}

/* ---- outputs -------------------------------------------------------- */

static void quantize_output(struct io *io, struct op *ret, unsigned k,
			    unsigned i)
{
	const struct attr *names = op_attr(ret, A_names);
	struct value *y = op_in(ret, k);
	struct op *op = def_of(y, OP_DequantizeLinear);
	struct grid g;
	const char *why;

	if (value_is_absent(y))
		return;
	if (io->scale[i] != 0)
		why = "it is so already";
	else if (!op)
		why = "no DequantizeLinear makes it";
	else if (y->type->dtype != DT_F32)
		why = "it is not f32";
	else
		why = read_grid(op, op_in(op, 0), &g);
	if (why) {
		note(io, "output", names && k < names->n ? names->strs[k] : "",
		     y, why);
		return;
	}
	op_set_in(ret, k, op_in(op, 0));
	io->scale[i] = (double)g.scale;
	io->zero[i] = g.zero;
}

/* ---- the pass ------------------------------------------------------- */

/* What an earlier run found; zeros without one. */
static void read_attrs(struct io *io, const struct op *func, size_t n)
{
	const struct attr *scale = op_attr(func, A_io_scale);
	const struct attr *zero = op_attr(func, A_io_zero);

	io->scale = NEW_ARRAY(&io->c->perm, n + 1, double);
	io->zero = NEW_ARRAY(&io->c->perm, n + 1, int64_t);
	for (size_t i = 0; scale && zero && i < n; i++) {
		io->scale[i] = scale->floats[i];
		io->zero[i] = zero->ints[i];
	}
}

static void set_attrs(struct io *io, struct op *func, size_t n)
{
	struct ctx *c = io->c;
	struct attr *scale = NEW(&c->perm, struct attr);
	struct attr *notes = NEW(&c->perm, struct attr);

	*scale = (struct attr){ .kind = AT_FLOATS, .n = n };
	scale->floats = io->scale;
	*notes = (struct attr){ .kind = AT_STRS, .n = io->notes.n };
	notes->strs = arena_copy(&c->perm, io->notes.v,
				 io->notes.n * sizeof(*io->notes.v));
	op_set_attr(c, func, A_io_scale, scale);
	op_set_attr(c, func, A_io_zero, attr_ints(c, n, io->zero));
	op_set_attr(c, func, A_io_notes, notes);
}

static bool quantized_io_run(struct module *m, const struct pass_args *args)
{
	struct block *body = op_body(m->func);
	struct op *ret = body->last;
	struct io io = { .c = m->ctx };
	size_t n = (size_t)body->n_arg + ret->n_in;

	(void)args;
	read_attrs(&io, m->func, n);
	for (unsigned i = 0; i < body->n_arg; i++)
		quantize_input(&io, body->arg[i], i);
	for (unsigned k = 0; k < ret->n_in; k++)
		quantize_output(&io, ret, k, body->n_arg + k);
	set_attrs(&io, m->func, n);
	erase_dead(body);
	vec_free(&io.notes);
	return true;
}

PASS(quantized_io,
	.summary = "Leave quantizing inputs and dequantizing outputs to the "
		   "caller",
	.needs = LEVEL_GRAPH, .leaves = LEVEL_GRAPH,
	.run = quantized_io_run);
