/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Launches by a library that has the kernels as code of the host, in place of
 * the interpreter: DLCC_EMU_TWIN names it, tests/gpu/twin makes it.
 */
#define _GNU_SOURCE
#include "emu.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef int (*twin_launch)(const char *name, const uint32_t grid[3],
			   const uint32_t block[3], uint32_t shared_bytes,
			   const void *args, uint64_t bytes,
			   void *(*host)(uint64_t address));

/* The bytes behind an address; where there are none it stays as it is, which
 * no access survives. */
static void *host(uint64_t address)
{
	void *p = mem_range(address, 1);

	return p ? p : (void *)(uintptr_t)address;
}

/* The library is opened once; another name opens another. */
static twin_launch find_twin(const char *file)
{
	static char name[4096];
	static twin_launch found;
	void *lib, *p;

	if (found && !strcmp(name, file))
		return found;
	found = NULL;
	lib = strlen(file) < sizeof(name) ? dlopen(file, RTLD_NOW | RTLD_LOCAL)
					  : NULL;
	p = lib ? dlsym(lib, "twin_launch") : NULL;
	if (!p) {
		note("DLCC_EMU_TWIN: %s", dlerror());
		return NULL;
	}
	strcpy(name, file);
	memcpy(&found, &p, sizeof(p));
	return found;
}

int twin_run(const char *file, const struct func *f, const uint32_t grid[3],
	     const uint32_t dim[3], uint32_t dyn_shared, const void *params)
{
	twin_launch twin = find_twin(file);

	if (!twin)
		return EMU_NOT_FOUND;
	return twin(f->name, grid, dim, dyn_shared, params, f->param_bytes,
		    host);
}
