/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes wrong in a kernel: one line on stderr, and the launch ends.
 */
#include "emu.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char note_log[8192];

const char *emu_env(const char *name, const char *otherwise)
{
	const char *s = getenv(name);

	return s && *s ? s : otherwise;
}

void note(const char *fmt, ...)
{
	size_t n = strlen(note_log);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(note_log + n, sizeof(note_log) - n - 1, fmt, ap);
	va_end(ap);
	fprintf(stderr, "cuda emulator: %s\n", note_log + n);
	strcat(note_log, "\n");
	/* Room for what comes next; the first lines are worth the most. */
	if (strlen(note_log) > sizeof(note_log) - 1024)
		note_log[sizeof(note_log) - 1024] = 0;
}

static const char *kernel_name(const struct launch *la)
{
	return la->func->name;
}

void fault(struct warp *w, const struct insn *in, int lane, int status,
	   const char *fmt, ...)
{
	struct launch *la = w->blk->launch;
	const uint32_t *b = w->blk->ctaid;
	char buf[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	note("kernel %s, block (%u,%u,%u), thread (%u,%u,%u), ptx line %u: %s",
	     kernel_name(la), b[0], b[1], b[2], w->tid[0][lane],
	     w->tid[1][lane], w->tid[2][lane], in->line, buf);
	la->status = status;
	longjmp(la->fault, 1);
}

void block_fault(struct block *blk, int status, const char *fmt, ...)
{
	struct launch *la = blk->launch;
	const uint32_t *b = blk->ctaid;
	char buf[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	note("kernel %s, block (%u,%u,%u): %s", kernel_name(la), b[0], b[1],
	     b[2], buf);
	la->status = status;
	longjmp(la->fault, 1);
}
