/* SPDX-License-Identifier: Apache-2.0 */
/* Functions for any CPU of the architecture, and the one that asks which. */
#include <string.h>

#include "codegen/llvm/cg.h"

LLVMValueRef cg_baseline_function(struct cg *g, const char *name,
				  LLVMTypeRef ty)
{
	LLVMValueRef fn = LLVMAddFunction(g->mod, name, ty);

	LLVMSetLinkage(fn, LLVMInternalLinkage);
	cg_add_attr(g, fn, "nounwind", NULL);
	if (!strcmp(g->t->arch, "x86_64")) {
		cg_add_attr(g, fn, "target-cpu", "x86-64");
		/* Else the machine's. */
		cg_add_attr(g, fn, "target-features", "");
	}
	return fn;
}

LLVMValueRef cg_cpu_function(struct cg *g)
{
	LLVMBuilderRef b = g->b;

	if (g->t->x86_level < 2)
		return NULL;
	LLVMTypeRef cty = LLVMFunctionType(g->i1, NULL, 0, false);
	LLVMValueRef save = g->fn;
	LLVMBasicBlockRef here = LLVMGetInsertBlock(b);
	LLVMValueRef fn = cg_baseline_function(g, "cpu_ok", cty);
	LLVMTypeRef in[] = { g->i32, g->i32 };
	LLVMTypeRef outs[] = { g->i32, g->i32, g->i32, g->i32 };
	LLVMTypeRef st = LLVMStructTypeInContext(g->lc, outs, 4, false);
	LLVMTypeRef at_ = LLVMFunctionType(st, in, 2, false);
	static const char code[] = "xchgq %rbx, ${1:q}\n\tcpuid\n\t"
				   "xchgq %rbx, ${1:q}";
	static const char cons[] =
		"={ax},=r,={cx},={dx},{ax},{cx},~{dirflag},~{fpsr},~{flags}";
	LLVMValueRef as = LLVMGetInlineAsm(at_, code, sizeof(code) - 1, cons,
					   sizeof(cons) - 1, true, false,
					   LLVMInlineAsmDialectATT, false);

	cg_add_attr(g, fn, "noinline", NULL);
	g->fn = fn;
	LLVMPositionBuilderAtEnd(b, cg_block(g, "entry"));
#define I32(k) LLVMConstInt(g->i32, (k), false)
#define CPUID(leaf) LLVMBuildCall2(b, at_, as, \
		(LLVMValueRef[]){ I32(leaf), I32(0) }, 2, "")
#define REG(r, i) LLVMBuildExtractValue(b, (r), (i), "")
#define NEED(v, bits) (ok = LLVMBuildAnd(b, ok, LLVMBuildICmp(b, LLVMIntEQ, \
		LLVMBuildAnd(b, (v), I32(bits), ""), I32(bits), ""), ""))
	LLVMValueRef ok = LLVMConstInt(g->i1, 1, false);
	LLVMValueRef l1 = CPUID(1);
	LLVMBasicBlockRef no = cg_block(g, "no"), more;

	/* SSE3, SSSE3, CX16, SSE4.1, SSE4.2, POPCNT */
	NEED(REG(l1, 2), 0x00982201u);
	if (g->t->x86_level >= 3) {
		/* FMA, MOVBE, OSXSAVE, AVX, F16C */
		NEED(REG(l1, 2), 0x38401000u);
		more = cg_block(g, "os");
		LLVMBuildCondBr(b, ok, more, no);
		LLVMPositionBuilderAtEnd(b, more);
		/* The system keeps the wide registers: XCR0. */
		static const char xg[] = "xgetbv";
		static const char xc[] =
			"={ax},={dx},{cx},~{dirflag},~{fpsr},~{flags}";
		LLVMTypeRef xo[] = { g->i32, g->i32 };
		LLVMTypeRef xt = LLVMFunctionType(
			LLVMStructTypeInContext(g->lc, xo, 2, false), in, 1,
			false);
		LLVMValueRef xa = LLVMGetInlineAsm(
			xt, xg, sizeof(xg) - 1, xc, sizeof(xc) - 1, true,
			false, LLVMInlineAsmDialectATT, false);
		LLVMValueRef zero = I32(0);
		LLVMValueRef x = REG(LLVMBuildCall2(b, xt, xa, &zero, 1, ""),
				     0);

		ok = LLVMConstInt(g->i1, 1, false);
		NEED(x, g->t->x86_level >= 4 ? 0xe6u : 6u);
		LLVMValueRef l7 = CPUID(7);

		/* BMI1, AVX2, BMI2; AVX-512 F, DQ, CD, BW, VL */
		NEED(REG(l7, 1), g->t->x86_level >= 4 ? 0xd0030128u : 0x128u);
	}
	LLVMBuildRet(b, ok);
	LLVMPositionBuilderAtEnd(b, no);
	LLVMBuildRet(b, LLVMConstInt(g->i1, 0, false));
#undef I32
#undef CPUID
#undef REG
#undef NEED
	g->fn = save;
	LLVMPositionBuilderAtEnd(b, here);
	return fn;
}
