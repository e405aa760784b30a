/* SPDX-License-Identifier: Apache-2.0 */
/* Making ops: checks against the record, inference, known elements. */
#include <string.h>

#include "ir/eval.h"
#include "ir/op.h"

static bool check_ports(struct infer *in)
{
	const struct op_def *d = op_def(in->op);
	const struct op *op = in->op;
	unsigned n_port = 0, need = 0;

	while (n_port < MAX_PORTS && d->in[n_port].name) {
		if (!(d->in[n_port].types & P_OPTIONAL))
			need = n_port + 1;
		n_port++;
	}
	if (d->min_in)
		need = (unsigned)d->min_in;
	bool variadic = n_port && d->in[n_port - 1].types & P_VARIADIC;

	if (op->n_in < need)
		return infer_error(in, "has %u inputs, needs at least %u",
				   op->n_in, need);
	if (op->n_in > n_port && !variadic)
		return infer_error(in, "has %u inputs, takes at most %u",
				   op->n_in, n_port);
	for (unsigned i = 0; i < op->n_in; i++) {
		const struct port *p = &d->in[i < n_port ? i : n_port - 1];
		const struct type *t = infer_type(in, i);

		if (!t) {
			if (p->types & (P_OPTIONAL | P_VARIADIC))
				continue;
			return infer_error(in, "input '%s' is missing",
					   p->name);
		}
		if (!(p->types >> t->dtype & 1))
			return infer_unsupported(
				in, "input '%s' has type %s, which %s", p->name,
				dtype_info[t->dtype].name,
				"is not supported here");
		if ((p->types & P_SAME) && infer_type(in, 0) &&
		    t->dtype != infer_type(in, 0)->dtype)
			return infer_error(
				in, "input '%s' has type %s, '%s' has %s",
				p->name, dtype_info[t->dtype].name,
				d->in[0].name,
				dtype_info[infer_type(in, 0)->dtype].name);
	}
	for (int i = 0; i < MAX_ATTRS && d->attr[i].set; i++)
		if (d->attr[i].required && !op_has(op, d->attr[i].name))
			return infer_error(in, "attribute '%s' is missing",
					   attr_names[d->attr[i].name]);
	return true;
}

bool op_infer(struct ctx *c, struct op *op, const struct type **out)
{
	const struct op_def *d = op_def(op);
	struct infer in = { c, op, out };

	if (d->domain && !check_ports(&in))
		return false;
	if (!d->infer)
		bug(&c->diag, "%s has no inference", d->name);
	if (!d->infer(&in))
		return false;
	for (unsigned i = 0; i < op->n_out; i++) {
		if (!out[i])
			out[i] = type_none(c);
		for (uint32_t k = 0; k < out[i]->rank; k++)
			if (expr_is_poison(out[i]->dim[k]))
				return diag_error(&c->diag, EXIT_LIMIT, op->loc,
						  "dim %u of the result is "
						  "too large",
						  k);
	}
	return true;
}

static bool run_infer(struct ctx *c, struct op *op)
{
	const struct type **out = NEW_ARRAY(&c->temp, op->n_out + MAX_OUTS,
					    const struct type *);

	if (!op_infer(c, op, out))
		return false;
	for (unsigned i = 0; i < op->n_out; i++)
		op->out[i].type = out[i];
	return true;
}

struct op *build(struct builder *b, const struct op_spec *s)
{
	struct ctx *c = b->ctx;
	struct op *op = NEW(&c->perm, struct op);

	op->code = s->code;
	op->loc = b->loc;
	op->n_in = (uint16_t)s->n_in;
	op->n_out = (uint16_t)s->n_out;
	op->n_attr = (uint16_t)s->n_attr;
	op->n_region = (uint16_t)s->n_region;
	op->in = NEW_ARRAY(&c->perm, s->n_in, struct use);
	op->out = NEW_ARRAY(&c->perm, s->n_out, struct value);
	op->attr = arena_copy(&c->perm, s->attr,
			      s->n_attr * sizeof(*s->attr));
	op->region = NEW_ARRAY(&c->perm, s->n_region, struct region);
	for (unsigned i = 0; i < s->n_in; i++) {
		op->in[i].user = op;
		op_set_in(op, i, s->in[i]);
	}
	for (unsigned i = 0; i < s->n_out; i++)
		op->out[i] = (struct value){ .type = s->out ? s->out[i] : NULL,
					     .def = op, .index = i,
					     .id = ++c->n_values };
	for (unsigned i = 0; i < s->n_region; i++) {
		op->region[i].parent = op;
		op->region[i].block = block_new(c, &op->region[i]);
	}
	if (b->block)
		op_insert(op, b->block, b->before);
	if (!s->out && s->n_out) {
		if (!run_infer(c, op)) {
			op_erase(op);
			return NULL;
		}
		known_compute(c, op);
	}
	return op;
}

struct value *build_op(struct builder *b, enum opcode code, unsigned n_in,
		       struct value *const *in, unsigned n_attr,
		       const struct named_attr *attr)
{
	struct op *op = build(b, &(struct op_spec){ .code = code, .n_in = n_in,
						    .in = in, .n_out = 1,
						    .n_attr = n_attr,
						    .attr = attr });

	return op ? &op->out[0] : NULL;
}

struct value *build_const(struct builder *b, const struct type *t,
			  struct blob data)
{
	struct named_attr attr = { A_value, attr_tensor(b->ctx, t, data) };
	struct op *op = build(b, &(struct op_spec){ .code = OP_core_const,
						    .n_out = 1, .out = &t,
						    .n_attr = 1,
						    .attr = &attr });

	known_compute(b->ctx, op);
	return &op->out[0];
}

struct value *build_ints(struct builder *b, int n, const int64_t *v)
{
	struct ctx *c = b->ctx;
	size_t size = (n < 0 ? 1 : (size_t)n) * sizeof(*v);
	const struct expr *dim = expr_const(c, n);

	return build_const(b, type_tensor(c, DT_I64, n >= 0, &dim),
			   (struct blob){ arena_copy(&c->perm, v, size),
					  size });
}

struct value *build_scalar_const(struct builder *b, enum dtype t, double v)
{
	struct ctx *c = b->ctx;
	void *p = arena_alloc(&c->perm, 8);

	scalar_store(t, p, scalar_cast(DT_F64, t, (union scalar){ .d = v }));
	return build_const(b, type_tensor(c, t, 0, NULL),
			   (struct blob){ p, dtype_size(t) });
}

struct op *build_for(struct builder *b, const struct expr *extent,
		     unsigned width, unsigned unroll, unsigned n,
		     struct value *const *init, const struct expr **iv)
{
	struct ctx *c = b->ctx;
	const struct type *t[MAX_RANK];
	struct named_attr attr[] = { { A_width, attr_int(c, width) },
				     { A_unroll, attr_int(c, unroll) } };

	for (unsigned i = 0; i < n; i++)
		t[i] = init[i]->type;
	struct op *loop = build(b, &(struct op_spec){ .code = OP_loop_for,
						      .n_in = n, .in = init,
						      .n_out = n, .out = t,
						      .n_attr = 2,
						      .attr = attr,
						      .n_region = 1 });

	b->block = op_body(loop);
	b->before = NULL;
	*iv = block_add_iv(c, b->block, extent);
	for (unsigned i = 0; i < n; i++)
		block_add_arg(c, b->block, t[i], NULL);
	return loop;
}

void build_for_end(struct builder *b, struct op *loop, unsigned n,
		   struct value *const *next)
{
	build(b, &(struct op_spec){ .code = OP_loop_yield, .n_in = n,
				    .in = next });
	b->block = loop->parent;
	b->before = loop->next;
}

bool value_const(const struct value *v, struct blob *data)
{
	struct op *op = def_of(v, OP_core_const);

	if (!op)
		return false;
	*data = op_attr(op, A_value)->tensor.blob;
	return true;
}
