/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls a compiled model.  Every buffer ends at a page that cannot be touched
 * and lies in its own mapping, so that an access out of bounds is a crash here
 * rather than a wrong answer elsewhere.
 */
#define _DEFAULT_SOURCE		/* MAP_ANONYMOUS */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/vec.h"
#include "run.h"
#include "tensor_file.h"

enum {
	ALIGN = 64,
	/* Fills what the model must not read before it writes: as floats, a
	 * NaN, and a value that is no small integer. */
	FILL = 0xff,
	BENCH_MIN_CALLS = 5,
	BENCH_MAX_CALLS = 10000,
};

static const int64_t bench_ns = INT64_C(2000000000);

/* Where unknown sizes start, and where the search for them ends. */
static const size_t first_guess = (size_t)1 << 20;
static const size_t last_guess = (size_t)1 << 36;

struct guarded {
	char *map;
	size_t map_size;
	void *data;
	size_t size;
};

static struct guarded guarded_new(size_t size, size_t align)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct guarded g = { .size = size };

	if (size > SIZE_MAX / 2)
		fatal(EXIT_LIMIT, "a buffer of %zu bytes is too large", size);
	size_t used = (size + align + page - 1) / page * page;

	g.map_size = used + 2 * page;
	g.map = mmap(NULL, g.map_size, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (g.map == MAP_FAILED)
		fatal(EXIT_LIMIT, "no memory for a buffer of %zu bytes", size);
	if (mprotect(g.map, page, PROT_NONE) ||
	    mprotect(g.map + page + used, page, PROT_NONE))
		fatal(EXIT_LIMIT, "cannot protect a page: %s",
		      strerror(errno));
	g.data = g.map + (page + used - size) / align * align;
	return g;
}

static void guarded_free(struct guarded *g)
{
	if (g->map)
		munmap(g->map, g->map_size);
	g->map = NULL;
}

/* ---- sizes ---------------------------------------------------------- */

struct call {
	struct run *r;
	const struct dlrt_model *model;
	struct guarded *in, *out, workspace;
	const void **in_ptr;
	void **out_ptr;
	size_t *out_bytes;
	int64_t *out_dims;
	struct dlrt_call c;
};

static bool sym_value(void *arg, const struct atom *a, int64_t *v)
{
	struct run *r = arg;

	for (uint32_t i = 0; i < r->n_dim; i++)
		if (r->job.abi->dim[i] == a) {
			*v = r->dim[i];
			return true;
		}
	return false;
}

/* A dim of an output, when it follows from those of the inputs. */
static bool out_dim(struct run *r, uint32_t i, int32_t k, int64_t *v)
{
	int64_t d = r->out_type[i].dims[k];

	if (d >= 0)
		*v = d;
	else if (d != DLRT_DIM_UNKNOWN)
		*v = r->dim[-1 - d];
	else if (r->job.abi && r->job.abi->out[i].sized)
		return expr_eval(r->job.abi->out[i].dim[k], sym_value, r, v) &&
		       *v >= 0;
	else
		return false;
	return true;
}

static size_t out_size(struct run *r, uint32_t i, size_t guess)
{
	const struct dlrt_tensor *type = &r->out_type[i];
	struct tensor t = { .rank = (unsigned)type->rank };

	if (!dtype_from_onnx(type->dtype, &t.dtype) || t.rank > MAX_RANK)
		fatal(EXIT_UNSUPPORTED, "output '%s' has a type that dlcc "
		      "does not know", type->name);
	r->out[i] = t;
	for (unsigned k = 0; k < t.rank; k++)
		if (!out_dim(r, i, (int32_t)k, &t.dim[k]))
			return guess;
	return tensor_bytes(&t, type->name);
}

static bool all_sized(struct run *r)
{
	int64_t v;

	for (uint32_t i = 0; i < r->n_out; i++)
		for (int32_t k = 0; k < r->out_type[i].rank; k++)
			if (!out_dim(r, i, k, &v))
				return false;
	return true;
}

/* ---- buffers -------------------------------------------------------- */

/* Timing wants what a program would have; a test the tightest fit. */
static size_t tensor_align(struct run *r, enum dtype t)
{
	return r->o->bench ? ALIGN : dtype_size(t);
}

static void make_inputs(struct call *c)
{
	struct run *r = c->r;

	for (uint32_t i = 0; i < r->n_in; i++) {
		const struct tensor *t = &r->in[i];
		size_t n = tensor_bytes(t, r->in_type[i].name);

		c->in[i] = guarded_new(n, tensor_align(r, t->dtype));
		if (n)
			memcpy(c->in[i].data, t->data, n);
		c->in_ptr[i] = c->in[i].data;
	}
}

static void make_outputs(struct call *c, size_t guess)
{
	struct run *r = c->r;

	for (uint32_t i = 0; i < r->n_out; i++) {
		size_t n = out_size(r, i, guess);

		guarded_free(&c->out[i]);
		c->out[i] = guarded_new(n, tensor_align(r, r->out[i].dtype));
		memset(c->out[i].data, FILL, n);
		c->out_ptr[i] = c->out[i].data;
		c->out_bytes[i] = n;
	}
}

static void make_workspace(struct call *c, size_t guess)
{
	size_t need = c->model->workspace(c->c.dims);

	guarded_free(&c->workspace);
	/* What is only known while the model runs comes on top. */
	need = need > guess ? need : guess;
	need = (need + ALIGN - 1) / ALIGN * ALIGN;
	c->workspace = guarded_new(need, ALIGN);
	memset(c->workspace.data, FILL, need);
	c->c.workspace = c->workspace.data;
	c->c.workspace_bytes = need;
}

static void call_init(struct call *c, struct run *r, const struct loaded *l)
{
	size_t n_dims = 0;

	*c = (struct call){ .r = r, .model = l->model };
	for (uint32_t i = 0; i < r->n_out; i++)
		n_dims += (size_t)r->out_type[i].rank;
	c->in = NEW_ARRAY(&r->a, r->n_in + 1, struct guarded);
	c->out = NEW_ARRAY(&r->a, r->n_out + 1, struct guarded);
	c->in_ptr = NEW_ARRAY(&r->a, r->n_in + 1, const void *);
	c->out_ptr = NEW_ARRAY(&r->a, r->n_out + 1, void *);
	c->out_bytes = NEW_ARRAY(&r->a, r->n_out + 1, size_t);
	c->out_dims = NEW_ARRAY(&r->a, n_dims + 1, int64_t);
	c->c = (struct dlrt_call){
		.inputs = c->in_ptr, .outputs = c->out_ptr, .dims = r->dim,
		.output_bytes = c->out_bytes, .out_dims = c->out_dims,
		.weights = l->weights,
	};
	make_inputs(c);
}

/* Copies the outputs out, with the dims that the model reported. */
static void take_outputs(struct call *c)
{
	struct run *r = c->r;
	const int64_t *d = c->out_dims;

	for (uint32_t i = 0; i < r->n_out; i++) {
		struct tensor *t = &r->out[i];

		for (unsigned k = 0; k < t->rank; k++)
			t->dim[k] = *d++;
		size_t n = tensor_bytes(t, r->out_type[i].name);

		if (n > c->out[i].size)
			fatal(EXIT_STATUS, "output '%s' is larger than its "
			      "buffer", r->out_type[i].name);
		t->data = arena_alloc(&r->a, n + 1);
		memcpy(t->data, c->out[i].data, n);
	}
}

static void call_free(struct call *c)
{
	for (uint32_t i = 0; i < c->r->n_in; i++)
		guarded_free(&c->in[i]);
	for (uint32_t i = 0; i < c->r->n_out; i++)
		guarded_free(&c->out[i]);
	guarded_free(&c->workspace);
}

/* ---- calls ---------------------------------------------------------- */

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void bench(struct call *c)
{
	VEC(int64_t) ns = { 0 };
	int64_t start = now_ns(), end;

	do {
		int64_t t0 = now_ns();

		c->model->invoke(&c->c);
		end = now_ns();
		vec_push(&ns, end - t0);
	} while (ns.n < BENCH_MIN_CALLS ||
		 (end - start < bench_ns && ns.n < BENCH_MAX_CALLS));
	qsort(ns.v, ns.n, sizeof(*ns.v), by_value);
	printf("%.6g ms median, %.6g ms least, %zu calls, %u threads\n",
	       (double)ns.v[ns.n / 2] * 1e-6, (double)ns.v[0] * 1e-6, ns.n,
	       dlrt_pool_threads(c->c.pool));
	vec_free(&ns);
}

/* Outputs and intermediates whose size depends on the data get more and more
 * room until it is enough. */
static int32_t call_growing(struct call *c)
{
	size_t guess = first_guess;

	for (;;) {
		make_outputs(c, guess);
		make_workspace(c, guess == first_guess ? 0 : guess);
		int32_t ret = c->model->invoke(&c->c);

		if (DLRT_STATUS(ret) != DLRT_WORKSPACE || guess >= last_guess)
			return ret;
		guess *= 4;
	}
}

int32_t run_call(struct run *r, const struct loaded *l)
{
	struct call c;
	int32_t ret;

	call_init(&c, r, l);
	if (r->o->threads != 1)
		c.c.pool = dlrt_pool_create(r->o->threads);
	if (r->o->verbose && !all_sized(r))
		fprintf(stderr, "dlcc: outputs of unknown size start with "
			"%zu bytes\n", first_guess);
	ret = call_growing(&c);
	if (!ret || DLRT_STATUS(ret) == DLRT_INDEX ||
	    DLRT_STATUS(ret) == DLRT_DIVZERO) {
		take_outputs(&c);
		if (r->o->bench)
			bench(&c);
	}
	dlrt_pool_destroy(c.c.pool);
	call_free(&c);
	return ret;
}
