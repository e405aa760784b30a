/* SPDX-License-Identifier: Apache-2.0 */
#include "base/diag.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 1024 };

/* Names come from hostile files: no control byte reaches the terminal. */
static void print_escaped(const char *s)
{
	for (int n = 0; *s && n < MAX_TEXT; s++, n++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20 || c == 0x7f)
			fprintf(stderr, "\\x%02x", c);
		else
			fputc(c, stderr);
	}
}

static void emit(const char *file, const char *severity,
		 const struct loc *loc, const char *fmt, va_list ap)
	PRINTF_LIKE(4, 0);

static void emit(const char *file, const char *severity,
		 const struct loc *loc, const char *fmt, va_list ap)
{
	char text[MAX_TEXT];

	if (loc && loc->file)
		file = loc->file;
	print_escaped(file ? file : "dlcc");
	if (loc && loc->line)
		fprintf(stderr, ":%u:%u", loc->line, loc->col);
	fprintf(stderr, ": %s: ", severity);
	if (loc && loc->op) {
		print_escaped(loc->op);
		if (loc->name && *loc->name) {
			fputs(" '", stderr);
			print_escaped(loc->name);
			fputc('\'', stderr);
		}
		if (loc->node >= 0)
			fprintf(stderr, " (node %lld)", (long long)loc->node);
		fputs(": ", stderr);
	}
	vsnprintf(text, sizeof(text), fmt, ap);
	print_escaped(text);
	fputc('\n', stderr);
}

bool diag_error(struct diag *d, enum exit_code code, const struct loc *loc,
		const char *fmt, ...)
{
	va_list ap;

	if (!d->n_errors++)
		d->code = code;
	if (d->n_errors <= DIAG_MAX_ERRORS) {
		va_start(ap, fmt);
		emit(d->file, "error", loc, fmt, ap);
		va_end(ap);
	} else if (d->n_errors == DIAG_MAX_ERRORS + 1) {
		fprintf(stderr, "dlcc: note: more errors are not shown\n");
	}
	return false;
}

void diag_warn(struct diag *d, const struct loc *loc, const char *fmt, ...)
{
	va_list ap;

	if (d->no_warnings)
		return;
	va_start(ap, fmt);
	emit(d->file, "warning", loc, fmt, ap);
	va_end(ap);
}

void fatal(enum exit_code code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit("dlcc", "error", NULL, fmt, ap);
	va_end(ap);
	exit(code);
}

void bug_at(struct diag *d, const char *file, int line, const char *fmt, ...)
{
	va_list ap;
	const char *base = strrchr(file, '/');

	fprintf(stderr, "dlcc: internal error at %s:%d: ",
		base ? base + 1 : file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	if (d && d->bug_hook) {
		void (*hook)(void *) = d->bug_hook;

		d->bug_hook = NULL; /* a bug while reporting ends here */
		hook(d->bug_arg);
	}
	exit(EXIT_BUG);
}
