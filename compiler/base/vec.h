/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growable array as a typed macro over one growth function:
 *
 *	VEC(struct op *) ops = { 0 };
 *	vec_push(&ops, op);
 *	for (size_t i = 0; i < ops.n; i++) use(ops.v[i]);
 *	vec_free(&ops);
 */
#ifndef BASE_VEC_H
#define BASE_VEC_H

#include <stddef.h>
#include <stdlib.h>

#include "base/arena.h"

#define VEC(T)                 \
	struct {               \
		T *v;          \
		size_t n, cap; \
	}

static inline void *vec_grow(void *v, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return v;
	*cap = *cap ? *cap * 2 : 8;
	return xrealloc(v, *cap, size);
}

#define vec_push(vec, x)                                              \
	((vec)->v = vec_grow((vec)->v, (vec)->n, &(vec)->cap,         \
			     sizeof(*(vec)->v)),                      \
	 (vec)->v[(vec)->n++] = (x))
#define vec_free(vec) \
	(free((vec)->v), (vec)->v = NULL, (vec)->n = (vec)->cap = 0)

#endif
