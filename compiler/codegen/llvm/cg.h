/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the LLVM back end share. */
#ifndef CODEGEN_LLVM_CG_H
#define CODEGEN_LLVM_CG_H

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

#include "codegen/codegen.h"
#include "codegen/kernel.h"
#include "ir/op.h"
#include "ir/target.h"

/* A scalar of the IR: one LLVM value, or one vector with a lane for each of
 * the group of iterations being emitted. */
struct cv {
	LLVMValueRef v;
	bool vec;
};

/* A kernel, and what its argument block holds, behind the status. */
struct kernel {
	struct op *op;
	LLVMValueRef fn;
	struct kernel_args args;
};

struct cg {
	struct ctx *c;
	struct module *m;
	const struct codegen_options *o;
	const struct target *t;

	LLVMContextRef lc;
	LLVMModuleRef mod;
	LLVMBuilderRef b;
	LLVMTypeRef void_, i1, i8, i16, i32, i64, f16, f32, f64, ptr;
	LLVMTypeRef size;		/* size_t */
	LLVMValueRef zeros;		/* a place that is safe to read */

	/* Constants, one behind the other. */
	LLVMValueRef weights;		/* the global, NULL without */
	struct map weight_at;		/* data pointer -> offset + 1 */
	VEC(struct blob) blobs;
	int64_t weight_bytes;
	bool weights_later;		/* the global has no bytes yet */
	unsigned n_steps;		/* loads that may broadcast */

	const struct atom **dim;	/* the module's computed dims */
	size_t n_dim;

	LLVMValueRef invoke, workspace;
	LLVMValueRef kernels;		/* of a GPU: the table, or NULL */
	LLVMTypeRef kernel_type;	/* of one row */

	/* The function being emitted. */
	LLVMValueRef fn, status;
	struct map vals;		/* value id -> struct cv */
	struct map atoms;		/* atom serial -> i64 */
	struct map bufs;		/* value id -> ptr */
	LLVMValueRef dim_slots;		/* where computed dims are kept, when
					 * they are many; NULL in kernels */
	unsigned lanes;			/* 1 outside of a vector loop */
	const struct atom *lane_iv;
	LLVMValueRef mask;		/* of a tail, or NULL */
	uint32_t node;			/* of the op, for the status */
};

/* ---- cg.c ----------------------------------------------------------- */

LLVMTypeRef cg_type(struct cg *g, enum dtype t);	/* in registers */
LLVMTypeRef cg_mem_type(struct cg *g, enum dtype t);	/* in memory */
LLVMTypeRef cg_vec_type(struct cg *g, LLVMTypeRef t);	/* of g->lanes */
LLVMValueRef cg_int(struct cg *g, int64_t k);		/* i64 */
LLVMValueRef cg_call(struct cg *g, const char *intrinsic, LLVMTypeRef over,
		     unsigned n, LLVMValueRef *arg);
/* An intrinsic of one machine, of at most 4 arguments; vectors are seen as it
 * declares them. */
LLVMValueRef cg_machine_call(struct cg *g, const char *intrinsic, unsigned n,
			     LLVMValueRef *arg);
LLVMBasicBlockRef cg_block(struct cg *g, const char *name);
LLVMValueRef cg_splat(struct cg *g, LLVMValueRef v);
/* As a vector when lanes > 1. */
LLVMValueRef cg_lanes(struct cg *g, struct cv v);
void cg_set(struct cg *g, const struct value *v, LLVMValueRef x, bool vec);
struct cv cg_get(struct cg *g, const struct value *v);
void cg_add_attr(struct cg *g, LLVMValueRef fn, const char *name,
		 const char *val);
LLVMValueRef cg_new_function(struct cg *g, const char *name, LLVMTypeRef ty);
void cg_remove_attr(struct cg *g, LLVMValueRef fn, const char *name);

/* ---- index.c -------------------------------------------------------- */

/* Value of e for a lane of the current group. */
LLVMValueRef cg_expr(struct cg *g, const struct op *op, const struct expr *e,
		     unsigned lane);
/* How e moves along the lanes. */
enum lane_class { LANE_SAME, LANE_UNIT, LANE_STEP, LANE_ANY };
enum lane_class cg_lane_class(struct cg *g, const struct op *op,
			      const struct expr *e, const struct expr **step);
/* e for all lanes, as an i64 vector, or one i64 when it is the same. */
struct cv cg_expr_lanes(struct cg *g, const struct op *op,
			const struct expr *e);
/* Mask of the first n lanes, n an i64. */
LLVMValueRef cg_first_lanes(struct cg *g, LLVMValueRef n);

/* ---- half.c --------------------------------------------------------- */

bool cg_is_vec(LLVMValueRef v);
/* The type with this element and the shape of v. */
LLVMTypeRef cg_like(LLVMValueRef v, LLVMTypeRef elem);
/* A constant of that element type and the shape of `as`. */
LLVMValueRef cg_konst(LLVMValueRef as, LLVMTypeRef elem, int64_t k);
LLVMValueRef cg_float_const(LLVMValueRef as, LLVMTypeRef elem, double k);
/* Bits of a positive f32, subnormal or not, times 2^e where that is normal, or
 * 0: exponents of a narrower format become those of f32. */
LLVMValueRef cg_rebiased(struct cg *g, LLVMValueRef m, int e);
/* An f64 as an f32 that rounds to the same half float as the f64. */
LLVMValueRef cg_f32_odd(struct cg *g, LLVMValueRef x);
/* After an operation in f32: what the narrower type would hold. */
LLVMValueRef cg_rounded(struct cg *g, enum dtype t, LLVMValueRef x);
/* Between the forms in memory and in registers. */
LLVMValueRef cg_wrapped(struct cg *g, enum dtype t, LLVMValueRef x);
LLVMValueRef cg_from_mem(struct cg *g, enum dtype t, LLVMValueRef x);
LLVMValueRef cg_to_mem(struct cg *g, enum dtype t, LLVMValueRef x);

/* ---- float8.c ------------------------------------------------------- */

/* A float of 8 or 4 bits, in an i8, as an f32 and back. */
LLVMValueRef float8_value(struct cg *g, enum dtype t, LLVMValueRef bits);
LLVMValueRef float8_bits(struct cg *g, enum dtype t, LLVMValueRef x);

/* ---- packed.c ------------------------------------------------------- */

/* Element `off` of those at base; 0 where cond (NULL: always) is false. */
LLVMValueRef packed_load(struct cg *g, enum dtype t, LLVMValueRef base,
			 LLVMValueRef off, LLVMValueRef cond);
void packed_store(struct cg *g, enum dtype t, LLVMValueRef base,
		  LLVMValueRef off, LLVMValueRef x);
/* The elements from `off` on, one per lane, where lanes fill bytes. */
bool packed_fits_group(struct cg *g, enum dtype t);
LLVMValueRef packed_load_group(struct cg *g, enum dtype t, LLVMValueRef base,
			       LLVMValueRef off, LLVMValueRef cond);
void packed_store_group(struct cg *g, enum dtype t, LLVMValueRef base,
			LLVMValueRef off, LLVMValueRef x);

/* ---- access.c ------------------------------------------------------- */

/* Of an element of the buffer in memory. */
unsigned cg_align(struct cg *g, const struct value *buf);
struct cv cg_load(struct cg *g, struct op *op);
void cg_store(struct cg *g, struct op *op);

/* ---- scalar.c ------------------------------------------------------- */

void cg_scalar_op(struct cg *g, struct op *op);
LLVMValueRef cg_arith2(struct cg *g, enum opcode code, enum dtype t,
		       LLVMValueRef a, LLVMValueRef b);
/* To an integer, halves to the even one. */
LLVMValueRef cg_round(struct cg *g, LLVMValueRef x);
/* Raises a status when cond (i1, or lanes of it) holds. */
void cg_raise(struct cg *g, LLVMValueRef cond, int status);

/* ---- loop.c --------------------------------------------------------- */

void cg_op(struct cg *g, struct op *op);
void cg_block_ops(struct cg *g, struct block *b);
void cg_kernel(struct cg *g, struct kernel *k, unsigned number);

/* ---- to_int.c ------------------------------------------------------- */

/* An arith.cast from a float to an integer, over the lanes when `vec`. */
/* Is the scalar in [lo, hi], as far as the steps that make it tell? */
bool cg_is_within(const struct value *v, int64_t lo, int64_t hi);
LLVMValueRef cg_float_to_int(struct cg *g, const struct op *cast, bool vec);

/* ---- dot.c ---------------------------------------------------------- */

/*
 * sum + a * b in each i32 lane: over the group of small integers of which the
 * lanes of a and b are made, or i32 by i32 where the target has no such
 * instruction.
 */
LLVMValueRef cg_dot(struct cg *g, const struct dot *dot, LLVMValueRef sum,
		    LLVMValueRef a, LLVMValueRef b, bool fits);
/* The sums of two rows by two columns plus the products of 8 bytes of each. */
LLVMValueRef cg_dot_matrix(struct cg *g, const struct dot *dot,
			   LLVMValueRef sum, LLVMValueRef a, LLVMValueRef b);
/* x, which LLVM takes to depend on the sum: else it makes many products before
 * it adds any, and spills. */
LLVMValueRef cg_dot_after(struct cg *g, LLVMValueRef x, LLVMValueRef sum);
/* What pairs of u8 by i8 in a and b add up to, in i16 lanes, and the sum plus
 * pairs of such lanes: with an instruction that saturates. */
LLVMValueRef cg_dot_pairs(struct cg *g, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef cg_add_pairs(struct cg *g, LLVMValueRef sum, LLVMValueRef pairs);
/* `fits` says that what is added in 16 bits does fit, for the panel, of n
 * weights. */
bool dot_panel_fits(const struct dot *dot, const int8_t *w, size_t n);

/* ---- contract.c ----------------------------------------------------- */

void cg_contract(struct cg *g, struct op *op);

/* ---- weights.c ------------------------------------------------------ */

/* The global with all constants, and where each is in it. */
void weights_emit(struct cg *g, LLVMTargetMachineRef tm,
		  enum codegen_kind kind);
/* Adds their bytes to what LLVM made of the module, or to the side file. */
void weights_finish(struct cg *g, struct codegen_out *out);

/* ---- dims.c --------------------------------------------------------- */

/* The model's symbolic dims, from an array of i64 in the ABI's order. */
void cg_bind_dims(struct cg *g, LLVMValueRef dims);
/* Computes the computed dims of which all is known by now, and which are in
 * `only` (NULL: all).  *over (or NULL) becomes what it was or "one
 * overflows". */
void cg_compute_dims(struct cg *g, const struct map *only,
		     LLVMValueRef *over);
/* i1; NULL without dims. */
LLVMValueRef cg_any_negative(struct cg *g);
bool cg_many_dims(const struct cg *g);
/* Of fn, when it is complete, and has very many of them. */
void cg_reload_dims(struct cg *g, LLVMValueRef fn);
/* i1; an empty tensor needs no memory.  NULL where that is known, or is only
 * known later. */
LLVMValueRef cg_has_elements(struct cg *g, const struct abi_tensor *t);
/* An operation of llvm.*.with.overflow, and an expression made of them.  *over
 * (or NULL) becomes what it was or "this overflows". */
LLVMValueRef cg_checked(struct cg *g, const char *name, LLVMValueRef a,
			LLVMValueRef b, LLVMValueRef *over);
LLVMValueRef cg_checked_expr(struct cg *g, const struct expr *e,
			     LLVMValueRef *over);

/* ---- cpu.c ---------------------------------------------------------- */

/* A function that runs before the CPU is known to fit. */
LLVMValueRef cg_baseline_function(struct cg *g, const char *name,
				  LLVMTypeRef ty);
/* i1 function(): has the CPU what the object needs?  NULL when all have. */
LLVMValueRef cg_cpu_function(struct cg *g);

/* ---- gpu.c ---------------------------------------------------------- */

/* The table of the kernels of g->o->gpu, and all of struct dlrt_gpu_code. */
void cg_gpu_kernels(struct cg *g);
LLVMValueRef cg_gpu_code(struct cg *g);

/* ---- table.c -------------------------------------------------------- */

LLVMValueRef cg_const_global(struct cg *g, LLVMValueRef init,
			     const char *name);
LLVMValueRef cg_string(struct cg *g, const char *s);

/* The model's table, of the invoke and workspace functions. */
void cg_table(struct cg *g);

/* ---- entry.c -------------------------------------------------------- */

/* The invoke and workspace functions, and the table. */
bool cg_entry(struct cg *g);

#endif
