/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of nodes, and the Constant operator, whose value is one. */
#include <string.h>

#include "frontend/internal.h"

#define TYPE(name) ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__##name
#define BIT(name) (1u << TYPE(name))

/* The value fields that are filled in, as a set of attribute types.  Some
 * writers store zeros in the scalar fields that they do not use. */
static unsigned fields_present(const Onnx__AttributeProto *a)
{
	unsigned set = 0;

	set |= a->has_f && a->f != 0 ? BIT(FLOAT) : 0;
	set |= a->has_i && a->i ? BIT(INT) : 0;
	set |= a->has_s && a->s.len ? BIT(STRING) : 0;
	set |= a->t ? BIT(TENSOR) : 0;
	set |= a->g ? BIT(GRAPH) : 0;
	set |= a->sparse_tensor ? BIT(SPARSE_TENSOR) : 0;
	set |= a->tp ? BIT(TYPE_PROTO) : 0;
	set |= a->n_floats ? BIT(FLOATS) : 0;
	set |= a->n_ints ? BIT(INTS) : 0;
	set |= a->n_strings ? BIT(STRINGS) : 0;
	set |= a->n_tensors ? BIT(TENSORS) : 0;
	set |= a->n_graphs ? BIT(GRAPHS) : 0;
	set |= a->n_sparse_tensors ? BIT(SPARSE_TENSORS) : 0;
	set |= a->n_type_protos ? BIT(TYPE_PROTOS) : 0;
	return set;
}

static bool attr_error(struct importer *im, const Onnx__AttributeProto *a,
		       const struct loc *loc, enum exit_code code,
		       const char *what)
{
	return diag_error(&im->c->diag, code, loc, "attribute '%s' %s",
			  brief(im, a->name ? a->name : ""), what);
}

bool attr_check(struct importer *im, const Onnx__AttributeProto *a,
		const struct loc *loc)
{
	unsigned set = fields_present(a), type = (unsigned)a->type;
	unsigned messages =
		BIT(TENSOR) | BIT(GRAPH) | BIT(SPARSE_TENSOR) | BIT(TYPE_PROTO);

	if (!a->name || !*a->name)
		return attr_error(im, a, loc, EXIT_MODEL, "has no name");
	if (type > TYPE(TYPE_PROTOS))
		return attr_error(im, a, loc, EXIT_MODEL, "has no valid type");
	if (a->ref_attr_name && *a->ref_attr_name)
		return !set || attr_error(im, a, loc, EXIT_MODEL,
					  "is a reference and has a value");
	if (!type)
		return attr_error(im, a, loc, EXIT_MODEL, "has no type");
	if (set & ~(1u << type))
		return attr_error(im, a, loc, EXIT_MODEL,
				  "has a value that is not of its type");
	if ((1u << type) & messages & ~set)
		return attr_error(im, a, loc, EXIT_MODEL, "has no value");
	return true;
}

const Onnx__AttributeProto *attr_of(const struct frame *frame,
				    const Onnx__AttributeProto *a)
{
	/* A reference may resolve to one in the caller's frame. */
	while (a->ref_attr_name && *a->ref_attr_name) {
		const char *want = a->ref_attr_name;
		const Onnx__AttributeProto *found = NULL;

		if (!frame || !frame->fn)
			return NULL;
		for (size_t i = 0; i < frame->call->n_attribute; i++)
			if (!strcmp(frame->call->attribute[i]->name, want))
				found = frame->call->attribute[i];
		if (found) {
			a = found;
			frame = frame->up;
			continue;
		}
		const Onnx__FunctionProto *fn = frame->fn->proto;

		for (size_t i = 0; i < fn->n_attribute_proto; i++)
			if (!strcmp(fn->attribute_proto[i]->name, want))
				return fn->attribute_proto[i];
		return NULL;
	}
	return a;
}

const Onnx__AttributeProto *attr_named(const struct frame *frame,
				       const Onnx__NodeProto *node,
				       const char *name)
{
	for (size_t i = 0; i < node->n_attribute; i++)
		if (!strcmp(node->attribute[i]->name, name))
			return attr_of(frame, node->attribute[i]);
	return NULL;
}

/* ---- values --------------------------------------------------------- */

static struct attr *list_new(struct ctx *c, enum attr_kind kind, size_t n)
{
	struct attr *a = NEW(&c->perm, struct attr);

	a->kind = kind;
	a->n = n;
	return a;
}

static const char *string_import(struct importer *im,
				 const Onnx__AttributeProto *a,
				 const ProtobufCBinaryData *s,
				 const struct loc *loc)
{
	if (s->len && memchr(s->data, 0, s->len)) {
		attr_error(im, a, loc, EXIT_MODEL, "has a NUL byte in it");
		return NULL;
	}
	return arena_str(&im->c->perm, (const char *)s->data, s->len);
}

static const struct attr *floats_import(struct ctx *c,
					const Onnx__AttributeProto *a)
{
	struct attr *r = list_new(c, AT_FLOATS, a->n_floats);
	double *v = NEW_ARRAY(&c->perm, a->n_floats, double);

	for (size_t i = 0; i < a->n_floats; i++)
		v[i] = (double)a->floats[i];
	r->floats = v;
	return r;
}

static const struct attr *strings_import(struct importer *im,
					 const Onnx__AttributeProto *a,
					 const struct loc *loc)
{
	struct attr *r = list_new(im->c, AT_STRS, a->n_strings);
	const char **v = NEW_ARRAY(&im->c->perm, a->n_strings, const char *);

	for (size_t i = 0; i < a->n_strings; i++)
		if (!(v[i] = string_import(im, a, &a->strings[i], loc)))
			return NULL;
	r->strs = v;
	return r;
}

const struct attr *attr_import(struct importer *im,
			       const Onnx__AttributeProto *a,
			       const struct loc *loc)
{
	const char *what =
		arena_fmt(&im->c->temp, "attribute '%s'", brief(im, a->name));
	const struct tensor_value *t;
	const char *s;

	switch (a->type) {
	case TYPE(FLOAT): return attr_float(im->c, (double)a->f);
	case TYPE(INT): return attr_int(im->c, a->i);
	case TYPE(STRING):
		s = string_import(im, a, &a->s, loc);
		return s ? attr_str(im->c, s) : NULL;
	case TYPE(TENSOR):
		t = tensor_import(im, a->t, loc, what);
		return t ? attr_tensor(im->c, t->type, t->blob) : NULL;
	case TYPE(FLOATS): return floats_import(im->c, a);
	case TYPE(INTS): return attr_ints(im->c, a->n_ints, a->ints);
	case TYPE(STRINGS): return strings_import(im, a, loc);
	case TYPE(UNDEFINED):
	case TYPE(GRAPH):
	case TYPE(SPARSE_TENSOR):
	case TYPE(TYPE_PROTO):
	case TYPE(TENSORS):
	case TYPE(GRAPHS):
	case TYPE(SPARSE_TENSORS):
	case TYPE(TYPE_PROTOS):
	case _ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE_IS_INT_SIZE: break;
	}
	attr_error(im, a, loc, EXIT_UNSUPPORTED,
		   "has a type that is not supported here");
	return NULL;
}

/* ---- Constant ------------------------------------------------------- */

/* n < 0: a scalar. */
static const struct tensor_value *
value_new(struct importer *im, enum dtype dtype, int64_t n, const void *data)
{
	struct ctx *c = im->c;
	struct tensor_value *v = NEW(&im->arena, struct tensor_value);
	const struct expr *dim = expr_const(c, n);
	size_t size = dtype_bytes(dtype, (size_t)(n < 0 ? 1 : n));

	v->type = type_tensor(c, dtype, n >= 0, &dim);
	v->blob = (struct blob){ arena_copy(&c->perm, data, size), size };
	return v;
}

const struct tensor_value *constant_import(struct importer *im,
					   const struct frame *frame,
					   const Onnx__NodeProto *node,
					   const struct loc *loc)
{
	const Onnx__AttributeProto *a =
		node->n_attribute == 1 ? attr_of(frame, node->attribute[0])
				       : NULL;
	/* The attribute says what the value is, even when it refers to one of
	 * another name. */
	const char *name = a ? node->attribute[0]->name : "";

	if (!a) {
		diag_error(&im->c->diag, EXIT_MODEL, loc,
			   "has %zu values, needs one", node->n_attribute);
		return NULL;
	}
	if (!strcmp(name, "value") && a->type == TYPE(TENSOR))
		return tensor_import(im, a->t, loc, "attribute 'value'");
	if (!strcmp(name, "value_float") && a->type == TYPE(FLOAT))
		return value_new(im, DT_F32, -1, &a->f);
	if (!strcmp(name, "value_int") && a->type == TYPE(INT))
		return value_new(im, DT_I64, -1, &a->i);
	if (!strcmp(name, "value_floats") && a->type == TYPE(FLOATS))
		return value_new(im, DT_F32, (int64_t)a->n_floats, a->floats);
	if (!strcmp(name, "value_ints") && a->type == TYPE(INTS))
		return value_new(im, DT_I64, (int64_t)a->n_ints, a->ints);
	if (!strncmp(name, "value_string", 12) || !strcmp(name, "sparse_value"))
		attr_error(im, node->attribute[0], loc, EXIT_UNSUPPORTED,
			   "is not supported");
	else
		attr_error(im, node->attribute[0], loc, EXIT_MODEL,
			   "is not a value");
	return NULL;
}
