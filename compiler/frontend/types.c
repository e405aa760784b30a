/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the file says of types.  The declared type of an input is a fact that
 * the caller must keep to; that of an output is a claim, compared with what
 * follows from the graph.
 */
#include <ctype.h>
#include <string.h>

#include "frontend/internal.h"

/* A dim_param and the expression that stands for it. */
struct dim {
	const struct expr *expr;
};

/* How often a cleaned name was wanted. */
struct dim_name {
	unsigned n;
};

enum { MAX_DIM_NAME = 32 };

static const char *kind_name(Onnx__TypeProto__ValueCase kind)
{
	switch (kind) {
	case ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE: return "a sequence";
	case ONNX__TYPE_PROTO__VALUE_MAP_TYPE: return "a map";
	case ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE: return "an optional";
	case ONNX__TYPE_PROTO__VALUE_SPARSE_TENSOR_TYPE:
		return "a sparse tensor";
	case ONNX__TYPE_PROTO__VALUE_OPAQUE_TYPE: return "opaque";
	case ONNX__TYPE_PROTO__VALUE__NOT_SET:
	case ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE:
	case _ONNX__TYPE_PROTO__VALUE__CASE_IS_INT_SIZE: break;
	}
	return "of no known kind";
}

/* ---- symbolic dims -------------------------------------------------- */

/* v7 and the like are numbers that are read at run time (infer_bind()). */
static bool is_taken_name(const char *s)
{
	return *s == 'v' && s[1] &&
	       s[1 + strspn(s + 1, "0123456789")] == '\0';
}

/* A name that can stand in the text form, different from all before. */
static const char *clean_name(struct importer *im, const char *name)
{
	char s[MAX_DIM_NAME + 3];
	size_t n = 0;

	if (!isalpha((unsigned char)*name) && *name != '_')
		s[n++] = 'd';
	for (; *name && n < MAX_DIM_NAME; name++)
		s[n++] = isalnum((unsigned char)*name) ? *name : '_';
	s[n] = '\0';
	if (is_taken_name(s)) {
		s[n++] = '_';
		s[n] = '\0';
	}
	const char *base = intern(im, s), *clean = base;
	struct dim_name *d;

	while ((d = map_get(&im->dim_names, key_of(clean)))) {
		struct dim_name *first = map_get(&im->dim_names, key_of(base));

		clean = intern(
			im, arena_fmt(&im->arena, "%s_%u", base, ++first->n));
	}
	map_put(&im->dim_names, key_of(clean),
		NEW(&im->arena, struct dim_name));
	return clean;
}

/* The size that the options give to a dim, or its symbol. */
static const struct expr *dim_new(struct importer *im, const char *param,
				  const char *wanted)
{
	const char *clean = clean_name(im, wanted);
	const struct frontend_options *o = im->opt;
	const struct expr *e = NULL;

	for (unsigned i = 0; o && i < o->n_dim; i++) {
		if (strcmp(o->dim[i].name, clean) &&
		    (!param || strcmp(o->dim[i].name, param)))
			continue;
		im->dim_used[i] = true;
		e = expr_const(im->c, o->dim[i].value);
	}
	return e ? e : expr_sym(im->c, clean);
}

static const struct expr *dim_of_param(struct importer *im, const char *param)
{
	const char *key = intern(im, param);
	struct dim *d = map_get(&im->dims, key_of(key));

	if (!d) {
		d = NEW(&im->arena, struct dim);
		d->expr = dim_new(im, param, param);
		map_put(&im->dims, key_of(key), d);
	}
	return d->expr;
}

bool dims_all_used(struct importer *im)
{
	const struct frontend_options *o = im->opt;

	for (unsigned i = 0; o && i < o->n_dim; i++)
		if (!im->dim_used[i])
			return diag_error(&im->c->diag, EXIT_USAGE,
					  file_loc(im),
					  "no input has a dim '%s'",
					  brief(im, o->dim[i].name));
	return true;
}

/* ---- types of inputs ------------------------------------------------ */

static bool input_error(struct importer *im, const char *name,
			enum exit_code code, const char *what)
{
	return diag_error(&im->c->diag, code, file_loc(im), "input '%s' %s",
			  brief(im, name), what);
}

static const struct expr *input_dim(struct importer *im, const char *name,
				    const Onnx__TensorShapeProto__Dimension *d,
				    size_t axis)
{
	if (d->value_case ==
	    ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE) {
		if (d->dim_value >= 0)
			return expr_const(im->c, d->dim_value);
		if (d->dim_value < -1) {
			input_error(im, name, EXIT_MODEL, "has a negative dim");
			return NULL;
		}
	}
	if (d->value_case ==
		    ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM &&
	    d->dim_param && *d->dim_param)
		return dim_of_param(im, d->dim_param);
	/* Exporters write nothing, or -1, for a dim of any size. */
	return dim_new(im, NULL,
		       arena_fmt(&im->arena, "%.24s_%zu", name, axis));
}

static bool input_size_check(struct importer *im, const char *name,
			     const struct type *t)
{
	int64_t elems = 1, k;

	for (unsigned i = 0; i < t->rank; i++)
		if (expr_is(t->dim[i], 0))
			return true;
	for (unsigned i = 0; i < t->rank; i++) {
		if (!expr_is_const(t->dim[i], &k))
			continue;
		if (elems > MAX_ELEMS / k)
			return input_error(im, name, EXIT_LIMIT,
					   "has more than 2^40 elements");
		elems *= k;
	}
	return true;
}

const struct type *input_type(struct importer *im,
			      const Onnx__ValueInfoProto *info)
{
	const Onnx__TypeProto *type = info->type;
	const struct expr *dim[MAX_RANK];
	const char *name = info->name;
	enum dtype dtype;

	if (!type || type->value_case == ONNX__TYPE_PROTO__VALUE__NOT_SET) {
		input_error(im, name, EXIT_MODEL, "has no type");
		return NULL;
	}
	if (type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) {
		input_error(im, name, EXIT_UNSUPPORTED,
			    arena_fmt(&im->arena,
				      "is %s, which is not supported",
				      kind_name(type->value_case)));
		return NULL;
	}
	const Onnx__TypeProto__Tensor *t = type->tensor_type;
	const Onnx__TensorShapeProto *shape = t->shape;

	if (t->elem_type <= 0 || t->elem_type > 28) {
		input_error(im, name, EXIT_MODEL, "has no valid element type");
		return NULL;
	}
	if (!dtype_from_onnx(t->elem_type, &dtype)) {
		input_error(im, name, EXIT_UNSUPPORTED,
			    arena_fmt(&im->arena,
				      "has type %s, which is not supported",
				      onnx_dtype_name(t->elem_type)));
		return NULL;
	}
	if (!shape) {
		input_error(im, name, EXIT_UNSUPPORTED,
			    "has no shape; its rank must be known");
		return NULL;
	}
	if (shape->n_dim > MAX_RANK) {
		input_error(im, name, EXIT_LIMIT, "has a rank over 32");
		return NULL;
	}
	for (size_t i = 0; i < shape->n_dim; i++)
		if (!(dim[i] = input_dim(im, name, shape->dim[i], i)))
			return NULL;
	const struct type *r =
		type_tensor(im->c, dtype, (unsigned)shape->n_dim, dim);

	return input_size_check(im, name, r) ? r : NULL;
}

/* ---- claims about outputs ------------------------------------------- */

/* The dim depends on values that the model computes: what the file says of
 * its size is checked in each run. */
static void check_at_run_time(struct importer *im, const struct expr *dim,
			      int64_t declared)
{
	if (!expr_is_late(dim))
		return;
	const struct expr *diff = expr_addc(im->c, dim, -declared);
	struct named_attr attr = { A_zero, attr_exprs(im->c, 1, &diff) };

	build(&im->b, &(struct op_spec){ .code = OP_core_check,
					 .n_attr = 1,
					 .attr = &attr });
}

static bool output_error(struct importer *im, const char *name,
			 const char *what)
{
	return diag_error(&im->c->diag, EXIT_MODEL, file_loc(im),
			  "output '%s' %s", brief(im, name), what);
}

static bool shape_check(struct importer *im, const char *name,
			const Onnx__TensorShapeProto *shape,
			const struct type *t)
{
	if (shape->n_dim != t->rank)
		return output_error(
			im, name,
			arena_fmt(&im->arena,
				  "is declared with rank %zu, but is %s",
				  shape->n_dim, type_str(im->c, t)));
	for (size_t i = 0; i < shape->n_dim; i++) {
		const Onnx__TensorShapeProto__Dimension *d = shape->dim[i];
		int64_t k;

		if (d->value_case !=
		    ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE)
			continue;
		if (d->dim_value < -1)
			return output_error(im, name, "has a negative dim");
		if (d->dim_value < 0)
			continue;
		if (!expr_is_const(t->dim[i], &k))
			check_at_run_time(im, t->dim[i], d->dim_value);
		else if (k != d->dim_value)
			return output_error(
				im, name,
				arena_fmt(&im->arena,
					  "is declared with %lld as dim %zu, "
					  "but is %s",
					  (long long)d->dim_value, i,
					  type_str(im->c, t)));
	}
	return true;
}

bool output_check(struct importer *im, const Onnx__ValueInfoProto *info,
		  const struct value *v)
{
	const Onnx__TypeProto *type = info->type;
	enum dtype dtype;

	if (!type || type->value_case == ONNX__TYPE_PROTO__VALUE__NOT_SET)
		return true;
	if (type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
		return output_error(im, info->name,
				    arena_fmt(&im->arena,
					      "is declared as %s, but is %s",
					      kind_name(type->value_case),
					      type_str(im->c, v->type)));
	const Onnx__TypeProto__Tensor *t = type->tensor_type;

	if (t->elem_type &&
	    (!dtype_from_onnx(t->elem_type, &dtype) || dtype != v->type->dtype))
		return output_error(im, info->name,
				    arena_fmt(&im->arena,
					      "is declared with type %s, but "
					      "is %s",
					      onnx_dtype_name(t->elem_type),
					      type_str(im->c, v->type)));
	return !t->shape || shape_check(im, info->name, t->shape, v->type);
}
