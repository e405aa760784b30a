/* SPDX-License-Identifier: Apache-2.0 */
/* A tensor map as cuTensorMapEncodeTiled leaves it in its 128 bytes. */
#ifndef EMU_TENSOR_MAP_H
#define EMU_TENSOR_MAP_H

#include <stdint.h>

struct tensor_map {
	uint32_t magic;
	uint8_t type, rank, swizzle, nan_fill;
	uint64_t addr;
	uint32_t dim[5];
	uint16_t box[5];
	uint8_t step[5];
	uint8_t bytes;      /* of an element */
	uint64_t stride[4]; /* of dimension 1 and up, in bytes */
};
#define MAP_MAGIC 0x70616d74

#endif
