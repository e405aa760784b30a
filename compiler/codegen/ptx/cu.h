/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that print CUDA C++ share. */
#ifndef CODEGEN_PTX_CU_H
#define CODEGEN_PTX_CU_H

#include <stdio.h>

#include "codegen/codegen.h"
#include "codegen/kernel.h"
#include "ir/target.h"

struct cu_row;

/* The kernel that is being printed. */
struct cu {
	struct ctx *c;
	FILE *f;
	unsigned depth;			/* of indentation */
	struct op *kernel;
	unsigned threads;		/* of a block */
	unsigned shared_bytes;		/* of dynamic shared memory */
	/* So many of them share a point, all or those of a warp, and take turns
	 * in the loops that have a width; 1: each thread has a point. */
	unsigned group;
	bool in_lanes;			/* inside of such a loop */
	/* What counts the points, the last one fastest: the kernel's variables,
	 * or one for several of them. */
	struct {
		const struct atom *iv;
		const struct expr *extent;
	} point[MAX_RANK];
	unsigned n_point;
	struct map gone;		/* variables that are 0 then */
	unsigned vector;		/* neighbours that a thread takes */
	bool rest;			/* and maybe fewer at the end */
	int fast;			/* of such a kernel: what counts threads
					 * side by side; -1: the last one */
	struct map wide_ops;		/* accesses to all of these at once,
					 * by an address of theirs -> itself */
	struct map still_ops;		/* those that are the same for all of
					 * these, and done, likewise */
	struct map arrays;		/* ids of values that all of these have
					 * beyond the ops around */
	const struct op *pairs;		/* a store that keeps an even place for
					 * the odd one behind it: cuda_tile.c */
	struct cu_row *row;		/* loops over one row, or NULL */
	bool wide;			/* indices have 64 bits */
	bool boxes;			/* the form of cuda_boxes.c */
	struct map vals;		/* value id -> its number + 1 */
	struct map atoms;		/* serial -> name */
	struct map bufs;		/* value id -> number + 1 */
	struct map near_ops;		/* loads that came with a neighbour's,
					 * by their address -> C's text */
	unsigned n_val, n_iv, n_near;
	uint32_t node;			/* of the op, for the status */
};

/* ---- cuda.c --------------------------------------------------------- */

/* A line of its own, indented. */
void cu_line(struct cu *k, const char *fmt, ...) PRINTF_LIKE(2, 3);
void cu_indent(struct cu *k);
/* Numbers a value and begins "const T v1 = "; the caller ends the line. */
void cu_define(struct cu *k, const struct value *v);
/* "v1", or the literal of a constant, in the temp arena. */
const char *cu_val(struct cu *k, const struct value *v);
unsigned cu_number(struct cu *k, const struct value *v);
void cu_op(struct cu *k, struct op *op);
/* The thread's number in its group. */
const char *cu_own(const struct cu *k);
/* Address of the element that a mem.load or mem.store is at; in *cond when it
 * is, or NULL: always. */
const char *cu_address(struct cu *k, const struct op *op, const char **cond);

/* The loop over what a block takes of the points in turn, open, with the
 * kernel's variables; tiles of a product in groups of rows. */
void cu_for_points(struct cu *k);

/* ---- cuda_points.c -------------------------------------------------- */

/* Sets k->point. */
void cu_points_find(struct cu *k);
/* Of the element that a load or store is at, in its buffer. */
const struct expr *cu_offset(const struct cu *k, const struct op *op);

/* ---- cuda_neighbours.c ---------------------------------------------- */

/* Points side by side that a thread should take; 1: none but its own.  Sets
 * k->fast and k->rest. */
unsigned cu_vector(struct cu *k);
/* The kernel's body for k->vector points. */
void cu_vector_point(struct cu *k);
/* The block's ops for k->vector neighbours along the variable; `first` is the
 * first one's name. */
void cu_neighbours(struct cu *k, struct block *b, const struct atom *iv,
		   const char *first);

/* ---- cuda_vector.c -------------------------------------------------- */

/* A type of so many bytes, 2 to 16. */
const char *cu_bits_type(size_t bytes);
/* Of an element that is loaded or stored. */
unsigned cu_bits_of(const struct op *op);
/* Does the variable change none of those expressions? */
bool cu_is_fixed(const struct op *op, enum attr_name name,
		 const struct atom *iv);
/* Is the access to v neighbours for neighbours along the variable, at a
 * multiple of what one instruction takes, whatever the other variables are,
 * and there for all or for none? */
bool cu_is_wide(const struct cu *k, const struct op *op, const struct atom *iv,
		unsigned v);
/* Of a load or store of all of these: the element of the point at hand. */
const char *cu_lane(struct cu *k, const struct op *op);
/* Of a load that stands beside loads of its neighbours in memory: the element,
 * that came with all of them at once; NULL for others. */
const char *cu_near(struct cu *k, const struct op *op);
/* All of them. */
const char *cu_lanes(struct cu *k, const struct op *op);
/* Iterations side by side that a thread should take of a loop that its group
 * shares; 1: none but its own. */
unsigned cu_loop_vector(struct cu *k, struct op *loop);
/* Finds what k->wide_ops, still_ops and arrays say of a block, and of those
 * inside, for v neighbours along the variable. */
void cu_wide_mark(struct cu *k, struct block *b, const struct atom *iv,
		  unsigned v);
/* For a block that is marked, where the variable is the first neighbour: what
 * is the same for all, and what is loaded for all; */
void cu_wide_open(struct cu *k, struct block *b);
/* what is left of an op, for one of them; */
void cu_wide_op(struct cu *k, struct op *op);
/* and what is stored for all. */
void cu_wide_close(struct cu *k, struct block *b);
void cu_wide_free(struct cu *k);
/* An array of v elements gets what the load is at, at v neighbours. */
void cu_load_neighbours(struct cu *k, struct op *op, const struct atom *iv,
			const char *to, const char *first, unsigned v);

/* ---- cuda_row.c ----------------------------------------------------- */

/* Sets k->row where loops of a kernel that a group shares have in common what
 * its threads can keep. */
void cu_row_find(struct cu *k);
void cu_row_free(struct cu *k);
/* The iterations of a thread's own; false when the loop is none of these. */
bool cu_row_loop(struct cu *k, struct op *op);
/* Is the op's result kept, does it come from what was, or is it not needed
 * then? */
bool cu_row_keeps(const struct cu *k, const struct op *op);
/* Where a load's element is then, or NULL. */
const char *cu_row_element(struct cu *k, const struct op *op);
/* Ahead of an op: true when nothing else is to be done for it. */
bool cu_row_before(struct cu *k, struct op *op);
void cu_row_behind(struct cu *k, struct op *op);

/* ---- cuda_expr.c ---------------------------------------------------- */

const char *cu_expr(struct cu *k, const struct op *op, const struct expr *e);
/* What all indices and extents of the kernel, and all that is computed on the
 * way, are at most, as an expression that the host can compute; below 2^31 they
 * fit an int.  NULL: unknown, or more than that whatever the dims are. */
const struct expr *cu_int_bound(struct ctx *c, struct op *kernel,
				const struct kernel_args *args);

/* ---- cuda_scalar.c -------------------------------------------------- */

/* C's types of an element in registers and in memory. */
const char *cu_type(enum dtype t);
const char *cu_mem_type(enum dtype t);
/* Between them; x is a C expression. */
const char *cu_from_mem(struct cu *k, enum dtype t, const char *x);
const char *cu_to_mem(struct cu *k, enum dtype t, const char *x);
const char *cu_arith2(struct cu *k, enum opcode code, enum dtype t,
		      const char *a, const char *b);
/* The element that changes nothing when it is combined. */
const char *cu_identity(struct cu *k, enum opcode code, enum dtype t);
/* A number of that type. */
const char *cu_literal(struct cu *k, enum dtype t, union scalar s);
void cu_scalar_op(struct cu *k, struct op *op);

/* ---- cuda_loop.c ---------------------------------------------------- */

void cu_for(struct cu *k, struct op *op);
/* How far the loop is unrolled. */
void cu_unroll(struct cu *k, const struct op *op);
/* "for (...) {" of a loop whose results, and so its body's arguments, have
 * names. */
void cu_open_loop(struct cu *k, struct op *op, const char *from, unsigned step);
/* What a loop's body yields becomes what it carries. */
void cu_yield(struct cu *k, struct op *op);
/* The body of a loop for v neighbours from `first` on, and what it carries. */
void cu_loop_neighbours(struct cu *k, struct op *op, const char *first,
			unsigned v);

/* ---- cuda_tile.c ---------------------------------------------------- */

/* Threads of the block that computes the tile; sets k->shared_bytes. */
unsigned cu_tile_threads(struct cu *k, struct op *op);
void cu_tile(struct cu *k, struct op *op);

/* ---- cuda_boxes.c --------------------------------------------------- */

/* The tensors of which the kernel can copy boxes, and how many; 0: it has no
 * such form. */
unsigned cu_boxes(struct ctx *c, struct op *kernel, struct gpu_map *map);
/* Threads of the block in that form; sets k->shared_bytes. */
unsigned cu_boxes_threads(struct cu *k);
void cu_boxes_body(struct cu *k);

/* ---- cuda_attend.c -------------------------------------------------- */

/* As of a tile. */
unsigned cu_attend_threads(struct cu *k, struct op *op);
void cu_attend(struct cu *k, struct op *op);

/* ---- nvrtc.c -------------------------------------------------------- */

/* Compiles CUDA C++ for an architecture.  NVRTC is looked for once. */
struct nvrtc;
struct nvrtc *nvrtc_open(struct ctx *c, const char *path);
unsigned nvrtc_min_driver(const struct nvrtc *n);
/* Machine code for `arch` ("sm_90") and, unless ptx is NULL, PTX, malloc'ed.
 * False when NVRTC refuses the text; its log, malloc'ed, comes in any case. */
bool nvrtc_compile(struct nvrtc *n, const char *text, const char *arch,
		   struct blob *cubin, struct blob *ptx, char **log);
/* Is a kernel slower than it should be, by that log: are registers kept in
 * memory, matrix instructions waited for one by one? */
bool nvrtc_spills(const char *log);

extern const char gpu_prelude[];

#endif
