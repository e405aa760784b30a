/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output files.  Each is written to a temporary in the directory of its final
 * place and renamed when it is complete, so that a failed run leaves what was
 * there before.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver.h"

enum { MAX_TEMPS = 64 };

/* Paths to remove, the only state that a signal handler can reach. */
static char *volatile temps[MAX_TEMPS];

static void remove_temps(void)
{
	/* The last ones lie in directories made before them. */
	for (int i = MAX_TEMPS - 1; i >= 0; i--)
		if (temps[i] && unlink(temps[i]) < 0)
			rmdir(temps[i]);
}

static void on_signal(int sig)
{
	remove_temps();
	/* SA_RESETHAND is not enough: NVRTC puts handlers of its own before
	 * ours while it compiles. */
	signal(sig, SIG_DFL);
	raise(sig);
}

static void temp_add(char *path)
{
	for (int i = 0; i < MAX_TEMPS; i++)
		if (!temps[i]) {
			temps[i] = path;
			return;
		}
	fatal(EXIT_LIMIT, "too many temporary files");
}

static void temp_forget(const char *path)
{
	for (int i = 0; i < MAX_TEMPS; i++)
		if (temps[i] == path)
			temps[i] = NULL;
}

void output_setup(void)
{
	static const int fatal_signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction sa = { .sa_handler = on_signal,
				.sa_flags = (int)SA_RESETHAND };
	int fd;

	/* Else a diagnostic could end up inside an output file. */
	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= 2);
	if (fd >= 0)
		close(fd);
	for (size_t i = 0; i < ARRAY_SIZE(fatal_signals); i++) {
		struct sigaction old;

		/* What nohup and shells ignore stays ignored. */
		if (!sigaction(fatal_signals[i], NULL, &old) &&
		    old.sa_handler != SIG_IGN)
			sigaction(fatal_signals[i], &sa, NULL);
	}
	/* These become errors of write(). */
	sa.sa_handler = SIG_IGN;
	sa.sa_flags = 0;
	sigaction(SIGPIPE, &sa, NULL);
	sigaction(SIGXFSZ, &sa, NULL);
	atexit(remove_temps);
}

static char *join(const char *a, const char *b)
{
	size_t n = strlen(a), k = strlen(b) + 1;
	char *s = xrealloc(NULL, n + k, 1);

	memcpy(s, a, n);
	memcpy(s + n, b, k);
	return s;
}

/* mkstemp() gives 0600; a new file has what the umask allows. */
static void set_mode(int fd)
{
	mode_t mask = umask(0);

	umask(mask);
	fchmod(fd, 0666 & ~mask);
}

void output_open(struct output *out, const char *path)
{
	struct stat st;

	*out = (struct output){ .path = path };
	if (!strcmp(path, "-")) {
		out->fd = STDOUT_FILENO;
		return;
	}
	bool exists = !stat(path, &st);

	if (exists && S_ISDIR(st.st_mode))
		fatal(EXIT_IO, "cannot write %s: it is a directory", path);
	if (exists && !S_ISREG(st.st_mode)) {
		out->fd = open(path, O_WRONLY);
		if (out->fd < 0)
			fatal(EXIT_IO, "cannot write %s: %s", path,
			      strerror(errno));
		return;
	}
	out->temp = join(path, ".XXXXXX");
	out->fd = mkstemp(out->temp);
	if (out->fd < 0)
		fatal(EXIT_IO, "cannot write %s: %s", path, strerror(errno));
	temp_add(out->temp);
	set_mode(out->fd);
}

void output_write(struct output *out, const void *data, size_t size)
{
	const char *p = data;

	while (size) {
		/* Linux writes at most 2 GiB at once. */
		ssize_t n = write(out->fd, p, size > 1u << 30 ? 1u << 30
							      : size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			fatal(EXIT_IO, "cannot write %s: %s", out->path,
			      strerror(n ? errno : ENOSPC));
		p += n;
		size -= (size_t)n;
	}
}

void output_parts(struct output *out, const struct parts *parts)
{
	for (size_t i = 0; i < parts->n; i++)
		output_write(out, parts->v[i].data, parts->v[i].size);
}

void output_commit(struct output *out, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool ok = !out[i].temp || !fsync(out[i].fd) ||
			  errno == EINVAL || errno == ENOSYS;

		if (out[i].fd != STDOUT_FILENO)
			ok = !close(out[i].fd) && ok;
		if (!ok)
			fatal(EXIT_IO, "cannot write %s: %s", out[i].path,
			      strerror(errno));
	}
	for (size_t i = 0; i < n; i++) {
		if (!out[i].temp)
			continue;
		if (rename(out[i].temp, out[i].path) < 0)
			fatal(EXIT_IO, "cannot write %s: %s", out[i].path,
			      strerror(errno));
		temp_forget(out[i].temp);
		free(out[i].temp);
		out[i].temp = NULL;
	}
}

void text_open(struct text *t)
{
	*t = (struct text){ .f = NULL };
	t->f = open_memstream(&t->s, &t->size);
	if (!t->f)
		fatal(EXIT_LIMIT, "out of memory");
}

void text_close(struct text *t)
{
	bool ok = !ferror(t->f);

	if (fclose(t->f) || !ok)
		fatal(EXIT_LIMIT, "out of memory");
}

void text_save(struct text *t, const char *path)
{
	struct output out;

	text_close(t);
	output_open(&out, path);
	output_write(&out, t->s, t->size);
	output_commit(&out, 1);
	free(t->s);
}

char *temp_dir(void)
{
	const char *base = getenv("TMPDIR");
	char *dir = join(base && *base ? base : "/tmp", "/dlcc.XXXXXX");

	if (!mkdtemp(dir))
		fatal(EXIT_IO, "cannot make a directory in %s: %s",
		      base && *base ? base : "/tmp", strerror(errno));
	temp_add(dir);
	return dir;
}

char *temp_file(const char *dir, const char *name)
{
	char *slash = join(dir, "/");
	char *path = join(slash, name);

	free(slash);
	temp_add(path);
	return path;
}

void temp_remove(char *path)
{
	if (!path)
		return;
	temp_forget(path);
	if (unlink(path) < 0)
		rmdir(path);
	free(path);
}

bool same_file(const char *a, const char *b)
{
	struct stat sa, sb;

	return !stat(a, &sa) && !stat(b, &sb) && S_ISREG(sa.st_mode) &&
	       sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

char *file_read(struct arena *a, const char *path, size_t *size)
{
	FILE *f = fopen(path, "rb");
	struct stat st;

	if (!f)
		fatal(EXIT_IO, "cannot read %s: %s", path, strerror(errno));
	/* A pipe has no size; it is read in pieces that grow. */
	bool sized = !fstat(fileno(f), &st) && S_ISREG(st.st_mode);
	size_t cap = sized ? (size_t)st.st_size + 1 : 1 << 16, n = 0;
	char *p = arena_alloc(a, cap + 1);

	for (;;) {
		n += fread(p + n, 1, cap - n, f);
		if (n < cap)
			break;
		char *more = arena_alloc(a, 2 * cap + 1);

		memcpy(more, p, n);
		p = more;
		cap *= 2;
	}
	if (ferror(f))
		fatal(EXIT_IO, "cannot read %s: %s", path, strerror(errno));
	fclose(f);
	p[n] = 0;
	*size = n;
	return p;
}
