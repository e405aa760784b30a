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

uint64_t fnv_bytes(uint64_t h, const void *p, size_t n)
{
	const unsigned char *b = p;

	for (size_t i = 0; i < n; i++)
		h = (h ^ b[i]) * UINT64_C(0x100000001b3);
	return h;
}

/* ---- SipHash-1-3 (Aumasson and Bernstein, 2012) --------------------- */

static uint64_t rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t w)
{
	v[3] ^= w;
	sip_round(v);
	v[0] ^= w;
}

/* Half of the key is where the system loaded this: no file can know it. */
uint64_t hash_bytes(uint64_t h, const void *p, size_t n)
{
	static const char here;
	const unsigned char *b = p;
	uint64_t k = (uint64_t)(uintptr_t)&here, w;
	uint64_t v[4] = { h ^ UINT64_C(0x736f6d6570736575),
			  k ^ UINT64_C(0x646f72616e646f6d),
			  h ^ UINT64_C(0x6c7967656e657261),
			  k ^ UINT64_C(0x7465646279746573) };
	size_t i;

	for (i = 0; i + 8 <= n; i += 8) {
		memcpy(&w, b + i, 8);
		sip_word(v, w);
	}
	w = 0;
	if (i < n)
		memcpy(&w, b + i, n - i);
	sip_word(v, w | (uint64_t)n << 56);
	v[2] ^= 0xff;
	for (int round = 0; round < 3; round++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- interning ------------------------------------------------------ */

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
