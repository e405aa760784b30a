/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensors of the file.  ONNX has three places for the elements: raw_data
 * (little-endian bytes), one typed list per group of types, and another file.
 * Exactly one of them must hold exactly the elements that the dims ask for.
 */
#include <string.h>

#include "frontend/internal.h"

struct tensor_header {
	enum dtype dtype;
	int64_t elems;
	int64_t size; /* bytes */
	const struct type *type;
};

static bool read_header(struct importer *im, const Onnx__TensorProto *t,
			const struct loc *loc, const char *what,
			struct tensor_header *h)
{
	struct diag *d = &im->c->diag;
	const struct expr *dim[MAX_RANK];
	bool zero = false, large = false;

	if (t->data_type <= 0 || t->data_type > 28)
		return diag_error(d, EXIT_MODEL, loc,
				  "%s has no valid type (%d)", what,
				  (int)t->data_type);
	if (!dtype_from_onnx(t->data_type, &h->dtype))
		return diag_error(d, EXIT_UNSUPPORTED, loc,
				  "%s has type %s, which is not supported",
				  what, onnx_dtype_name(t->data_type));
	if (t->n_dims > MAX_RANK)
		return diag_error(d, EXIT_LIMIT, loc,
				  "%s has rank %zu, at most %d is supported",
				  what, t->n_dims, MAX_RANK);
	h->elems = 1;
	for (size_t i = 0; i < t->n_dims; i++) {
		if (t->dims[i] < 0)
			return diag_error(d, EXIT_MODEL, loc,
					  "%s has a negative dim (%lld)", what,
					  (long long)t->dims[i]);
		dim[i] = expr_const(im->c, t->dims[i]);
		zero |= t->dims[i] == 0;
		large |= t->dims[i] && h->elems > MAX_ELEMS / t->dims[i];
		if (!large && t->dims[i])
			h->elems *= t->dims[i];
	}
	if (zero)
		h->elems = 0;
	else if (large ||
		 h->elems > MAX_TENSOR_BYTES / (int64_t)dtype_size(h->dtype))
		return diag_error(d, EXIT_LIMIT, loc,
				  "%s has more than 2^40 elements", what);
	h->size = (int64_t)dtype_bytes(h->dtype, (size_t)h->elems);
	h->type = type_tensor(im->c, h->dtype, (unsigned)t->n_dims, dim);
	return true;
}

/* ---- typed lists ---------------------------------------------------- */

enum list { LIST_FLOAT, LIST_DOUBLE, LIST_INT32, LIST_INT64, LIST_UINT64 };

static enum list list_of(enum dtype t)
{
	switch (t) {
	case DT_F32: return LIST_FLOAT;
	case DT_F64: return LIST_DOUBLE;
	case DT_I64: return LIST_INT64;
	case DT_U32:
	case DT_U64: return LIST_UINT64;
	default: return LIST_INT32; /* all of 16 bits and less, too */
	}
}

/* Entries of that many elements: those of 4 and 2 bits are packed into bytes
 * there as well, one to an entry. */
static size_t entries(enum dtype t, size_t elems)
{
	return dtype_is_packed(t) ? dtype_bytes(t, elems) : elems;
}

static size_t list_length(const Onnx__TensorProto *t, enum list list)
{
	switch (list) {
	case LIST_FLOAT: return t->n_float_data;
	case LIST_DOUBLE: return t->n_double_data;
	case LIST_INT32: return t->n_int32_data;
	case LIST_INT64: return t->n_int64_data;
	case LIST_UINT64: return t->n_uint64_data;
	}
	return 0;
}

/* The low bytes of a 32-bit entry; false when it does not fit. */
static bool store_int32(enum dtype t, void *p, int32_t v)
{
	unsigned bits = (unsigned)dtype_size(t) * 8;
	bool is_signed = dtype_info[t].kind == DK_INT && !dtype_is_packed(t);
	int64_t lo = is_signed ? -(INT64_C(1) << (bits - 1)) : 0;
	int64_t hi = is_signed ? -lo - 1 : (INT64_C(1) << bits) - 1;
	uint8_t byte = (uint8_t)v;
	uint16_t half = (uint16_t)v;

	if (t == DT_BOOL)
		byte = v != 0;
	else if (v < lo || v > hi)
		return false;
	if (bits == 8)
		memcpy(p, &byte, 1);
	else if (bits == 16)
		memcpy(p, &half, 2);
	else
		memcpy(p, &v, 4);
	return true;
}

static bool copy_int32(enum dtype t, char *p, const int32_t *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!store_int32(t, p + i * dtype_size(t), v[i]))
			return false;
	return true;
}

static bool copy_uint64(enum dtype t, char *p, const uint64_t *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t narrow = (uint32_t)v[i];

		if (t == DT_U64) {
			memcpy(p + i * 8, &v[i], 8);
			continue;
		}
		if (v[i] > UINT32_MAX)
			return false;
		memcpy(p + i * 4, &narrow, 4);
	}
	return true;
}

static bool copy_list(const Onnx__TensorProto *t, enum dtype dt, void *p)
{
	enum list list = list_of(dt);
	size_t n = list_length(t, list);

	if (!n)
		return true;
	switch (list) {
	case LIST_FLOAT:
		memcpy(p, t->float_data, n * sizeof(float));
		return true;
	case LIST_DOUBLE:
		memcpy(p, t->double_data, n * sizeof(double));
		return true;
	case LIST_INT64:
		memcpy(p, t->int64_data, n * sizeof(int64_t));
		return true;
	case LIST_INT32: return copy_int32(dt, p, t->int32_data, n);
	case LIST_UINT64: return copy_uint64(dt, p, t->uint64_data, n);
	}
	return false;
}

static bool import_list(struct importer *im, const Onnx__TensorProto *t,
			const struct tensor_header *h, void **data,
			const struct loc *loc, const char *what)
{
	struct diag *d = &im->c->diag;
	size_t n = list_length(t, list_of(h->dtype));
	const char *type = dtype_info[h->dtype].name;

	for (int k = LIST_FLOAT; k <= LIST_UINT64; k++)
		if (k != (int)list_of(h->dtype) && list_length(t, (enum list)k))
			return diag_error(d, EXIT_MODEL, loc,
					  "%s has type %s but its elements "
					  "are in the list of another type",
					  what, type);
	if (t->n_string_data)
		return diag_error(d, EXIT_MODEL, loc,
				  "%s has type %s but holds strings", what,
				  type);
	if (n != entries(h->dtype, (size_t)h->elems))
		return diag_error(d, EXIT_MODEL, loc,
				  "%s has %zu elements, its dims ask for %zu",
				  what, n,
				  entries(h->dtype, (size_t)h->elems));
	*data = arena_alloc(&im->c->perm, (size_t)h->size);
	if (!copy_list(t, h->dtype, *data))
		return diag_error(d, EXIT_MODEL, loc,
				  "%s has an element beyond the range of %s",
				  what, type);
	return true;
}

/* ---- raw bytes ------------------------------------------------------ */

static bool import_raw(struct importer *im, Onnx__TensorProto *t,
		       const struct tensor_header *h, void **data,
		       const struct loc *loc, const char *what)
{
	struct diag *d = &im->c->diag;
	uint64_t size = t->raw_data.len, want = (uint64_t)h->size;
	bool lenient = im->opt && im->opt->lenient_tensors;

	for (int k = LIST_FLOAT; k <= LIST_UINT64; k++)
		if (list_length(t, (enum list)k) || t->n_string_data)
			return diag_error(d, EXIT_MODEL, loc,
					  "%s has its elements twice, in "
					  "raw_data and in a list",
					  what);
	if (size < want || (size > want && !lenient))
		return diag_error(d, EXIT_MODEL, loc,
				  "%s has %llu bytes of raw_data, its type "
				  "asks for %llu",
				  what, (unsigned long long)size,
				  (unsigned long long)want);
	*data = arena_copy(&im->c->perm, t->raw_data.data, (size_t)want);
	/* Weights are held once. */
	im->budget->alloc.free(im->budget, t->raw_data.data);
	t->raw_data = (ProtobufCBinaryData){ 0, NULL };
	return true;
}

static bool import_bytes(struct importer *im, Onnx__TensorProto *t,
			 const struct tensor_header *h, void **data,
			 const struct loc *loc, const char *what)
{
	struct diag *d = &im->c->diag;
	bool external =
		t->has_data_location &&
		t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;

	if (t->segment)
		return diag_error(d, EXIT_UNSUPPORTED, loc,
				  "%s is a segment of a tensor", what);
	if (t->has_data_location && !external &&
	    t->data_location != ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT)
		return diag_error(d, EXIT_MODEL, loc,
				  "%s has an unknown data location", what);
	if (!external)
		return t->has_raw_data && t->raw_data.len
			       ? import_raw(im, t, h, data, loc, what)
			       : import_list(im, t, h, data, loc, what);
	for (int k = LIST_FLOAT; k <= LIST_UINT64; k++)
		if (list_length(t, (enum list)k) || t->raw_data.len)
			return diag_error(d, EXIT_MODEL, loc,
					  "%s has its elements twice, here "
					  "and as external data",
					  what);
	return external_read(im, t, h->size, data, loc, what);
}

/* C's rules for a bool ask for 0 or 1; files have other values too. */
static void normalise_bools(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = p[i] != 0;
}

const struct tensor_value *tensor_import(struct importer *im,
					 Onnx__TensorProto *t,
					 const struct loc *loc,
					 const char *what)
{
	struct tensor_value *v = map_get(&im->tensors, key_of(t));
	struct tensor_header h;
	void *data;

	/* A function's body is imported at each of its calls. */
	if (v)
		return v;
	if (!read_header(im, t, loc, what, &h) ||
	    !import_bytes(im, t, &h, &data, loc, what))
		return NULL;
	if (h.dtype == DT_BOOL) {
		/* External bytes may be another tensor's as well. */
		data = arena_copy(&im->c->perm, data, (size_t)h.size);
		normalise_bools(data, (size_t)h.size);
	}
	v = NEW(&im->arena, struct tensor_value);
	*v = (struct tensor_value){ h.type, { data, (size_t)h.size } };
	map_put(&im->tensors, key_of(t), v);
	return v;
}
