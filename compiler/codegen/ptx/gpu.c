/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From kernels to images: programs of some kernels each, compiled for every
 * architecture on a few threads, in an order that nothing shows.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codegen/ptx/cu.h"
#include "codegen/ptx/kernels.h"
#include "codegen/ptx/report.h"
#include "dlrt.h"

enum {
	PER_PROGRAM = 16,	/* kernels of a program */
	MAX_THREADS = 16,
};

/* One program for one architecture. */
struct task {
	const char *text;
	const struct gpu *gpu;
	unsigned program;
	bool want_ptx, ok;
	struct blob cubin, ptx;
	char *log;
};

struct work {
	struct nvrtc *nvrtc;
	VEC(struct task) task;
	size_t next;
	pthread_mutex_t lock;
};

static void *work_thread(void *arg)
{
	struct work *w = arg;

	for (;;) {
		pthread_mutex_lock(&w->lock);
		size_t i = w->next++;

		pthread_mutex_unlock(&w->lock);
		if (i >= w->task.n)
			return NULL;
		struct task *t = &w->task.v[i];

		t->ok = nvrtc_compile(w->nvrtc, t->text, t->gpu->name,
				      &t->cubin, t->want_ptx ? &t->ptx : NULL,
				      &t->log);
	}
}

static void work_all(struct work *w)
{
	pthread_t thread[MAX_THREADS];
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned started = 0;

	if (n > MAX_THREADS)
		n = MAX_THREADS;
	if (n > (long)w->task.n)
		n = (long)w->task.n;
	pthread_mutex_init(&w->lock, NULL);
	/* Fewer threads take longer, no more. */
	while (started + 1 < n &&
	       !pthread_create(&thread[started], NULL, work_thread, w))
		started++;
	work_thread(w);
	while (started)
		pthread_join(thread[--started], NULL);
	pthread_mutex_destroy(&w->lock);
}

/* The text of each program, malloc'ed. */
static void make_texts(const struct cuda_kernels *all, char **text, size_t n)
{
	for (size_t p = 0; p < n; p++) {
		size_t size;
		FILE *f = open_memstream(&text[p], &size);

		if (!f)
			fatal(EXIT_LIMIT, "out of memory");
		fputs(gpu_prelude, f);
		for (size_t i = p * PER_PROGRAM;
		     i < all->kernel.n && i < (p + 1) * PER_PROGRAM; i++)
			cuda_put(f, &all->kernel.v[i]);
		fclose(f);
	}
}

static void plan(struct ctx *c, struct work *w, char **text, size_t n)
{
	const struct gpu *const *gpu = c->target->gpu;
	size_t least = 0;

	/* PTX is for later ones: it may not be that of one alone. */
	while (least + 1 < MAX_GPUS && gpu[least + 1] && gpu[least]->only)
		least++;
	for (size_t p = 0; p < n; p++) {
		for (size_t i = 0; i < MAX_GPUS && gpu[i]; i++)
			vec_push(&w->task,
				 ((struct task){ .text = text[p],
						 .gpu = gpu[i],
						 .program = (unsigned)p,
						 .want_ptx = i == least }));
	}
}

static void add_image(struct gpu_code *code, const struct task *t,
		      unsigned kind, struct blob data)
{
	vec_push(&code->image, ((struct gpu_image){ .program = t->program,
						    .kind = kind,
						    .arch = t->gpu->arch,
						    .only = t->gpu->only,
						    .data = data }));
}

static bool collect(struct ctx *c, struct work *w, struct gpu_code *code,
		    struct report *report)
{
	bool ok = true;

	for (size_t i = 0; i < w->task.n; i++) {
		struct task *t = &w->task.v[i];

		if (!t->ok && ok) {
			ok = false;
			bug(&c->diag, "NVRTC refuses the kernels for %s: %s",
			    t->gpu->name, t->log);
		}
		code->spills |= nvrtc_spills(t->log);
		report_read(report, t->gpu, t->log);
		free(t->log);
		add_image(code, t, DLRT_CUBIN, t->cubin);
		if (t->want_ptx)
			add_image(code, t, DLRT_PTX, t->ptx);
	}
	return ok;
}

bool codegen_gpu(struct module *m, const struct codegen_options *o,
		 struct gpu_code *code)
{
	struct ctx *c = m->ctx;
	struct work w = { .nvrtc = nvrtc_open(c, o->nvrtc) };
	struct report report = { 0 };
	struct cuda_kernels all;

	*code = (struct gpu_code){ 0 };
	if (!w.nvrtc)
		return false;
	code->min_driver = nvrtc_min_driver(w.nvrtc);
	cuda_kernels(m, &all);
	size_t n = (all.kernel.n + PER_PROGRAM - 1) / PER_PROGRAM;
	char **text = NEW_ARRAY(&c->temp, n + 1, char *);

	make_texts(&all, text, n);
	plan(c, &w, text, n);
	work_all(&w);
	bool ok = collect(c, &w, code, &report);

	for (size_t i = 0; i < all.launch.n; i++)
		vec_push(&code->launch, all.launch.v[i]);
	for (size_t i = 0; i < all.kernel.n; i++) {
		struct gpu_kernel row = all.kernel.v[i].row;

		row.program = (unsigned)(i / PER_PROGRAM);
		vec_push(&code->kernel, row);
	}
	if (ok && o->report)
		code->report = report_text(&report, c, &all);
	for (size_t p = 0; p < n; p++)
		free(text[p]);
	vec_free(&w.task);
	vec_free(&report);
	cuda_kernels_free(&all);
	return ok;
}

void gpu_code_free(struct gpu_code *code)
{
	for (size_t i = 0; i < code->image.n; i++)
		free((void *)(uintptr_t)code->image.v[i].data.data);
	free(code->report);
	vec_free(&code->image);
	vec_free(&code->kernel);
	vec_free(&code->launch);
}
