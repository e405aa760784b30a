/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"

struct arena_block {
	struct arena_block *next;
	size_t size;
};

enum { ALIGN = 16, MIN_BLOCK = 1 << 16 };

static NORETURN void out_of_memory(size_t size)
{
	fprintf(stderr, "dlcc: error: out of memory (%zu bytes wanted)\n",
		size);
	exit(EXIT_LIMIT);
}

void *arena_alloc(struct arena *a, size_t size)
{
	/* Empty objects have addresses of their own: constants are told apart
	 * by where their bytes are. */
	size = ((size ? size : 1) + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (!a->head || size > a->cap - a->used) {
		size_t want = size > MIN_BLOCK ? size : MIN_BLOCK;
		size_t head = (sizeof(struct arena_block) + ALIGN - 1) &
			      ~(size_t)(ALIGN - 1);
		struct arena_block *b = calloc(1, head + want);

		if (!b)
			out_of_memory(size);
		b->size = head + want;
		if (want > MIN_BLOCK && a->head) {
			/* A large object gets a block of its own behind the
			 * head, which stays open for small ones. */
			b->next = a->head->next;
			a->head->next = b;
			a->total += size;
			return (char *)b + head;
		}
		b->next = a->head;
		a->head = b;
		a->used = head;
		a->cap = b->size;
	}
	void *p = (char *)a->head + a->used;

	a->used += size;
	a->total += size;
	return p;
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
	if (size && n > SIZE_MAX / 2 / size)
		out_of_memory(SIZE_MAX);
	return arena_alloc(a, n * size);
}

void *arena_copy(struct arena *a, const void *src, size_t size)
{
	void *p = arena_alloc(a, size);

	if (size)
		memcpy(p, src, size);
	return p;
}

char *arena_str(struct arena *a, const char *s, size_t len)
{
	char *p = arena_alloc(a, len + 1);

	if (len)
		memcpy(p, s, len);
	return p;
}

char *arena_vfmt(struct arena *a, const char *fmt, va_list ap)
{
	va_list copy;

	va_copy(copy, ap);
	int n = vsnprintf(NULL, 0, fmt, copy);
	va_end(copy);
	if (n < 0)
		n = 0;
	char *p = arena_alloc(a, (size_t)n + 1);

	vsnprintf(p, (size_t)n + 1, fmt, ap);
	return p;
}

char *arena_fmt(struct arena *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	char *p = arena_vfmt(a, fmt, ap);
	va_end(ap);
	return p;
}

void arena_free(struct arena *a)
{
	struct arena_block *b = a->head;

	while (b) {
		struct arena_block *next = b->next;

		free(b);
		b = next;
	}
	*a = (struct arena){ 0 };
}

void *xrealloc(void *p, size_t n, size_t size)
{
	if (size && n > SIZE_MAX / 2 / size)
		out_of_memory(SIZE_MAX);
	void *q = realloc(p, n && size ? n * size : 1);

	if (!q)
		out_of_memory(n * size);
	return q;
}
