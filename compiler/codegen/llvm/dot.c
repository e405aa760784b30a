/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums of products of small integers, by the target's instruction (struct
 * dot).  All are exact: one that saturates is used where it is proved that it
 * does not.
 */
#include <stdio.h>

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

bool dot_panel_fits(const int8_t *w, size_t n)
{
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

static LLVMValueRef sdot(struct cg *g, LLVMValueRef sum, LLVMValueRef a,
			 LLVMValueRef b)
{
	LLVMValueRef in[] = { sum, a, b };
	LLVMTypeRef over[] = { LLVMTypeOf(sum),
			       LLVMVectorType(LLVMInt8TypeInContext(g->lc),
					      16) };
	static const char name[] = "llvm.aarch64.neon.sdot";
	unsigned id = LLVMLookupIntrinsicID(name, sizeof(name) - 1);

	for (int i = 1; i < 3; i++)
		in[i] = LLVMBuildBitCast(g->b, in[i], over[1], "");
	return LLVMBuildCall2(
		g->b, LLVMIntrinsicGetType(g->lc, id, over, 2),
		LLVMGetIntrinsicDeclaration(g->mod, id, over, 2), in, 3, "");
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
	case DOT_MMA: break;
	case DOT_SDOT: return sdot(g, sum, a, b);
	case DOT_WIDE: break;
	}
	return LLVMBuildAdd(g->b, LLVMBuildMul(g->b, a, b, ""), sum, "");
}
