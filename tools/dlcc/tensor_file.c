/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes tensors by the suffix of the file. */
#include "tensor_file.h"

#include <stdlib.h>
#include <string.h>

#include "driver.h"

size_t tensor_count(const struct tensor *t, const char *path)
{
	size_t n = 1, most = (size_t)INT64_MAX / dtype_size(t->dtype);
	bool empty = false, over = false;

	for (unsigned i = 0; i < t->rank; i++) {
		size_t d = (size_t)t->dim[i];

		if (!d)
			empty = true;
		else if (n > most / d)
			over = true;
		else
			n *= d;
	}
	if (over && !empty)
		fatal(EXIT_LIMIT, "%s: the tensor is too large", path);
	return empty ? 0 : n;
}

size_t tensor_bytes(const struct tensor *t, const char *path)
{
	return dtype_bytes(t->dtype, tensor_count(t, path));
}

static bool is_npy(const char *path)
{
	size_t n = strlen(path);

	return n >= 4 && !strcmp(path + n - 4, ".npy");
}

struct tensor tensor_read(const char *path, enum dtype wanted,
			  struct arena *a)
{
	size_t n;
	const unsigned char *p = (unsigned char *)file_read(a, path, &n);

	return is_npy(path) ? npy_decode(path, p, n, wanted, a)
			    : pb_decode(path, p, n, a);
}

void tensor_write(const char *path, const struct tensor *t, const char *name)
{
	struct text text;

	text_open(&text);
	if (is_npy(path))
		npy_encode(text.f, t);
	else
		pb_encode(text.f, t, name);
	text_save(&text, path);
}
