/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the instructions of sm_90 share: barriers in shared memory, and copies
 * that arrive as late as they can.
 */
#ifndef EMU_HOPPER_H
#define EMU_HOPPER_H

#include "emu.h"
#include "tensor_map.h"

/* mbarrier objects that have been initialised, and what they order. */
#define MAX_MBARS 256
struct mbar_info {
	uint32_t off;
	uint32_t clock[MAX_WARPS];
};

/* A bulk copy to shared memory: its pieces, in the order of the memory. */
struct bulk {
	uint32_t mbar, bytes;
	uint32_t n_pieces;
	struct piece {
		uint32_t dst;
		unsigned char data[16];
	} * pieces;
	struct warp *issuer;
	uint32_t clock; /* of the issuer */
	struct bulk *next;
};

/* A bulk copy from shared memory, which reads it when it is waited for. */
struct store {
	uint32_t src, group;
	uint8_t lane;
	uint64_t dst; /* of a plain copy */
	uint32_t bytes;
	struct tensor_map map;
	int32_t at[5];
	bool is_tensor;
};

struct warp_hopper {
	struct store *stores;
	uint32_t n_stores, cap_stores;
	uint32_t group[LANES];
	struct wgmma *wgmmas;
	uint32_t n_wgmmas, cap_wgmmas;
	uint32_t wgmma_group;
};

/* exec_mbar.c */
void mbar_complete(struct block *blk, struct warp *w, const struct insn *in,
		   uint32_t off, uint32_t bytes, uint32_t warp, uint32_t clock);
uint32_t mbar_offset(struct warp *w, const struct insn *in, int lane,
		     uint64_t addr);
void async_arrive(struct warp *w, const struct insn *in, int lane,
		  uint32_t off);

/* exec_bulk.c */
void bulk_add(struct block *blk, struct bulk *b);
bool bulk_deliver(struct block *blk, bool all);
void stores_finish(struct warp *w);
struct warp_hopper *hopper_of(struct warp *w);

/* tensor.c: the tile of a map as pieces, and its way back. */
uint32_t swizzled(uint32_t off, int swizzle);
void tensor_load(struct warp *w, const struct insn *in, int lane,
		 const struct tensor_map *map, const int32_t *at, uint32_t dst,
		 struct bulk *b);
void tensor_store(struct warp *w, const struct insn *in, int lane,
		  const struct tensor_map *map, const int32_t *at,
		  uint32_t src);
uint32_t tensor_bytes(const struct tensor_map *map);

#endif
