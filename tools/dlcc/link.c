/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the C compiler as a linker, without a shell. */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver.h"

extern char **environ;

static int spawn_wait(const char *program, char *const argv[])
{
	posix_spawnattr_t attr;
	sigset_t defaults;
	int status, err;
	pid_t pid;

	/* What dlcc ignores, the child shall not. */
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	sigaddset(&defaults, SIGXFSZ);
	if (posix_spawnattr_init(&attr))
		fatal(EXIT_LIMIT, "out of memory");
	posix_spawnattr_setsigdefault(&attr, &defaults);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
	err = posix_spawnp(&pid, program, NULL, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	if (err)
		fatal(EXIT_IO, "cannot run %s: %s", program, strerror(err));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			fatal(EXIT_IO, "cannot wait for %s: %s", program,
			      strerror(errno));
	return status;
}

/* A relative path may begin with a dash; "./-x" does not. */
static const char *plain(struct arena *a, const char *path)
{
	return *path == '-' ? arena_fmt(a, "./%s", path) : path;
}

void link_shared(const struct options *o, const char *object,
		 const char *shared)
{
	struct arena a = { 0 };
	char *argv[8];
	int n = 0;

	argv[n++] = arena_fmt(&a, "%s", o->cc);
	argv[n++] = arena_fmt(&a, "-shared");
	argv[n++] = arena_fmt(&a, "-o");
	argv[n++] = arena_fmt(&a, "%s", plain(&a, shared));
	argv[n++] = arena_fmt(&a, "%s", plain(&a, object));
	argv[n] = NULL;
	if (o->verbose)
		fprintf(stderr, "dlcc: %s -shared -o %s %s\n", o->cc, argv[3],
			argv[4]);
	if (spawn_wait(o->cc, argv))
		fatal(EXIT_IO, "%s could not link %s", o->cc, shared);
	arena_free(&a);
}
