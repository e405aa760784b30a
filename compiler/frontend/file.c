/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and reading files that a hostile model may name.  Nothing waits
 * (a FIFO would), nothing but a regular file is read, and a file that shrinks
 * while it is read gives an error: files are never mapped, as a truncated
 * mapping ends in SIGBUS.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* syscall(), for openat2 */
#endif
#include "frontend/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/openat2.h>
#include <sys/syscall.h>
#endif

enum { OPEN_FLAGS = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY };

static enum file_error file_from_fd(int fd, struct file *f)
{
	struct stat st;

	*f = (struct file){ .fd = -1 };
	if (fd < 0)
		return FILE_NOT_OPENED;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return FILE_NOT_REGULAR;
	}
	*f = (struct file){ fd, st.st_dev, st.st_ino, st.st_size };
	return FILE_OK;
}

int directory_open(const char *path)
{
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

enum file_error file_open(const char *path, struct file *f)
{
	return file_from_fd(open(path, OPEN_FLAGS), f);
}

/* Component by component, through no link at all: for kernels that cannot
 * resolve a path beneath a directory.  -1 with ELOOP at a link. */
static int open_without_links(int dir, const char *path)
{
	char part[256];
	int fd = dir;

	for (;;) {
		size_t len = strcspn(path, "/");
		bool last = !path[len];

		if (len >= sizeof(part)) {
			errno = ENAMETOOLONG;
			break;
		}
		memcpy(part, path, len);
		part[len] = '\0';
		if (!strcmp(part, "..")) {
			errno = EXDEV;
			break;
		}
		int next = openat(fd, len ? part : ".",
				  OPEN_FLAGS | O_NOFOLLOW |
					  (last ? 0 : O_DIRECTORY));
		int error = errno;

		if (fd != dir)
			close(fd);
		errno = error;
		if (next < 0 || last)
			return next;
		fd = next;
		path += len + 1;
	}
	int error = errno;

	if (fd != dir)
		close(fd);
	errno = error;
	return -1;
}

static int open_beneath(int dir, const char *path)
{
#ifdef SYS_openat2
	struct open_how how = { .flags = OPEN_FLAGS,
				.resolve = RESOLVE_BENEATH |
					   RESOLVE_NO_MAGICLINKS };
	long fd;

	/* EAGAIN: something below the directory was renamed meanwhile. */
	for (int tries = 0; tries < 100; tries++) {
		fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	/* EPERM comes from sandboxes that do not know the call. */
	if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
		return (int)fd;
#endif
	return open_without_links(dir, path);
}

enum file_error file_open_beneath(int dir, const char *path, struct file *f)
{
	int fd = open_beneath(dir, path);

	if (fd < 0 && (errno == EXDEV || errno == ELOOP)) {
		*f = (struct file){ .fd = -1 };
		return FILE_LEAVES;
	}
	return file_from_fd(fd, f);
}

bool model_file_read(const struct file *f, void *dst, int64_t offset,
		     int64_t size)
{
	char *p = dst;

	while (size > 0) {
		/* Some kernels return at most 2 GiB. */
		size_t want = size > (1 << 30) ? 1 << 30 : (size_t)size;
		ssize_t got = pread(f->fd, p, want, offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got == 0)
			errno = 0;
		if (got <= 0)
			return false;
		p += got;
		offset += got;
		size -= got;
	}
	return true;
}

void file_close(struct file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}
