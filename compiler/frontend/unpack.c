/* SPDX-License-Identifier: Apache-2.0 */
/* The model file: read, scanned, unpacked within a budget. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/internal.h"

/* ---- memory of the unpacked message --------------------------------- */

/* Each allocation knows its size, so that freeing gives it back. */
enum { HEADER = 16 };

static void *budget_alloc(void *arg, size_t size)
{
	struct budget *b = arg;

	if (size > b->left || b->left - size < HEADER)
		return NULL;
	char *p = malloc(size + HEADER);

	if (!p)
		return NULL;
	memcpy(p, &size, sizeof(size));
	b->left -= size + HEADER;
	return p + HEADER;
}

static void budget_free(void *arg, void *p)
{
	struct budget *b = arg;
	size_t size;

	if (!p)
		return;
	char *start = (char *)p - HEADER;

	memcpy(&size, start, sizeof(size));
	b->left += size + HEADER;
	free(start);
}

/* ---- what a file that is no model may be ---------------------------- */

struct magic {
	unsigned at, n;
	const char *bytes, *what;
};

static const struct magic magics[] = {
	{ 0, 2, "\x1f\x8b", "a gzip file" },
	{ 0, 4, "PK\x03\x04", "a zip archive, such as a PyTorch checkpoint" },
	{ 0, 2, "\x80\x02", "a Python pickle" },
	{ 0, 2, "\x80\x04", "a Python pickle" },
	{ 0, 4, "\x28\xb5\x2f\xfd", "a zstd file" },
	{ 0, 4, "\x89HDF", "an HDF5 file" },
	{ 0, 4, "GGUF", "a GGUF file" },
	{ 0, 4,
	  "\x7f"
	  "ELF",
	  "an ELF object" },
	{ 4, 4, "TFL3", "a TensorFlow Lite model" },
	{ 4, 4, "ORTM", "a model in ONNX Runtime's own format" },
	{ 8, 1, "{", "a safetensors file" },
	{ 0, 10, "ir_version", "a model in protobuf's text format" },
	{ 0, 1, "{", "a JSON file" },
	{ 0, 1, "<", "an XML file or model text" },
	{ 0, 7, "version", "a Git LFS pointer: the file itself is missing" },
};

static const char *file_kind(const uint8_t *p, size_t size)
{
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++) {
		const struct magic *m = &magics[i];

		if (size >= m->at + m->n && !memcmp(p + m->at, m->bytes, m->n))
			return m->what;
	}
	return NULL;
}

/* ---- reading -------------------------------------------------------- */

static uint8_t *file_load(struct ctx *c, const char *path, size_t *size)
{
	struct file f;
	enum file_error e = file_open(path, &f);

	if (e != FILE_OK) {
		diag_error(&c->diag, EXIT_IO, NULL, "cannot open: %s",
			   e == FILE_NOT_REGULAR ? "not a regular file"
						 : strerror(errno));
		return NULL;
	}
	if (f.size > MAX_MODEL_BYTES) {
		diag_error(&c->diag, EXIT_LIMIT, NULL,
			   "the file has %lld bytes, at most 2 GiB are read; "
			   "store the tensors as external data",
			   (long long)f.size);
		file_close(&f);
		return NULL;
	}
	uint8_t *p = xrealloc(NULL, (size_t)f.size, 1);

	if (!model_file_read(&f, p, 0, f.size)) {
		diag_error(&c->diag, EXIT_IO, NULL, "cannot read: %s",
			   errno ? strerror(errno)
				 : "the file changed meanwhile");
		free(p);
		p = NULL;
	}
	*size = (size_t)f.size;
	file_close(&f);
	return p;
}

static bool scan(struct ctx *c, const uint8_t *p, size_t size,
		 struct budget *budget)
{
	struct scan_result r = wire_scan(&onnx__model_proto__descriptor, p,
					 size, budget->left);
	const char *kind = file_kind(p, size);

	if (!size)
		return diag_error(&c->diag, EXIT_MODEL, NULL,
				  "the file is empty");
	if (r.code == EXIT_MODEL && kind)
		return diag_error(&c->diag, EXIT_MODEL, NULL,
				  "not an ONNX model but %s", kind);
	if (r.code != EXIT_OK)
		return diag_error(&c->diag, r.code, NULL, "%s%s (at byte %zu)",
				  r.code == EXIT_MODEL ? "not an ONNX model: "
						       : "",
				  r.why, r.at);
	return true;
}

Onnx__ModelProto *model_read(struct ctx *c, const char *path,
			     struct budget *budget)
{
	size_t size;
	uint8_t *p = file_load(c, path, &size);
	Onnx__ModelProto *m = NULL;

	if (!p)
		return NULL;
	*budget = (struct budget){
		.alloc = { budget_alloc, budget_free, budget },
		.left = 8 * (uint64_t)size + (UINT64_C(128) << 20),
	};
	if (scan(c, p, size, budget)) {
		m = onnx__model_proto__unpack(&budget->alloc, size, p);
		if (!m)
			diag_error(&c->diag, EXIT_MODEL, NULL,
				   "not an ONNX model");
	}
	free(p);
	return m;
}
