/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams, their capture into graphs, events, copies and launches.
 *
 * Work runs when it is submitted; a capturing stream records it instead, and
 * the launch of a graph runs what was recorded, in that order.
 */
#define _GNU_SOURCE
#include "driver.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct stream *streams;

/* A stream's capture that forbids what this thread is about to do. */
static struct stream *forbidding(void)
{
	for (struct stream *s = streams; s; s = s->next)
		if (s->capturing && s->is_origin && s->mode != 2 &&
		    (s->mode == 0 || pthread_equal(s->thread, pthread_self())))
			return s;
	return NULL;
}

int ready_unsafe(void)
{
	int status = ready();
	struct stream *s = status ? NULL : forbidding();

	if (!s)
		return status;
	s->invalid = true;
	return EMU_CAPTURE_UNSUPPORTED;
}

/* Blocking copies use the legacy stream, which waits for blocking ones. */
static int ready_blocking(void)
{
	int status = ready();

	if (status)
		return status;
	for (struct stream *s = streams; s; s = s->next) {
		if (!s->capturing || s->flags & 1)
			continue;
		s->invalid = true;
		return EMU_CAPTURE_IMPLICIT;
	}
	return ready_unsafe();
}

int stream_check(const struct stream *s)
{
	/* NULL, and the two names of default streams. */
	if ((uintptr_t)s <= 2)
		return EMU_OK;
	for (const struct stream *t = streams; t; t = t->next)
		if (t == s)
			return EMU_OK;
	return EMU_INVALID_HANDLE;
}

static bool is_capturing(const struct stream *s)
{
	return (uintptr_t)s > 2 && s->capturing;
}

int copy_bytes(enum direction dir, uint64_t dst, uint64_t src, uint64_t n)
{
	void *d = dir == TO_HOST ? (void *)(uintptr_t)dst : mem_range(dst, n);
	void *s = dir == TO_DEVICE ? (void *)(uintptr_t)src : mem_range(src, n);

	if (!n)
		return EMU_OK;
	if (!d || !s) {
		note("a copy of %llu bytes is outside of an allocation",
		     (unsigned long long)n);
		return EMU_INVALID_VALUE;
	}
	memmove(d, s, n);
	return EMU_OK;
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int run_node(const struct node *n)
{
	int status = EMU_OK;
	void *d;

	switch (n->kind) {
	case N_KERNEL:
		status = launch_run(n->func, n->grid, n->dim, n->shared,
				    n->params);
		if (status)
			primary.error = status;
		return status;
	case N_COPY: return copy_bytes(n->dir, n->dst, n->src, n->size);
	case N_SET:
		d = mem_range(n->dst, n->size);
		if (d)
			memset(d, n->value, n->size);
		return d ? EMU_OK : EMU_INVALID_VALUE;
	case N_EVENT:
		n->event->time = now();
		n->event->recorded = true;
		return EMU_OK;
	}
	return status;
}

static struct node *copy_node(const struct node *n)
{
	struct node *c = malloc(sizeof(*c));

	*c = *n;
	c->next = NULL;
	if (n->kind == N_KERNEL) {
		c->params = malloc(n->func->param_bytes + 1);
		memcpy(c->params, n->params, n->func->param_bytes);
	}
	return c;
}

static struct graph *new_graph(void)
{
	struct graph *g = calloc(1, sizeof(*g));

	g->last = &g->first;
	return g;
}

static void graph_add(struct graph *g, const struct node *n)
{
	*g->last = copy_node(n);
	g->last = &(*g->last)->next;
}

void free_graph(struct graph *g)
{
	for (struct node *n = g->first, *next; n; n = next) {
		next = n->next;
		if (n->kind == N_KERNEL)
			free(n->params);
		free(n);
	}
	free(g);
}

/* Work on the legacy stream while a blocking one captures is not allowed. */
static int legacy_conflict(const struct stream *s)
{
	if ((uintptr_t)s == 2 || (uintptr_t)s > 2)
		return EMU_OK;
	for (struct stream *t = streams; t; t = t->next) {
		if (!t->capturing || t->flags & 1)
			continue;
		t->invalid = true;
		return EMU_CAPTURE_IMPLICIT;
	}
	return EMU_OK;
}

int submit(struct stream *s, const struct node *n)
{
	int status = stream_check(s);

	if (status)
		return status;
	if (is_capturing(s)) {
		if (s->origin->invalid)
			return EMU_CAPTURE_INVALIDATED;
		graph_add(s->origin->graph, n);
		return EMU_OK;
	}
	status = legacy_conflict(s);
	return status ? status : run_node(n);
}

EXPORT int cuStreamCreate(struct stream **s, unsigned flags);
int cuStreamCreate(struct stream **s, unsigned flags)
{
	LOCKED;
	int status = ready();

	if (status)
		return status;
	*s = calloc(1, sizeof(**s));
	(*s)->flags = flags;
	(*s)->next = streams;
	streams = *s;
	return EMU_OK;
}

EXPORT int cuStreamCreateWithPriority(struct stream **s, unsigned flags,
				      int priority);
int cuStreamCreateWithPriority(struct stream **s, unsigned flags, int priority)
{
	(void)priority;
	return cuStreamCreate(s, flags);
}

EXPORT int cuStreamDestroy_v2(struct stream *s);
int cuStreamDestroy_v2(struct stream *s)
{
	LOCKED;
	struct stream **p = &streams;

	while (*p && *p != s)
		p = &(*p)->next;
	if (!*p)
		return EMU_INVALID_HANDLE;
	*p = s->next;
	if (s->capturing && s->is_origin)
		free_graph(s->graph);
	free(s);
	return EMU_OK;
}

EXPORT int cuStreamSynchronize(struct stream *s);
int cuStreamSynchronize(struct stream *s)
{
	LOCKED;
	int status = ready();

	if (!status)
		status = stream_check(s);
	if (status)
		return status;
	if (is_capturing(s)) {
		s->origin->invalid = true;
		return EMU_CAPTURE_UNSUPPORTED;
	}
	return legacy_conflict(s);
}

EXPORT int cuStreamQuery(struct stream *s);
int cuStreamQuery(struct stream *s)
{
	return cuStreamSynchronize(s);
}

EXPORT int cuStreamBeginCapture_v2(struct stream *s, int mode);
int cuStreamBeginCapture_v2(struct stream *s, int mode)
{
	LOCKED;
	int status = ready();

	if (!status)
		status = stream_check(s);
	if (status)
		return status;
	if ((uintptr_t)s <= 2)
		return EMU_CAPTURE_UNSUPPORTED;
	if (s->capturing)
		return ILLEGAL_STATE;
	s->capturing = s->is_origin = true;
	s->invalid = false;
	s->mode = mode;
	s->thread = pthread_self();
	s->origin = s;
	s->graph = new_graph();
	return EMU_OK;
}

static void leave_capture(struct stream *origin)
{
	for (struct stream *t = streams; t; t = t->next)
		if (t->origin == origin)
			t->capturing = t->is_origin = false, t->origin = NULL;
}

EXPORT int cuStreamEndCapture(struct stream *s, struct graph **graph);
int cuStreamEndCapture(struct stream *s, struct graph **graph)
{
	LOCKED;
	int status = ready();
	bool invalid;

	*graph = NULL;
	if (!status)
		status = stream_check(s);
	if (status)
		return status;
	if (!is_capturing(s) || !s->is_origin)
		return ILLEGAL_STATE;
	invalid = s->invalid;
	if (invalid)
		free_graph(s->graph);
	else
		*graph = s->graph;
	s->graph = NULL;
	leave_capture(s);
	return invalid ? EMU_CAPTURE_INVALIDATED : EMU_OK;
}

EXPORT int cuStreamIsCapturing(struct stream *s, int *state);
int cuStreamIsCapturing(struct stream *s, int *state)
{
	LOCKED;
	int status = stream_check(s);

	if (!status)
		*state = !is_capturing(s) ? 0 : s->origin->invalid ? 2 : 1;
	return status;
}

EXPORT int cuStreamWaitEvent(struct stream *s, struct event *e, unsigned flags);
int cuStreamWaitEvent(struct stream *s, struct event *e, unsigned flags)
{
	LOCKED;
	int status = stream_check(s);

	(void)flags;
	/* Waiting for an event of a capture joins it. */
	if (!status && (uintptr_t)s > 2 && e->stream &&
	    is_capturing(e->stream) && !s->capturing) {
		s->capturing = true;
		s->is_origin = false;
		s->origin = e->stream->origin;
	}
	return status;
}

EXPORT int cuGraphInstantiateWithFlags(struct graph **exec, struct graph *g,
				       unsigned long long flags);
int cuGraphInstantiateWithFlags(struct graph **exec, struct graph *g,
				unsigned long long flags)
{
	LOCKED;
	int status = ready_unsafe();

	(void)flags;
	if (status)
		return status;
	if (!g)
		return EMU_INVALID_VALUE;
	*exec = new_graph();
	for (struct node *n = g->first; n; n = n->next)
		graph_add(*exec, n);
	return EMU_OK;
}

EXPORT int cuGraphLaunch(struct graph *exec, struct stream *s);
int cuGraphLaunch(struct graph *exec, struct stream *s)
{
	LOCKED;
	int status = ready();

	if (!exec)
		return EMU_INVALID_VALUE;
	for (struct node *n = exec->first; n && !status; n = n->next)
		status = submit(s, n);
	return status;
}

EXPORT int cuGraphUpload(struct graph *exec, struct stream *s);
int cuGraphUpload(struct graph *exec, struct stream *s)
{
	return exec ? stream_check(s) : EMU_INVALID_VALUE;
}

EXPORT int cuGraphDestroy(struct graph *g);
int cuGraphDestroy(struct graph *g)
{
	LOCKED;
	if (!g)
		return EMU_INVALID_VALUE;
	free_graph(g);
	return EMU_OK;
}

EXPORT int cuGraphExecDestroy(struct graph *exec);
int cuGraphExecDestroy(struct graph *exec)
{
	return cuGraphDestroy(exec);
}

/* Limits of the launch; what the driver itself would refuse. */
static int check_launch(const struct func *f, const uint32_t g[3],
			const uint32_t d[3], uint32_t shared)
{
	uint64_t threads = (uint64_t)d[0] * d[1] * d[2];
	uint32_t limit = f->dyn_limit ? f->dyn_limit : 49152;

	if (!g[0] || !g[1] || !g[2] || !threads || g[0] > INT32_MAX ||
	    g[1] > 65535 || g[2] > 65535 || d[0] > 1024 || d[1] > 1024 ||
	    d[2] > 64 || threads > 1024) {
		note("%s: grid %u %u %u or block %u %u %u is out of bounds",
		     f->name, g[0], g[1], g[2], d[0], d[1], d[2]);
		return EMU_INVALID_VALUE;
	}
	if ((f->max_threads && threads > f->max_threads) ||
	    (f->req[0] && memcmp(f->req, d, sizeof(f->req)))) {
		note("%s: %llu threads do not fit its bounds", f->name,
		     (unsigned long long)threads);
		return EMU_INVALID_VALUE;
	}
	if (shared > limit ||
	    (!f->dyn_limit && f->shared_bytes + shared > 49152)) {
		note("%s: %u + %u bytes of shared memory, %u are allowed",
		     f->name, f->shared_bytes, shared, limit);
		return EMU_INVALID_VALUE;
	}
	return EMU_OK;
}

/* From `extra`: pairs of a key and a pointer; 1 buffer, 2 its size, 0 end. */
static int params_extra(const struct func *f, void **extra,
			unsigned char *params)
{
	const void *buffer = NULL;
	size_t size = 0;

	for (; *extra; extra += 2) {
		if (*extra == (void *)1)
			buffer = extra[1];
		else if (*extra == (void *)2)
			size = *(size_t *)extra[1];
		else
			return EMU_INVALID_VALUE;
	}
	if (size != f->param_bytes || (size && !buffer)) {
		note("%s: %zu bytes of parameters, it has %u", f->name, size,
		     f->param_bytes);
		return EMU_INVALID_VALUE;
	}
	memcpy(params, buffer, size);
	return EMU_OK;
}

EXPORT int cuLaunchKernel(const struct func *f, unsigned gx, unsigned gy,
			  unsigned gz, unsigned dx, unsigned dy, unsigned dz,
			  unsigned shared, struct stream *s, void **values,
			  void **extra);
int cuLaunchKernel(const struct func *f, unsigned gx, unsigned gy, unsigned gz,
		   unsigned dx, unsigned dy, unsigned dz, unsigned shared,
		   struct stream *s, void **values, void **extra)
{
	LOCKED;
	/* Aligned as the parameter space of the device is. */
	_Alignas(64) unsigned char params[4352] = { 0 };
	struct node n = { .kind = N_KERNEL,
			  .func = f,
			  .shared = shared,
			  .grid = { gx, gy, gz },
			  .dim = { dx, dy, dz },
			  .params = params };
	int status = ready();

	if (!status && !func_is_live(f))
		status = EMU_INVALID_HANDLE;
	if (!status)
		status = check_launch(f, n.grid, n.dim, shared);
	if (!status && f->param_bytes > 4096)
		status = EMU_INVALID_VALUE;
	if (!status && extra)
		status = params_extra(f, extra, params);
	if (status)
		return status;
	if (!extra && f->n_params && !values)
		return EMU_INVALID_VALUE;
	for (uint32_t i = 0; !extra && i < f->n_params; i++)
		memcpy(params + f->params[i].offset, values[i],
		       f->params[i].size);
	return submit(s, &n);
}

static int copy_now(enum direction dir, uint64_t dst, uint64_t src, size_t n)
{
	LOCKED;
	int status = ready_blocking();

	return status ? status : copy_bytes(dir, dst, src, n);
}

static int copy_async(enum direction dir, uint64_t dst, uint64_t src, size_t n,
		      struct stream *s)
{
	LOCKED;
	struct node node = {
		.kind = N_COPY, .dir = dir, .dst = dst, .src = src, .size = n
	};
	int status = ready();

	return status ? status : submit(s, &node);
}

EXPORT int cuMemcpyHtoD_v2(uint64_t dst, const void *src, size_t n);
int cuMemcpyHtoD_v2(uint64_t dst, const void *src, size_t n)
{
	return copy_now(TO_DEVICE, dst, (uintptr_t)src, n);
}

EXPORT int cuMemcpyDtoH_v2(void *dst, uint64_t src, size_t n);
int cuMemcpyDtoH_v2(void *dst, uint64_t src, size_t n)
{
	return copy_now(TO_HOST, (uintptr_t)dst, src, n);
}

EXPORT int cuMemcpyDtoD_v2(uint64_t dst, uint64_t src, size_t n);
int cuMemcpyDtoD_v2(uint64_t dst, uint64_t src, size_t n)
{
	return copy_now(ON_DEVICE, dst, src, n);
}

EXPORT int cuMemcpyHtoDAsync_v2(uint64_t dst, const void *src, size_t n,
				struct stream *s);
int cuMemcpyHtoDAsync_v2(uint64_t dst, const void *src, size_t n,
			 struct stream *s)
{
	return copy_async(TO_DEVICE, dst, (uintptr_t)src, n, s);
}

EXPORT int cuMemcpyDtoHAsync_v2(void *dst, uint64_t src, size_t n,
				struct stream *s);
int cuMemcpyDtoHAsync_v2(void *dst, uint64_t src, size_t n, struct stream *s)
{
	return copy_async(TO_HOST, (uintptr_t)dst, src, n, s);
}

EXPORT int cuMemcpyDtoDAsync_v2(uint64_t dst, uint64_t src, size_t n,
				struct stream *s);
int cuMemcpyDtoDAsync_v2(uint64_t dst, uint64_t src, size_t n, struct stream *s)
{
	return copy_async(ON_DEVICE, dst, src, n, s);
}

EXPORT int cuMemsetD8Async(uint64_t dst, unsigned char value, size_t n,
			   struct stream *s);
int cuMemsetD8Async(uint64_t dst, unsigned char value, size_t n,
		    struct stream *s)
{
	LOCKED;
	struct node node = {
		.kind = N_SET, .dst = dst, .value = value, .size = n
	};
	int status = ready();

	return status ? status : submit(s, &node);
}

EXPORT int cuMemsetD8_v2(uint64_t dst, unsigned char value, size_t n);
int cuMemsetD8_v2(uint64_t dst, unsigned char value, size_t n)
{
	return cuMemsetD8Async(dst, value, n, NULL);
}

EXPORT int cuEventCreate(struct event **e, unsigned flags);
int cuEventCreate(struct event **e, unsigned flags)
{
	int status = ready();

	(void)flags;
	if (!status)
		*e = calloc(1, sizeof(**e));
	return status;
}

EXPORT int cuEventRecord(struct event *e, struct stream *s);
int cuEventRecord(struct event *e, struct stream *s)
{
	LOCKED;
	struct node node = { .kind = N_EVENT, .event = e };
	int status = ready();

	if (!status)
		status = submit(s, &node);
	if (!status)
		e->stream = is_capturing(s) ? s : NULL;
	return status;
}

EXPORT int cuEventSynchronize(struct event *e);
int cuEventSynchronize(struct event *e)
{
	LOCKED;
	int status = ready();

	if (!status && e->stream && is_capturing(e->stream))
		return EMU_CAPTURE_UNSUPPORTED;
	return status;
}

EXPORT int cuEventQuery(struct event *e);
int cuEventQuery(struct event *e)
{
	return cuEventSynchronize(e);
}

EXPORT int cuEventElapsedTime_v2(float *ms, struct event *a, struct event *b);
int cuEventElapsedTime_v2(float *ms, struct event *a, struct event *b)
{
	LOCKED;
	int status = ready();

	if (status)
		return status;
	if (!a->recorded || !b->recorded)
		return EMU_INVALID_HANDLE;
	*ms = (float)((double)(b->time - a->time) * 1e-6);
	return EMU_OK;
}

EXPORT int cuEventElapsedTime(float *ms, struct event *a, struct event *b);
int cuEventElapsedTime(float *ms, struct event *a, struct event *b)
{
	return cuEventElapsedTime_v2(ms, a, b);
}

EXPORT int cuEventDestroy_v2(struct event *e);
int cuEventDestroy_v2(struct event *e)
{
	free(e);
	return EMU_OK;
}
