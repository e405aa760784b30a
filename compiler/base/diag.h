/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnostics.  Three kinds, never mixed: an error of the model or the user
 * (diag_error), of the environment (fatal), of dlcc itself (bug).
 */
#ifndef BASE_DIAG_H
#define BASE_DIAG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

/* Exit statuses; documented in --help and dlcc(1). */
enum exit_code {
	EXIT_OK = 0,
	EXIT_USAGE = 1,
	EXIT_MODEL = 2,		/* invalid model */
	EXIT_UNSUPPORTED = 3,
	EXIT_LIMIT = 4,
	EXIT_IO = 5,
	EXIT_STATUS = 6,	/* the model returned an error status */
	EXIT_ACCURACY = 7,
	EXIT_DIFFER = 8,
	EXIT_BUG = 70,
};

/* Where something comes from; interned by its owner, never freed. */
struct loc {
	const char *file;
	const char *name;	/* ONNX node name, or NULL */
	const char *op;		/* ONNX op type, or NULL */
	int64_t node;		/* index in its graph; -1 when unknown */
	unsigned line, col;	/* of .dl text; 0 when unknown */
};

struct diag {
	const char *file;	/* used when a location has none */
	unsigned n_errors;
	bool no_warnings;
	enum exit_code code;	/* of the first error */
	void (*bug_hook)(void *arg); /* writes the reproducer */
	void *bug_arg;
};

enum { DIAG_MAX_ERRORS = 20 };

/*
 * Print "file: error: Op 'name' (node k): message" and remember the code.
 * Control bytes are escaped, the text is cut at 1 KiB, and after
 * DIAG_MAX_ERRORS errors nothing more is printed.  Always returns false.
 */
bool diag_error(struct diag *d, enum exit_code code, const struct loc *loc,
		const char *fmt, ...) PRINTF_LIKE(4, 5);
void diag_warn(struct diag *d, const struct loc *loc, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
/* The environment failed: print one line and exit with the code. */
NORETURN void fatal(enum exit_code code, const char *fmt, ...)
	PRINTF_LIKE(2, 3);
/* dlcc is wrong: print, write the reproducer, exit 70. */
NORETURN void bug_at(struct diag *d, const char *file, int line,
		     const char *fmt, ...) PRINTF_LIKE(4, 5);
#define bug(diag, ...) bug_at((diag), __FILE__, __LINE__, __VA_ARGS__)

#endif
