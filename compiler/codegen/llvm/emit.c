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
#include "codegen/llvm/x86.h"

/*
 * Kernels are vectors already: only clean-up, no vectoriser, no unrolling.  A
 * loop over operands of which some may broadcast branches for each: it is
 * split into one loop per case, unless there are so many that this takes long.
 */
enum { MANY_STEPS = 64 };

#define GLUE(split)                                     \
	"function<eager-inv>(sroa,early-cse<memssa>,"   \
	"instcombine<no-verify-fixpoint>,simplifycfg,"  \
	"loop-mssa(licm" split "),gvn,dse),mergefunc,globaldce"
static const char glue_passes[] = GLUE("");
static const char split_passes[] = GLUE(",simple-loop-unswitch<nontrivial>");

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

/* ---- the machine ---------------------------------------------------- */

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
	err = LLVMRunPasses(g->mod,
			    g->n_steps && g->n_steps < MANY_STEPS ? split_passes
								  : glue_passes,
			    tm, po);
	LLVMDisposePassBuilderOptions(po);
	if (err)
		bug(&g->c->diag, "LLVM's passes: %s", LLVMGetErrorMessage(err));
	/* Register tiles were kept from them. */
	for (LLVMValueRef f = LLVMGetFirstFunction(g->mod); f;
	     f = LLVMGetNextFunction(f))
		if (f != g->invoke)
			cg_remove_attr(g, f, "optnone");
}

/* In a buffer of LLVM's, and without the module, whose memory comes first. */
static LLVMMemoryBufferRef make(struct cg *g, LLVMTargetMachineRef tm,
				enum codegen_kind kind)
{
	LLVMMemoryBufferRef buf = NULL;
	char *msg = NULL;

	if (kind == CODEGEN_BC)
		return LLVMWriteBitcodeToMemoryBuffer(g->mod);
	if (kind == CODEGEN_LLVM) {
		msg = LLVMPrintModuleToString(g->mod);
		buf = LLVMCreateMemoryBufferWithMemoryRangeCopy(
			msg, strlen(msg), "text");
		LLVMDisposeMessage(msg);
		return buf;
	}
	if (LLVMTargetMachineEmitToMemoryBuffer(
		    tm, g->mod,
		    kind == CODEGEN_ASM ? LLVMAssemblyFile : LLVMObjectFile,
		    &msg, &buf))
		bug(&g->c->diag, "LLVM's code generator: %s", msg);
	return buf;
}

static struct blob copy_out(LLVMMemoryBufferRef buf)
{
	size_t n = LLVMGetBufferSize(buf);
	char *data = xrealloc(NULL, n + 1, 1);

	memcpy(data, LLVMGetBufferStart(buf), n);
	data[n] = 0;
	return (struct blob){ data, n };
}

static void start_module(struct cg *g, LLVMTargetMachineRef tm)
{
	LLVMTargetDataRef dl = LLVMCreateTargetDataLayout(tm);

	g->mod = LLVMModuleCreateWithNameInContext("model", g->lc);
	LLVMSetTarget(g->mod, g->t->triple);
	LLVMSetModuleDataLayout(g->mod, dl);
	g->size = LLVMIntPtrTypeInContext(g->lc, dl);
	LLVMDisposeTargetData(dl);
	/* 512 bytes of zeros: 64 lanes of 8 bytes. */
	g->zeros = LLVMAddGlobal(g->mod, LLVMArrayType2(g->i64, 64), "zeros");
	LLVMSetInitializer(g->zeros,
			   LLVMConstNull(LLVMArrayType2(g->i64, 64)));
	LLVMSetGlobalConstant(g->zeros, true);
	LLVMSetLinkage(g->zeros, LLVMInternalLinkage);
	LLVMSetAlignment(g->zeros, 64);
}

struct need {
	struct ctx *c;
	struct target *t;
};

static void need_dot(void *arg, struct op *op)
{
	struct need *n = arg;
	struct target *t = n->t;
	const struct dot *dot;

	if (op->code != OP_kern_contract ||
	    op_body(op)->arg[0]->type->dtype != DT_I32)
		return;
	dot = target_dot(t, op->in[0].val->type->dtype,
			 op->in[1].val->type->dtype);
	for (size_t i = 0; dot && i < ARRAY_SIZE(dot->feature); i++)
		if (dot->feature[i] && t->x86_level &&
		    !x86_in_effect(t->x86_level, t->features, dot->feature[i]))
			t->features = arena_fmt(&n->c->perm, "%s%s+%s",
						t->features,
						*t->features ? "," : "",
						dot->feature[i]);
}

/* The module's target, with the features for its sums of small integers: only
 * objects that have some ask the CPU for these. */
static const struct target *target_of(const struct module *m)
{
	struct target *t = NEW(&m->ctx->perm, struct target);

	struct need n = { m->ctx, t };

	*t = *m->ctx->target;
	block_walk(op_body(m->func), need_dot, &n);
	return t;
}

bool codegen_llvm(struct module *m, const struct codegen_options *o,
		  enum codegen_kind kind, struct codegen_out *out)
{
	struct cg g = { .c = m->ctx, .m = m, .o = o, .t = target_of(m),
			.lanes = 1 };
	LLVMMemoryBufferRef buf = NULL;

	g.lc = LLVMContextCreate();
	g.b = LLVMCreateBuilderInContext(g.lc);
	init_types(&g);
	LLVMTargetMachineRef tm = machine(&g);

	start_module(&g, tm);
	weights_emit(&g, tm, kind);
	bool ok = cg_entry(&g);

	if (ok) {
		verify(&g, "as emitted");
		if (o->opt_level)
			clean_up(&g, tm);
		buf = make(&g, tm, kind);
	}
	map_free(&g.vals);
	map_free(&g.atoms);
	map_free(&g.bufs);
	map_free(&g.weight_at);
	LLVMDisposeTargetMachine(tm);
	LLVMDisposeBuilder(g.b);
	LLVMDisposeModule(g.mod);
	LLVMContextDispose(g.lc);
	if (ok) {
		out->head = copy_out(buf);
		out->weight_bytes = g.weight_bytes;
		LLVMDisposeMemoryBuffer(buf);
		weights_finish(&g, out);
	}
	vec_free(&g.blobs);
	return ok;
}

void codegen_out_free(struct codegen_out *out)
{
	free((void *)(uintptr_t)out->head.data);
	vec_free(&out->tail);
	vec_free(&out->weights);
	out->head = (struct blob){ 0 };
}
