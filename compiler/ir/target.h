/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine looks like, as data.  Adding a CPU is adding a row. */
#ifndef IR_TARGET_H
#define IR_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/dtype.h"

struct ctx;

/* A register tile: rows by vectors of columns. */
struct tile {
	uint8_t mr, nv;
};

enum { MAX_TILES = 8, MAX_FEATURES = 8, MAX_DOTS = 3 };
/* Of any tile: rows, vectors of columns, and their product. */
enum { MAX_ROWS = 32, MAX_VECS = 8, MAX_SUMS = 64 };

/* Instructions that sum products of small integers. */
enum dot_kind {
	DOT_WIDE,	/* none: both operands are widened */
	DOT_PMADDWD,	/* pairs of i16 */
	/* Pairs of u8 by i8, which saturate in 16 bits: for constant panels as
	 * chains that do not; others widen both. */
	DOT_PMADDUBSW,
	DOT_VPDPBUSD,	/* quads of u8 by i8 */
	DOT_SDOT,	/* quads of i8 */
	/* Pairs of i8, two products of which are added in 16 bits where the
	 * panel is proved to fit, and apart elsewhere. */
	DOT_SMULL,
	/* Octets of two rows by those of two columns: a register has the four
	 * sums. */
	DOT_SMMLA,	/* of i8 */
	DOT_USMMLA,	/* of u8 by i8 */
	DOT_MMA,	/* a GPU's tensor cores, bytes of either sign */
};

/* How a register tile multiplies integers: one row per instruction. */
struct dot {
	const char *name;		/* for reports */
	const char *arch;
	const char *feature[2];		/* that the CPU must have */
	unsigned vector_bits;		/* that it has; 0: any */
	enum dot_kind kind;
	unsigned group;			/* products that a lane adds at once */
	enum dtype rows, panel;		/* what it takes */
	unsigned steps;			/* instructions for a group */
	bool saturates;			/* unless chains keep it from that, or
					 * the panel is proved to fit; else
					 * both operands are widened */
	bool narrow;			/* shorter for a panel that is proved
					 * to fit */
	bool pairs;			/* takes pairs of rows and columns */
};

/* One row per instruction set family. */
struct isa {
	const char *name;	/* "avx512", "avx2", "sse2", "neon" */
	const char *arch;	/* the triple begins with: "x86_64" */
	const char *feature[MAX_FEATURES];	/* that the CPU must have */
	unsigned vector_bits, n_vregs;
	bool fma;		/* fused multiply-add is one instruction */
	bool masked;		/* masked loads and stores are cheap */
	bool f16c;		/* converts f16 in hardware */
	bool flushes;		/* subnormal f32 are 0 to vector arithmetic */
	bool aligned;		/* some loads of floats fail at addresses that
				 * are not multiples of their size */
	/* A broadcast from memory folds into the multiply-add; wanted where
	 * one multiply-add per cycle leaves load slots free. */
	bool fold_broadcast;
	struct tile tile[MAX_TILES];	/* contractions, preferred first */
	unsigned unroll_k;
	/* Bytes that a tile of that many rows or more reads ahead in the
	 * panel; 0: the hardware does better alone. */
	unsigned prefetch_bytes, prefetch_rows;
	unsigned l1_bytes, l2_bytes;
	double dram_bytes_cycle;	/* that one core reads */
};

/* One row per GPU architecture. */
struct gpu {
	const char *name;	/* "sm_90" */
	unsigned arch;		/* 90 */
	bool only;		/* its code runs on no other (sm_90a) */
	unsigned n_sm;		/* multiprocessors of the usual card */
	/* Of one of them: the most blocks and threads at a time, KiB of shared
	 * memory. */
	unsigned sm_blocks, sm_threads, sm_kib;
	bool mma;		/* of 32 bytes of k, and asynchronous copies */
	bool boxes;		/* wgmma, and copies of boxes of tensors */
	/* Of a multiprocessor in a cycle: products of f32, and of f16 on the
	 * tensor cores. */
	unsigned products, half_products;
	unsigned dram_bytes;		/* of all in a cycle */
};

enum { MAX_GPUS = 8 };

struct target {
	const char *triple, *cpu, *features;	/* as LLVM spells them */
	const char *tune;	/* CPU that instructions are ordered for */
	const char *arch;
	const struct isa *isa;
	/* Of integers: the best first; then those that take rows which no
	 * other does, or NULL. */
	const struct dot *dot[MAX_DOTS];
	bool pic;
	/* On x86 cpu is this level, 1 to 4, as in x86-64-v3, and the object
	 * checks that it and the features are there; 0 elsewhere. */
	unsigned x86_level;
	/* Kernels run on GPUs, the first of which has the least; all else here
	 * but isa is the host's.  NULL: on the CPU. */
	const struct gpu *gpu[MAX_GPUS];
};

/* Those of a list like "sm_80,sm_90a", the least first; false where one is
 * unknown, whose name is then in *unknown. */
bool target_set_gpus(struct target *t, const char *list, const char **unknown);

/* Does what two neighbouring products of u8 by i8 add up to fit 16 bits? */
bool dot_pair_fits(int x, int y);
/* The instruction for tiles of these operands, or NULL. */
const struct dot *target_dot(const struct target *t, enum dtype rows,
			     enum dtype panel);

/* Lanes of a dtype's vector. */
unsigned target_lanes(const struct target *t, unsigned bits);

/* Sums that a tile of mr rows by nr columns keeps in registers are whole
 * vectors, and not too many to be written out. */
bool target_tile_fits(const struct target *t, unsigned bits, int64_t mr,
		      int64_t nr);

/*
 * Cost of `rows` rows by nv vectors of columns, in issue slots per step of k,
 * with the best number of rows for a tile in *mr; rows < 0: not known.
 */
int64_t target_rows_cost(const struct target *t, int64_t rows, unsigned nv,
			 unsigned *mr);
/* Rows of a tile whose kernel wants `more` vector registers beside the sums:
 * as *mr says, or fewer. */
unsigned target_fewer_rows(const struct target *t, int64_t rows, unsigned nv,
			   unsigned more, unsigned mr);
/* The same where each panel comes from memory, once. */
int64_t target_cold_cost(const struct target *t, int64_t rows, unsigned nv);

/*
 * The target for LLVM's triple, CPU and attribute strings, with the first row
 * whose features the CPU has.  `has` tells whether it has one; it comes from
 * the code generator, which knows CPUs by name.
 */
typedef bool target_has_fn(void *arg, const char *feature);
struct target *target_new(struct ctx *c, const char *triple, const char *cpu,
			  const char *features, target_has_fn *has, void *arg);

#endif
