/* SPDX-License-Identifier: Apache-2.0 */
/*
 * External data.  A location is a path that the model's author chose, so it
 * is resolved by the kernel beneath one directory: the one that holds the
 * model, or --data-root with the model's place below it.  Offsets, lengths
 * and totals are checked before a byte is read; ranges that several tensors
 * share are read once.
 */
#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700 /* realpath() */
#endif
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/internal.h"

/* What is known of one location; the file itself may be closed again. */
struct external_file {
	const char *location;
	dev_t dev;
	ino_t ino;
	int64_t size;
	int64_t unread; /* bytes that may still be read from it */
	bool verified;  /* its checksum was right */
};

struct range {
	const struct external_file *file;
	int64_t offset, size;
	void *data;
};

struct request {
	const char *location, *checksum;
	int64_t offset, length; /* -1: not given */
	const struct loc *loc;
	const char *what;
};

static bool bad(struct importer *im, const struct request *r,
		enum exit_code code, const char *why)
{
	return diag_error(&im->c->diag, code, r->loc,
			  "%s: external data '%s' %s", r->what,
			  brief(im, r->location ? r->location : ""), why);
}

/* ---- the request ---------------------------------------------------- */

/* Digits only: no sign, space, exponent or other base. */
static bool parse_decimal(const char *s, int64_t *v)
{
	*v = 0;
	if (!*s)
		return false;
	for (; *s; s++) {
		int digit = *s - '0';

		if (digit < 0 || digit > 9 || *v > (INT64_MAX - digit) / 10)
			return false;
		*v = *v * 10 + digit;
	}
	return true;
}

static bool set_once(struct importer *im, struct request *r, const char **dst,
		     const char *value)
{
	if (*dst)
		return bad(im, r, EXIT_MODEL, "has a key twice");
	*dst = value;
	return true;
}

static bool read_request(struct importer *im, const Onnx__TensorProto *t,
			 struct request *r)
{
	const char *offset = NULL, *length = NULL;

	for (size_t i = 0; i < t->n_external_data; i++) {
		const Onnx__StringStringEntryProto *e = t->external_data[i];
		const char *key = e->key ? e->key : "";
		const char *value = e->value ? e->value : "";
		const char **dst = !strcmp(key, "location")   ? &r->location
				   : !strcmp(key, "offset")   ? &offset
				   : !strcmp(key, "length")   ? &length
				   : !strcmp(key, "checksum") ? &r->checksum
							      : NULL;

		if (dst && !set_once(im, r, dst, value))
			return false;
	}
	if (!r->location)
		return bad(im, r, EXIT_MODEL, "has no location");
	if (offset && !parse_decimal(offset, &r->offset))
		return bad(im, r, EXIT_MODEL, "has an invalid offset");
	if (length && !parse_decimal(length, &r->length))
		return bad(im, r, EXIT_MODEL, "has an invalid length");
	return true;
}

/* Spellings that are no relative path below a directory on any system. */
static const char *location_fault(const char *s)
{
	size_t len = strlen(s);

	if (!len)
		return "has an empty location";
	if (len >= PATH_MAX)
		return "has too long a path";
	if (*s == '/' || *s == '\\' ||
	    (isalpha((unsigned char)*s) && s[1] == ':'))
		return "has an absolute path";
	if (strchr(s, '\\') || strstr(s, "://"))
		return "is not a relative path with '/'";
	if (s[len - 1] == '/' || !strcmp(s, "."))
		return "names a directory";
	for (const char *p = s; p; p = strchr(p, '/')) {
		p += *p == '/';
		if (!strncmp(p, "..", 2) && (p[2] == '/' || !p[2]))
			return "leaves the directory of the model";
	}
	return NULL;
}

/* ---- the directory -------------------------------------------------- */

static char *directory_of(struct importer *im, const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return arena_str(&im->arena, ".", 1);
	return arena_str(&im->arena, path,
			 slash == path ? 1 : (size_t)(slash - path));
}

/* The model's directory relative to the root, with a '/' behind it; "" when
 * it is the root or not below it. */
static const char *place_below(struct importer *im, const char *root,
			       const char *dir)
{
	char *r = realpath(root, NULL), *d = realpath(dir, NULL);
	const char *below = "";

	if (r && d) {
		size_t n = strlen(r);

		while (n && r[n - 1] == '/')
			n--;
		if (!strncmp(r, d, n) && d[n] == '/' && d[n + 1])
			below = arena_fmt(&im->arena, "%s/", d + n + 1);
	}
	free(r);
	free(d);
	return below;
}

static bool root_open(struct importer *im, const struct request *r)
{
	const char *dir = directory_of(im, im->path);
	const char *root = im->opt ? im->opt->data_root : NULL;

	if (im->root >= 0)
		return true;
	im->below_root = root ? place_below(im, root, dir) : "";
	im->root = directory_open(root ? root : dir);
	return im->root >= 0 ||
	       bad(im, r, EXIT_IO,
		   arena_fmt(&im->arena,
			     "is in a directory that cannot be "
			     "opened: %s",
			     strerror(errno)));
}

/* ---- files ---------------------------------------------------------- */

static bool file_reopen(struct importer *im, const struct request *r,
			struct file *f)
{
	const char *path =
		arena_fmt(&im->arena, "%s%s", im->below_root, r->location);

	switch (file_open_beneath(im->root, path, f)) {
	case FILE_OK: return true;
	case FILE_NOT_REGULAR:
		return bad(im, r, EXIT_IO, "is not a regular file");
	case FILE_LEAVES:
		return bad(im, r, EXIT_MODEL,
			   "leaves the directory of the model (see "
			   "--data-root)");
	case FILE_NOT_OPENED: break;
	}
	return bad(
		im, r, EXIT_IO,
		arena_fmt(&im->arena, "cannot be opened: %s", strerror(errno)));
}

/* For who writes make rules and must not overwrite an input. */
static void report_opened(struct importer *im, const char *location)
{
	const struct frontend_options *o = im->opt;

	if (!o || !o->opened)
		return;
	o->opened(o->opened_arg,
		  arena_fmt(&im->arena, "%s/%s%s",
			    o->data_root ? o->data_root
					 : directory_of(im, im->path),
			    im->below_root, location));
}

/* The open file of a location, and what must stay true of it. */
static struct external_file *file_get(struct importer *im,
				      const struct request *r)
{
	const char *location = intern(im, r->location);
	struct external_file *e = map_get(&im->files, key_of(location));
	struct file *f = &im->open;

	if (e && im->open_file == e)
		return e;
	file_close(f);
	im->open_file = NULL;
	if (!root_open(im, r) || !file_reopen(im, r, f))
		return NULL;
	if (e && (e->dev != f->dev || e->ino != f->ino || e->size != f->size)) {
		bad(im, r, EXIT_IO, "changed while the model was read");
		return NULL;
	}
	if (f->size > MAX_EXTERNAL_FILE) {
		bad(im, r, EXIT_LIMIT, "has more than 64 GiB");
		return NULL;
	}
	if (!e) {
		e = NEW(&im->arena, struct external_file);
		*e = (struct external_file){ location, f->dev,  f->ino,
					     f->size,  f->size, false };
		map_put(&im->files, key_of(location), e);
		report_opened(im, location);
	}
	im->open_file = e;
	return e;
}

static bool verify_checksum(struct importer *im, const struct request *r,
			    struct external_file *e)
{
	char hex[41];

	if (!r->checksum || e->verified)
		return true;
	if (!sha1_file(&im->open, hex))
		return bad(im, r, EXIT_IO, "cannot be read");
	if (strlen(r->checksum) != 40)
		return bad(im, r, EXIT_MODEL, "has an invalid checksum");
	for (int i = 0; i < 40; i++)
		if (tolower((unsigned char)r->checksum[i]) != hex[i])
			return bad(im, r, EXIT_MODEL,
				   "does not have the checksum that the model "
				   "states");
	e->verified = true;
	return true;
}

/* ---- ranges --------------------------------------------------------- */

static int range_eq(const void *obj, const void *key)
{
	const struct range *a = obj, *b = key;

	return a->file == b->file && a->offset == b->offset &&
	       a->size == b->size;
}

static bool range_read(struct importer *im, const struct request *r,
		       struct external_file *e, int64_t offset, int64_t size,
		       void **data)
{
	struct range key = { e, offset, size, NULL };
	int64_t f[] = { offset, size };
	uint64_t h = hash_bytes(hash_bytes(HASH_INIT, f, sizeof(f)),
				e->location, strlen(e->location));
	struct range *found = intern_find(&im->ranges, h, range_eq, &key);

	if (found) {
		*data = found->data;
		return true;
	}
	/* Ranges may overlap, but not to make much out of little. */
	if (size > e->unread + e->size || size > im->external_left)
		return bad(im, r, EXIT_LIMIT,
			   "is read several times over by overlapping tensors");
	e->unread -= size;
	im->external_left -= size;
	found = NEW(&im->arena, struct range);
	*found = key;
	found->data = *data = arena_alloc(&im->c->perm, (size_t)size);
	if (!model_file_read(&im->open, *data, offset, size))
		return bad(im, r, EXIT_IO, "cannot be read");
	intern_add(&im->ranges, h, found);
	return true;
}

bool external_read(struct importer *im, const Onnx__TensorProto *t,
		   int64_t size, void **data, const struct loc *loc,
		   const char *what)
{
	struct request r = {
		.offset = 0, .length = -1, .loc = loc, .what = what
	};

	if (!read_request(im, t, &r))
		return false;
	const char *fault = location_fault(r.location);

	if (fault)
		return bad(im, &r, EXIT_MODEL, fault);
	struct external_file *e = file_get(im, &r);

	if (!e)
		return false;
	/* Without a length the rest of the file is meant. */
	if (r.offset > e->size)
		return bad(im, &r, EXIT_MODEL, "ends before the offset");
	if (r.length < 0)
		r.length = e->size - r.offset;
	if (r.length > e->size - r.offset)
		return bad(im, &r, EXIT_MODEL, "ends before the tensor does");
	if (r.length != size)
		return bad(im, &r, EXIT_MODEL,
			   arena_fmt(&im->arena,
				     "has %lld bytes for it, its type asks "
				     "for %lld",
				     (long long)r.length, (long long)size));
	return verify_checksum(im, &r, e) &&
	       range_read(im, &r, e, r.offset, size, data);
}

void external_close(struct importer *im)
{
	struct file root = { .fd = im->root };

	file_close(&im->open);
	file_close(&root);
	map_free(&im->files);
	map_free(&im->ranges);
}
