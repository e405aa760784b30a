/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conflicts of banks, which cost time and change nothing else.
 *
 * Shared memory has 32 banks of a word each, and each bank gives one word of a
 * pass.  A warp's access of up to 4 bytes per lane is a pass at best, one of 8
 * bytes takes the lanes by halves, one of 16 bytes by quarters; lanes that ask
 * for the same word get it together.  (NVIDIA documents this for words; for
 * the others it is what their matrix loads and profilers show.)  What words
 * more than one bank has to give are passes on top.
 *
 * DLCC_EMU_BANKS=FILE: a line for each instruction of a launch that reads or
 * writes shared memory is appended: kernel, line of the PTX, opcode, accesses,
 * passes at best, passes.
 */
#include "emu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BANKS = 32, WORD = 4, PASS_BYTES = BANKS * WORD };

struct bank_count {
	uint64_t accesses, least, passes;
};

bool banks_wanted(void)
{
	return *emu_env("DLCC_EMU_BANKS", "");
}

/* The most words that lanes first .. first + n - 1 want of a bank. */
static unsigned passes(const uint64_t *at, uint32_t m, int first, int n,
		       uint32_t size)
{
	uint64_t word[BANKS][BANKS];
	unsigned held[BANKS] = { 0 }, most = 0;

	for (int l = first; l < first + n; l++) {
		uint64_t end = at[l] + size;

		if (!(m >> l & 1))
			continue;
		for (uint64_t a = at[l] / WORD; a * WORD < end; a++) {
			unsigned b = a % BANKS, i = 0;

			while (i < held[b] && word[b][i] != a)
				i++;
			if (i == held[b])
				word[b][held[b]++] = a;
			if (held[b] > most)
				most = held[b];
		}
	}
	return most;
}

static struct bank_count *count_of(struct warp *w, const struct insn *in)
{
	/* The instructions of a function are the module's, which outlives
	 * its launches. */
	struct insn *own = (struct insn *)(uintptr_t)in;

	if (!own->banks)
		own->banks = mod_alloc(w->frame->func->mod,
				       sizeof(*own->banks));
	return own->banks;
}

void banks_count(struct warp *w, const struct insn *in, uint32_t m,
		 const uint64_t at[LANES], uint32_t size)
{
	struct bank_count *c = count_of(w, in);
	int n = size <= WORD ? LANES : PASS_BYTES / (int)size;
	uint64_t off[LANES];

	for (int l = 0; l < LANES; l++)
		off[l] = at[l] & ~WIN_MASK;
	c->accesses++;
	for (int l = 0; l < LANES; l += n) {
		unsigned most = passes(off, m, l, n, size);

		c->least += most > 0;
		c->passes += most;
	}
}

static void put_func(FILE *out, const char *kernel, const struct func *f)
{
	for (uint32_t i = 0; i < f->n_code; i++) {
		struct bank_count *c = f->code[i].banks;

		if (!c || !c->accesses)
			continue;
		fprintf(out, "%s %u %s %llu %llu %llu\n", kernel,
			f->code[i].line, f->code[i].name,
			(unsigned long long)c->accesses,
			(unsigned long long)c->least,
			(unsigned long long)c->passes);
		memset(c, 0, sizeof(*c));
	}
}

/* What the launch of a kernel counted. */
void banks_report(const struct func *kernel)
{
	FILE *out = fopen(emu_env("DLCC_EMU_BANKS", ""), "a");

	if (!out)
		return;
	for (const struct func *f = kernel->mod->funcs; f; f = f->next)
		if (f->is_defined)
			put_func(out, kernel->name, f);
	fclose(out);
}
