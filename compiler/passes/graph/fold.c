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

/* Quantized weights stay bytes: contractions may sum them as integers, and
 * what does not is folded as a statement. */
static bool widens_bytes(struct ctx *c, const struct op *op)
{
	const struct type *t = op->n_in ? op->in[0].val->type : NULL;
	const struct type *to = op->out[0].type;

	return t && t->kind == TY_TENSOR && to->kind == TY_TENSOR &&
	       dtype_info[t->dtype].bits <= 8 && t->dtype != DT_BOOL &&
	       dtype_is_float(to->dtype) && !expr_is(type_elems(c, t), 1) &&
	       type_elems(c, t) == type_elems(c, to);
}

static bool worth(struct ctx *c, const struct op *op, int64_t in_bytes)
{
	int64_t total = 0, n;

	if (widens_bytes(c, op))
		return false;
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
	if (!all)
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
