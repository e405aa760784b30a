/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the object of a GPU holds beside the host's code: images of the kernels
 * and the tables by which the runtime finds them (struct dlrt_gpu_code).
 */
#include "codegen/llvm/cg.h"

static LLVMValueRef u32(struct cg *g, uint64_t k)
{
	return LLVMConstInt(g->i32, k, false);
}

/* An array of structs of the same fields. */
static LLVMValueRef array(struct cg *g, LLVMTypeRef t, LLVMValueRef *v,
			  size_t n, const char *name)
{
	return cg_const_global(g, LLVMConstArray2(t, v, n), name);
}

/* struct dlrt_box of each of its tensors. */
static LLVMValueRef boxes(struct cg *g, const struct gpu_kernel *k)
{
	LLVMTypeRef t = LLVMArrayType2(g->i32, 2 + MAX_MAP_RANK);
	LLVMValueRef v[MAX_MAPS];

	if (!k->n_box)
		return LLVMConstNull(g->ptr);
	for (unsigned i = 0; i < k->n_box; i++) {
		const struct gpu_box *b = &k->box[i];
		LLVMValueRef x[2 + MAX_MAP_RANK] = {
			u32(g, dtype_size(b->dtype)), u32(g, b->rank),
		};

		for (unsigned d = 0; d < MAX_MAP_RANK; d++)
			x[2 + d] = u32(g, b->size[d]);
		v[i] = LLVMConstArray2(g->i32, x, ARRAY_SIZE(x));
	}
	return array(g, t, v, k->n_box, "boxes");
}

void cg_gpu_kernels(struct cg *g)
{
	const struct gpu_code *code = g->o->gpu;
	LLVMTypeRef f[] = { g->ptr, g->i32, g->i32, g->i32, g->i32, g->i32,
			    g->ptr };
	LLVMValueRef *v = NEW_ARRAY(&g->c->temp, code->kernel.n + 1,
				    LLVMValueRef);

	g->kernel_type = LLVMStructTypeInContext(g->lc, f, ARRAY_SIZE(f),
						 false);
	for (size_t i = 0; i < code->kernel.n; i++) {
		const struct gpu_kernel *k = &code->kernel.v[i];
		LLVMValueRef x[] = { cg_string(g, k->name), u32(g, k->program),
				     u32(g, k->threads), u32(g, k->points),
				     u32(g, k->shared_bytes),
				     u32(g, k->n_box), boxes(g, k) };

		v[i] = LLVMConstStructInContext(g->lc, x, ARRAY_SIZE(x),
						false);
	}
	g->kernels = array(g, g->kernel_type, v, code->kernel.n, "kernels");
}

static LLVMValueRef images(struct cg *g)
{
	const struct gpu_code *code = g->o->gpu;
	LLVMTypeRef f[] = { g->i32, g->i32, g->i32, g->i32, g->i64, g->ptr };
	LLVMTypeRef t = LLVMStructTypeInContext(g->lc, f, ARRAY_SIZE(f),
						false);
	LLVMValueRef *v = NEW_ARRAY(&g->c->temp, code->image.n + 1,
				    LLVMValueRef);

	for (size_t i = 0; i < code->image.n; i++) {
		const struct gpu_image *m = &code->image.v[i];
		LLVMValueRef data = cg_const_global(
			g, LLVMConstStringInContext2(g->lc, m->data.data,
						     m->data.size, true),
			"image");

		LLVMSetAlignment(data, 64);
		LLVMValueRef x[] = { u32(g, m->program), u32(g, m->kind),
				     u32(g, m->arch), u32(g, m->only),
				     cg_int(g, (int64_t)m->data.size), data };

		v[i] = LLVMConstStructInContext(g->lc, x, ARRAY_SIZE(x),
						false);
	}
	return array(g, t, v, code->image.n, "images");
}

LLVMValueRef cg_gpu_code(struct cg *g)
{
	const struct gpu_code *code = g->o->gpu;
	LLVMValueRef f[] = {
		u32(g, code->image.n),
		u32(g, code->kernel.n),
		images(g),
		g->kernels,
		u32(g, code->min_driver),
		u32(g, 0),
		g->weights ? g->weights : LLVMConstNull(g->ptr),
		cg_int(g, g->weight_bytes),
	};

	return cg_const_global(g, LLVMConstStructInContext(g->lc, f,
							   ARRAY_SIZE(f),
							   false),
			       "gpu");
}
