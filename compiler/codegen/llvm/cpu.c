/* SPDX-License-Identifier: Apache-2.0 */
/* Functions for any CPU of the architecture, and the one that asks which. */
#include <string.h>

#include "codegen/llvm/cg.h"
#include "codegen/llvm/x86.h"

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

/* ---- asking --------------------------------------------------------- */

struct asking {
	struct cg *g;
	LLVMValueRef ok;		/* i1: all that was asked is there */
	LLVMBasicBlockRef no;
};

/* An instruction with inputs and outputs in the registers of `constraints`;
 * gives a struct of n_out i32. */
static LLVMValueRef instruction(struct cg *g, const char *code,
				const char *constraints, unsigned n_out,
				unsigned n_in, LLVMValueRef *in)
{
	LLVMTypeRef regs[] = { g->i32, g->i32, g->i32, g->i32 };
	LLVMTypeRef out = LLVMStructTypeInContext(g->lc, regs, n_out, false);
	LLVMTypeRef ty = LLVMFunctionType(out, regs, n_in, false);
	LLVMValueRef as = LLVMGetInlineAsm(ty, code, strlen(code), constraints,
					   strlen(constraints), true, false,
					   LLVMInlineAsmDialectATT, false);

	return LLVMBuildCall2(g->b, ty, as, in, n_in, "");
}

/* EAX, EBX, ECX, EDX; position-independent code may need RBX. */
static LLVMValueRef cpuid(struct cg *g, uint32_t leaf, uint32_t subleaf)
{
	LLVMValueRef in[] = { LLVMConstInt(g->i32, leaf, false),
			      LLVMConstInt(g->i32, subleaf, false) };

	return instruction(g,
			   "xchgq %rbx, ${1:q}\n\tcpuid\n\t"
			   "xchgq %rbx, ${1:q}",
			   "={ax},=r,={cx},={dx},{ax},{cx},~{dirflag},~{fpsr},"
			   "~{flags}",
			   4, 2, in);
}

/* The low half of XCR0: the registers that the system keeps. */
static LLVMValueRef xcr0(struct cg *g)
{
	LLVMValueRef zero = LLVMConstInt(g->i32, 0, false);

	return LLVMBuildExtractValue(
		g->b,
		instruction(g, "xgetbv",
			    "={ax},={dx},{cx},~{dirflag},~{fpsr},~{flags}", 2,
			    1, &zero),
		0, "");
}

static void need(struct asking *q, LLVMValueRef reg, uint32_t bits)
{
	LLVMBuilderRef b = q->g->b;
	LLVMValueRef want = LLVMConstInt(q->g->i32, bits, false);

	q->ok = LLVMBuildAnd(
		b, q->ok,
		LLVMBuildICmp(b, LLVMIntEQ, LLVMBuildAnd(b, reg, want, ""),
			      want, ""),
		"");
}

/* What was asked so far must be there for the next question to make sense. */
static void or_no(struct asking *q)
{
	LLVMBasicBlockRef more = cg_block(q->g, "more");

	LLVMBuildCondBr(q->g->b, q->ok, more, q->no);
	LLVMPositionBuilderAtEnd(q->g->b, more);
	q->ok = LLVMConstInt(q->g->i1, 1, false);
}

static bool in_effect(const struct cg *g, const char *feature)
{
	return x86_in_effect(g->t->x86_level, g->t->features, feature);
}

/* The bits of one leaf that the object counts on; false without any. */
static bool leaf_bits(const struct cg *g, uint32_t leaf, uint32_t subleaf,
		      uint32_t bits[4])
{
	bool any = false;

	memset(bits, 0, 4 * sizeof(*bits));
	for (size_t i = 0; i < x86_n_features; i++) {
		const struct x86_feature *f = &x86_features[i];

		if (f->leaf != leaf || f->subleaf != subleaf ||
		    !in_effect(g, f->name))
			continue;
		bits[f->reg] |= UINT32_C(1) << f->bit;
		any = true;
	}
	return any;
}

static void ask_leaf(struct asking *q, uint32_t leaf, uint32_t subleaf)
{
	enum { OSXSAVE = 1 << 27 };
	struct cg *g = q->g;
	bool avx = in_effect(g, "avx");
	uint32_t bits[4];

	if (!leaf_bits(g, leaf, subleaf, bits))
		return;
	/* The part of a leaf is there when part 0 counts that far. */
	if (subleaf) {
		LLVMValueRef most = LLVMBuildExtractValue(
			g->b, cpuid(g, leaf, 0), 0, "");

		q->ok = LLVMBuildAnd(
			g->b, q->ok,
			LLVMBuildICmp(g->b, LLVMIntUGE, most,
				      LLVMConstInt(g->i32, subleaf, false),
				      ""),
			"");
		or_no(q);
	}
	if (leaf == 1 && avx)
		bits[X86_ECX] |= OSXSAVE;
	LLVMValueRef r = cpuid(g, leaf, subleaf);

	for (unsigned i = 0; i < 4; i++)
		if (bits[i])
			need(q, LLVMBuildExtractValue(g->b, r, i, ""),
			     bits[i]);
	or_no(q);
	if (leaf == 1 && avx) {
		/* SSE and AVX; masks and the rest of AVX-512. */
		need(q, xcr0(g), in_effect(g, "avx512f") ? 0xe6u : 6u);
		or_no(q);
	}
}

LLVMValueRef cg_cpu_function(struct cg *g)
{
	LLVMTypeRef ty = LLVMFunctionType(g->i1, NULL, 0, false);
	LLVMBasicBlockRef here = LLVMGetInsertBlock(g->b);
	LLVMValueRef save = g->fn, fn;
	bool any = false;

	for (size_t i = 0; g->t->x86_level && i < x86_n_features; i++)
		any |= in_effect(g, x86_features[i].name);
	if (!any)
		return NULL;
	fn = cg_baseline_function(g, "cpu_ok", ty);
	cg_add_attr(g, fn, "noinline", NULL);
	g->fn = fn;
	LLVMPositionBuilderAtEnd(g->b, cg_block(g, "entry"));
	struct asking q = { g, LLVMConstInt(g->i1, 1, false),
			    cg_block(g, "no") };

	for (size_t i = 0; i < x86_n_features; i++) {
		const struct x86_feature *f = &x86_features[i];

		if (!i || f->leaf != f[-1].leaf || f->subleaf != f[-1].subleaf)
			ask_leaf(&q, f->leaf, f->subleaf);
	}
	LLVMBuildRet(g->b, LLVMConstInt(g->i1, 1, false));
	LLVMPositionBuilderAtEnd(g->b, q.no);
	LLVMBuildRet(g->b, LLVMConstInt(g->i1, 0, false));
	g->fn = save;
	LLVMPositionBuilderAtEnd(g->b, here);
	return fn;
}
