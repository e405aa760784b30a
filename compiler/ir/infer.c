/* SPDX-License-Identifier: Apache-2.0 */
/* What op records use to compute result types. */
#include "ir/op.h"

const struct type *infer_type(struct infer *in, unsigned i)
{
	struct value *v = op_in(in->op, i);

	return value_is_absent(v) ? NULL : v->type;
}

bool infer_has(struct infer *in, unsigned i)
{
	return infer_type(in, i);
}

bool infer_error(struct infer *in, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	const char *text = arena_vfmt(&in->ctx->temp, fmt, ap);
	va_end(ap);
	return diag_error(&in->ctx->diag, EXIT_MODEL, in->op->loc, "%s", text);
}

bool infer_unsupported(struct infer *in, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	const char *text = arena_vfmt(&in->ctx->temp, fmt, ap);
	va_end(ap);
	return diag_error(&in->ctx->diag, EXIT_UNSUPPORTED, in->op->loc, "%s",
			  text);
}

void infer_set(struct infer *in, unsigned k, enum dtype t, unsigned rank,
	       const struct expr *const *dim)
{
	if (k < in->op->n_out)
		in->out[k] = type_tensor(in->ctx, t, rank, dim);
}

bool infer_axis(struct infer *in, int64_t axis, unsigned rank, unsigned *out)
{
	if (axis < -(int64_t)rank || axis >= (int64_t)rank)
		return infer_error(in, "axis %lld is out of range for rank %u",
				   (long long)axis, rank);
	*out = (unsigned)(axis < 0 ? axis + rank : axis);
	return true;
}

/* Symbols for the elements of v that are only known at run time. */
static const struct expr **bind_elems(struct infer *in, struct value *v,
				      size_t n)
{
	struct ctx *c = in->ctx;
	size_t m;

	for (struct use *u = v->uses; u; u = u->next)
		if (u->user->code == OP_core_bind)
			return (const struct expr **)op_exprs(u->user, A_syms,
							      &m);
	const struct expr **e = NEW_ARRAY(&c->perm, n, const struct expr *);

	for (size_t i = 0; i < n; i++)
		e[i] = expr_sym_signed(
			c, arena_fmt(&c->temp, "v%u", ++c->n_syms));
	struct builder b = { c, in->op->parent, in->op, in->op->loc };
	struct named_attr attr = { A_syms, attr_exprs(c, n, e) };

	build(&b, &(struct op_spec){ .code = OP_core_bind, .n_in = 1,
				     .in = &v, .n_attr = 1, .attr = &attr });
	return e;
}

const struct expr **infer_elems(struct infer *in, unsigned i, size_t *n)
{
	struct ctx *c = in->ctx;
	struct value *v = op_in(in->op, i);
	int64_t len = 1;

	if (v->type->rank > 1 ||
	    (v->type->rank == 1 && !expr_is_const(v->type->dim[0], &len))) {
		infer_unsupported(in, "input '%s' must be a list of constant "
				      "length, is %s",
				  op_def(in->op)->in[i].name,
				  type_str(c, v->type));
		return NULL;
	}
	*n = (size_t)len;
	if (len > 4096) {
		infer_unsupported(in, "input '%s' has %lld elements",
				  op_def(in->op)->in[i].name, (long long)len);
		return NULL;
	}
	const struct expr **e = NEW_ARRAY(&c->perm, *n + 1,
					  const struct expr *);
	const struct expr **bound = NULL;

	for (size_t k = 0; k < *n; k++) {
		e[k] = v->known ? v->known->elem[k] : NULL;
		if (!e[k]) {
			if (!bound)
				bound = bind_elems(in, v, *n);
			e[k] = bound[k];
		}
	}
	return e;
}

bool infer_const_ints(struct infer *in, unsigned i, size_t *n, int64_t **v)
{
	const struct value *x = op_in(in->op, i);
	int64_t len = 1;

	if (x->type->rank > 1 ||
	    (x->type->rank && !expr_is_const(x->type->dim[0], &len)) ||
	    len > 4096)
		return infer_unsupported(in, "input '%s' must be a short list",
					 op_def(in->op)->in[i].name);
	*n = (size_t)len;
	*v = NEW_ARRAY(&in->ctx->perm, *n + 1, int64_t);
	for (size_t k = 0; k < *n; k++)
		if (!x->known || !x->known->elem[k] ||
		    !expr_is_const(x->known->elem[k], &(*v)[k]))
			return infer_unsupported(
				in, "input '%s' must be constant",
				op_def(in->op)->in[i].name);
	return true;
}

void infer_require_eq(struct infer *in, const struct expr *a,
		      const struct expr *b)
{
	const struct expr *d = expr_sub(in->ctx, a, b);

	if (!d->n)
		return;
	/* One check per fact and block is enough. */
	for (struct op *p = in->op->prev; p; p = p->prev)
		if (p->code == OP_core_check) {
			size_t n;

			const struct expr *const *old =
				op_exprs(p, A_zero, &n);

			if (n && old[0] == d)
				return;
		}
	struct builder bl = { in->ctx, in->op->parent, in->op, in->op->loc };
	struct named_attr attr = { A_zero, attr_exprs(in->ctx, 1, &d) };

	if (bl.block)
		build(&bl, &(struct op_spec){ .code = OP_core_check,
					      .n_attr = 1, .attr = &attr });
}

static bool pointwise(struct infer *in, bool compare)
{
	const struct expr *dim[MAX_RANK];
	unsigned rank = 0;
	const struct type *first = NULL;

	for (unsigned i = 0; i < in->op->n_in; i++) {
		const struct type *t = infer_type(in, i);

		if (!t)
			continue;
		if (!first)
			first = t;
		if (!infer_broadcast(in, &rank, dim, t))
			return false;
	}
	for (unsigned k = 0; k < in->op->n_out; k++)
		infer_set(in, k, compare ? DT_BOOL : first->dtype, rank, dim);
	return true;
}

bool infer_pointwise(struct infer *in)
{
	return pointwise(in, false);
}

bool infer_compare(struct infer *in)
{
	return pointwise(in, true);
}

bool infer_same(struct infer *in)
{
	in->out[0] = infer_type(in, 0);
	return true;
}
