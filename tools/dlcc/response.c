/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Response files: an argument @FILE stands for the arguments in FILE, as gcc
 * reads them: separated by white space, with quotes and backslashes.  When
 * there is no such file the argument stands for itself.
 */
#include <ctype.h>
#include <string.h>
#include <unistd.h>

#include "driver.h"

struct args {
	char **v;
	size_t n, cap;
};

/* One argument at *p, unquoted in place; moves *p behind it. */
static char *next_arg(char **p)
{
	char *from = *p, *to = *p, *start = *p, quote = 0;

	for (; *from && (quote || !isspace((unsigned char)*from)); from++) {
		if (*from == quote) {
			quote = 0;
		} else if (!quote && (*from == '"' || *from == '\'')) {
			quote = *from;
		} else {
			if (*from == '\\' && from[1])
				from++;
			*to++ = *from;
		}
	}
	*p = *from ? from + 1 : from;
	*to = 0;
	return start;
}

static void add_file(struct arena *a, const char *path, struct args *args)
{
	size_t size;
	char *p = file_read(a, path, &size);

	for (;;) {
		while (isspace((unsigned char)*p))
			p++;
		if (!*p)
			return;
		vec_push(args, next_arg(&p));
	}
}

char **response_expand(struct arena *a, int *argc, char **argv)
{
	struct args v = { 0 };
	bool plain = false;

	for (int i = 0; i < *argc; i++) {
		const char *path = argv[i] + 1;

		plain |= !strcmp(argv[i], "--");
		if (i && !plain && *argv[i] == '@' && !access(path, F_OK))
			add_file(a, path, &v);
		else
			vec_push(&v, argv[i]);
	}
	*argc = (int)v.n;
	vec_push(&v, NULL);
	char **out = arena_copy(a, v.v, v.n * sizeof(*v.v));

	vec_free(&v);
	return out;
}
