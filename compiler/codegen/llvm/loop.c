/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loops and kernels.  A loop of width W runs its body for groups of W
 * iterations as explicit vectors: first U groups at once when it folds, then
 * one, then the tail, under a mask where that is cheap, else one by one.
 */
#include <string.h>

#include "codegen/llvm/cg.h"

/* ---- loops ---------------------------------------------------------- */

struct carried {
	unsigned n;
	LLVMValueRef v[MAX_RANK];
};

static void bind_iv(struct cg *g, const struct atom *iv, LLVMValueRef v)
{
	map_put(&g->atoms, iv->serial, v);
}

/* Emits the body once with the carried values in *acc; they are replaced by
 * the yielded ones. */
static void body_once(struct cg *g, struct op *loop, LLVMValueRef iv,
		      struct carried *acc, bool vec)
{
	struct block *b = op_body(loop);

	bind_iv(g, expr_atom(b->iv[0]), iv);
	for (unsigned i = 0; i < acc->n; i++)
		cg_set(g, b->arg[i], acc->v[i], vec);
	cg_block_ops(g, b);
	for (unsigned i = 0; i < acc->n; i++) {
		struct cv v = cg_get(g, b->last->in[i].val);

		acc->v[i] = vec ? cg_lanes(g, v) : v.v;
	}
}

/* A loop from `from` while iv + step <= to; acc[] are unroll groups of
 * carried values.  Returns the first iv not done. */
static LLVMValueRef counted(struct cg *g, struct op *loop, LLVMValueRef from,
			    LLVMValueRef to, unsigned width, unsigned unroll,
			    struct carried *acc, bool vec)
{
	LLVMBuilderRef b = g->b;
	LLVMBasicBlockRef pre = LLVMGetInsertBlock(b);
	LLVMBasicBlockRef head = cg_block(g, "head");
	LLVMBasicBlockRef body = cg_block(g, "body");
	LLVMBasicBlockRef done = cg_block(g, "done");
	unsigned step = width * unroll;
	struct carried phi[8];

	LLVMBuildBr(b, head);
	LLVMPositionBuilderAtEnd(b, head);
	LLVMValueRef iv = LLVMBuildPhi(b, g->i64, "");

	for (unsigned u = 0; u < unroll; u++) {
		phi[u].n = acc[u].n;
		for (unsigned i = 0; i < acc[u].n; i++)
			phi[u].v[i] = LLVMBuildPhi(
				b, LLVMTypeOf(acc[u].v[i]), "");
	}
	LLVMValueRef end = LLVMBuildAdd(b, iv, cg_int(g, step), "");

	LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLE, end, to, ""), body,
			done);
	LLVMPositionBuilderAtEnd(b, body);
	struct carried next[8];

	for (unsigned u = 0; u < unroll; u++) {
		next[u] = phi[u];
		body_once(g, loop,
			  u ? LLVMBuildAdd(b, iv, cg_int(g, u * width), "")
			    : iv,
			  &next[u], vec);
	}
	LLVMBasicBlockRef latch = LLVMGetInsertBlock(b);

	LLVMBuildBr(b, head);
	LLVMBasicBlockRef blocks[] = { pre, latch };
	LLVMValueRef ivs[] = { from, end };

	LLVMAddIncoming(iv, ivs, blocks, 2);
	for (unsigned u = 0; u < unroll; u++)
		for (unsigned i = 0; i < acc[u].n; i++) {
			LLVMValueRef in[] = { acc[u].v[i], next[u].v[i] };

			LLVMAddIncoming(phi[u].v[i], in, blocks, 2);
			acc[u].v[i] = phi[u].v[i];
		}
	LLVMPositionBuilderAtEnd(b, done);
	return iv;
}

/* ---- folds in lanes ------------------------------------------------- */

static LLVMValueRef identity(struct cg *g, enum opcode code, enum dtype t)
{
	LLVMTypeRef ty = cg_type(g, t);
	unsigned bits = dtype_info[t].bits;

	if (dtype_is_float(t)) {
		double inf = 1e300 * 1e300;

		switch (code) {
		case OP_arith_mul: return LLVMConstReal(ty, 1);
		case OP_arith_min: return LLVMConstReal(ty, inf);
		case OP_arith_max: return LLVMConstReal(ty, -inf);
		default: return LLVMConstReal(ty, -0.0);
		}
	}
	uint64_t max = ~UINT64_C(0) >> (64 - bits);

	switch (code) {
	case OP_arith_mul: return LLVMConstInt(ty, 1, false);
	case OP_arith_and: return LLVMConstAllOnes(ty);
	case OP_arith_min:
		if (t == DT_BOOL)
			return LLVMConstInt(ty, 1, false);
		return LLVMConstInt(ty, dtype_is_signed(t) ? max >> 1 : max,
				    false);
	case OP_arith_max:
		return LLVMConstInt(ty,
				    dtype_is_signed(t) && t != DT_BOOL
					    ? ~(max >> 1)
					    : 0,
				    true);
	default: return LLVMConstNull(ty);
	}
}

/* One value of all lanes, by a fixed tree of halves. */
static LLVMValueRef across(struct cg *g, enum opcode code, enum dtype t,
			   LLVMValueRef v, unsigned n)
{
	while (n > 1) {
		LLVMValueRef lo[64], hi[64];

		n /= 2;
		for (unsigned i = 0; i < n; i++) {
			lo[i] = LLVMConstInt(g->i32, i, false);
			hi[i] = LLVMConstInt(g->i32, i + n, false);
		}
		LLVMValueRef p = LLVMGetPoison(LLVMTypeOf(v));
		LLVMValueRef a = LLVMBuildShuffleVector(
			g->b, v, p, LLVMConstVector(lo, n), "");
		LLVMValueRef b = LLVMBuildShuffleVector(
			g->b, v, p, LLVMConstVector(hi, n), "");

		v = cg_arith2(g, code, t, a, b);
	}
	return LLVMBuildExtractElement(g->b, v, cg_int(g, 0), "");
}

static void masked_tail(struct cg *g, struct op *loop, LLVMValueRef from,
			LLVMValueRef n, struct carried *acc)
{
	LLVMBuilderRef b = g->b;
	LLVMBasicBlockRef pre = LLVMGetInsertBlock(b);
	LLVMBasicBlockRef tail = cg_block(g, "tail");
	LLVMBasicBlockRef done = cg_block(g, "tail.done");
	struct carried in = *acc, out = *acc;

	LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, from, n, ""), tail,
			done);
	LLVMPositionBuilderAtEnd(b, tail);
	g->mask = cg_first_lanes(g, LLVMBuildSub(b, n, from, ""));
	LLVMValueRef mask = g->mask;

	body_once(g, loop, from, &out, true);
	g->mask = NULL;
	for (unsigned i = 0; i < acc->n; i++)
		out.v[i] = LLVMBuildSelect(b, mask, out.v[i], in.v[i], "");
	LLVMBasicBlockRef end = LLVMGetInsertBlock(b);

	LLVMBuildBr(b, done);
	LLVMPositionBuilderAtEnd(b, done);
	for (unsigned i = 0; i < acc->n; i++) {
		LLVMValueRef v[] = { in.v[i], out.v[i] };
		LLVMBasicBlockRef blocks[] = { pre, end };

		acc->v[i] = LLVMBuildPhi(b, LLVMTypeOf(in.v[i]), "");
		LLVMAddIncoming(acc->v[i], v, blocks, 2);
	}
}

static void loop_lanes(struct cg *g, struct op *op, struct carried *acc)
{
	struct block *body = op_body(op);
	const struct atom *iv = expr_atom(body->iv[0]);
	unsigned w = (unsigned)op_int(op, A_width);
	unsigned u = (unsigned)op_int(op, A_unroll);
	LLVMValueRef n = cg_expr(g, op, iv->a, 0), from = cg_int(g, 0);
	struct carried init = *acc, part[8];
	enum opcode code[MAX_RANK];
	enum dtype t[MAX_RANK];
	int64_t ext;
	bool known = expr_is_const(iv->a, &ext);

	for (unsigned j = 0; j < acc->n; j++) {
		code[j] = fold_combiner(op, j)->code;
		t[j] = op->out[j].type->dtype;
	}
	g->lanes = w;
	g->lane_iv = iv;
	for (unsigned i = 0; i < u; i++) {
		part[i].n = acc->n;
		for (unsigned j = 0; j < acc->n; j++)
			part[i].v[j] = cg_splat(g, identity(g, code[j], t[j]));
	}
	if (u > 1 && (!known || ext >= (int64_t)(u * w))) {
		from = counted(g, op, from, n, w, u, part, true);
		for (unsigned i = 1; i < u; i++)
			for (unsigned j = 0; j < acc->n; j++)
				part[0].v[j] = cg_arith2(g, code[j], t[j],
							 part[0].v[j],
							 part[i].v[j]);
	}
	from = counted(g, op, from, n, w, 1, part, true);
	if (g->t->isa->masked && (!known || ext % w)) {
		masked_tail(g, op, from, n, &part[0]);
		from = n;
	}
	for (unsigned j = 0; j < acc->n; j++)
		acc->v[j] = cg_arith2(g, code[j], t[j], init.v[j],
				      across(g, code[j], t[j], part[0].v[j],
					     w));
	g->lanes = 1;
	g->lane_iv = NULL;
	if (!g->t->isa->masked && (!known || ext % w))
		counted(g, op, from, n, 1, 1, acc, false);
}

static void loop_for(struct cg *g, struct op *op)
{
	struct carried acc = { .n = op->n_in };
	bool lanes = g->lanes > 1;

	for (unsigned i = 0; i < op->n_in; i++) {
		struct cv v = cg_get(g, op->in[i].val);

		acc.v[i] = lanes ? cg_lanes(g, v) : v.v;
	}
	const struct atom *iv = expr_atom(op_body(op)->iv[0]);
	int64_t ext;

	if (op_int(op, A_width) > 1 && !lanes) {
		loop_lanes(g, op, &acc);
	} else if (expr_is_const(iv->a, &ext) &&
		   (ext == 1 || (ext > 1 && ext == op_int(op, A_unroll)))) {
		/* Straight-line: each step with its number as a constant. */
		for (int64_t i = 0; i < ext; i++)
			body_once(g, op, cg_int(g, i), &acc, lanes);
	} else {
		counted(g, op, cg_int(g, 0), cg_expr(g, op, iv->a, 0), 1, 1,
			&acc, lanes);
	}
	for (unsigned i = 0; i < op->n_out; i++)
		cg_set(g, &op->out[i], acc.v[i], lanes);
}

void cg_op(struct cg *g, struct op *op)
{
	switch ((int)op->code) {
	case OP_loop_for: loop_for(g, op); break;
	case OP_loop_yield: break;
	case OP_mem_store: cg_store(g, op); break;
	case OP_kern_contract: cg_contract(g, op); break;
	default: cg_scalar_op(g, op); break;
	}
}

void cg_block_ops(struct cg *g, struct block *b)
{
	for (struct op *op = b->first; op; op = op->next)
		cg_op(g, op);
}

/* ---- kernels -------------------------------------------------------- */

static LLVMValueRef slot(struct cg *g, LLVMValueRef args, unsigned i,
			 LLVMTypeRef t)
{
	LLVMValueRef k = cg_int(g, i);
	LLVMValueRef p = LLVMBuildGEP2(g->b, g->i64, args, &k, 1, "");
	LLVMValueRef v = LLVMBuildLoad2(g->b, t, p, "");
	LLVMValueRef node = LLVMMDNodeInContext(g->lc, NULL, 0);

	/* The argument block does not change while the kernel runs. */
	LLVMSetMetadata(
		v, LLVMGetMDKindIDInContext(g->lc, "invariant.load", 14), node);
	return v;
}

/* Binds what the kernel takes from its argument block. */
static void bind_args(struct cg *g, struct kernel *k, LLVMValueRef args)
{
	const struct kernel_args *a = &k->args;
	unsigned n = 0;

	g->status = slot(g, args, n++, g->ptr);
	for (size_t i = 0; i < a->bufs.n; i++)
		map_put(&g->bufs, a->bufs.v[i]->id,
			slot(g, args, n++, g->ptr));
	for (size_t i = 0; i < a->atoms.n; i++)
		map_put(&g->atoms, a->atoms.v[i]->serial,
			slot(g, args, n++, g->i64));
}

/* void kernel(ptr args, i64 lo, i64 hi): the points lo to hi, counted in
 * row-major order of the block's variables. */
void cg_kernel(struct cg *g, struct kernel *k, unsigned number)
{
	LLVMBuilderRef b = g->b;
	struct block *body = op_body(k->op);
	LLVMTypeRef arg[] = { g->ptr, g->i64, g->i64 };
	LLVMTypeRef ty = LLVMFunctionType(g->void_, arg, 3, false);

	map_free(&g->vals);
	map_free(&g->atoms);
	map_free(&g->bufs);
	k->fn = cg_new_function(g, arena_fmt(&g->c->temp, "k%u", number), ty);
	g->fn = k->fn;
	LLVMPositionBuilderAtEnd(b, cg_block(g, "entry"));
	bind_args(g, k, LLVMGetParam(g->fn, 0));

	LLVMValueRef ext[MAX_RANK], lo = LLVMGetParam(g->fn, 1);
	LLVMValueRef hi = LLVMGetParam(g->fn, 2);

	for (unsigned i = 0; i < body->n_iv; i++)
		ext[i] = cg_expr(g, k->op, expr_atom(body->iv[i])->a, 0);
	LLVMBasicBlockRef pre = LLVMGetInsertBlock(b);
	LLVMBasicBlockRef head = cg_block(g, "points");
	LLVMBasicBlockRef point = cg_block(g, "point");
	LLVMBasicBlockRef done = cg_block(g, "end");

	LLVMBuildBr(b, head);
	LLVMPositionBuilderAtEnd(b, head);
	LLVMValueRef p = LLVMBuildPhi(b, g->i64, ""), q = p;

	LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, p, hi, ""), point,
			done);
	LLVMPositionBuilderAtEnd(b, point);
	for (unsigned i = body->n_iv; i-- > 0;) {
		LLVMValueRef v = q;

		if (i) {
			v = LLVMBuildURem(b, q, ext[i], "");
			q = LLVMBuildUDiv(b, q, ext[i], "");
		}
		map_put(&g->atoms, expr_atom(body->iv[i])->serial, v);
	}
	cg_block_ops(g, body);
	LLVMValueRef next[] = { lo, LLVMBuildAdd(b, p, cg_int(g, 1), "") };
	LLVMBasicBlockRef blocks[] = { pre, LLVMGetInsertBlock(b) };

	LLVMBuildBr(b, head);
	LLVMAddIncoming(p, next, blocks, 2);
	LLVMPositionBuilderAtEnd(b, done);
	LLVMBuildRetVoid(b);
}
