/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels that copy boxes of tensors: the driver writes where a tensor is, and
 * what a box of it, into maps that stand before the kernel's arguments.
 */
#include "gpu.h"

/* Of the driver's documentation of cuTensorMapEncodeTiled(). */
enum {
	TYPE_UINT8 = 0,
	TYPE_UINT16 = 1,
	TYPE_UINT32 = 2,
	SWIZZLE_128B = 3,
	PROMOTION_L2_256B = 3,
	MAX_RANK = 5,
};

static int element_type(uint32_t bytes)
{
	return bytes == 1   ? TYPE_UINT8
	       : bytes == 2 ? TYPE_UINT16
			    : TYPE_UINT32;
}

bool gpu_make_maps(struct dlrt_gpu *g, const struct dlrt_kernel *k,
		   const int64_t *numbers, struct gpu_map *maps)
{
	static const uint32_t ones[MAX_RANK] = { 1, 1, 1, 1, 1 };

	if (!driver_find_encoder(&g->d))
		return false;
	for (uint32_t i = 0; i < k->n_boxes; i++) {
		const struct dlrt_box *b = &k->boxes[i];
		uint64_t dim[MAX_RANK], stride[MAX_RANK];

		if (b->rank > MAX_RANK)
			return false;
		for (uint32_t d = 0; d < b->rank; d++) {
			/* Kernels count in 32 bits. */
			if (numbers[1 + d] > INT32_MAX)
				return false;
			dim[d] = (uint64_t)numbers[1 + d];
			if (d)
				stride[d - 1] =
					(uint64_t)numbers[b->rank + d];
		}
		/* What it refuses is loaded in another way. */
		if (g->d.encode(&maps[i], element_type(b->element_bytes),
				b->rank, (cu_address)numbers[0], dim, stride,
				b->size, ones, 0, SWIZZLE_128B,
				PROMOTION_L2_256B, 0))
			return false;
		numbers += 2 * b->rank;
	}
	return true;
}
