/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elements of less than a byte, the first in the lowest bits.  Only loads and
 * stores know of them: what they take and give are the bits of an element in
 * the low bits of an i8.
 *
 * A store changes its own bits of a byte that it has to read, so two threads
 * must not store to neighbours; check_bounds sees to that.
 */
#include "codegen/llvm/cg.h"

static unsigned per_byte(enum dtype t)
{
	return 8 / dtype_info[t].bits;
}

static LLVMValueRef low_bits(enum dtype t, LLVMValueRef as, LLVMTypeRef elem)
{
	return cg_konst(as, elem, (1 << dtype_info[t].bits) - 1);
}

/* The address of the byte of element off; *shift becomes where it is there. */
static LLVMValueRef byte_of(struct cg *g, enum dtype t, LLVMValueRef base,
			    LLVMValueRef off, LLVMValueRef *shift)
{
	LLVMBuilderRef b = g->b;
	unsigned per = per_byte(t);
	LLVMValueRef byte = LLVMBuildUDiv(b, off, cg_int(g, per), "");
	LLVMValueRef digit = LLVMBuildAnd(b, off, cg_int(g, per - 1), "");

	*shift = LLVMBuildMul(b, digit, cg_int(g, dtype_info[t].bits), "");
	return LLVMBuildGEP2(b, g->i8, base, &byte, 1, "");
}

LLVMValueRef packed_load(struct cg *g, enum dtype t, LLVMValueRef base,
			 LLVMValueRef off, LLVMValueRef cond)
{
	LLVMBuilderRef b = g->b;
	LLVMValueRef shift, p = byte_of(g, t, base, off, &shift), x;

	if (cond)
		p = LLVMBuildSelect(b, cond, p, g->zeros, "");
	x = LLVMBuildLoad2(b, g->i8, p, "");
	x = LLVMBuildLShr(b, x, LLVMBuildTrunc(b, shift, g->i8, ""), "");
	return LLVMBuildAnd(b, x, low_bits(t, x, g->i8), "");
}

/* <lanes x i8>: byte i/per + plus of v, or `after` where v has no more. */
static LLVMValueRef spread(struct cg *g, enum dtype t, LLVMValueRef v,
			   unsigned plus, LLVMValueRef after)
{
	LLVMValueRef mask[64], other = LLVMGetPoison(LLVMTypeOf(v));

	if (after)
		other = LLVMBuildInsertElement(g->b, other, after,
					       cg_int(g, 0), "");
	for (unsigned i = 0; i < g->lanes; i++)
		mask[i] = LLVMConstInt(g->i32, i / per_byte(t) + plus, false);
	return LLVMBuildShuffleVector(g->b, v, other,
				      LLVMConstVector(mask, g->lanes), "");
}

/*
 * Neighbours: whole bytes, and the byte behind them where the first element
 * is not the first of its byte.  Each lane takes its bits from two bytes.
 */
LLVMValueRef packed_load_group(struct cg *g, enum dtype t, LLVMValueRef base,
			       LLVMValueRef off, LLVMValueRef cond)
{
	LLVMBuilderRef b = g->b;
	unsigned per = per_byte(t), n = g->lanes / per;
	LLVMTypeRef i32 = LLVMVectorType(g->i32, g->lanes);
	LLVMValueRef shift, p = byte_of(g, t, base, off, &shift), v, w, at[64];

	if (cond)
		p = LLVMBuildSelect(b, cond, p, g->zeros, "");
	v = LLVMBuildLoad2(b, LLVMVectorType(g->i8, n), p, "");
	LLVMSetAlignment(v, 1);
	LLVMValueRef aligned = LLVMBuildICmp(b, LLVMIntEQ, shift, cg_int(g, 0),
					     "");
	LLVMValueRef last = LLVMBuildSelect(b, aligned, cg_int(g, n - 1),
					    cg_int(g, n), "");
	LLVMValueRef after = LLVMBuildLoad2(
		b, g->i8, LLVMBuildGEP2(b, g->i8, p, &last, 1, ""), "");

	w = LLVMBuildZExt(b, spread(g, t, v, 1, after), i32, "");
	w = LLVMBuildShl(b, w, cg_konst(w, g->i32, 8), "");
	w = LLVMBuildOr(b, w, LLVMBuildZExt(b, spread(g, t, v, 0, NULL), i32,
					    ""), "");
	for (unsigned i = 0; i < g->lanes; i++)
		at[i] = LLVMConstInt(g->i32, i % per * dtype_info[t].bits,
				     false);
	shift = cg_splat(g, LLVMBuildTrunc(b, shift, g->i32, ""));
	w = LLVMBuildLShr(b, w, LLVMBuildAdd(b, shift,
					     LLVMConstVector(at, g->lanes),
					     ""), "");
	w = LLVMBuildAnd(b, w, low_bits(t, w, g->i32), "");
	return LLVMBuildTrunc(b, w, LLVMVectorType(g->i8, g->lanes), "");
}

bool packed_fits_group(struct cg *g, enum dtype t)
{
	return g->lanes % per_byte(t) == 0;
}

void packed_store(struct cg *g, enum dtype t, LLVMValueRef base,
		  LLVMValueRef off, LLVMValueRef x)
{
	LLVMBuilderRef b = g->b;
	LLVMValueRef shift, p = byte_of(g, t, base, off, &shift), old, mask;

	shift = LLVMBuildTrunc(b, shift, g->i8, "");
	mask = low_bits(t, x, g->i8);
	x = LLVMBuildShl(b, LLVMBuildAnd(b, x, mask, ""), shift, "");
	mask = LLVMBuildNot(b, LLVMBuildShl(b, mask, shift, ""), "");
	old = LLVMBuildLoad2(b, g->i8, p, "");
	LLVMBuildStore(b, LLVMBuildOr(b, LLVMBuildAnd(b, old, mask, ""), x,
				      ""), p);
}

/* Whole bytes: the lanes of each are put together. */
static void store_bytes(struct cg *g, enum dtype t, LLVMValueRef p,
			LLVMValueRef x)
{
	LLVMBuilderRef b = g->b;
	unsigned per = per_byte(t), bits = dtype_info[t].bits;
	LLVMValueRef bytes = NULL, st, mask[64];

	x = LLVMBuildAnd(b, x, low_bits(t, x, g->i8), "");
	for (unsigned k = 0; k < per; k++) {
		LLVMValueRef part;

		for (unsigned i = 0; i < g->lanes / per; i++)
			mask[i] = LLVMConstInt(g->i32, i * per + k, false);
		part = LLVMBuildShuffleVector(
			b, x, LLVMGetPoison(LLVMTypeOf(x)),
			LLVMConstVector(mask, g->lanes / per), "");
		part = LLVMBuildShl(b, part, cg_konst(part, g->i8, k * bits),
				    "");
		bytes = bytes ? LLVMBuildOr(b, bytes, part, "") : part;
	}
	st = LLVMBuildStore(b, bytes, p);
	LLVMSetAlignment(st, 1);
}

void packed_store_group(struct cg *g, enum dtype t, LLVMValueRef base,
			LLVMValueRef off, LLVMValueRef x)
{
	LLVMBuilderRef b = g->b;
	LLVMBasicBlockRef whole = cg_block(g, "bytes"), next;
	LLVMBasicBlockRef each = cg_block(g, "bits");
	LLVMValueRef shift, p = byte_of(g, t, base, off, &shift);

	next = cg_block(g, "packed");
	LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntEQ, shift, cg_int(g, 0), ""),
			whole, each);
	LLVMPositionBuilderAtEnd(b, whole);
	store_bytes(g, t, p, x);
	LLVMBuildBr(b, next);
	LLVMPositionBuilderAtEnd(b, each);
	for (unsigned i = 0; i < g->lanes; i++)
		packed_store(g, t, base,
			     LLVMBuildAdd(b, off, cg_int(g, i), ""),
			     LLVMBuildExtractElement(b, x, cg_int(g, i), ""));
	LLVMBuildBr(b, next);
	LLVMPositionBuilderAtEnd(b, next);
}
