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

static void count_atom(void *arg, const struct atom *a)
{
	unsigned *n = arg;

	(void)a;
	++*n;
}

const struct expr *infer_dim(struct ctx *c, const struct expr *e)
{
	enum { FEW_TERMS = 4, FEW_ATOMS = 10 };
	unsigned n = 0;

	expr_visit(e, count_atom, &n);
	return e->n <= FEW_TERMS && n <= FEW_ATOMS ? e : expr_dim(c, e);
}

const struct expr **infer_bind(struct infer *in, struct value *v, size_t n,
			       const int64_t *from)
{
	struct ctx *c = in->ctx;
	size_t m;

	for (struct use *u = v->uses; u; u = u->next)
		if (u->user->code == OP_core_bind &&
		    op_has(u->user, A_counts_from) == (from != NULL) &&
		    (!from || op_int(u->user, A_counts_from) == *from)) {
			const struct expr **old =
				(const struct expr **)op_exprs(u->user, A_syms,
							       &m);

			if (m == n)
				return old;
		}
	const struct expr **e = NEW_ARRAY(&c->perm, n + 1, const struct expr *);

	for (size_t i = 0; i < n; i++)
		e[i] = expr_sym_signed(
			c, arena_fmt(&c->temp, "v%u", ++c->n_syms));
	struct builder b = { c, in->op->parent, in->op, in->op->loc };
	struct named_attr attr[2] = { { A_syms, attr_exprs(c, n, e) } };

	if (from)
		attr[1] = (struct named_attr){ A_counts_from,
					       attr_int(c, *from) };
	build(&b, &(struct op_spec){ .code = OP_core_bind, .n_in = 1,
				     .in = &v, .n_attr = from ? 2 : 1,
				     .attr = attr });
	return e;
}

static bool has_constant_length(struct infer *in, unsigned i)
{
	const struct type *t = infer_type(in, i);
	int64_t len;

	return t->rank == 0 ||
	       (t->rank == 1 && expr_is_const(t->dim[0], &len));
}

const struct expr **infer_elems(struct infer *in, unsigned i, size_t *n)
{
	return infer_list(in, i, SIZE_MAX, n);
}

const struct expr **infer_list(struct infer *in, unsigned i, size_t want,
			       size_t *n)
{
	struct ctx *c = in->ctx;
	struct value *v = op_in(in->op, i);
	int64_t len = 1;

	if (v->type->rank == 1 && !has_constant_length(in, i) &&
	    want != SIZE_MAX) {
		*n = want;
		return infer_bind(in, v, want, NULL);
	}
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
				bound = infer_bind(in, v, *n, NULL);
			e[k] = bound[k];
		}
	}
	return e;
}

const struct expr **infer_counts(struct infer *in, unsigned i, int64_t from,
				 size_t n)
{
	if (has_constant_length(in, i) || infer_type(in, i)->rank != 1)
		return NULL;
	return infer_bind(in, op_in(in->op, i), n, &from);
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
