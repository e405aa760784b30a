/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	return x;
}

static struct map_slot *find(const struct map *m, uint64_t key)
{
	size_t i = mix(key) & (m->cap - 1);

	while (m->slot[i].val && m->slot[i].key != key)
		i = (i + 1) & (m->cap - 1);
	return &m->slot[i];
}

void *map_get(const struct map *m, uint64_t key)
{
	return m->cap ? find(m, key)->val : NULL;
}

void map_put(struct map *m, uint64_t key, void *val)
{
	if (2 * (m->n + 1) > m->cap) {
		struct map old = *m;

		m->cap = old.cap ? old.cap * 2 : 16;
		m->slot = xrealloc(NULL, m->cap, sizeof(*m->slot));
		memset(m->slot, 0, m->cap * sizeof(*m->slot));
		for (size_t i = 0; i < old.cap; i++)
			if (old.slot[i].val)
				*find(m, old.slot[i].key) = old.slot[i];
		free(old.slot);
	}
	struct map_slot *s = find(m, key);

	m->n += !s->val;
	*s = (struct map_slot){ key, val };
}

void map_free(struct map *m)
{
	free(m->slot);
	*m = (struct map){ 0 };
}

uint64_t hash_bytes(uint64_t h, const void *p, size_t n)
{
	const unsigned char *b = p;

	for (size_t i = 0; i < n; i++)
		h = (h ^ b[i]) * UINT64_C(0x100000001b3);
	return h;
}

void *intern_find(const struct map *m, uint64_t hash, intern_eq_fn *eq,
		  const void *key)
{
	void *obj;

	for (; (obj = map_get(m, hash)); hash++)
		if (eq(obj, key))
			return obj;
	return NULL;
}

void intern_add(struct map *m, uint64_t hash, void *obj)
{
	while (map_get(m, hash))
		hash++;
	map_put(m, hash, obj);
}
