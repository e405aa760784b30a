/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the program calls: the invoke function runs the kernels in order, the
 * workspace function computes the arena's size.
 */
#include <string.h>

#include "codegen/llvm/cg.h"
#include "dlrt.h"
#include "ir/layout.h"

struct entry {
	struct cg *g;
	LLVMValueRef call, fail, status, args, out_dims, pool;
	LLVMValueRef workspace, workspace_bytes, weights, device;
	unsigned n_args;
	LLVMTypeRef call_type;
	bool checked_late;	/* the full arena size was checked */
	unsigned n_kernels;
};

/* ---- small helpers -------------------------------------------------- */

static LLVMValueRef at(struct cg *g, LLVMTypeRef t, LLVMValueRef p, int64_t i)
{
	LLVMValueRef k = cg_int(g, i);

	return LLVMBuildLoad2(g->b, t,
			      LLVMBuildGEP2(g->b, t, p, &k, 1, ""), "");
}

/* A size_t as i64. */
static LLVMValueRef wide(struct cg *g, LLVMValueRef size)
{
	return LLVMBuildZExt(g->b, size, g->i64, "");
}

/* Field of struct dlrt_call; all are pointers or sizes here. */
static LLVMValueRef field(struct entry *e, unsigned i, LLVMTypeRef t)
{
	return LLVMBuildLoad2(e->g->b, t,
			      LLVMBuildStructGEP2(e->g->b, e->call_type,
						  e->call, i, ""),
			      "");
}

/* Leaves the function with the status when cond holds. */
static void fail_if(struct entry *e, LLVMValueRef cond, int status,
		    const struct op *op)
{
	struct cg *g = e->g;
	LLVMBasicBlockRef bad = cg_block(g, "bad"), ok = cg_block(g, "ok");
	uint32_t code = (uint32_t)status |
			(op ? kernel_node(op) : 0) << 8;

	LLVMBuildCondBr(g->b, cond, bad, ok);
	LLVMPositionBuilderAtEnd(g->b, bad);
	LLVMBuildRet(g->b, LLVMConstInt(g->i32, code, false));
	LLVMPositionBuilderAtEnd(g->b, ok);
}

static LLVMValueRef is_null(struct cg *g, LLVMValueRef p)
{
	return LLVMBuildICmp(g->b, LLVMIntEQ, p, LLVMConstNull(g->ptr), "");
}

/* ---- the steps of a call -------------------------------------------- */

static LLVMValueRef output_pointer(struct entry *e, int64_t k)
{
	return at(e->g, e->g->ptr, field(e, 1, e->g->ptr), k);
}

static LLVMValueRef weight_pointer(struct entry *e, const struct value *v)
{
	struct cg *g = e->g;
	struct blob data;

	value_const(v, &data);
	int64_t off = (int64_t)(uintptr_t)map_get(
			      &g->weight_at,
			      (uint64_t)(uintptr_t)data.data) - 1;

	/* Of a panel that its chains stand for nothing is read. */
	off = off < 0 ? 0 : off;

	LLVMValueRef k = cg_int(g, off);

	return LLVMBuildGEP2(g->b, g->i8, e->weights, &k, 1, "");
}

/* Where a buffer is, seen from the entry function. */
static LLVMValueRef buffer(struct entry *e, struct value *v)
{
	struct cg *g = e->g;
	LLVMValueRef p = map_get(&g->bufs, v->id);

	if (p)
		return p;
	if (!v->def) {
		p = at(g, g->ptr, field(e, 0, g->ptr), v->index);
	} else if (v->def->code == OP_core_const) {
		p = weight_pointer(e, v);
	} else if (op_int(v->def, A_output) >= 0) {
		p = output_pointer(e, op_int(v->def, A_output));
	} else {
		size_t n;
		LLVMValueRef off = cg_expr(g, v->def,
					   op_exprs(v->def, A_offset, &n)[0],
					   0);

		p = LLVMBuildGEP2(g->b, g->i8, e->workspace, &off, 1, "");
	}
	return p;
}

/* Emits the kernel's own function, with the state of this one kept. */
static void kernel_function(struct entry *e, struct kernel *k)
{
	struct cg *g = e->g;
	struct map atoms = g->atoms, bufs = g->bufs;
	LLVMValueRef fn = g->fn, status = g->status;
	LLVMBasicBlockRef here = LLVMGetInsertBlock(g->b);

	g->atoms = g->bufs = g->vals = (struct map){ 0 };
	cg_kernel(g, k, e->n_kernels);
	map_free(&g->atoms);
	map_free(&g->bufs);
	map_free(&g->vals);
	g->atoms = atoms;
	g->bufs = bufs;
	g->fn = fn;
	g->status = status;
	LLVMPositionBuilderAtEnd(g->b, here);
}

static void put_arg(struct entry *e, unsigned *n, LLVMValueRef v)
{
	struct cg *g = e->g;
	LLVMValueRef k = cg_int(g, (*n)++);

	LLVMBuildStore(g->b, v,
		       LLVMBuildGEP2(g->b, g->i64, e->args, &k, 1, ""));
	if (*n > e->n_args)
		e->n_args = *n;
}

/* Fills the argument block; returns how much is in it. */
static unsigned put_args(struct entry *e, const struct kernel_args *args)
{
	struct cg *g = e->g;
	unsigned n = 0;

	put_arg(e, &n, e->status);
	for (size_t i = 0; i < args->bufs.n; i++)
		put_arg(e, &n, buffer(e, args->bufs.v[i]));
	for (size_t i = 0; i < args->atoms.n; i++) {
		const struct atom *a = args->atoms.v[i];
		LLVMValueRef v = map_get(&g->atoms, a->serial);

		if (!v)
			bug(&g->c->diag,
			    "a kernel needs %s%s, which is unknown",
			    a->kind == ATOM_SYM ? a->name : "a variable",
			    a->kind == ATOM_SYM ? "" : " of no loop around it");
		put_arg(e, &n, v);
	}
	return n;
}

/* A function of struct dlrt_device, and its first argument. */
static void call_device(struct entry *e, unsigned i, LLVMTypeRef result,
			unsigned n, LLVMValueRef *arg, LLVMValueRef *value)
{
	struct cg *g = e->g;
	LLVMTypeRef t[8];

	for (unsigned k = 0; k < n; k++)
		t[k] = LLVMTypeOf(arg[k]);
	LLVMTypeRef ft = LLVMFunctionType(result, t, n, false);
	LLVMValueRef fn = at(g, g->ptr, e->device, i);
	LLVMValueRef v = LLVMBuildCall2(g->b, ft, fn, arg, n, "");

	if (value)
		*value = v;
}

/* Behind the n arguments: what dlrt_device.launch has to know of a tensor that
 * is copied by boxes. */
static void put_map(struct entry *e, unsigned *n, const struct op *kernel,
		    const struct gpu_map *map)
{
	struct cg *g = e->g;
	int64_t bytes = (int64_t)dtype_size(map->buf->type->dtype);
	LLVMValueRef off = cg_expr(g, kernel,
				   expr_scale(g->c, map->offset, bytes), 0);
	LLVMValueRef p = LLVMBuildGEP2(g->b, g->i8, buffer(e, map->buf), &off,
				       1, "");

	put_arg(e, n, p);
	for (unsigned i = 0; i < map->box.rank; i++)
		put_arg(e, n, cg_expr(g, kernel, map->dim[i], 0));
	for (unsigned i = 1; i < map->box.rank; i++)
		put_arg(e, n, cg_expr(g, kernel,
				      expr_scale(g->c, map->stride[i], bytes),
				      0));
}

static LLVMValueRef kernel_row(struct cg *g, LLVMValueRef fits,
			       unsigned narrow, unsigned wide)
{
	LLVMValueRef row = cg_int(g, wide);

	if (fits)
		row = LLVMBuildSelect(g->b, fits, cg_int(g, narrow), row, "");
	return LLVMBuildGEP2(g->b, g->kernel_type, g->kernels, &row, 1, "");
}

/* The device runs the kernel: only its arguments are made here. */
static void launch_kernel(struct entry *e, struct kernel *k)
{
	struct cg *g = e->g;
	unsigned n = put_args(e, &k->args), end = n;
	const struct gpu_launch *l = &g->o->gpu->launch.v[e->n_kernels++];
	LLVMValueRef over = NULL, fits = NULL;

	for (unsigned i = 0; i < l->n_map; i++)
		put_map(e, &end, k->op, &l->map[i]);
	if (l->bound) {
		fits = LLVMBuildICmp(g->b, LLVMIntSLE,
				     cg_checked_expr(g, l->bound, &over),
				     cg_int(g, INT32_MAX), "");
		if (over)
			fits = LLVMBuildAnd(g->b, fits,
					    LLVMBuildNot(g->b, over, ""), "");
	}
	LLVMValueRef arg[] = {
		e->device,
		kernel_row(g, fits, l->narrow.row, l->wide.row),
		l->n_map ? kernel_row(g, fits, l->narrow.boxes, l->wide.boxes)
			 : LLVMConstNull(g->ptr),
		e->args, cg_int(g, n),
		cg_expr(g, k->op, kernel_runs(g->c, k->op), 0),
	};

	call_device(e, 0, g->void_, ARRAY_SIZE(arg), arg, NULL);
	kernel_args_free(&k->args);
}

static void run_kernel(struct entry *e, struct op *op)
{
	struct cg *g = e->g;
	LLVMBuilderRef b = g->b;
	struct kernel k = { .op = op };

	kernel_args(op, &k.args);
	if (g->o->gpu) {
		launch_kernel(e, &k);
		return;
	}
	kernel_function(e, &k);
	e->n_kernels++;
	put_args(e, &k.args);

	const struct expr *points = kernel_runs(g->c, op);
	int64_t grain = op_int(op, A_grain), total;
	bool small = expr_is_const(points, &total) && total <= grain;
	LLVMValueRef count = cg_expr(g, op, points, 0);
	LLVMTypeRef kt[] = { g->ptr, g->i64, g->i64 };
	LLVMTypeRef kty = LLVMFunctionType(g->void_, kt, 3, false);
	LLVMValueRef direct[] = { e->args, cg_int(g, 0), count };

	if (small) {
		LLVMBuildCall2(b, kty, k.fn, direct, 3, "");
	} else {
		LLVMTypeRef pt[] = { g->ptr, g->ptr, g->ptr, g->i64, g->i64 };
		LLVMTypeRef pty = LLVMFunctionType(g->void_, pt, 5, false);
		LLVMBasicBlockRef par = cg_block(g, "parallel");
		LLVMBasicBlockRef ser = cg_block(g, "serial");
		LLVMBasicBlockRef next = cg_block(g, "next");

		LLVMBuildCondBr(b,
				LLVMBuildOr(b, is_null(g, e->pool),
					    LLVMBuildICmp(b, LLVMIntSLE, count,
							  cg_int(g, grain),
							  ""),
					    ""),
				ser, par);
		LLVMPositionBuilderAtEnd(b, par);
		LLVMValueRef pf = LLVMBuildLoad2(b, g->ptr, e->pool, "");
		LLVMValueRef arg[] = { e->pool, k.fn, e->args, count,
				       cg_int(g, grain) };

		LLVMBuildCall2(b, pty, pf, arg, 5, "");
		LLVMBuildBr(b, next);
		LLVMPositionBuilderAtEnd(b, ser);
		LLVMBuildCall2(b, kty, k.fn, direct, 3, "");
		LLVMBuildBr(b, next);
		LLVMPositionBuilderAtEnd(b, next);
	}
	kernel_args_free(&k.args);
}

static LLVMValueRef element(struct cg *g, enum dtype t, LLVMValueRef p,
			    LLVMValueRef k)
{
	LLVMTypeRef mt = cg_mem_type(g, t);
	LLVMValueRef x = LLVMBuildLoad2(
		g->b, mt, LLVMBuildGEP2(g->b, mt, p, &k, 1, ""), "");

	if (dtype_info[t].bits == 64)
		return x;
	return dtype_is_signed(t) ? LLVMBuildSExt(g->b, x, g->i64, "")
				  : LLVMBuildZExt(g->b, x, g->i64, "");
}

/* How many of the `len` elements at p are `from`, from + 1, ... */
static void count_elements(struct cg *g, enum dtype t, LLVMValueRef p,
			   LLVMValueRef len, int64_t from, size_t n,
			   const struct expr *const *sym)
{
	LLVMBuilderRef b = g->b;
	LLVMBasicBlockRef pre = LLVMGetInsertBlock(b);
	LLVMBasicBlockRef head = cg_block(g, "count");
	LLVMBasicBlockRef body = cg_block(g, "one");
	LLVMBasicBlockRef done = cg_block(g, "counted");
	LLVMValueRef zero = cg_int(g, 0), i, x;

	LLVMBuildBr(b, head);
	LLVMPositionBuilderAtEnd(b, head);
	i = LLVMBuildPhi(b, g->i64, "");
	for (size_t k = 0; k < n; k++)
		map_put(&g->atoms, expr_atom(sym[k])->serial,
			LLVMBuildPhi(b, g->i64, ""));
	LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, i, len, ""), body,
			done);
	LLVMPositionBuilderAtEnd(b, body);
	x = element(g, t, p, i);
	for (size_t k = 0; k < n; k++) {
		LLVMValueRef c = map_get(&g->atoms, expr_atom(sym[k])->serial);
		LLVMValueRef is = LLVMBuildICmp(
			b, LLVMIntEQ, x, cg_int(g, from + (int64_t)k), "");
		LLVMValueRef next = LLVMBuildAdd(
			b, c, LLVMBuildZExt(b, is, g->i64, ""), "");

		LLVMAddIncoming(c, &zero, &pre, 1);
		LLVMAddIncoming(c, &next, &body, 1);
	}
	LLVMValueRef next = LLVMBuildAdd(b, i, cg_int(g, 1), "");

	LLVMAddIncoming(i, &zero, &pre, 1);
	LLVMAddIncoming(i, &next, &body, 1);
	LLVMBuildBr(b, head);
	LLVMPositionBuilderAtEnd(b, done);
}

/* What the device has there, in memory of the host. */
static LLVMValueRef fetched(struct entry *e, const struct op *op,
			    LLVMValueRef p, const struct expr *bytes)
{
	struct cg *g = e->g;
	LLVMValueRef arg[] = { e->device, p, cg_expr(g, op, bytes, 0) };

	call_device(e, 1, g->ptr, ARRAY_SIZE(arg), arg, &p);
	fail_if(e, is_null(g, p), DLRT_DEVICE, op);
	return p;
}

/* Symbols from the elements of an integer tensor. */
static void run_bind(struct entry *e, struct op *op)
{
	struct cg *g = e->g;
	struct value *v = op->in[0].val;
	enum dtype t = v->type->dtype;
	LLVMValueRef p = buffer(e, v), over = NULL;
	const struct expr *elems = type_elems(g->c, v->type);

	if (e->device)
		p = fetched(e, op, p, layout_bytes(g->c, v));
	size_t n;
	const struct expr *const *sym = op_exprs(op, A_syms, &n);

	if (op_has(op, A_counts_from)) {
		count_elements(g, t, p, cg_expr(g, op, elems, 0),
			       op_int(op, A_counts_from), n, sym);
	} else {
		if (!expr_is(elems, (int64_t)n))
			fail_if(e,
				LLVMBuildICmp(g->b, LLVMIntNE,
					      cg_expr(g, op, elems, 0),
					      cg_int(g, (int64_t)n), ""),
				DLRT_SHAPE, op);
		for (size_t i = 0; i < n; i++)
			map_put(&g->atoms, expr_atom(sym[i])->serial,
				element(g, t, p, cg_int(g, (int64_t)i)));
	}
	cg_compute_dims(g, NULL, &over);
	if (over)
		fail_if(e, over, DLRT_SHAPE, op);
}

static void run_check(struct entry *e, struct op *op)
{
	struct cg *g = e->g;
	LLVMValueRef bad = NULL, over = NULL;
	size_t n;
	const struct expr *const *x = op_exprs(op, A_zero, &n);

	for (size_t i = 0; i < n; i++) {
		LLVMValueRef v = cg_checked_expr(g, x[i], &over);
		LLVMValueRef ne = LLVMBuildICmp(g->b, LLVMIntNE, v,
						cg_int(g, 0), "");

		bad = bad ? LLVMBuildOr(g->b, bad, ne, "") : ne;
	}
	x = op_exprs(op, A_nonneg, &n);
	for (size_t i = 0; i < n; i++) {
		LLVMValueRef v = cg_checked_expr(g, x[i], &over);
		LLVMValueRef neg = LLVMBuildICmp(g->b, LLVMIntSLT, v,
						 cg_int(g, 0), "");

		bad = bad ? LLVMBuildOr(g->b, bad, neg, "") : neg;
	}
	if (over)
		bad = LLVMBuildOr(g->b, bad, over, "");
	fail_if(e, bad, DLRT_SHAPE, op);
}

/* The bits behind the last packed element of an output are zero: stores keep
 * what they find there. */
static void clear_tail(struct entry *e, int64_t out, LLVMValueRef bytes)
{
	struct cg *g = e->g;
	LLVMBasicBlockRef some = cg_block(g, "tail"), next;
	LLVMValueRef last = LLVMBuildSub(g->b, bytes, cg_int(g, 1), "");

	next = cg_block(g, "tail.done");
	LLVMBuildCondBr(g->b, LLVMBuildICmp(g->b, LLVMIntSGE, last,
					    cg_int(g, 0), ""),
			some, next);
	LLVMPositionBuilderAtEnd(g->b, some);
	LLVMValueRef p = LLVMBuildGEP2(g->b, g->i8, output_pointer(e, out),
				       &last, 1, "");
	LLVMValueRef arg[] = { e->device, p, cg_int(g, 1) };

	if (e->device)
		call_device(e, 2, g->void_, ARRAY_SIZE(arg), arg, NULL);
	else
		LLVMBuildStore(g->b, LLVMConstNull(g->i8), p);
	LLVMBuildBr(g->b, next);
	LLVMPositionBuilderAtEnd(g->b, next);
}

/* Sizes that depend on what was just bound: every dim of a buffer must be
 * sane before a kernel runs over it. */
static void check_buffer(struct entry *e, struct op *op)
{
	struct cg *g = e->g;
	const struct value *v = &op->out[0];
	int64_t out = op_int(op, A_output);
	LLVMValueRef over = NULL, bad = NULL;
	bool late = false;

	for (uint32_t i = 0; i < v->type->rank; i++) {
		const struct expr *d = v->type->dim[i];

		if (!expr_is_late(d))
			continue;
		late = true;
		LLVMValueRef neg = LLVMBuildICmp(
			g->b, LLVMIntSLT, cg_checked_expr(g, d, &over),
			cg_int(g, 0), "");

		bad = bad ? LLVMBuildOr(g->b, bad, neg, "") : neg;
	}
	if (late)
		fail_if(e, LLVMBuildOr(g->b, bad, over, ""), DLRT_SHAPE, op);
	over = NULL;
	size_t n;
	LLVMValueRef bytes = cg_checked_expr(g, layout_bytes(g->c, v), &over);

	if (out >= 0) {
		LLVMValueRef sizes = field(e, 5, g->ptr);
		LLVMBasicBlockRef has = cg_block(g, "sized");
		LLVMBasicBlockRef next = cg_block(g, "fits");

		if (over)
			fail_if(e, over, DLRT_LIMIT, op);
		LLVMBuildCondBr(g->b, is_null(g, sizes), next, has);
		LLVMPositionBuilderAtEnd(g->b, has);
		fail_if(e,
			LLVMBuildICmp(g->b, LLVMIntULT,
				      wide(g, at(g, g->size, sizes, out)),
				      bytes, ""),
			DLRT_WORKSPACE, op);
		LLVMBuildBr(g->b, next);
		LLVMPositionBuilderAtEnd(g->b, next);
		if (dtype_is_packed(v->type->dtype))
			clear_tail(e, out, bytes);
		return;
	}
	const struct expr *off = op_exprs(op, A_offset, &n)[0];

	if (!late && !expr_is_late(off))
		return;
	LLVMValueRef end =
		cg_checked(g, "llvm.sadd.with.overflow",
			   cg_checked_expr(g, off, &over), bytes, &over);

	bad = LLVMBuildOr(g->b, over,
			  LLVMBuildICmp(g->b, LLVMIntUGT, end,
					e->workspace_bytes, ""),
			  "");
	fail_if(e, bad, DLRT_WORKSPACE, op);
}

static void run_block(struct entry *e, struct block *b);

static void run_seq(struct entry *e, struct op *op)
{
	struct cg *g = e->g;
	LLVMBuilderRef b = g->b;
	const struct atom *iv = expr_atom(op_body(op)->iv[0]);
	LLVMBasicBlockRef pre = LLVMGetInsertBlock(b);
	LLVMValueRef n = cg_expr(g, op, iv->a, 0);
	LLVMBasicBlockRef head = cg_block(g, "seq");
	LLVMBasicBlockRef body = cg_block(g, "step");
	LLVMBasicBlockRef done = cg_block(g, "seq.done");

	pre = LLVMGetInsertBlock(b);
	LLVMBuildBr(b, head);
	LLVMPositionBuilderAtEnd(b, head);
	LLVMValueRef i = LLVMBuildPhi(b, g->i64, "");

	map_put(&g->atoms, iv->serial, i);
	LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, i, n, ""), body, done);
	LLVMPositionBuilderAtEnd(b, body);
	run_block(e, op_body(op));
	LLVMValueRef v[] = { cg_int(g, 0),
			     LLVMBuildAdd(b, i, cg_int(g, 1), "") };
	LLVMBasicBlockRef blocks[] = { pre, LLVMGetInsertBlock(b) };

	LLVMBuildBr(b, head);
	LLVMAddIncoming(i, v, blocks, 2);
	LLVMPositionBuilderAtEnd(b, done);
}

static void run_block(struct entry *e, struct block *b)
{
	for (struct op *op = b->first; op; op = op->next) {
		switch ((int)op->code) {
		case OP_loop_kernel: run_kernel(e, op); break;
		case OP_loop_seq: run_seq(e, op); break;
		case OP_core_bind: run_bind(e, op); break;
		case OP_core_check: run_check(e, op); break;
		case OP_mem_alloc: check_buffer(e, op); break;
		default: break;
		}
	}
}

static void write_out_dims(struct entry *e, struct op *ret)
{
	struct cg *g = e->g;
	LLVMBasicBlockRef has = cg_block(g, "dims");
	LLVMBasicBlockRef next = cg_block(g, "dims.done");
	int64_t n = 0;

	LLVMBuildCondBr(g->b, is_null(g, e->out_dims), next, has);
	LLVMPositionBuilderAtEnd(g->b, has);
	for (unsigned i = 0; i < ret->n_in; i++) {
		const struct type *t = ret->in[i].val->type;

		for (uint32_t d = 0; d < t->rank; d++) {
			LLVMValueRef k = cg_int(g, n++);

			LLVMBuildStore(g->b, cg_expr(g, ret, t->dim[d], 0),
				       LLVMBuildGEP2(g->b, g->i64, e->out_dims,
						     &k, 1, ""));
		}
	}
	LLVMBuildBr(g->b, next);
	LLVMPositionBuilderAtEnd(g->b, next);
}

/* ---- the CPU -------------------------------------------------------- */

/*
 * Does this CPU have what the object needs?  Asked on every call before any
 * wide instruction: cpuid costs about 100 cycles, on a virtual machine a few
 * microseconds, so the answer is kept in a byte (0 unknown, 1 yes, 2 no) whose
 * writers all write the same.
 */
static void cpu_check(struct entry *e)
{
	struct cg *g = e->g;
	LLVMBuilderRef b = g->b;
	LLVMValueRef fn = cg_cpu_function(g);
	LLVMTypeRef cty = LLVMFunctionType(g->i1, NULL, 0, false);

	if (!fn)
		return;
	LLVMValueRef seen = LLVMAddGlobal(g->mod, g->i8, "cpu_seen");

	LLVMSetLinkage(seen, LLVMInternalLinkage);
	LLVMSetInitializer(seen, LLVMConstNull(g->i8));
	LLVMValueRef v = LLVMBuildLoad2(b, g->i8, seen, "");

	LLVMSetOrdering(v, LLVMAtomicOrderingMonotonic);
	LLVMSetAlignment(v, 1);
	LLVMBasicBlockRef ask = cg_block(g, "ask"), go = cg_block(g, "go");

	LLVMBuildCondBr(b,
			LLVMBuildICmp(b, LLVMIntEQ, v,
				      LLVMConstInt(g->i8, 1, false), ""),
			go, ask);
	LLVMPositionBuilderAtEnd(b, ask);
	LLVMValueRef yes = LLVMBuildCall2(b, cty, fn, NULL, 0, "");

	fail_if(e, LLVMBuildNot(b, yes, ""), DLRT_CPU, NULL);
	LLVMValueRef s = LLVMBuildStore(b, LLVMConstInt(g->i8, 1, false), seen);

	LLVMSetOrdering(s, LLVMAtomicOrderingMonotonic);
	LLVMSetAlignment(s, 1);
	LLVMBuildBr(b, go);
	LLVMPositionBuilderAtEnd(b, go);
}

/* ---- the functions -------------------------------------------------- */

static void ignore_atom(void *arg, const struct atom *a)
{
	(void)arg;
	(void)a;
}

static LLVMValueRef workspace_function(struct cg *g)
{
	LLVMTypeRef in[] = { g->ptr };
	LLVMValueRef fn = cg_baseline_function(
		g, "workspace", LLVMFunctionType(g->size, in, 1, false));
	LLVMValueRef over = NULL;
	size_t n;
	const struct expr *const *e = op_exprs(g->m->func, A_workspace, &n);

	map_free(&g->atoms);
	g->fn = fn;
	LLVMPositionBuilderAtEnd(g->b, cg_block(g, "entry"));
	cg_bind_dims(g, LLVMGetParam(fn, 0));
	struct map used = { 0 };

	g->dim_slots = NULL;
	expr_visit_all(e[0], ignore_atom, NULL, &used);
	cg_compute_dims(g, &used, &over);
	map_free(&used);
	LLVMValueRef v = cg_checked_expr(g, e[0], &over);
	LLVMValueRef neg = cg_any_negative(g);
	LLVMValueRef least = cg_int(g, 64);

	/* 0 is for overflow. */
	v = LLVMBuildSelect(g->b,
			    LLVMBuildICmp(g->b, LLVMIntULT, v, least, ""),
			    least, v, "");
	if (neg)
		over = over ? LLVMBuildOr(g->b, over, neg, "") : neg;
	if (g->size != g->i64) {
		LLVMValueRef large = LLVMBuildICmp(
			g->b, LLVMIntUGT, v, cg_int(g, UINT32_MAX), "");

		over = over ? LLVMBuildOr(g->b, over, large, "") : large;
	}
	if (over)
		v = LLVMBuildSelect(g->b, over, cg_int(g, 0), v, "");
	LLVMBuildRet(g->b, LLVMBuildTrunc(g->b, v, g->size, ""));
	return fn;
}

static void check_pointers(struct entry *e, LLVMValueRef list, uint32_t n,
			   const struct abi_tensor *t)
{
	struct cg *g = e->g;

	if (!n)
		return;
	fail_if(e, is_null(g, list), DLRT_ARG, NULL);
	for (uint32_t i = 0; i < n; i++) {
		LLVMValueRef some = cg_has_elements(g, &t[i]);

		if (!some)
			continue;
		LLVMValueRef null = is_null(g, at(g, g->ptr, list, i));

		fail_if(e, LLVMBuildAnd(g->b, some, null, ""), DLRT_ARG, NULL);
	}
}

static LLVMValueRef invoke_function(struct cg *g)
{
	const struct abi *abi = g->o->abi;
	LLVMTypeRef f[] = { g->ptr, g->ptr, g->ptr, g->ptr, g->size,
			    g->ptr, g->ptr, g->ptr, g->ptr, g->ptr };
	LLVMTypeRef in[] = { g->ptr };
	struct entry e = { .g = g };
	LLVMValueRef fn = cg_baseline_function(
		g, "invoke", LLVMFunctionType(g->i32, in, 1, false));
	struct block *body = op_body(g->m->func);
	size_t n;
	const struct expr *const *ws = op_exprs(g->m->func, A_workspace, &n);

	map_free(&g->atoms);
	map_free(&g->bufs);
	g->fn = fn;
	e.call_type = LLVMStructTypeInContext(g->lc, f, ARRAY_SIZE(f), false);
	e.call = LLVMGetParam(fn, 0);
	LLVMBasicBlockRef start = cg_block(g, "entry");

	LLVMPositionBuilderAtEnd(g->b, start);
	fail_if(&e, is_null(g, e.call), DLRT_ARG, NULL);
	cpu_check(&e);
	if (g->o->gpu) {
		e.device = field(&e, 9, g->ptr);
		fail_if(&e, is_null(g, e.device), DLRT_DEVICE, NULL);
		e.status = at(g, g->ptr, e.device, 3);
	} else {
		e.status = LLVMBuildAlloca(g->b, g->i32, "status");
		LLVMBuildStore(g->b, LLVMConstNull(g->i32), e.status);
	}
	/* Sized at the end, when the largest kernel is known. */
	LLVMValueRef args_at = LLVMBuildAlloca(g->b, g->i64, "args");

	e.args = args_at;
	g->dim_slots = NULL;
	if (g->n_dim && cg_many_dims(g))
		g->dim_slots = LLVMBuildArrayAlloca(
			g->b, g->i64, LLVMConstInt(g->i32, g->n_dim, false),
			"dims");
	g->status = e.status;
	e.workspace = field(&e, 3, g->ptr);
	e.workspace_bytes = wide(g, field(&e, 4, g->size));
	e.out_dims = field(&e, 6, g->ptr);
	e.pool = field(&e, 7, g->ptr);
	if (abi->weights_apart || (g->o->gpu && g->weights)) {
		e.weights = field(&e, 8, g->ptr);
		fail_if(&e, is_null(g, e.weights), DLRT_ARG, NULL);
	} else {
		e.weights = g->weights;
	}
	if (abi->n_dim) {
		LLVMValueRef dims = field(&e, 2, g->ptr);

		fail_if(&e, is_null(g, dims), DLRT_ARG, NULL);
		cg_bind_dims(g, dims);
		fail_if(&e, cg_any_negative(g), DLRT_ARG, NULL);
	}
	LLVMValueRef over = NULL;

	cg_compute_dims(g, NULL, &over);
	if (over)
		fail_if(&e, over, DLRT_LIMIT, NULL);
	check_pointers(&e, field(&e, 0, g->ptr), abi->n_in, abi->in);
	check_pointers(&e, field(&e, 1, g->ptr), abi->n_out, abi->out);
	over = NULL;
	LLVMValueRef need = cg_checked_expr(g, ws[0], &over);

	if (over)
		fail_if(&e, over, DLRT_LIMIT, NULL);
	fail_if(&e,
		LLVMBuildICmp(g->b, LLVMIntULT, e.workspace_bytes, need, ""),
		DLRT_WORKSPACE, NULL);
	run_block(&e, body);
	write_out_dims(&e, body->last);
	/* The device's own comes when it is done. */
	LLVMBuildRet(g->b, g->o->gpu ? LLVMConstNull(g->i32)
				     : LLVMBuildLoad2(g->b, g->i32, e.status,
						      ""));

	/* Replace the placeholder by an array of the right size. */
	LLVMPositionBuilderBefore(g->b, args_at);
	LLVMValueRef args = LLVMBuildArrayAlloca(
		g->b, g->i64,
		LLVMConstInt(g->i32, e.n_args ? e.n_args : 1, false), "");

	LLVMReplaceAllUsesWith(args_at, args);
	LLVMInstructionEraseFromParent(args_at);
	cg_reload_dims(g, fn);
	return fn;
}

bool cg_entry(struct cg *g)
{
	g->dim = module_dims(g->m, &g->n_dim);
	if (g->o->gpu)
		cg_gpu_kernels(g);
	g->invoke = invoke_function(g);
	g->workspace = workspace_function(g);
	cg_table(g);
	return true;
}
