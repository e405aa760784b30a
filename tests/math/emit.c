/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage: emit DIR
 *
 * Writes DIR/VARIANT.o for each variant, with functions VARIANT_NAME_f32 and
 * _f64 (const T *x, const T *y, T *out, int64_t n) that apply an elementary
 * function to n elements, a multiple of the lanes.
 */
#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "codegen/llvm/math.h"

struct variant {
	const char *name, *cpu;
	unsigned lanes32, lanes64;
	const char *passes;
};

static const struct variant variants[] = {
#define X(name, ...) { #name, __VA_ARGS__ },
	MATH_VARIANTS(X)
#undef X
};

static const struct {
	const char *name;
	enum opcode code;
	int n_in;
} cases[] = {
#define X(name, code, n, ...) { #name, code, n },
	MATH_CASES(X)
#undef X
};

static void die(const char *what)
{
	fprintf(stderr, "emit: %s\n", what);
	exit(1);
}

static LLVMValueRef load(LLVMBuilderRef b, LLVMTypeRef t, LLVMTypeRef elem,
			 LLVMValueRef p, LLVMValueRef i, unsigned align)
{
	LLVMValueRef at = LLVMBuildGEP2(b, elem, p, &i, 1, "");
	LLVMValueRef v = LLVMBuildLoad2(b, t, at, "");

	LLVMSetAlignment(v, align);
	return v;
}

/* for (i = 0; i < n; i += lanes) out[i ..] = f(x[i ..], y[i ..]) */
static void emit_case(LLVMModuleRef mod, const char *name, enum opcode code,
		      bool pow, LLVMTypeRef elem, unsigned lanes, bool sse41)
{
	LLVMContextRef c = LLVMGetModuleContext(mod);
	LLVMTypeRef ptr = LLVMPointerTypeInContext(c, 0);
	LLVMTypeRef i64 = LLVMInt64TypeInContext(c);
	LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(c),
		(LLVMTypeRef[]){ ptr, ptr, ptr, i64 }, 4, false);
	LLVMTypeRef t = lanes > 1 ? LLVMVectorType(elem, lanes) : elem;
	unsigned align = elem == LLVMFloatTypeInContext(c) ? 4 : 8;
	LLVMValueRef fn = LLVMAddFunction(mod, name, type), i, x, y, v, next;
	LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(c, fn, "");
	LLVMBasicBlockRef body = LLVMAppendBasicBlockInContext(c, fn, "");
	LLVMBasicBlockRef end = LLVMAppendBasicBlockInContext(c, fn, "");
	LLVMBuilderRef b = LLVMCreateBuilderInContext(c);

	LLVMPositionBuilderAtEnd(b, entry);
	LLVMBuildBr(b, body);
	LLVMPositionBuilderAtEnd(b, body);
	i = LLVMBuildPhi(b, i64, "");
	x = load(b, t, elem, LLVMGetParam(fn, 0), i, align);
	y = pow ? load(b, t, elem, LLVMGetParam(fn, 1), i, align) : NULL;
	if (code == OP_arith_floor || code == OP_arith_ceil ||
	    code == OP_arith_round || code == OP_arith_trunc)
		v = emit_round(b, code, x, sse41);
	else
		v = emit_math(b, code, x, y);
	v = LLVMBuildStore(b, v, LLVMBuildGEP2(b, elem, LLVMGetParam(fn, 2),
					       &i, 1, ""));
	LLVMSetAlignment(v, align);
	next = LLVMBuildAdd(b, i, LLVMConstInt(i64, lanes, false), "");
	LLVMAddIncoming(i, (LLVMValueRef[]){ LLVMConstNull(i64), next },
			(LLVMBasicBlockRef[]){ entry, body }, 2);
	LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, next,
					 LLVMGetParam(fn, 3), ""), body, end);
	LLVMPositionBuilderAtEnd(b, end);
	LLVMBuildRetVoid(b);
	LLVMDisposeBuilder(b);
}

static void emit_variant(const struct variant *v, const char *dir)
{
	LLVMContextRef c = LLVMContextCreate();
	LLVMModuleRef mod = LLVMModuleCreateWithNameInContext(v->name, c);
	bool sse41 = strcmp(v->cpu, "x86-64") != 0;
	const char *triple = "x86_64-unknown-linux-gnu";
	LLVMTargetMachineRef tm;
	LLVMTargetRef target;
	char *err = NULL, path[4096], name[64];

	if (LLVMGetTargetFromTriple(triple, &target, &err))
		die(err);
	tm = LLVMCreateTargetMachine(target, triple, v->cpu, "",
				     LLVMCodeGenLevelDefault, LLVMRelocPIC,
				     LLVMCodeModelDefault);
	LLVMSetTarget(mod, triple);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(name, sizeof(name), "%s_%s_f32", v->name,
			 cases[i].name);
		emit_case(mod, name, cases[i].code, cases[i].n_in == 2,
			  LLVMFloatTypeInContext(c), v->lanes32, sse41);
		snprintf(name, sizeof(name), "%s_%s_f64", v->name,
			 cases[i].name);
		emit_case(mod, name, cases[i].code, cases[i].n_in == 2,
			  LLVMDoubleTypeInContext(c), v->lanes64, sse41);
	}
	if (LLVMVerifyModule(mod, LLVMReturnStatusAction, &err))
		die(err);
	if (*v->passes) {
		LLVMPassBuilderOptionsRef o = LLVMCreatePassBuilderOptions();

		if (LLVMRunPasses(mod, v->passes, tm, o))
			die("passes failed");
		LLVMDisposePassBuilderOptions(o);
	}
	snprintf(path, sizeof(path), "%s/%s.o", dir, v->name);
	if (LLVMTargetMachineEmitToFile(tm, mod, path, LLVMObjectFile, &err))
		die(err);
	LLVMDisposeTargetMachine(tm);
	LLVMDisposeModule(mod);
	LLVMContextDispose(c);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		die("usage: emit DIR");
	LLVMInitializeX86TargetInfo();
	LLVMInitializeX86Target();
	LLVMInitializeX86TargetMC();
	LLVMInitializeX86AsmPrinter();
	for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
		emit_variant(&variants[i], argv[1]);
	return 0;
}
