/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a model by the reference evaluator, op by op.  At the graph level the
 * types are computed anew from the tensors at hand, so that symbolic dims and
 * sizes that depend on the data are plain numbers; statements look their
 * symbols up.
 */
#include <string.h>

#include "base/map.h"
#include "ir/op.h"
#include "run.h"
#include "tensor_file.h"

enum { MAX_KNOWN_ELEMS = 4096 };

/* The interface as a compiled model's table would state it. */
static struct dlrt_tensor *table(struct arena *a, uint32_t n,
				 const struct abi_tensor *t)
{
	struct dlrt_tensor *out = NEW_ARRAY(a, n + 1, struct dlrt_tensor);

	for (uint32_t i = 0; i < n; i++)
		out[i] = (struct dlrt_tensor){
			.name = t[i].name,
			.dtype = dtype_info[t[i].dtype].onnx,
			.rank = (int32_t)t[i].rank,
			.dims = t[i].code,
			.scale = t[i].scale,
			.zero_point = t[i].zero_point,
			.axis = -1,
		};
	return out;
}

bool eval_prepare(struct run *r)
{
	struct abi *abi = r->job.abi = abi_describe(r->job.m, "run");

	if (!abi || (r->o->passes && !job_passes(&r->job)) ||
	    (*quantize_pass(&r->a, r->o) && !job_graph_passes(&r->job)))
		return false;
	abi_take_io(abi, r->job.m);
	r->n_in = abi->n_in;
	r->n_out = abi->n_out;
	r->n_dim = abi->n_dim;
	r->in_type = table(&r->a, abi->n_in, abi->in);
	r->out_type = table(&r->a, abi->n_out, abi->out);
	r->dim_name = abi->dim_name;
	return true;
}

/* ---- values --------------------------------------------------------- */

struct machine {
	struct ctx *ctx;
	struct run *r;
	struct arena a;
	struct map tensors;	/* value id -> struct tensor */
	struct map symbols;	/* atom serial -> what core.bind read */
};

static const struct type *static_type(struct ctx *c, const struct tensor *t)
{
	const struct expr *dim[MAX_RANK];

	for (unsigned i = 0; i < t->rank; i++)
		dim[i] = expr_const(c, t->dim[i]);
	return type_tensor(c, t->dtype, t->rank, dim);
}

/* Small integers may be shapes and axes, which inference looks at. */
static const struct known *known_elems(struct ctx *c, const struct tensor *t)
{
	size_t n = tensor_count(t, "a tensor");

	if (dtype_is_float(t->dtype) || t->rank > 1 || n > MAX_KNOWN_ELEMS)
		return NULL;
	struct known *k = NEW(&c->perm, struct known);

	k->n = n;
	k->elem = NEW_ARRAY(&c->perm, n + 1, const struct expr *);
	for (size_t i = 0; i < n; i++)
		k->elem[i] = expr_const(
			c, scalar_get(t->dtype, t->data, i).i);
	return k;
}

static void set_value(struct machine *m, struct value *v,
		      const struct tensor *t)
{
	v->type = static_type(m->ctx, t);
	v->known = known_elems(m->ctx, t);
	map_put(&m->tensors, v->id, arena_copy(&m->a, t, sizeof(*t)));
}

static struct tensor get_value(struct machine *m, const struct value *v)
{
	const struct tensor *t = v ? map_get(&m->tensors, v->id) : NULL;

	return t ? *t : (struct tensor){ 0 };
}

static struct tensor const_tensor(const struct op *op)
{
	const struct attr *a = op_attr(op, A_value);
	const struct type *ty = a->tensor.type;
	struct tensor t = { .dtype = ty->dtype, .rank = ty->rank,
			    .data = (void *)(uintptr_t)a->tensor.blob.data };

	for (uint32_t i = 0; i < ty->rank; i++)
		expr_is_const(ty->dim[i], &t.dim[i]);
	return t;
}

/* ---- ops ------------------------------------------------------------ */

static bool retype(struct machine *m, struct op *op)
{
	const struct type **out = NEW_ARRAY(&m->a, op->n_out + 1u,
					    const struct type *);

	if (!op_infer(m->ctx, op, out))
		return false;
	for (unsigned i = 0; i < op->n_out; i++)
		if (out[i])
			op->out[i].type = out[i];
	return true;
}

static bool eval_error(struct machine *m, const struct op *op,
		       enum eval_result res, int32_t *status)
{
	switch (res) {
	case EVAL_OK: return true;
	case EVAL_INDEX: *status = DLRT_INDEX; return true;
	case EVAL_DIVZERO: *status = DLRT_DIVZERO; return true;
	case EVAL_UNKNOWN: break;
	}
	return diag_error(&m->ctx->diag, EXIT_UNSUPPORTED, op->loc,
			  "the evaluator cannot run it");
}

/* ---- statements ----------------------------------------------------- */

static bool outer_tensor(void *arg, const struct value *v, struct tensor *t)
{
	struct machine *m = arg;

	*t = get_value(m, v);
	return t->data;
}

static bool outer_symbol(void *arg, const struct atom *a, int64_t *v)
{
	struct machine *m = arg;
	const struct abi *abi = m->r->job.abi;
	const int64_t *bound = map_get(&m->symbols, a->serial);

	if (bound) {
		*v = *bound;
		return true;
	}
	for (uint32_t i = 0; i < abi->n_dim; i++)
		if (abi->dim[i] == a) {
			*v = m->r->dim[i];
			return true;
		}
	return false;
}

static void bind(struct machine *m, const struct op *op)
{
	struct tensor t = get_value(m, op_in(op, 0));
	size_t n;
	const struct expr *const *sym = op_exprs(op, A_syms, &n);

	for (size_t i = 0; i < n; i++) {
		int64_t *v = NEW(&m->a, int64_t);

		*v = scalar_get(t.dtype, t.data, i).i;
		map_put(&m->symbols, expr_atom(sym[i])->serial, v);
	}
}

/* Does every expression have a value, which is 0 or, else, not negative? */
static bool holds(struct machine *m, const struct op *op, enum attr_name name)
{
	size_t n;
	const struct expr *const *e = op_exprs(op, name, &n);
	int64_t v;

	for (size_t i = 0; i < n; i++)
		if (!expr_eval(e[i], outer_symbol, m, &v) ||
		    (name == A_zero ? v != 0 : v < 0))
			return false;
	return true;
}

static bool statement_step(struct machine *m, struct op *op, int32_t *status)
{
	const struct eval_outer outer = { outer_tensor, outer_symbol, m };
	struct tensor *out = NEW_ARRAY(&m->a, op->n_out + 1u, struct tensor);

	switch ((int)op->code) {
	case OP_core_bind: bind(m, op); return true;
	case OP_core_check:
		if (!holds(m, op, A_zero) || !holds(m, op, A_nonneg))
			*status = DLRT_SHAPE;
		return true;
	case OP_nest_compute: case OP_core_scan: break;
	default:
		return diag_error(&m->ctx->diag, EXIT_UNSUPPORTED, op->loc,
				  "the evaluator does not run the loop level");
	}
	if (!eval_error(m, op, eval_statement(m->ctx, op, &outer, out, &m->a),
			status))
		return false;
	for (unsigned i = 0; i < op->n_out && !*status; i++)
		map_put(&m->tensors, op->out[i].id, &out[i]);
	return true;
}

/* ---- the model ------------------------------------------------------ */

static bool step(struct machine *m, struct op *op, int32_t *status)
{
	if (op->code == OP_core_const) {
		struct tensor t = const_tensor(op);

		map_put(&m->tensors, op->out[0].id,
			arena_copy(&m->a, &t, sizeof(t)));
		return true;
	}
	if (m->r->job.m->levels != LEVEL_GRAPH)
		return statement_step(m, op, status);
	/* Inference checks what these state, now that all is known. */
	if (op->code == OP_core_bind || op->code == OP_core_check)
		return true;
	if (!retype(m, op))
		return false;
	struct tensor *in = NEW_ARRAY(&m->a, op->n_in + 1u, struct tensor);
	struct tensor *out = NEW_ARRAY(&m->a, op->n_out + 1u, struct tensor);

	for (unsigned i = 0; i < op->n_in; i++)
		in[i] = get_value(m, op_in(op, i));
	if (!eval_error(m, op, eval_op(m->ctx, op, in, out, &m->a), status))
		return false;
	for (unsigned i = 0; i < op->n_out && !*status; i++)
		if (out[i].data)
			set_value(m, &op->out[i], &out[i]);
	return true;
}

bool eval_run(struct run *r, int32_t *status)
{
	struct machine m = { .ctx = r->job.ctx, .r = r };
	struct block *b = op_body(r->job.m->func);
	bool ok = true;

	/* Folding has to end soon; this is what the user asked for. */
	m.ctx->fold_steps = m.ctx->fold_bytes = INT64_MAX;
	for (uint32_t i = 0; i < b->n_arg; i++)
		if (r->job.m->levels == LEVEL_GRAPH)
			set_value(&m, b->arg[i], &r->in[i]);
		else
			map_put(&m.tensors, b->arg[i]->id, &r->in[i]);
	for (struct op *op = b->first; ok && !*status && op != b->last;
	     op = op->next) {
		ok = step(&m, op, status);
		arena_free(&m.ctx->temp);
	}
	for (uint32_t i = 0; ok && !*status && i < r->n_out; i++) {
		struct tensor t = get_value(&m, op_in(b->last, i));
		size_t n = tensor_bytes(&t, "an output");

		r->out[i] = t;
		r->out[i].data = arena_alloc(&r->a, n + 1);
		if (n)
			memcpy(r->out[i].data, t.data, n);
	}
	map_free(&m.tensors);
	map_free(&m.symbols);
	arena_free(&m.a);
	return ok;
}
