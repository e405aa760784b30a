/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums of products of small integers, by the target's instruction (struct
 * dot).  All are exact: one that saturates is used where it is proved that it
 * does not.
 */
#include <stdio.h>
#include <string.h>

#include "codegen/llvm/cg.h"

static LLVMValueRef pmaddwd(struct cg *g, unsigned bits, LLVMValueRef sum,
			    LLVMValueRef a, LLVMValueRef b)
{
	LLVMValueRef in[] = { a, b };
	const char *name = bits == 512   ? "llvm.x86.avx512.pmaddw.d.512"
			   : bits == 256 ? "llvm.x86.avx2.pmadd.wd"
					 : "llvm.x86.sse2.pmadd.wd";

	return LLVMBuildAdd(g->b, cg_machine_call(g, name, 2, in), sum, "");
}

/* Each name is of one width. */
LLVMValueRef cg_dot_pairs(struct cg *g, LLVMValueRef a, LLVMValueRef b)
{
	unsigned bits = 32 * LLVMGetVectorSize(LLVMTypeOf(a));
	LLVMValueRef in[] = { a, b };
	const char *name = bits == 512   ? "llvm.x86.avx512.pmaddubs.w.512"
			   : bits == 256 ? "llvm.x86.avx2.pmadd.ub.sw"
					 : "llvm.x86.ssse3.pmadd.ub.sw.128";

	return LLVMBuildBitCast(g->b, cg_machine_call(g, name, 2, in),
				LLVMVectorType(g->i16, bits / 16), "");
}

LLVMValueRef cg_add_pairs(struct cg *g, LLVMValueRef sum, LLVMValueRef pairs)
{
	return pmaddwd(g, 32 * LLVMGetVectorSize(LLVMTypeOf(sum)), sum, pairs,
		       cg_konst(pairs, g->i16, 1));
}

/* The even bytes of both as i16, then the odd ones. */
static LLVMValueRef widened(struct cg *g, unsigned bits, LLVMValueRef sum,
			    LLVMValueRef a, LLVMValueRef b)
{
	LLVMTypeRef i16 = LLVMInt16TypeInContext(g->lc);
	LLVMTypeRef t = LLVMVectorType(i16, bits / 16);
	LLVMValueRef x, y;

	a = LLVMBuildBitCast(g->b, a, t, "");
	b = LLVMBuildBitCast(g->b, b, t, "");
	LLVMValueRef eight = cg_konst(a, i16, 8);

	x = LLVMBuildAnd(g->b, a, cg_konst(a, i16, 255), "");
	y = LLVMBuildAShr(g->b, LLVMBuildShl(g->b, b, eight, ""), eight, "");
	sum = pmaddwd(g, bits, sum, x, y);
	x = LLVMBuildLShr(g->b, a, eight, "");
	y = LLVMBuildAShr(g->b, b, eight, "");
	return pmaddwd(g, bits, sum, x, y);
}

bool dot_panel_fits(const struct dot *dot, const int8_t *w, size_t n)
{
	/* Those of i8 by i8 fit but for one: that of the lowest numbers. */
	if (dot->kind == DOT_SMULL) {
		for (size_t i = 0; i + 2 < n; i++)
			if (!(i & 2) && w[i] == INT8_MIN &&
			    w[i + 2] == INT8_MIN)
				return false;
		return true;
	}
	for (size_t i = 0; i + 1 < n; i += 2)
		if (!dot_pair_fits(w[i], w[i + 1]))
			return false;
	return true;
}

static LLVMValueRef vpdpbusd(struct cg *g, unsigned bits, LLVMValueRef sum,
			     LLVMValueRef a, LLVMValueRef b)
{
	LLVMValueRef in[] = { sum, a, b };
	char name[40];

	snprintf(name, sizeof(name), "llvm.x86.avx512.vpdpbusd.%u", bits);
	return cg_machine_call(g, name, 3, in);
}

/* An intrinsic that stands for several types. */
static LLVMValueRef overloaded(struct cg *g, const char *name,
			       LLVMTypeRef *over, unsigned n_over,
			       LLVMValueRef *in, unsigned n)
{
	unsigned id = LLVMLookupIntrinsicID(name, strlen(name));

	return LLVMBuildCall2(
		g->b, LLVMIntrinsicGetType(g->lc, id, over, n_over),
		LLVMGetIntrinsicDeclaration(g->mod, id, over, n_over), in, n,
		"");
}

static LLVMValueRef sdot(struct cg *g, LLVMValueRef sum, LLVMValueRef a,
			 LLVMValueRef b)
{
	LLVMValueRef in[] = { sum, a, b };
	LLVMTypeRef over[] = { LLVMTypeOf(sum), LLVMVectorType(g->i8, 16) };

	for (int i = 1; i < 3; i++)
		in[i] = LLVMBuildBitCast(g->b, in[i], over[1], "");
	return overloaded(g, "llvm.aarch64.neon.sdot", over, 2, in, 3);
}

LLVMValueRef cg_dot_matrix(struct cg *g, const struct dot *dot,
			   LLVMValueRef sum, LLVMValueRef a, LLVMValueRef b)
{
	LLVMTypeRef over[] = { LLVMTypeOf(sum), LLVMTypeOf(a) };
	LLVMValueRef in[] = { sum, a, b };

	return overloaded(g, dot->kind == DOT_USMMLA
				     ? "llvm.aarch64.neon.usmmla"
				     : "llvm.aarch64.neon.smmla",
			  over, 2, in, 3);
}

static bool is_arm32(const struct cg *g)
{
	return !strcmp(g->t->arch, "armv7");
}

/* The first two bytes of each lane, then the last two of each. */
static LLVMValueRef pairs_apart(struct cg *g, LLVMValueRef x)
{
	static const uint8_t order[] = { 0, 1, 4, 5, 8, 9, 12, 13,
					 2, 3, 6, 7, 10, 11, 14, 15 };
	LLVMTypeRef t = LLVMVectorType(g->i8, 16);
	LLVMValueRef at[16], in[2];

	for (unsigned i = 0; i < 16; i++)
		at[i] = LLVMConstInt(g->i8, order[i], false);
	in[0] = LLVMBuildBitCast(g->b, x, t, "");
	in[1] = LLVMConstVector(at, 16);
	return overloaded(g, "llvm.aarch64.neon.tbl1", &t, 1, in, 2);
}

/* Byte pairs 0 or 1 of all lanes as i16. */
static LLVMValueRef half_of(struct cg *g, LLVMValueRef x, bool high)
{
	LLVMTypeRef i16x8 = LLVMVectorType(g->i16, 8);
	LLVMValueRef pick[8];

	/* There a half of a register is one itself. */
	if (is_arm32(g)) {
		if (high)
			x = LLVMBuildLShr(g->b, x, cg_konst(x, g->i32, 16), "");
		x = LLVMBuildTrunc(g->b, x, LLVMVectorType(g->i16, 4), "");
		x = LLVMBuildBitCast(g->b, x, LLVMVectorType(g->i8, 8), "");
		return LLVMBuildSExt(g->b, x, i16x8, "");
	}
	x = pairs_apart(g, x);
	for (unsigned i = 0; i < 8; i++)
		pick[i] = LLVMConstInt(g->i32, i + 8 * high, false);
	x = LLVMBuildShuffleVector(g->b, x, LLVMGetPoison(LLVMTypeOf(x)),
				   LLVMConstVector(pick, 8), "");
	return LLVMBuildSExt(g->b, x, i16x8, "");
}

/* The sum with that of each two neighbours. */
static LLVMValueRef add_neighbours(struct cg *g, LLVMValueRef sum,
				   LLVMValueRef pairs)
{
	LLVMTypeRef over[] = { LLVMTypeOf(sum), LLVMTypeOf(pairs) };
	LLVMValueRef in[] = { sum, pairs };

	if (is_arm32(g))
		return overloaded(g, "llvm.arm.neon.vpadals", over, 2, in, 2);
	return LLVMBuildAdd(g->b, sum,
			    overloaded(g, "llvm.aarch64.neon.saddlp", over, 2,
				       &pairs, 1), "");
}

static LLVMValueRef smull(struct cg *g, LLVMValueRef sum, LLVMValueRef a,
			  LLVMValueRef b, bool fits)
{
	LLVMValueRef x = LLVMBuildMul(g->b, half_of(g, a, false),
				      half_of(g, b, false), "");
	LLVMValueRef y = LLVMBuildMul(g->b, half_of(g, a, true),
				      half_of(g, b, true), "");

	if (fits)
		return add_neighbours(g, sum, LLVMBuildAdd(g->b, x, y, ""));
	return add_neighbours(g, add_neighbours(g, sum, x), y);
}

LLVMValueRef cg_dot_after(struct cg *g, LLVMValueRef x, LLVMValueRef sum)
{
	static const char regs[] = "=w,0,w";
	LLVMTypeRef t[] = { LLVMTypeOf(x), LLVMTypeOf(sum) };
	LLVMTypeRef ty = LLVMFunctionType(t[0], t, 2, false);
	LLVMValueRef in[] = { x, sum };
	LLVMValueRef as = LLVMGetInlineAsm(ty, "", 0, regs, strlen(regs),
					   false, false,
					   LLVMInlineAsmDialectATT, false);

	return LLVMBuildCall2(g->b, ty, as, in, 2, "");
}

LLVMValueRef cg_dot(struct cg *g, const struct dot *dot, LLVMValueRef sum,
		    LLVMValueRef a, LLVMValueRef b, bool fits)
{
	unsigned bits = 32 * LLVMGetVectorSize(LLVMTypeOf(sum));

	switch (dot->kind) {
	case DOT_VPDPBUSD: return vpdpbusd(g, bits, sum, a, b);
	case DOT_PMADDWD: return pmaddwd(g, bits, sum, a, b);
	case DOT_PMADDUBSW:
		return fits ? cg_add_pairs(g, sum, cg_dot_pairs(g, a, b))
			    : widened(g, bits, sum, a, b);
	case DOT_MMA: case DOT_SMMLA: case DOT_USMMLA: break;
	case DOT_SDOT: return sdot(g, sum, a, b);
	case DOT_SMULL: return smull(g, sum, a, b, fits);
	case DOT_WIDE: break;
	}
	return LLVMBuildAdd(g->b, LLVMBuildMul(g->b, a, b, ""), sum, "");
}
