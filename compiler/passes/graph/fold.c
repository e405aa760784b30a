/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fold: ops of constants become constants, identities become their operand.
 *
 *	%2 = onnx.Shape(%x)         ->  %2 = core.const {value = dense<..>}
 *	%3 = onnx.Add(%c1, %c2)     ->  %3 = core.const {...}
 *
 * The evaluator computes the values, so folding cannot disagree with what the
 * op means.  An op that would raise an error status, or whose result is too
 * large, stays for the run.
 *
 * Narrow integers are a form in which numbers are stored: an op that makes
 * floats of a constant of them (DequantizeLinear of a weight) undoes that
 * where it is folded.  It stays, unless all who read it fold to no more bytes.
 */
#include "ir/eval.h"
#include "ir/op.h"
#include "passes/pass.h"

enum { MAX_OUT_BYTES = 64 << 20 };

static bool elems_bytes(const struct type *t, int64_t *bytes)
{
	int64_t n = 1, d;

	for (uint32_t i = 0; i < t->rank; i++)
		if (!expr_is_const(t->dim[i], &d) ||
		    __builtin_mul_overflow(n, d, &n))
			return false;
	if (n > INT64_MAX / 16)
		return false;
	*bytes = (int64_t)dtype_bytes(t->dtype, (size_t)n);
	return true;
}

/* A constant from elements that inference already knows. */
static struct value *from_known(struct builder *b, const struct value *v)
{
	struct ctx *c = b->ctx;
	enum dtype t = v->type->dtype;

	if (!v->known || !type_is_static(v->type))
		return NULL;
	size_t size = dtype_bytes(t, v->known->n);
	char *data = arena_alloc(&c->perm, size + 1);

	for (size_t i = 0; i < v->known->n; i++) {
		union scalar s = { 0 };

		if (!v->known->elem[i] ||
		    !expr_is_const(v->known->elem[i], &s.i))
			return NULL;
		scalar_put(t, data, i, s);
	}
	return build_const(b, v->type, (struct blob){ data, size });
}

static bool worth(struct ctx *c, const struct op *op, int64_t in_bytes)
{
	int64_t total = 0, n;

	for (unsigned i = 0; i < op->n_out; i++) {
		if (op->out[i].type->kind != TY_TENSOR)
			continue;
		if (!elems_bytes(op->out[i].type, &n))
			return false;
		total += n;
	}
	if (total > MAX_OUT_BYTES && total > in_bytes)
		return false;
	/* Only growth counts against the model's budget. */
	if (total > in_bytes && total > 4096) {
		if (c->fold_bytes < total - in_bytes)
			return false;
		c->fold_bytes -= total - in_bytes;
	}
	return true;
}

/* Would folding widen a constant that is stored narrow? */
static bool undoes_storage(const struct op *op)
{
	enum { NARROW = 16 };
	int64_t n;

	for (unsigned i = 0; i < op->n_in; i++) {
		const struct value *v = op_in(op, i);
		struct blob data;

		if (!value_const(v, &data) || data.size <= 2 ||
		    v->type->dtype == DT_BOOL ||
		    dtype_is_float(v->type->dtype) ||
		    dtype_info[v->type->dtype].bits > NARROW)
			continue;
		if (dtype_is_float(op->out[0].type->dtype) &&
		    elems_bytes(op->out[0].type, &n) && n > (int64_t)data.size)
			return true;
	}
	return false;
}

static bool fold_eval(struct builder *b, struct op *op)
{
	struct ctx *c = b->ctx;
	struct tensor *in = NEW_ARRAY(&c->temp, op->n_in + 1u, struct tensor);
	struct tensor *out = NEW_ARRAY(&c->temp, op->n_out + 1u,
				       struct tensor);
	struct arena tmp = { 0 };
	int64_t in_bytes = 0;

	for (unsigned i = 0; i < op->n_in; i++) {
		struct value *v = op_in(op, i);
		struct blob data;

		if (value_is_absent(v))
			continue;
		if (!value_const(v, &data))
			return false;
		in[i] = (struct tensor){ .dtype = v->type->dtype,
					 .rank = v->type->rank,
					 .data = (void *)data.data };
		for (uint32_t k = 0; k < v->type->rank; k++)
			if (!expr_is_const(v->type->dim[k], &in[i].dim[k]))
				return false;
		in_bytes += (int64_t)data.size;
	}
	if (!worth(c, op, in_bytes))
		return false;
	bool ok = eval_op(c, op, in, out, &tmp) == EVAL_OK;

	for (unsigned i = 0; ok && i < op->n_out; i++) {
		int64_t n;

		if (op->out[i].type->kind != TY_TENSOR || !op->out[i].uses)
			continue;
		elems_bytes(op->out[i].type, &n);
		struct blob data = { arena_copy(&c->perm, out[i].data,
						(size_t)n),
				     (size_t)n };

		value_replace(&op->out[i],
			      build_const(b, op->out[i].type, data));
	}
	arena_free(&tmp);
	return ok;
}

/* Is each reader an op of constants whose result is no larger than what the
 * op's own constant is? */
static bool readers_shrink(const struct op *op)
{
	struct blob data, other;
	int64_t n;

	if (!value_const(op_in(op, 0), &data))
		return false;
	for (const struct use *u = op->out[0].uses; u; u = u->next) {
		const struct op *r = u->user;

		if (!op_def(r)->domain || op_def(r)->impure || r->n_out != 1 ||
		    !elems_bytes(r->out[0].type, &n) || n > (int64_t)data.size)
			return false;
		for (unsigned i = 0; i < r->n_in; i++)
			if (op_in(r, i) && op_in(r, i) != &op->out[0] &&
			    !value_const(op_in(r, i), &other))
				return false;
	}
	return true;
}

static void fold_op(struct ctx *c, struct op *op)
{
	const struct op_def *d = op_def(op);
	struct builder b = { c, op->parent, op, op->loc };

	if (!d->domain || d->impure)
		return;
	if (d->fold && op->n_out) {
		struct value *result[1] = { 0 };
		struct lower lo = { b, op, result };
		struct value *v = d->fold(&lo);

		if (v && v->type == op->out[0].type) {
			value_replace(&op->out[0], v);
			return;
		}
	}
	bool all = true;

	for (unsigned i = 0; i < op->n_out; i++) {
		struct value *v = op->out[i].uses ? from_known(&b, &op->out[i])
						  : NULL;

		if (v)
			value_replace(&op->out[i], v);
		else
			all &= !op->out[i].uses;
	}
	if (!all && !(undoes_storage(op) && !readers_shrink(op)))
		fold_eval(&b, op);
}

static bool fold_run(struct module *m, const struct pass_args *args)
{
	struct block *body = op_body(m->func);

	(void)args;
	for (struct op *op = body->first, *next; op; op = next) {
		next = op->next;
		fold_op(m->ctx, op);
	}
	erase_dead(body);
	return true;
}

PASS(fold,
	.summary = "Replace ops of constants by their value",
	.needs = LEVEL_GRAPH, .leaves = LEVEL_GRAPH,
	.run = fold_run);
