/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sums of a register tile along chains of quads: pass chain says how they
 * lie in memory.
 */
#include "codegen/llvm/tile.h"

enum { HEAD_BYTES = 32, FIRST = 1, LAST = 3 };

/* How far quads are read ahead.  The first rows of a panel wait for it without:
 * BERT-base for AVX2 takes 8 % longer, and 3 % longer with 1024. */
enum { AHEAD_BYTES = 4096 };

/* Where the offsets and the quads of the next chain are. */
struct place {
	LLVMValueRef offset, quad;
};

static LLVMValueRef behind(struct cg *g, LLVMValueRef p, int64_t bytes)
{
	LLVMValueRef k = cg_int(g, bytes);

	return LLVMBuildGEP2(g->b, g->i8, p, &k, 1, "");
}

static LLVMValueRef word(struct cg *g, LLVMValueRef p, int64_t i)
{
	LLVMValueRef x = LLVMBuildLoad2(g->b, g->i32, behind(g, p, 4 * i), "");

	return LLVMBuildSExt(g->b, x, g->i64, "");
}

/* Adds one chain to the sums of all rows. */
static void add_chain(struct kern *kn, LLVMValueRef pa, struct place at,
		      unsigned len)
{
	struct cg *g = kn->g;
	const struct isa *isa = g->t->isa;
	unsigned size = 4 * kn->nr;
	LLVMValueRef w[LAST], a[LAST];

	if (isa->prefetch_bytes && kn->mr >= isa->prefetch_rows)
		tile_prefetch(g, behind(g, at.quad, AHEAD_BYTES),
			      (int64_t)len * size);
	for (unsigned i = 0; i < len; i++) {
		LLVMValueRef off = word(g, at.offset, i);

		w[i] = LLVMBuildLoad2(g->b, kn->vec,
				      behind(g, at.quad, (int64_t)i * size),
				      "");
		LLVMSetAlignment(w[i], size);
		a[i] = LLVMBuildGEP2(g->b, kn->row_elem, pa, &off, 1, "");
	}
	for (unsigned r = 0; r < kn->mr; r++) {
		LLVMValueRef all = NULL;

		for (unsigned i = 0; i < len; i++) {
			LLVMValueRef x = tile_row(kn, a[i], r, 0);

			x = cg_dot_pairs(g, x, w[i]);
			all = all ? LLVMBuildAdd(g->b, all, x, "") : x;
		}
		kn->sum[r] = cg_add_pairs(g, kn->sum[r], all);
	}
}

/* n chains of one length, from there on; returns what is behind them. */
static struct place chain_loop(struct kern *kn, LLVMValueRef pa,
			       struct place from, LLVMValueRef n, unsigned len)
{
	struct cg *g = kn->g;
	LLVMBuilderRef b = g->b;
	LLVMBasicBlockRef pre = LLVMGetInsertBlock(b);
	LLVMBasicBlockRef body = cg_block(g, "chain");
	LLVMBasicBlockRef done = cg_block(g, "chain.done");
	LLVMValueRef first[MAX_ROWS], phi[MAX_ROWS], sums[2], left[2];
	LLVMValueRef none = LLVMBuildICmp(b, LLVMIntSGT, n, cg_int(g, 0), "");
	LLVMBasicBlockRef in[] = { pre, NULL };
	struct place at, next;

	LLVMBuildCondBr(b, none, body, done);
	LLVMPositionBuilderAtEnd(b, body);
	LLVMValueRef i = LLVMBuildPhi(b, g->i64, "");

	at.offset = LLVMBuildPhi(b, g->ptr, "");
	at.quad = LLVMBuildPhi(b, g->ptr, "");
	for (unsigned r = 0; r < kn->mr; r++) {
		first[r] = kn->sum[r];
		kn->sum[r] = phi[r] = LLVMBuildPhi(b, kn->vec, "");
	}
	add_chain(kn, pa, at, len);
	next.offset = behind(g, at.offset, 4 * (int64_t)len);
	next.quad = behind(g, at.quad, 4 * (int64_t)(len * kn->nr));
	left[0] = n;
	left[1] = LLVMBuildSub(b, i, cg_int(g, 1), "");
	in[1] = LLVMGetInsertBlock(b);
	LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSGT, left[1], cg_int(g, 0),
					 ""),
			body, done);
	LLVMAddIncoming(i, left, in, 2);
	LLVMAddIncoming(at.offset, (LLVMValueRef[]){ from.offset, next.offset },
			in, 2);
	LLVMAddIncoming(at.quad, (LLVMValueRef[]){ from.quad, next.quad }, in,
			2);
	LLVMPositionBuilderAtEnd(b, done);
	for (unsigned r = 0; r < kn->mr; r++) {
		sums[0] = first[r];
		sums[1] = kn->sum[r];
		LLVMAddIncoming(phi[r], sums, in, 2);
		kn->sum[r] = LLVMBuildPhi(b, kn->vec, "");
		LLVMAddIncoming(kn->sum[r], sums, in, 2);
	}
	at.offset = LLVMBuildPhi(b, g->ptr, "");
	LLVMAddIncoming(at.offset, (LLVMValueRef[]){ from.offset, next.offset },
			in, 2);
	at.quad = LLVMBuildPhi(b, g->ptr, "");
	LLVMAddIncoming(at.quad, (LLVMValueRef[]){ from.quad, next.quad }, in,
			2);
	return at;
}

void chain_sums(struct kern *kn, LLVMValueRef pa, LLVMValueRef panel)
{
	struct cg *g = kn->g;
	LLVMValueRef all = map_get(&g->bufs, kn->op->in[2].val->id), at;
	LLVMValueRef head = LLVMBuildMul(g->b, panel, cg_int(g, HEAD_BYTES),
					 "");
	struct place p;

	head = LLVMBuildGEP2(g->b, g->i8, all, &head, 1, "");
	at = word(g, head, 0);
	p.offset = LLVMBuildGEP2(g->b, g->i8, all, &at, 1, "");
	at = word(g, head, 1);
	p.quad = LLVMBuildGEP2(g->b, g->i8, all, &at, 1, "");
	for (unsigned len = FIRST; len <= LAST; len++)
		p = chain_loop(kn, pa, p, word(g, head, 1 + len), len);
}
