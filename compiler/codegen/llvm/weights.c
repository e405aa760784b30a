/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where constants go: one behind the other into one read-only global, or into
 * a side file.
 *
 * A model may have gigabytes of them, and each copy costs time and memory.  So
 * LLVM sees the global of an object as zeros in a section that takes no room
 * in the file; afterwards that section is turned into one with contents, at the
 * end of the file, whose bytes are written from where they are.  That is done
 * for little-endian ELF64; for other object formats, and for what LLVM prints
 * as text, the global has its bytes.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "codegen/llvm/cg.h"

/* Numbers of four bits are loaded as lanes of 32 from any of their bytes on. */
enum { WEIGHT_ALIGN = 64, READ_BEYOND = 3 };

/* The end of the first name is the second, which needs no new string. */
static const char empty_section[] = ".bss.rodata.weights";
enum { FULL_NAME = 4 };	/* ".rodata.weights" */

static const char zeros[WEIGHT_ALIGN];

static size_t aligned(size_t n)
{
	return (n + WEIGHT_ALIGN - 1) & ~(size_t)(WEIGHT_ALIGN - 1);
}

/* The place of a constant, also of an empty one. */
static size_t padded(size_t n)
{
	return aligned(n + READ_BEYOND);
}

/* Is it read as chains only? */
static bool only_chained(const struct value *v)
{
	for (const struct use *u = v->uses; u; u = u->next)
		if (u->user->code != OP_kern_contract ||
		    !op_int(u->user, A_chains) || u->user->in[1].val != v)
			return false;
	return true;
}

static void add_weight(void *arg, struct op *op)
{
	struct cg *g = arg;
	struct blob b;

	if (op->code != OP_core_const || only_chained(&op->out[0]) ||
	    !value_const(&op->out[0], &b) ||
	    map_get(&g->weight_at, (uint64_t)(uintptr_t)b.data))
		return;
	map_put(&g->weight_at, (uint64_t)(uintptr_t)b.data,
		(void *)(uintptr_t)(g->weight_bytes + 1));
	vec_push(&g->blobs, b);
	g->weight_bytes += (int64_t)padded(b.size);
}

static void list_parts(const struct cg *g, struct parts *parts)
{
	for (size_t i = 0; i < g->blobs.n; i++) {
		struct blob b = g->blobs.v[i];
		size_t pad = padded(b.size) - b.size;

		if (b.size)
			vec_push(parts, b);
		if (pad)
			vec_push(parts, ((struct blob){ zeros, pad }));
	}
}

/* ---- the global ----------------------------------------------------- */

/* Does the machine make objects that weights_append() can complete? */
static bool is_elf64(struct cg *g, LLVMTargetMachineRef tm)
{
	static const unsigned char ident[] = { ELFMAG0, ELFMAG1, ELFMAG2,
					       ELFMAG3, ELFCLASS64,
					       ELFDATA2LSB };
	static const uint16_t one = 1;
	LLVMModuleRef probe = LLVMModuleCreateWithNameInContext("probe", g->lc);
	LLVMMemoryBufferRef buf = NULL;
	char *msg = NULL;
	bool is;

	LLVMSetTarget(probe, g->t->triple);
	if (LLVMTargetMachineEmitToMemoryBuffer(tm, probe, LLVMObjectFile,
						&msg, &buf))
		bug(&g->c->diag, "LLVM's code generator: %s", msg);
	is = LLVMGetBufferSize(buf) >= sizeof(Elf64_Ehdr) &&
	     !memcmp(LLVMGetBufferStart(buf), ident, sizeof(ident)) &&
	     *(const char *)&one;
	LLVMDisposeMemoryBuffer(buf);
	LLVMDisposeModule(probe);
	return is;
}

static LLVMValueRef all_bytes(struct cg *g)
{
	char *image = calloc(1, (size_t)g->weight_bytes + 1), *p = image;
	struct parts parts = { 0 };

	if (!image)
		fatal(EXIT_LIMIT, "out of memory (%lld bytes of weights)",
		      (long long)g->weight_bytes);
	list_parts(g, &parts);
	for (size_t i = 0; i < parts.n; p += parts.v[i++].size)
		memcpy(p, parts.v[i].data, parts.v[i].size);
	vec_free(&parts);
	LLVMValueRef init = LLVMConstStringInContext2(
		g->lc, image, (size_t)g->weight_bytes, true);

	free(image);
	return init;
}

void weights_emit(struct cg *g, LLVMTargetMachineRef tm,
		  enum codegen_kind kind)
{
	LLVMTypeRef bytes;

	block_walk(op_body(g->m->func), add_weight, g);
	if (!g->weight_bytes || g->o->abi->weights_apart)
		return;
	g->weights_later = kind == CODEGEN_OBJ && is_elf64(g, tm);
	bytes = LLVMArrayType2(g->i8, (uint64_t)g->weight_bytes);
	g->weights = LLVMAddGlobal(g->mod, bytes, "weights");
	LLVMSetInitializer(g->weights, g->weights_later ? LLVMConstNull(bytes)
							: all_bytes(g));
	LLVMSetGlobalConstant(g->weights, true);
	LLVMSetLinkage(g->weights, LLVMInternalLinkage);
	LLVMSetAlignment(g->weights, WEIGHT_ALIGN);
	if (!g->weights_later)
		return;
	/* No pass may take them for zeros. */
	LLVMSetExternallyInitialized(g->weights, true);
	LLVMSetSection(g->weights, empty_section);
}

/* ---- the object ----------------------------------------------------- */

/* LLVM's own output is trusted to be well-formed. */
static Elf64_Shdr *find_section(char *obj, const char *name)
{
	Elf64_Ehdr *h = (Elf64_Ehdr *)(void *)obj;
	Elf64_Shdr *s = (Elf64_Shdr *)(void *)(obj + h->e_shoff);
	const char *names = obj + s[h->e_shstrndx].sh_offset;

	for (unsigned i = 1; i < h->e_shnum; i++)
		if (!strcmp(names + s[i].sh_name, name))
			return &s[i];
	return NULL;
}

static void complete_object(struct cg *g, struct codegen_out *out)
{
	size_t size = out->head.size, start = aligned(size);
	char *obj = xrealloc((void *)(uintptr_t)out->head.data, start, 1);

	memset(obj + size, 0, start - size);
	out->head = (struct blob){ obj, start };
	Elf64_Shdr *s = find_section(obj, empty_section);

	if (!s || s->sh_type != SHT_NOBITS ||
	    s->sh_size != (uint64_t)g->weight_bytes)
		bug(&g->c->diag, "the object has no place for the weights");
	s->sh_name += FULL_NAME;
	s->sh_type = SHT_PROGBITS;
	s->sh_flags &= ~(Elf64_Xword)SHF_WRITE;
	s->sh_offset = start;
	list_parts(g, &out->tail);
}

void weights_finish(struct cg *g, struct codegen_out *out)
{
	if (g->o->abi->weights_apart)
		list_parts(g, &out->weights);
	else if (g->weights_later)
		complete_object(g, out);
}
