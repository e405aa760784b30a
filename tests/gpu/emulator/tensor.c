/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensor maps: how they are made, and tiles copied by them.
 *
 * A tile lies in shared memory densely, inner dimension first; a swizzle
 * exchanges its 16-byte chunks by bits of their address.
 */
#include "driver.h"
#include "hopper.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static_assert(sizeof(struct tensor_map) <= 128, "a tensor map is 128 bytes");

static uint32_t type_bytes(int type)
{
	static const uint8_t bytes[] = {
		1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4
	};

	return type >= 0 && type < (int)sizeof(bytes) ? bytes[type] : 0;
}

static bool box_is_wrong(const struct tensor_map *m)
{
	static const uint32_t span[] = { 0, 32, 64, 128 };
	uint32_t inner = (uint32_t)m->box[0] * m->bytes;

	if (inner % 16 || m->swizzle > 3)
		return true;
	return m->swizzle && inner > span[m->swizzle];
}

EXPORT int cuTensorMapEncodeTiled(void *map, int type, unsigned rank,
				  uint64_t addr, const uint64_t *dim,
				  const uint64_t *stride, const uint32_t *box,
				  const uint32_t *step, int interleave,
				  int swizzle, int promotion, int fill);
int cuTensorMapEncodeTiled(void *map, int type, unsigned rank, uint64_t addr,
			   const uint64_t *dim, const uint64_t *stride,
			   const uint32_t *box, const uint32_t *step,
			   int interleave, int swizzle, int promotion, int fill)
{
	struct tensor_map m = { .magic = MAP_MAGIC, .addr = addr };

	(void)promotion;
	if (*emu_env("DLCC_EMU_MAPS", "1") == '0')
		return EMU_NOT_SUPPORTED;
	if ((uintptr_t)map % 64 || !rank || rank > 5 || addr % 16 ||
	    !type_bytes(type) || interleave || swizzle < 0)
		return EMU_INVALID_VALUE;
	m.type = (uint8_t)type;
	m.bytes = (uint8_t)type_bytes(type);
	m.rank = (uint8_t)rank;
	m.swizzle = (uint8_t)swizzle;
	m.nan_fill = (uint8_t)fill;
	for (unsigned i = 0; i < rank; i++) {
		if (!dim[i] || dim[i] > UINT32_MAX || !box[i] || box[i] > 256 ||
		    !step[i] || step[i] > 8)
			return EMU_INVALID_VALUE;
		m.dim[i] = (uint32_t)dim[i];
		m.box[i] = (uint16_t)box[i];
		m.step[i] = (uint8_t)step[i];
		if (i + 1 == rank)
			break;
		if (stride[i] % 16 || stride[i] >> 40)
			return EMU_INVALID_VALUE;
		m.stride[i] = stride[i];
	}
	if (box_is_wrong(&m))
		return EMU_INVALID_VALUE;
	memset(map, 0, 128);
	memcpy(map, &m, sizeof(m));
	return EMU_OK;
}

uint32_t swizzled(uint32_t off, int swizzle)
{
	static const uint32_t mask[] = { 0, 1, 3, 7 };

	return off ^ (off >> 7 & mask[swizzle]) << 4;
}

uint32_t tensor_bytes(const struct tensor_map *map)
{
	uint32_t n = map->bytes;

	for (int i = 0; i < map->rank; i++)
		n *= (map->box[i] + map->step[i] - 1u) / map->step[i];
	return n;
}

/* Where element `i` of the tile is in the tensor; false if outside. */
static bool element(const struct tensor_map *m, const int32_t *at, uint32_t i,
		    uint64_t *addr)
{
	bool inside = true;

	*addr = m->addr;
	for (int d = 0; d < m->rank; d++) {
		uint32_t n = (m->box[d] + m->step[d] - 1u) / m->step[d];
		int64_t x = at[d] + (int64_t)(i % n) * m->step[d];

		i /= n;
		inside = inside && x >= 0 && x < (int64_t)m->dim[d];
		*addr += (uint64_t)x * (d ? m->stride[d - 1] : m->bytes);
	}
	return inside;
}

void tensor_load(struct warp *w, const struct insn *in, int lane,
		 const struct tensor_map *m, const int32_t *at, uint32_t dst,
		 struct bulk *b)
{
	uint32_t per = 16u / m->bytes, n = tensor_bytes(m) / 16;

	b->pieces = malloc(n * sizeof(*b->pieces));
	b->n_pieces = n;
	b->bytes = 16 * n;
	for (uint32_t i = 0; i < n; i++) {
		struct piece *p = &b->pieces[i];

		p->dst = swizzled(dst + 16 * i, m->swizzle);
		memset(p->data, m->nan_fill ? 0xff : 0, 16);
		for (uint32_t k = 0; k < per; k++) {
			uint64_t addr;

			if (!element(m, at, i * per + k, &addr))
				continue;
			memcpy(p->data + k * m->bytes,
			       mem_at(w, in, lane, addr, m->bytes, SP_GLOBAL,
				      false),
			       m->bytes);
		}
	}
}

void tensor_store(struct warp *w, const struct insn *in, int lane,
		  const struct tensor_map *m, const int32_t *at, uint32_t src)
{
	uint32_t n = tensor_bytes(m) / m->bytes;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t off = swizzled(src + i * m->bytes, m->swizzle);
		uint64_t addr;

		if (!element(m, at, i, &addr))
			continue;
		memcpy(mem_at(w, in, lane, addr, m->bytes, SP_GLOBAL, true),
		       mem_at(w, in, lane, off, m->bytes, SP_SHARED, false),
		       m->bytes);
	}
}
