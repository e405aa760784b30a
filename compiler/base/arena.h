/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arenas: memory with one lifetime.  arena_alloc() never returns NULL; out of
 * memory prints one line and exits with EXIT_LIMIT (4), so no caller checks.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

#include "base/compiler.h"

struct arena_block;

struct arena {
	struct arena_block *head;
	size_t used, cap;	/* of the head block */
	size_t total;		/* bytes handed out since the last reset */
};

/* Zeroed memory, aligned to 16 bytes, that lives until arena_free(). */
void *arena_alloc(struct arena *a, size_t size);
/* Array of n objects of `size` bytes; the product is checked. */
void *arena_array(struct arena *a, size_t n, size_t size);
void *arena_copy(struct arena *a, const void *src, size_t size);
char *arena_str(struct arena *a, const char *s, size_t len);
char *arena_fmt(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
char *arena_vfmt(struct arena *a, const char *fmt, va_list ap)
	PRINTF_LIKE(2, 0);
void arena_free(struct arena *a);

#define NEW(arena, T) ((T *)arena_alloc((arena), sizeof(T)))
#define NEW_ARRAY(arena, n, T) ((T *)arena_array((arena), (n), sizeof(T)))

/* Heap memory that may be resized; exits like arena_alloc() on failure. */
void *xrealloc(void *p, size_t n, size_t size);

#endif
