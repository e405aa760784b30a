/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums of products of small integers, by the target's instruction (struct
 * dot).  All are exact: none of those that saturate is used.
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

LLVMValueRef cg_dot(struct cg *g, LLVMValueRef sum, LLVMValueRef a,
		    LLVMValueRef b)
{
	unsigned bits = 32 * LLVMGetVectorSize(LLVMTypeOf(sum));

	switch (g->t->dot->kind) {
	case DOT_VPDPBUSD: return vpdpbusd(g, bits, sum, a, b);
	case DOT_PMADDWD: return pmaddwd(g, bits, sum, a, b);
	case DOT_SDOT: return sdot(g, sum, a, b);
	case DOT_WIDE: break;
	}
	return LLVMBuildAdd(g->b, LLVMBuildMul(g->b, a, b, ""), sum, "");
}
