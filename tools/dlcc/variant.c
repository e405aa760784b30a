/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model compiled into this process and called on one sample after the other,
 * each call in memory of its own.
 *
 * A sample is a folder with input_0.pb or input_0.npy and so on.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run.h"

/* Symbolic dims of random inputs that nothing decides. */
enum { RANDOM_DIM = 16 };

void variant_init(struct variant *v, const struct options *o)
{
	*v = (struct variant){ .own = *o };
	v->own.run = true;
	v->own.no_warnings = true;
	/* Results are compared as floats. */
	v->own.io_quantized = false;
	v->own.bench = v->own.time_passes = false;
	v->own.weights = v->own.print_after = NULL;
	/* The code runs here and nowhere else. */
	v->own.target = v->own.features = NULL;
	v->own.cpu = "native";
	v->r.o = v->r.job.o = &v->own;
	v->r.job.prefix = "variant";
}

bool variant_load(struct variant *v)
{
	if (!job_compile(&v->r.job, CODEGEN_OBJ))
		return false;
	v->l = model_load(&v->r);
	run_use_table(&v->r, v->l.model);
	return true;
}

int variant_call(struct variant *v, const char *dir, uint64_t seed,
		 struct run *call)
{
	struct options own = v->own;
	int status;

	*call = v->r;
	own.seed = seed;
	call->o = &own;
	call->a = (struct arena){ 0 };
	call->n_in -= v->last != NULL;
	if (!dir)
		run_random(call, RANDOM_DIM);
	else if (!run_sample(call, dir))
		fatal(EXIT_IO, "%s has no input_0.pb or .npy", dir);
	if (v->last)
		call->in[call->n_in++] = *v->last;
	status = run_report(call, &v->l, run_call(call, &v->l));
	call->o = &v->own;
	return status;
}

void variant_free(struct variant *v)
{
	if (v->l.handle)
		dlclose(v->l.handle);
	job_free(&v->r.job);
	arena_free(&v->r.a);
}

/* ---- samples -------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool has_input(struct arena *a, const char *dir)
{
	return !access(arena_fmt(a, "%s/input_0.pb", dir), F_OK) ||
	       !access(arena_fmt(a, "%s/input_0.npy", dir), F_OK);
}

struct samples samples_list(struct arena *a, const char *root)
{
	VEC(char *) dirs = { 0 };
	DIR *d = opendir(root);

	if (!d)
		fatal(EXIT_IO, "cannot open %s: %s", root, strerror(errno));
	if (has_input(a, root))
		vec_push(&dirs, arena_fmt(a, "%s", root));
	for (struct dirent *e; (e = readdir(d));) {
		char *path = arena_fmt(a, "%s/%s", root, e->d_name);

		if (e->d_name[0] != '.' && has_input(a, path))
			vec_push(&dirs, path);
	}
	closedir(d);
	if (!dirs.n)
		fatal(EXIT_IO, "%s holds no sample: neither input_0.pb or .npy "
		      "nor folders with one", root);
	qsort(dirs.v, dirs.n, sizeof(*dirs.v), by_text);
	struct samples s = { arena_copy(a, dirs.v, dirs.n * sizeof(*dirs.v)),
			     dirs.n };

	vec_free(&dirs);
	return s;
}
