/* SPDX-License-Identifier: Apache-2.0 */
/*
 * numpy's .npy format, versions 1 to 3 (numpy.lib.format): a magic, the length
 * of a header that is the text of a Python dict, and the elements.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "tensor_file.h"

static const struct npy_type {
	const char *text;	/* without the byte order */
	enum dtype dtype;
} types[] = {
	{ "f4", DT_F32 }, { "f8", DT_F64 }, { "f2", DT_F16 },
	{ "i1", DT_I8 },  { "i2", DT_I16 }, { "i4", DT_I32 },
	{ "i8", DT_I64 }, { "u1", DT_U8 },  { "u2", DT_U16 },
	{ "u4", DT_U32 }, { "u8", DT_U64 }, { "b1", DT_BOOL },
	/* How ml_dtypes writes bfloat16. */
	{ "V2", DT_BF16 },
};

/*
 * numpy has no types of 8 bits and less beyond integers.  ml_dtypes keeps one
 * element in a byte, whatever its size, and does not say in the file which
 * type it was; what reads the file has to know.
 */
static bool is_nameless(enum dtype t)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].dtype == t)
			return false;
	return true;
}

struct header {
	const char *path;
	char *text;		/* the dict, NUL-terminated */
};

NORETURN static void broken(const char *path)
{
	fatal(EXIT_MODEL, "%s: not a whole .npy file", path);
}

/* What follows 'key': in the dict. */
static char *find_key(const struct header *h, const char *key)
{
	char *p = strstr(h->text, key);

	if (!p)
		broken(h->path);
	p += strlen(key);
	p += strspn(p, " ");
	if (*p++ != ':')
		broken(h->path);
	return p + strspn(p, " ");
}

static enum dtype read_type(const struct header *h, enum dtype wanted)
{
	char *p = find_key(h, "'descr'");

	if (*p++ != '\'')
		fatal(EXIT_UNSUPPORTED, "%s: records are not supported",
		      h->path);
	p[strcspn(p, "'")] = 0;
	if (*p == '>')
		fatal(EXIT_UNSUPPORTED, "%s: big-endian data is not supported",
		      h->path);
	if (is_nameless(wanted) && *p &&
	    (!strcmp(p + 1, "V1") || !strcmp(p + 1, "f1")))
		return wanted;
	for (size_t i = 0; *p && i < ARRAY_SIZE(types); i++)
		if (!strcmp(p + 1, types[i].text))
			return types[i].dtype;
	fatal(EXIT_UNSUPPORTED, "%s: type '%s' is not supported", h->path, p);
}

static void read_shape(const struct header *h, struct tensor *t)
{
	char *p = find_key(h, "'shape'");

	if (*p++ != '(')
		broken(h->path);
	for (p += strspn(p, " ,"); *p != ')'; p += strspn(p, " ,")) {
		char *end;
		long long v = strtoll(p, &end, 10);

		if (end == p || v < 0)
			broken(h->path);
		if (t->rank == MAX_RANK)
			fatal(EXIT_LIMIT, "%s: more than %d dims", h->path,
			      MAX_RANK);
		t->dim[t->rank++] = v;
		p = end;
	}
}

/* From the order in which the first dim varies fastest. */
static void to_row_major(struct tensor *t, unsigned char *dst,
			 const unsigned char *src, size_t bytes)
{
	size_t size = dtype_size(t->dtype), n = bytes / size;

	for (size_t i = 0; i < n; i++) {
		size_t rest = i, at = 0, step = n;

		for (unsigned k = t->rank; k-- > 0;) {
			size_t d = (size_t)t->dim[k];

			step /= d;
			at += rest % d * step;
			rest /= d;
		}
		memcpy(dst + i * size, src + at * size, size);
	}
}

/* Elements of a byte each, of which a packed tensor takes the low bits. */
static void pack(struct tensor *t, const unsigned char *src, size_t n)
{
	for (size_t i = 0; i < n; i++)
		element_copy(t->dtype, t->data, i, src + i, 0);
}

struct tensor npy_decode(const char *path, const unsigned char *p, size_t n,
			 enum dtype wanted, struct arena *a)
{
	struct tensor t = { 0 };
	size_t at = 10, len;

	if (n < 12 || memcmp(p, "\x93NUMPY", 6))
		broken(path);
	len = p[8] | (size_t)p[9] << 8;
	if (p[6] >= 2) {
		len |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
		at = 12;
	}
	if (len > n - at)
		broken(path);
	struct header h = { path,
			    arena_str(a, (const char *)p + at, len) };
	bool fortran = !strncmp(find_key(&h, "'fortran_order'"), "True", 4);

	read_shape(&h, &t);
	t.dtype = read_type(&h, wanted);
	size_t count = tensor_count(&t, path);
	size_t bytes = count * dtype_size(t.dtype);

	at += len;
	if (n - at != bytes)
		fatal(EXIT_MODEL, "%s: has %zu bytes of data, its shape needs "
		      "%zu", path, n - at, bytes);
	unsigned char *data = arena_alloc(a, bytes ? bytes : 1);

	if (fortran)
		to_row_major(&t, data, p + at, bytes);
	else if (bytes)
		memcpy(data, p + at, bytes);
	t.data = data;
	if (dtype_is_packed(t.dtype)) {
		t.data = arena_alloc(a, tensor_bytes(&t, path) + 1);
		pack(&t, data, count);
	}
	return t;
}

void npy_encode(FILE *f, const struct tensor *t)
{
	struct arena a = { 0 };
	const char *type = "V1";
	char *text = arena_fmt(&a, "%s", "");

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].dtype == t->dtype)
			type = types[i].text;
	for (unsigned i = 0; i < t->rank; i++)
		text = arena_fmt(&a, "%s%" PRId64 ",%s", text, t->dim[i],
				 i + 1 < t->rank ? " " : "");
	text = arena_fmt(&a, "{'descr': '%c%s', 'fortran_order': False, "
			 "'shape': (%s), }",
			 dtype_size(t->dtype) > 1 ? '<' : '|', type, text);
	/* The data begins at a multiple of 64 bytes, after a line end. */
	size_t len = (strlen(text) + 11 + 63) / 64 * 64 - 10;

	fwrite("\x93NUMPY\x01\x00", 1, 8, f);
	fputc((int)(len & 0xff), f);
	fputc((int)(len >> 8), f);
	fprintf(f, "%-*s\n", (int)len - 1, text);
	if (!dtype_is_packed(t->dtype))
		fwrite(t->data, 1, tensor_bytes(t, "the output"), f);
	for (size_t i = 0, n = tensor_count(t, "the output");
	     dtype_is_packed(t->dtype) && i < n; i++) {
		unsigned char one = 0;

		element_copy(t->dtype, &one, 0, t->data, i);
		fputc(one, f);
	}
	arena_free(&a);
}
