/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model's table (struct dlrt_model), which describes it to generic tools.
 */
#include <string.h>

#include "codegen/llvm/cg.h"
#include "dlrt.h"

LLVMValueRef cg_const_global(struct cg *g, LLVMValueRef init,
			     const char *name)
{
	LLVMValueRef v = LLVMAddGlobal(g->mod, LLVMTypeOf(init), name);

	LLVMSetInitializer(v, init);
	LLVMSetGlobalConstant(v, true);
	LLVMSetLinkage(v, LLVMPrivateLinkage);
	LLVMSetUnnamedAddress(v, LLVMGlobalUnnamedAddr);
	return v;
}

LLVMValueRef cg_string(struct cg *g, const char *s)
{
	s = s ? s : "";
	return cg_const_global(g,
			    LLVMConstStringInContext2(g->lc, s, strlen(s),
						      false),
			    "str");
}

static LLVMValueRef strings(struct cg *g, uint32_t n, const char *const *s)
{
	LLVMValueRef *v = NEW_ARRAY(&g->c->temp, n + 1u, LLVMValueRef);

	for (uint32_t i = 0; i < n; i++)
		v[i] = cg_string(g, s[i]);
	return cg_const_global(g, LLVMConstArray2(g->ptr, v, n), "strs");
}

static LLVMValueRef tensors(struct cg *g, uint32_t n,
			    const struct abi_tensor *t)
{
	LLVMTypeRef f32 = LLVMFloatTypeInContext(g->lc);
	LLVMTypeRef f[] = { g->ptr, g->i32, g->i32, g->ptr,
			    f32, g->i32, g->i32, g->i32 };
	LLVMTypeRef st = LLVMStructTypeInContext(g->lc, f, ARRAY_SIZE(f),
						 false);
	LLVMValueRef *v = NEW_ARRAY(&g->c->temp, n + 1u, LLVMValueRef);

	for (uint32_t i = 0; i < n; i++) {
		LLVMValueRef d[MAX_RANK];

		for (uint32_t k = 0; k < t[i].rank; k++)
			d[k] = cg_int(g, t[i].code[k]);
		LLVMValueRef x[] = {
			cg_string(g, t[i].name),
			LLVMConstInt(g->i32,
				     (uint64_t)dtype_info[t[i].dtype].onnx,
				     false),
			LLVMConstInt(g->i32, t[i].rank, false),
			cg_const_global(g,
					LLVMConstArray2(g->i64, d, t[i].rank),
					"dims"),
			LLVMConstReal(f32, (double)t[i].scale),
			LLVMConstInt(g->i32, (uint64_t)t[i].zero_point, true),
			LLVMConstInt(g->i32, (uint64_t)-1, true),
			LLVMConstInt(g->i32, 0, false),
		};

		v[i] = LLVMConstStructInContext(g->lc, x, ARRAY_SIZE(x),
						false);
	}
	return cg_const_global(g, LLVMConstArray2(st, v, n), "tensors");
}

struct node_names {
	const char **v;
	uint32_t n, cap;
};

static void visit_node(void *arg, struct op *op)
{
	struct node_names *nn = arg;
	uint32_t k = kernel_node(op);

	if (!k || k >= nn->cap)
		return;
	nn->v[k] = op->loc->name && *op->loc->name ? op->loc->name
						    : op->loc->op;
	if (k + 1 > nn->n)
		nn->n = k + 1;
}

/* Of the side file's bytes: each blob and the zeros up to the next one. */
static uint64_t hash_weights(struct cg *g)
{
	uint64_t h = FNV_INIT;
	int64_t at = 0;

	for (size_t i = 0; i < g->blobs.n; i++) {
		const struct blob *b = &g->blobs.v[i];
		int64_t next = g->weight_bytes;

		if (i + 1 < g->blobs.n)
			next = (int64_t)(uintptr_t)map_get(
				       &g->weight_at,
				       (uint64_t)(uintptr_t)b[1].data) - 1;
		h = fnv_bytes(h, b->data, b->size);
		for (at += (int64_t)b->size; at < next; at++)
			h = fnv_bytes(h, "", 1);
	}
	return h;
}

void cg_table(struct cg *g)
{
	const struct abi *abi = g->o->abi;
	enum { MAX_NODES = 1 << 16 };
	struct node_names nn = { NEW_ARRAY(&g->c->temp, MAX_NODES,
					   const char *),
				 1, MAX_NODES };
	const char *cpu = arena_fmt(&g->c->temp, "%s%s%s", g->t->cpu,
				    *g->t->features ? "," : "",
				    g->t->features);
	LLVMValueRef hash[8];
	uint64_t h = abi->weights_apart ? hash_weights(g) : 0;

	block_walk(op_body(g->m->func), visit_node, &nn);
	for (int i = 0; i < 8; i++)
		hash[i] = LLVMConstInt(g->i8, h >> (8 * i) & 0xff, false);
	LLVMValueRef f[] = {
		LLVMConstInt(g->i32, DLRT_ABI_VERSION, false),
		LLVMConstNull(g->i32),	/* the table's size */
		cg_string(g, abi->prefix),
		LLVMConstInt(g->i32, abi->n_in, false),
		LLVMConstInt(g->i32, abi->n_out, false),
		LLVMConstInt(g->i32, abi->n_dim, false),
		LLVMConstInt(g->i32, nn.n, false),
		tensors(g, abi->n_in, abi->in),
		tensors(g, abi->n_out, abi->out),
		strings(g, abi->n_dim, abi->dim_name),
		strings(g, nn.n, nn.v),
		cg_string(g, cpu),
		cg_int(g, abi->weights_apart ? g->weight_bytes : 0),
		LLVMConstArray2(g->i8, hash, 8),
		g->workspace,
		g->invoke,
		g->o->gpu ? cg_gpu_code(g) : LLVMConstNull(g->ptr),
	};
	LLVMValueRef init = LLVMConstStructInContext(g->lc, f, ARRAY_SIZE(f),
						     false);
	LLVMValueRef m = LLVMAddGlobal(g->mod, LLVMTypeOf(init),
				       abi->model_symbol);

	f[1] = LLVMConstInt(g->i32,
			    LLVMABISizeOfType(LLVMGetModuleDataLayout(g->mod),
					      LLVMTypeOf(init)),
			    false);
	init = LLVMConstStructInContext(g->lc, f, ARRAY_SIZE(f), false);
	LLVMSetInitializer(m, init);
	LLVMSetGlobalConstant(m, true);
	LLVMSetAlignment(m, 8);
}
