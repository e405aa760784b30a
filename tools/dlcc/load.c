/* SPDX-License-Identifier: Apache-2.0 */
/* Brings a compiled model into this process. */
#include <dlfcn.h>
#include <elf.h>
#include <stdint.h>
#include <string.h>

#include "run.h"

enum { WEIGHT_ALIGN = 64 };
enum { HASH_CHARS = 16 };	/* ORDER of header.c's P_model_<hash> */

static bool ends_with(const char *s, const char *suffix)
{
	size_t n = strlen(s), k = strlen(suffix);

	return n >= k && !strcmp(s + n - k, suffix);
}

bool is_object(const char *path)
{
	return ends_with(path, ".o") || ends_with(path, ".so");
}

/* ---- the table's name ----------------------------------------------- */

struct elf {
	const char *path, *data;
	size_t size;
};

NORETURN static void broken(const struct elf *e)
{
	fatal(EXIT_MODEL, "%s: not a 64-bit ELF shared object", e->path);
}

/* n bytes at an offset that the file states. */
static void get(const struct elf *e, void *dst, uint64_t at, size_t n)
{
	if (at > e->size || n > e->size - at)
		broken(e);
	memcpy(dst, e->data + at, n);
}

static bool is_model_name(const char *s, size_t n)
{
	static const char mid[] = "_model_";
	size_t k = sizeof(mid) - 1;

	if (n <= k + HASH_CHARS ||
	    memcmp(s + n - HASH_CHARS - k, mid, k) != 0)
		return false;
	return strspn(s + n - HASH_CHARS, "0123456789abcdef") == HASH_CHARS;
}

/* The one symbol of that form in a symbol table; NULL when none. */
static const char *search(const struct elf *e, const Elf64_Shdr *syms,
			  const Elf64_Shdr *strs, const char *found)
{
	if (strs->sh_offset > e->size ||
	    strs->sh_size > e->size - strs->sh_offset)
		broken(e);
	for (uint64_t at = 0; at + sizeof(Elf64_Sym) <= syms->sh_size;
	     at += sizeof(Elf64_Sym)) {
		Elf64_Sym s;

		get(e, &s, syms->sh_offset + at, sizeof(s));
		if (s.st_shndx == SHN_UNDEF || s.st_name >= strs->sh_size)
			continue;
		const char *name = e->data + strs->sh_offset + s.st_name;
		size_t room = strs->sh_size - s.st_name;
		size_t n = strnlen(name, room);

		if (n == room || !is_model_name(name, n))
			continue;
		if (found && strcmp(found, name))
			fatal(EXIT_USAGE, "%s holds more than one model",
			      e->path);
		found = name;
	}
	return found;
}

static const char *find_model(struct run *r, const char *path)
{
	struct elf e = { .path = path };
	const char *found = NULL;
	Elf64_Ehdr h;

	e.data = file_read(&r->a, path, &e.size);
	get(&e, &h, 0, sizeof(h));
	if (memcmp(h.e_ident, ELFMAG, SELFMAG) ||
	    h.e_ident[EI_CLASS] != ELFCLASS64)
		broken(&e);
	for (unsigned i = 0; i < h.e_shnum; i++) {
		Elf64_Shdr s, strs;

		get(&e, &s, h.e_shoff + (uint64_t)i * sizeof(s), sizeof(s));
		if (s.sh_type != SHT_DYNSYM || s.sh_link >= h.e_shnum)
			continue;
		get(&e, &strs, h.e_shoff + (uint64_t)s.sh_link * sizeof(s),
		    sizeof(s));
		found = search(&e, &s, &strs, found);
	}
	if (!found)
		fatal(EXIT_MODEL, "%s holds no model made by dlcc", path);
	return found;
}

/* ---- loading -------------------------------------------------------- */

/* Where the shared object is, and what was made for it. */
struct shared {
	const char *path;
	char *dir, *object, *linked;
};

static struct shared to_shared(struct run *r)
{
	const struct options *o = r->o;
	struct shared s = { .path = o->model };

	if (ends_with(o->model, ".so")) {
		/* Without a slash dlopen() would search elsewhere. */
		s.path = arena_fmt(&r->a, "%s%s",
				   strchr(o->model, '/') ? "" : "./", o->model);
		return s;
	}
	s.dir = temp_dir();
	if (!is_object(o->model)) {
		struct output obj;

		s.object = temp_file(s.dir, "model.o");
		output_open(&obj, s.object);
		output_write(&obj, r->job.out.head.data,
			     r->job.out.head.size);
		output_parts(&obj, &r->job.out.tail);
		output_commit(&obj, 1);
	}
	s.path = s.linked = temp_file(s.dir, "model.so");
	link_shared(o, s.object ? s.object : o->model, s.linked);
	return s;
}

/* Kernels load whole vectors of weights. */
static char *aligned(struct run *r, size_t size)
{
	char *p = arena_alloc(&r->a, size + WEIGHT_ALIGN);

	return p + (-(uintptr_t)p & (WEIGHT_ALIGN - 1));
}

/* What would be in the side file. */
static const void *join(struct run *r, const struct parts *parts, size_t size)
{
	char *data = aligned(r, size), *p = data;

	for (size_t i = 0; i < parts->n; p += parts->v[i++].size)
		memcpy(p, parts->v[i].data, parts->v[i].size);
	return data;
}

/* The side file's bytes, checked against what the object was made with. */
static const void *load_weights(struct run *r, const struct dlrt_model *m)
{
	uint64_t hash;
	size_t size;

	if (!m->weights_bytes)
		return NULL;
	if (r->job.out.weights.n)
		return join(r, &r->job.out.weights, m->weights_bytes);
	if (!r->o->weights)
		fatal(EXIT_USAGE, "the model's weights are in a side file; "
		      "--weights=FILE names it");
	const char *p = file_read(&r->a, r->o->weights, &size);

	hash = fnv_bytes(FNV_INIT, p, size);
	if (size != m->weights_bytes ||
	    memcmp(&hash, m->weights_hash, sizeof(hash)))
		fatal(EXIT_MODEL, "%s: not the weights of this model",
		      r->o->weights);
	return memcpy(aligned(r, size), p, size);
}

struct loaded model_load(struct run *r)
{
	struct shared s = to_shared(r);
	const char *name = r->job.abi ? r->job.abi->model_symbol
				      : find_model(r, s.path);
	struct loaded l = { .handle = dlopen(s.path, RTLD_NOW | RTLD_LOCAL) };

	if (!l.handle)
		fatal(EXIT_IO, "%s", dlerror());
	l.model = dlsym(l.handle, name);
	if (!l.model)
		fatal(EXIT_MODEL, "%s has no symbol %s", s.path, name);
	if (l.model->abi != DLRT_ABI_VERSION ||
	    l.model->size < sizeof(*l.model))
		fatal(EXIT_MODEL, "%s was made for another version of dlcc",
		      s.path);
	/* The code is in memory; one run of dlcc may load many models. */
	temp_remove(s.object);
	temp_remove(s.linked);
	temp_remove(s.dir);
	l.weights = load_weights(r, l.model);
	return l;
}
