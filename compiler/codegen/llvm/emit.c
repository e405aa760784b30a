/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a module at loop level to an object.  This file owns LLVM's context,
 * module and target machine; every message of LLVM that gets here is a bug
 * of ours and says so.
 */
#include <stdlib.h>
#include <string.h>

#include <llvm-c/Analysis.h>
#include <llvm-c/BitWriter.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include "codegen/llvm/cg.h"

enum { WEIGHT_ALIGN = 64 };

/* Kernels are vectors already: only clean-up, no vectoriser, no unrolling. */
static const char glue_passes[] =
	"function<eager-inv>(sroa,early-cse<memssa>,"
	"instcombine<no-verify-fixpoint>,simplifycfg,"
	"loop-mssa(licm),gvn,dse),mergefunc,globaldce";

static void init_types(struct cg *g)
{
	LLVMContextRef c = g->lc;

	g->void_ = LLVMVoidTypeInContext(c);
	g->i1 = LLVMInt1TypeInContext(c);
	g->i8 = LLVMInt8TypeInContext(c);
	g->i16 = LLVMInt16TypeInContext(c);
	g->i32 = LLVMInt32TypeInContext(c);
	g->i64 = LLVMInt64TypeInContext(c);
	g->f16 = LLVMHalfTypeInContext(c);
	g->f32 = LLVMFloatTypeInContext(c);
	g->f64 = LLVMDoubleTypeInContext(c);
	g->ptr = LLVMPointerTypeInContext(c, 0);
}

/* ---- weights ------------------------------------------------------------------ */

/* Also an empty constant has a place. */
static size_t weight_slot(size_t size)
{
	return ((size ? size : 1) + WEIGHT_ALIGN - 1) &
	       ~(size_t)(WEIGHT_ALIGN - 1);
}

/* An empty tensor has a place too. */
static size_t padded(size_t n)
{
	return ((n ? n : 1) + WEIGHT_ALIGN - 1) & ~(size_t)(WEIGHT_ALIGN - 1);
}

static void add_weight(void *arg, struct op *op)
{
	struct cg *g = arg;
	struct blob b;

	if (op->code != OP_core_const || !op->out[0].uses ||
	    !value_const(&op->out[0], &b) ||
	    map_get(&g->weight_at, (uint64_t)(uintptr_t)b.data))
		return;
	map_put(&g->weight_at, (uint64_t)(uintptr_t)b.data,
		(void *)(uintptr_t)(g->weight_bytes + 1));
	vec_push(&g->blobs, b);
	g->weight_bytes += (int64_t)padded(b.size);
}

static char *weight_image(struct cg *g)
{
	char *image = calloc(1, (size_t)g->weight_bytes + 1);
	char *p = image;

	if (!image)
		fatal(EXIT_LIMIT, "out of memory (%lld bytes of weights)",
		      (long long)g->weight_bytes);
	for (size_t i = 0; i < g->blobs.n; i++) {
		if (g->blobs.v[i].size)
			memcpy(p, g->blobs.v[i].data, g->blobs.v[i].size);
		p += weight_slot(g->blobs.v[i].size);
	}
	return image;
}

static void emit_weights(struct cg *g, struct blob *apart)
{
	block_walk(op_body(g->m->func), add_weight, g);
	if (!g->weight_bytes)
		return;
	char *image = weight_image(g);

	if (g->o->abi->weights_apart) {
		*apart = (struct blob){ image, (size_t)g->weight_bytes };
		return;
	}
	LLVMValueRef init = LLVMConstStringInContext2(
		g->lc, image, (size_t)g->weight_bytes, true);

	free(image);
	g->weights = LLVMAddGlobal(g->mod, LLVMTypeOf(init), "weights");
	LLVMSetInitializer(g->weights, init);
	LLVMSetGlobalConstant(g->weights, true);
	LLVMSetLinkage(g->weights, LLVMInternalLinkage);
	LLVMSetAlignment(g->weights, WEIGHT_ALIGN);
}

/* ---- the machine ---------------------------------------------------------------- */

static LLVMTargetMachineRef machine(struct cg *g)
{
	LLVMTargetRef t;
	char *err = NULL;

	if (LLVMGetTargetFromTriple(g->t->triple, &t, &err))
		bug(&g->c->diag, "no LLVM target: %s", err);
	LLVMTargetMachineOptionsRef o = LLVMCreateTargetMachineOptions();

	LLVMTargetMachineOptionsSetCPU(o, g->t->cpu);
	LLVMTargetMachineOptionsSetFeatures(o, g->t->features);
	LLVMTargetMachineOptionsSetCodeGenOptLevel(
		o, g->o->opt_level ? LLVMCodeGenLevelAggressive
				   : LLVMCodeGenLevelNone);
	LLVMTargetMachineOptionsSetRelocMode(o, g->o->pic ? LLVMRelocPIC
							  : LLVMRelocStatic);
	LLVMTargetMachineRef tm = LLVMCreateTargetMachineWithOptions(
		t, g->t->triple, o);

	LLVMDisposeTargetMachineOptions(o);
	return tm;
}

static void verify(struct cg *g, const char *when)
{
	char *msg = NULL;

	if (LLVMVerifyModule(g->mod, LLVMReturnStatusAction, &msg)) {
		if (getenv("DLCC_DUMP_LLVM"))
			LLVMDumpModule(g->mod);
		bug(&g->c->diag, "LLVM refuses the module %s: %s", when, msg);
	}
	LLVMDisposeMessage(msg);
}

static void clean_up(struct cg *g, LLVMTargetMachineRef tm)
{
	LLVMPassBuilderOptionsRef po = LLVMCreatePassBuilderOptions();
	LLVMErrorRef err;

	LLVMPassBuilderOptionsSetLoopVectorization(po, false);
	LLVMPassBuilderOptionsSetSLPVectorization(po, false);
	LLVMPassBuilderOptionsSetLoopUnrolling(po, false);
	err = LLVMRunPasses(g->mod, glue_passes, tm, po);
	LLVMDisposePassBuilderOptions(po);
	if (err)
		bug(&g->c->diag, "LLVM's passes: %s", LLVMGetErrorMessage(err));
	/* Register tiles were kept from them. */
	for (LLVMValueRef f = LLVMGetFirstFunction(g->mod); f;
	     f = LLVMGetNextFunction(f))
		cg_remove_attr(g, f, "optnone");
}

static struct blob copy_out(const void *p, size_t n)
{
	char *data = malloc(n + 1);

	if (!data)
		fatal(EXIT_LIMIT, "out of memory (%zu bytes of code)", n);
	memcpy(data, p, n);
	data[n] = 0;
	return (struct blob){ data, n };
}

static void write_out(struct cg *g, LLVMTargetMachineRef tm,
		      enum codegen_kind kind, struct blob *out)
{
	LLVMMemoryBufferRef buf = NULL;
	char *msg = NULL;

	if (kind == CODEGEN_LLVM) {
		msg = LLVMPrintModuleToString(g->mod);
		*out = copy_out(msg, strlen(msg));
		LLVMDisposeMessage(msg);
		return;
	}
	if (kind == CODEGEN_BC)
		buf = LLVMWriteBitcodeToMemoryBuffer(g->mod);
	else if (LLVMTargetMachineEmitToMemoryBuffer(
			 tm, g->mod,
			 kind == CODEGEN_ASM ? LLVMAssemblyFile
					     : LLVMObjectFile,
			 &msg, &buf))
		bug(&g->c->diag, "LLVM's code generator: %s", msg);
	*out = copy_out(LLVMGetBufferStart(buf), LLVMGetBufferSize(buf));
	LLVMDisposeMemoryBuffer(buf);
}

bool codegen_llvm(struct module *m, const struct codegen_options *o,
		  enum codegen_kind kind, struct blob *out,
		  struct blob *weights)
{
	struct cg g = { .c = m->ctx, .m = m, .o = o, .t = m->ctx->target,
			.lanes = 1 };

	g.lc = LLVMContextCreate();
	g.mod = LLVMModuleCreateWithNameInContext("model", g.lc);
	g.b = LLVMCreateBuilderInContext(g.lc);
	init_types(&g);
	LLVMTargetMachineRef tm = machine(&g);
	LLVMTargetDataRef dl = LLVMCreateTargetDataLayout(tm);

	LLVMSetTarget(g.mod, g.t->triple);
	LLVMSetModuleDataLayout(g.mod, dl);
	LLVMDisposeTargetData(dl);
	/* 512 bytes of zeros: 64 lanes of 8 bytes. */
	g.zeros = LLVMAddGlobal(g.mod, LLVMArrayType2(g.i64, 64), "zeros");
	LLVMSetInitializer(g.zeros,
			   LLVMConstNull(LLVMArrayType2(g.i64, 64)));
	LLVMSetGlobalConstant(g.zeros, true);
	LLVMSetLinkage(g.zeros, LLVMInternalLinkage);
	LLVMSetAlignment(g.zeros, 64);
	emit_weights(&g, weights);
	bool ok = cg_entry(&g);

	if (ok) {
		verify(&g, "as emitted");
		if (o->opt_level)
			clean_up(&g, tm);
		write_out(&g, tm, kind, out);
	}
	map_free(&g.vals);
	map_free(&g.atoms);
	map_free(&g.bufs);
	map_free(&g.weight_at);
	vec_free(&g.blobs);
	LLVMDisposeTargetMachine(tm);
	LLVMDisposeBuilder(g.b);
	LLVMDisposeModule(g.mod);
	LLVMContextDispose(g.lc);
	return ok;
}
