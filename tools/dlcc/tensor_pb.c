/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ONNX's TensorProto, read and written on the wire: the test data of models
 * are such files.  Field numbers are those of onnx.proto.
 */
#include <string.h>

#include "driver.h"
#include "tensor_file.h"

enum field {
	F_DIMS = 1,
	F_DATA_TYPE = 2,
	F_FLOAT_DATA = 4,
	F_INT32_DATA = 5,
	F_STRING_DATA = 6,
	F_INT64_DATA = 7,
	F_NAME = 8,
	F_RAW_DATA = 9,
	F_DOUBLE_DATA = 10,
	F_UINT64_DATA = 11,
	F_DATA_LOCATION = 14,
};

enum wire { W_VARINT = 0, W_FIXED64 = 1, W_BYTES = 2, W_FIXED32 = 5 };

struct reader {
	const char *path;
	const unsigned char *p, *end;
};

struct field_data {
	unsigned number;
	enum wire wire;
	uint64_t v;			/* of a number */
	struct reader bytes;		/* of W_BYTES */
};

NORETURN static void broken(const struct reader *r)
{
	fatal(EXIT_MODEL, "%s: not a tensor of ONNX", r->path);
}

static uint64_t get_varint(struct reader *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70 && r->p < r->end; shift += 7) {
		unsigned char b = *r->p++;

		if (shift < 64)
			v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return v;
	}
	broken(r);
}

static uint64_t get_fixed(struct reader *r, size_t n)
{
	uint64_t v = 0;

	if ((size_t)(r->end - r->p) < n)
		broken(r);
	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)r->p[i] << 8 * i;
	r->p += n;
	return v;
}

static struct field_data get_field(struct reader *r)
{
	uint64_t key = get_varint(r);
	struct field_data f = { .wire = (enum wire)(key & 7) };

	if (key >> 3 == 0 || key >> 3 >= 1u << 29)
		broken(r);
	f.number = (unsigned)(key >> 3);
	switch ((int)f.wire) {
	case W_VARINT: f.v = get_varint(r); break;
	case W_FIXED64: f.v = get_fixed(r, 8); break;
	case W_FIXED32: f.v = get_fixed(r, 4); break;
	case W_BYTES: {
		uint64_t n = get_varint(r);

		if (n > (uint64_t)(r->end - r->p))
			broken(r);
		f.bytes = (struct reader){ r->path, r->p, r->p + n };
		r->p += n;
		break;
	}
	default: broken(r);
	}
	return f;
}

/* ---- the fields of a tensor ----------------------------------------- */

struct values {
	struct tensor *t;
	size_t n, room;		/* elements stored, and in all */
};

static void put_dim(struct reader *r, struct tensor *t, uint64_t v)
{
	if (v > INT64_MAX)
		fatal(EXIT_MODEL, "%s: a dim is negative", r->path);
	if (t->rank == MAX_RANK)
		fatal(EXIT_LIMIT, "%s: more than %d dims", r->path, MAX_RANK);
	t->dim[t->rank++] = (int64_t)v;
}

/* Which list holds the elements of a type. */
static unsigned list_of(enum dtype t)
{
	switch (t) {
	case DT_F32: return F_FLOAT_DATA;
	case DT_F64: return F_DOUBLE_DATA;
	case DT_I64: return F_INT64_DATA;
	case DT_U32: case DT_U64: return F_UINT64_DATA;
	default: return F_INT32_DATA;
	}
}

/* Bits of one element; the low bytes are what the tensor holds, in the
 * machine's order, which is little-endian as all that dlcc runs on. */
static void put_value(struct reader *r, struct values *v, uint64_t bits)
{
	size_t size = dtype_size(v->t->dtype);

	if (v->n == v->room)
		fatal(EXIT_MODEL, "%s: has more elements than its shape",
		      r->path);
	memcpy((char *)v->t->data + v->n++ * size, &bits, size);
}

static void put_list(struct values *v, struct field_data *f)
{
	bool f32 = f->number == F_FLOAT_DATA, f64 = f->number == F_DOUBLE_DATA;
	struct reader *r = &f->bytes;

	while (r->p < r->end)
		put_value(r, v, f32 || f64 ? get_fixed(r, f32 ? 4 : 8)
					   : get_varint(r));
}

static void put_raw(struct values *v, const struct reader *r)
{
	size_t bytes = v->room * dtype_size(v->t->dtype);

	if ((size_t)(r->end - r->p) != bytes)
		fatal(EXIT_MODEL, "%s: has %zu bytes of data, its shape needs "
		      "%zu", r->path, (size_t)(r->end - r->p), bytes);
	if (bytes)
		memcpy(v->t->data, r->p, bytes);
	v->n = v->room;
}

/* Type and shape first: they may stand behind the data. */
static void read_type(struct reader r, struct tensor *t)
{
	uint64_t type = 0;

	while (r.p < r.end) {
		struct field_data f = get_field(&r);

		if (f.number == F_DATA_TYPE && f.wire == W_VARINT)
			type = f.v;
		else if (f.number == F_DIMS && f.wire == W_VARINT)
			put_dim(&r, t, f.v);
		else if (f.number == F_DIMS && f.wire == W_BYTES)
			while (f.bytes.p < f.bytes.end)
				put_dim(&r, t, get_varint(&f.bytes));
		else if (f.number == F_DATA_LOCATION && f.v == 1)
			fatal(EXIT_UNSUPPORTED, "%s: external data is not "
			      "supported here", r.path);
	}
	if (type > 1000 || !dtype_from_onnx((int)type, &t->dtype)) {
		if (!type)
			broken(&r);
		fatal(EXIT_UNSUPPORTED, "%s: type %s is not supported", r.path,
		      type > 1000 ? "?" : onnx_dtype_name((int)type));
	}
}

struct tensor pb_decode(const char *path, const unsigned char *p, size_t n,
			struct arena *a)
{
	struct reader r = { path, p, p + n };
	struct tensor t = { 0 };

	read_type(r, &t);
	size_t bytes = tensor_bytes(&t, path);
	struct values v = { &t, 0, bytes / dtype_size(t.dtype) };

	/* Each element takes a byte or more of the file. */
	if (v.room > n)
		fatal(EXIT_MODEL, "%s: has fewer elements than its shape",
		      path);
	t.data = arena_alloc(a, bytes ? bytes : 1);
	while (r.p < r.end) {
		struct field_data f = get_field(&r);

		if (f.number == F_RAW_DATA && f.wire == W_BYTES)
			put_raw(&v, &f.bytes);
		else if (f.number == list_of(t.dtype) && f.wire == W_BYTES)
			put_list(&v, &f);
		else if (f.number == list_of(t.dtype))
			put_value(&r, &v, f.v);
	}
	if (v.n != v.room)
		fatal(EXIT_MODEL, "%s: has fewer elements than its shape",
		      path);
	return t;
}

/* ---- writing -------------------------------------------------------- */

static void write_varint(FILE *f, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		fputc((int)(v & 0x7f) | 0x80, f);
	fputc((int)v, f);
}

static void write_bytes(FILE *f, enum field number, const void *p, size_t n)
{
	write_varint(f, (uint64_t)number << 3 | W_BYTES);
	write_varint(f, n);
	fwrite(p, 1, n, f);
}

void pb_encode(FILE *f, const struct tensor *t, const char *name)
{
	for (unsigned i = 0; i < t->rank; i++) {
		write_varint(f, F_DIMS << 3 | W_VARINT);
		write_varint(f, (uint64_t)t->dim[i]);
	}
	write_varint(f, F_DATA_TYPE << 3 | W_VARINT);
	write_varint(f, (uint64_t)dtype_info[t->dtype].onnx);
	write_bytes(f, F_NAME, name, strlen(name));
	write_bytes(f, F_RAW_DATA, t->data, tensor_bytes(t, "the output"));
}
