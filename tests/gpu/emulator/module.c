/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Modules: PTX text in, functions and variables out.
 */
#define _GNU_SOURCE
#include "ptx.h"

#include <stdlib.h>
#include <string.h>

struct chunk {
	struct chunk *next;
	size_t used, size;
	max_align_t data[];
};

void launch_forget(const struct module *mod);

/* Zeroed memory until the module is unloaded. */
void *mod_alloc(struct module *mod, size_t size)
{
	struct chunk *c = mod->arena;
	void *p;

	size = (size + 15) & ~(size_t)15;
	if (!c || c->size - c->used < size) {
		size_t n = size > 65536 ? size : 65536;

		c = calloc(1, sizeof(*c) + n);
		c->size = n;
		c->next = mod->arena;
		mod->arena = c;
	}
	p = (char *)c->data + c->used;
	c->used += size;
	return p;
}

void module_unload(struct module *mod)
{
	launch_forget(mod);
	for (struct func *f = mod->funcs; f; f = f->next)
		free(f->consts);
	for (struct var *v = mod->vars; v; v = v->next)
		mem_free(v->addr, false);
	for (struct chunk *c = mod->arena, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	free(mod);
}

/* The number after a directive of the head, times ten: `.version 9.0`. */
static int head_number(const char *text, const char *directive)
{
	const char *s = strstr(text, directive);
	int major, minor = 0;
	char *end;

	if (!s)
		return 0;
	s += strcspn(s, "0123456789");
	major = (int)strtol(s, &end, 10);
	if (*end == '.')
		minor = (int)strtol(end + 1, NULL, 10);
	return 10 * major + minor;
}

/* The newest PTX that a driver of this version takes. */
static int newest_ptx(int driver)
{
	static const int table[][2] = {
		{ 13000, 90 }, { 12090, 88 }, { 12080, 87 }, { 12060, 85 },
		{ 12050, 85 }, { 12040, 84 }, { 12030, 83 }, { 12020, 82 },
		{ 12010, 81 }, { 12000, 80 }, { 11080, 78 }
	};

	if (driver >= 13000)
		return 90 + (driver - 13000) / 10;
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (driver >= table[i][0])
			return table[i][1];
	return 77;
}

static int check_head(const char *text)
{
	int driver = atoi(emu_env("DLCC_EMU_DRIVER", "13000"));
	int version = head_number(text, ".version");
	int target = head_number(text, ".target sm_") / 10, cc;
	const char *s = strstr(text, ".target sm_");

	cc = head_number(emu_env("DLCC_EMU_CC", "9.0"), "");
	if (!version || !s) {
		note("no .version or .target in the PTX");
		return EMU_INVALID_PTX;
	}
	if (version > newest_ptx(driver)) {
		note("PTX %d.%d is newer than driver %d.%d takes", version / 10,
		     version % 10, driver / 1000, driver % 1000 / 10);
		return 222;
	}
	s += strlen(".target sm_");
	s += strspn(s, "0123456789");
	if (target > cc || (*s == 'a' && target != cc) ||
	    (*s == 'f' && target / 10 != cc / 10)) {
		note("PTX for sm_%d%.1s, the device is sm_%d", target,
		     *s == 'a' || *s == 'f' ? s : "", cc);
		return EMU_INVALID_PTX;
	}
	return EMU_OK;
}

int module_load(const char *text, struct module **out)
{
	struct parser *p;
	int status = check_head(text);

	if (status)
		return status;
	p = calloc(1, sizeof(*p));
	p->mod = calloc(1, sizeof(*p->mod));
	p->p = p->start = text;
	p->line = 1;
	if (!setjmp(p->fail))
		parse_module(p);
	free(p->stmts);
	if (p->n_errors) {
		module_unload(p->mod);
		free(p);
		return EMU_INVALID_PTX;
	}
	*out = p->mod;
	free(p);
	return EMU_OK;
}
