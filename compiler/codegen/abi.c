/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interface of a model: names, types and symbolic dims, with C identifiers
 * that are safe whatever bytes the names hold.  An identifier is the name's
 * letters, digits and single underscores, at most IDENT_MAX of them, and is
 * always used behind a prefix (in_, out_, dim_), so that it is no keyword, no
 * macro of the C library and nothing that C++ reserves.
 */
#include "codegen/codegen.h"

#include <string.h>

#include "base/vec.h"
#include "ir/op.h"

enum { IDENT_MAX = 32 };

/* What is used up of one name space. */
struct names {
	struct arena *a;
	struct map taken;	/* hash of the upper-case form -> a count */
};

static char upper(char ch)
{
	return ch >= 'a' && ch <= 'z' ? (char)(ch - 'a' + 'A') : ch;
}

static bool is_word(char ch)
{
	return upper(ch) >= 'A' ? upper(ch) <= 'Z' : ch >= '0' && ch <= '9';
}

static size_t clean(char out[IDENT_MAX + 1], const char *name)
{
	size_t n = 0;

	for (; *name && n < IDENT_MAX; name++) {
		if (is_word(*name))
			out[n++] = *name;
		else if (n && out[n - 1] != '_')
			out[n++] = '_';
	}
	while (n && out[n - 1] == '_')
		n--;
	out[n] = 0;
	return n;
}

/* Macros are made of the upper-case form, so that is what must differ. */
static uint64_t upper_hash(const char *s)
{
	uint64_t h = FNV_INIT;

	for (; *s; s++) {
		char ch = upper(*s);

		h = fnv_bytes(h, &ch, 1);
	}
	return h;
}

static const char *ident_new(struct names *ns, const char *name, size_t index)
{
	char text[IDENT_MAX + 1];
	size_t n = clean(text, name ? name : "");
	const char *ident = n ? arena_str(ns->a, text, n)
			      : arena_fmt(ns->a, "%zu", index);
	size_t *count = map_get(&ns->taken, upper_hash(ident));
	const char *base = ident;

	/* The count of a base grows, so equal names cost O(1) each. */
	while (count) {
		ident = arena_fmt(ns->a, "%s_%zu", base, ++*count);
		if (!map_get(&ns->taken, upper_hash(ident)))
			break;
	}
	size_t *first = NEW(ns->a, size_t);

	*first = 1;
	map_put(&ns->taken, upper_hash(ident), first);
	return ident;
}

/* ---- dims ----------------------------------------------------------- */

struct describe {
	struct ctx *ctx;
	struct abi *abi;
	struct map index;	/* atom serial + 1 -> its dim_ref */
	VEC(const struct atom *) dims;
};

struct dim_ref {
	int64_t code;
};

static bool add_dim(struct describe *d, const struct loc *loc,
		    const struct expr *e, const char *tensor)
{
	const struct atom *a = expr_atom(e);
	int64_t k;

	if (expr_is_const(e, &k))
		return true;
	if (!a || a->kind != ATOM_SYM)
		return diag_error(&d->ctx->diag, EXIT_UNSUPPORTED, loc,
				  "input '%s' has a dim that is neither a "
				  "number nor a name", tensor);
	if (map_get(&d->index, a->serial + 1))
		return true;
	struct dim_ref *ref = NEW(&d->ctx->perm, struct dim_ref);

	ref->code = -1 - (int64_t)d->dims.n;
	map_put(&d->index, a->serial + 1, ref);
	vec_push(&d->dims, a);
	return true;
}

static int64_t dim_code(struct describe *d, const struct expr *e)
{
	const struct atom *a = expr_atom(e);
	const struct dim_ref *ref = a ? map_get(&d->index, a->serial + 1)
				      : NULL;
	int64_t k;

	if (expr_is_const(e, &k))
		return k;
	return ref ? ref->code : INT64_MIN;
}

struct sized {
	struct describe *d;
	bool yes;
};

static void check_atom(void *arg, const struct atom *a)
{
	struct sized *s = arg;

	switch (a->kind) {
	case ATOM_SYM:
		if (!map_get(&s->d->index, a->serial + 1))
			s->yes = false;
		break;
	case ATOM_DIM: case ATOM_DIV: case ATOM_MOD: case ATOM_MIN:
	case ATOM_MAX:
		break;
	case ATOM_IV: case ATOM_ARG: case ATOM_VAL: case ATOM_POISON:
		s->yes = false;
		break;
	}
}

static void describe_dims(struct describe *d, struct abi_tensor *t,
			  const struct type *ty)
{
	struct sized s = { d, true };
	struct map seen = { 0 };
	int64_t *code = NEW_ARRAY(&d->ctx->perm, ty->rank + 1, int64_t);

	for (uint32_t i = 0; i < ty->rank; i++) {
		code[i] = dim_code(d, ty->dim[i]);
		expr_visit_all(ty->dim[i], check_atom, &s, &seen);
	}
	map_free(&seen);
	t->rank = ty->rank;
	t->dtype = ty->dtype;
	t->dim = ty->dim;
	t->code = code;
	t->elems = type_elems(d->ctx, ty);
	t->sized = s.yes && !expr_is_poison(t->elems);
}

/* ---- tensors -------------------------------------------------------- */

static bool check_tensor(struct describe *d, const struct loc *loc,
			 const struct value *v, const char *what)
{
	if (!value_is_absent(v) && v->type->kind == TY_TENSOR)
		return true;
	return diag_error(&d->ctx->diag, EXIT_UNSUPPORTED, loc,
			  "%s is not a tensor", what);
}

static bool describe_inputs(struct describe *d, struct op *func,
			    struct names *ns)
{
	struct block *b = op_body(func);
	struct abi *abi = d->abi;

	abi->n_in = b->n_arg;
	abi->in = NEW_ARRAY(&d->ctx->perm, b->n_arg + 1, struct abi_tensor);
	for (uint32_t i = 0; i < b->n_arg; i++) {
		const struct value *v = b->arg[i];
		const char *name = v->name ? v->name : "";

		if (!check_tensor(d, func->loc, v, "an input"))
			return false;
		abi->in[i].name = name;
		abi->in[i].ident = ident_new(ns, name, i);
		for (uint32_t k = 0; k < v->type->rank; k++)
			if (!add_dim(d, func->loc, v->type->dim[k], name))
				return false;
	}
	for (uint32_t i = 0; i < b->n_arg; i++)
		describe_dims(d, &abi->in[i], b->arg[i]->type);
	return true;
}

static bool describe_outputs(struct describe *d, struct op *func,
			     struct names *ns)
{
	struct op *ret = op_body(func)->last;
	struct abi *abi = d->abi;
	const struct attr *names = op_attr(ret, A_names);

	abi->n_out = ret->n_in;
	abi->out = NEW_ARRAY(&d->ctx->perm, ret->n_in + 1, struct abi_tensor);
	for (unsigned i = 0; i < ret->n_in; i++) {
		const struct value *v = op_in(ret, i);

		if (!check_tensor(d, func->loc, v, "an output"))
			return false;
		const char *name = names && i < names->n ? names->strs[i]
							 : v->name;
		abi->out[i].name = name ? name : "";
		abi->out[i].ident = ident_new(ns, name, i);
		describe_dims(d, &abi->out[i], v->type);
	}
	return true;
}

static void describe_dim_names(struct describe *d, struct names *ns)
{
	struct abi *abi = d->abi;
	struct arena *perm = &d->ctx->perm;
	size_t n = d->dims.n;

	abi->n_dim = (uint32_t)n;
	abi->dim = NEW_ARRAY(perm, n + 1, const struct atom *);
	abi->dim_name = NEW_ARRAY(perm, n + 1, const char *);
	abi->dim_ident = NEW_ARRAY(perm, n + 1, const char *);
	for (size_t i = 0; i < n; i++) {
		abi->dim[i] = d->dims.v[i];
		abi->dim_name[i] = d->dims.v[i]->name;
		abi->dim_ident[i] = ident_new(ns, abi->dim_name[i], i);
	}
}

struct abi *abi_describe(struct module *m, const char *prefix)
{
	struct ctx *c = m->ctx;
	struct abi *abi = NEW(&c->perm, struct abi);
	struct describe d = { .ctx = c, .abi = abi };
	struct names in = { .a = &c->perm }, out = in, dim = in;

	abi->prefix = arena_str(&c->perm, prefix, strlen(prefix));
	abi->workspace_bytes = -1;
	bool ok = describe_inputs(&d, m->func, &in) &&
		  describe_outputs(&d, m->func, &out);

	if (ok)
		describe_dim_names(&d, &dim);
	map_free(&in.taken);
	map_free(&out.taken);
	map_free(&dim.taken);
	map_free(&d.index);
	vec_free(&d.dims);
	return ok ? abi : NULL;
}

void abi_take_io(struct abi *abi, const struct module *m)
{
	const struct block *body = op_body(m->func);
	const struct attr *scale = op_attr(m->func, A_io_scale);
	const struct attr *zero = op_attr(m->func, A_io_zero);

	for (uint32_t i = 0; scale && i < abi->n_in + abi->n_out; i++) {
		bool in = i < abi->n_in;
		struct abi_tensor *t = in ? &abi->in[i]
					  : &abi->out[i - abi->n_in];
		const struct value *v = in ? body->arg[i]
					   : op_in(body->last, i - abi->n_in);

		if (scale->floats[i] == 0)
			continue;
		t->dtype = v->type->dtype;
		t->scale = (float)scale->floats[i];
		t->zero_point = (int32_t)zero->ints[i];
	}
}

void abi_finish(struct abi *abi, const struct module *m)
{
	size_t n;
	const struct expr *const *bytes = op_exprs(m->func, A_workspace, &n);
	int64_t k = 0;

	/* The last one counts everything. */
	if (n && !expr_is_const(bytes[n - 1], &k))
		k = -1;
	/* A size of 0 would be awkward for the caller to allocate. */
	abi->workspace_bytes = k >= 0 && k < 64 ? 64 : k;
	abi->requant = op_has(m->func, A_requant) ? op_str(m->func, A_requant)
						  : NULL;
	abi_take_io(abi, m);
}
