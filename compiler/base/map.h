/* SPDX-License-Identifier: Apache-2.0 */
/* One open-addressing table from 64-bit keys (ids, hashes) to pointers. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

struct map_slot {
	uint64_t key;
	void *val;	/* NULL marks an empty slot */
};

struct map {
	struct map_slot *slot;
	size_t n, cap;
};

void *map_get(const struct map *m, uint64_t key);
/* val must not be NULL; replaces an older value of the key. */
void map_put(struct map *m, uint64_t key, void *val);
void map_free(struct map *m);

/* FNV-1a, continued from h; start with FNV_INIT.  For what is written out:
 * the same everywhere, and easy to make collide. */
#define FNV_INIT UINT64_C(0xcbf29ce484222325)
uint64_t fnv_bytes(uint64_t h, const void *p, size_t n);

/*
 * The hash of tables in memory, continued from h; start with HASH_INIT.  No
 * file can be made such that many of its names or numbers collide.  It differs
 * from run to run: nothing may depend on its order.
 */
#define HASH_INIT UINT64_C(0)
uint64_t hash_bytes(uint64_t h, const void *p, size_t n);

/*
 * A set of objects that are equal by content.  The caller walks the chain of
 * its hash through intern_find()'s callback and inserts when nothing matches.
 */
typedef int intern_eq_fn(const void *obj, const void *key);
void *intern_find(const struct map *m, uint64_t hash, intern_eq_fn *eq,
		  const void *key);
/* Add obj under hash; colliding hashes probe to the next free key. */
void intern_add(struct map *m, uint64_t hash, void *obj);

#endif
