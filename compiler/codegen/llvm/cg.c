/* SPDX-License-Identifier: Apache-2.0 */
/* Small pieces over the LLVM C API. */
#include "codegen/llvm/cg.h"

#include <string.h>

LLVMTypeRef cg_type(struct cg *g, enum dtype t)
{
	if (dtype_is_float(t))
		return t == DT_F64 ? g->f64 : g->f32;
	if (t == DT_BOOL)
		return g->i1;
	switch (dtype_size(t)) {
	case 1: return g->i8;
	case 2: return g->i16;
	case 4: return g->i32;
	default: return g->i64;
	}
}

LLVMTypeRef cg_mem_type(struct cg *g, enum dtype t)
{
	if (dtype_is_narrow(t))
		return dtype_size(t) == 2 ? g->i16 : g->i8;
	return t == DT_BOOL ? g->i8 : cg_type(g, t);
}

LLVMTypeRef cg_vec_type(struct cg *g, LLVMTypeRef t)
{
	return g->lanes > 1 ? LLVMVectorType(t, g->lanes) : t;
}

LLVMValueRef cg_int(struct cg *g, int64_t k)
{
	return LLVMConstInt(g->i64, (uint64_t)k, true);
}

LLVMValueRef cg_call(struct cg *g, const char *intrinsic, LLVMTypeRef over,
		     unsigned n, LLVMValueRef *arg)
{
	unsigned id = LLVMLookupIntrinsicID(intrinsic, strlen(intrinsic));
	LLVMValueRef fn = LLVMGetIntrinsicDeclaration(g->mod, id, &over, 1);

	return LLVMBuildCall2(g->b, LLVMIntrinsicGetType(g->lc, id, &over, 1),
			      fn, arg, n, "");
}

LLVMValueRef cg_machine_call(struct cg *g, const char *intrinsic, unsigned n,
			     LLVMValueRef *arg)
{
	unsigned id = LLVMLookupIntrinsicID(intrinsic, strlen(intrinsic));
	LLVMValueRef fn = LLVMGetIntrinsicDeclaration(g->mod, id, NULL, 0);
	LLVMTypeRef type = LLVMIntrinsicGetType(g->lc, id, NULL, 0), in[4];

	LLVMGetParamTypes(type, in);
	for (unsigned i = 0; i < n; i++)
		if (LLVMTypeOf(arg[i]) != in[i])
			arg[i] = LLVMBuildBitCast(g->b, arg[i], in[i], "");
	return LLVMBuildCall2(g->b, type, fn, arg, n, "");
}

LLVMBasicBlockRef cg_block(struct cg *g, const char *name)
{
	return LLVMAppendBasicBlockInContext(g->lc, g->fn, name);
}

LLVMValueRef cg_splat(struct cg *g, LLVMValueRef v)
{
	LLVMTypeRef vt = LLVMVectorType(LLVMTypeOf(v), g->lanes);
	LLVMValueRef x = LLVMBuildInsertElement(g->b, LLVMGetPoison(vt), v,
						cg_int(g, 0), "");

	return LLVMBuildShuffleVector(
		g->b, x, LLVMGetPoison(vt),
		LLVMConstNull(LLVMVectorType(g->i32, g->lanes)), "");
}

LLVMValueRef cg_lanes(struct cg *g, struct cv v)
{
	return v.vec || g->lanes == 1 ? v.v : cg_splat(g, v.v);
}

void cg_set(struct cg *g, const struct value *v, LLVMValueRef x, bool vec)
{
	struct cv *cv = NEW(&g->c->temp, struct cv);

	*cv = (struct cv){ x, vec && g->lanes > 1 };
	map_put(&g->vals, v->id, cv);
}

struct cv cg_get(struct cg *g, const struct value *v)
{
	struct cv *cv = map_get(&g->vals, v->id);

	if (!cv)
		bug(&g->c->diag, "value %%%u was not emitted", v->id);
	return *cv;
}

void cg_add_attr(struct cg *g, LLVMValueRef fn, const char *name,
		 const char *val)
{
	unsigned n = (unsigned)strlen(name);
	LLVMAttributeRef a;

	if (val)
		a = LLVMCreateStringAttribute(g->lc, name, n, val,
					      (unsigned)strlen(val));
	else
		a = LLVMCreateEnumAttribute(
			g->lc, LLVMGetEnumAttributeKindForName(name, n), 0);
	LLVMAddAttributeAtIndex(
		fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, a);
}

void cg_remove_attr(struct cg *g, LLVMValueRef fn, const char *name)
{
	(void)g;
	LLVMRemoveEnumAttributeAtIndex(
		fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
		LLVMGetEnumAttributeKindForName(name, strlen(name)));
}

LLVMValueRef cg_new_function(struct cg *g, const char *name, LLVMTypeRef ty)
{
	LLVMValueRef fn = LLVMAddFunction(g->mod, name, ty);
	const char *bits = arena_fmt(&g->c->temp, "%u",
				     g->t->isa->vector_bits);

	LLVMSetLinkage(fn, LLVMInternalLinkage);
	/* Equal functions may become one. */
	LLVMSetUnnamedAddress(fn, LLVMGlobalUnnamedAddr);
	cg_add_attr(g, fn, "nounwind", NULL);
	cg_add_attr(g, fn, "target-cpu", g->t->cpu);
	cg_add_attr(g, fn, "target-features", g->t->features);
	if (g->t->tune)
		cg_add_attr(g, fn, "tune-cpu", g->t->tune);
	cg_add_attr(g, fn, "prefer-vector-width", bits);
	cg_add_attr(g, fn, "min-legal-vector-width", bits);
	cg_add_attr(g, fn, "no-trapping-math", "true");
	/* Loops of a model that run for ever are the caller's limit to set. */
	return fn;
}
