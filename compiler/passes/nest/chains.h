/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products of bytes by an instruction that saturates, exactly.
 *
 * The instruction adds neighbouring products of u8 by i8 in 16 bits; struct
 * dot says that it saturates.  Quads of a panel's weights are put into chains
 * of a few whose products can be added in 16 bits whatever the bytes are, in
 * every column, before they are widened: once for a chain.  Where two weights
 * could saturate by themselves the quads from there on begin at other bytes.
 */
#ifndef PASSES_NEST_CHAINS_H
#define PASSES_NEST_CHAINS_H

#include "base/vec.h"
#include "ir/ir.h"

enum { MIN_CHAIN = 1, MAX_CHAIN = 3, MAX_CHAIN_COLS = 16 };

/* Quads of all columns, and the position of the first byte of each: the chains
 * of the shortest length first. */
struct chains {
	VEC(int8_t) w;
	VEC(uint32_t) first;
	uint32_t n[MAX_CHAIN + 1];	/* chains of each length */
};

/* w: n times `cols` columns of 4; of so many n the bytes lie behind one another
 * in a row. */
void chains_pack(const int8_t *w, size_t n, size_t run, unsigned cols,
		 struct chains *out);
/* Instructions for one row. */
int64_t chains_cost(const struct chains *c);
void chains_free(struct chains *c);

#endif
