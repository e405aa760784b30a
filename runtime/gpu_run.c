/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of a model on a GPU.  What a call launches depends on its dims and
 * addresses alone: it is captured once as a graph and replayed, unless the
 * model reads on the way what it computed.
 */
#include <stdlib.h>
#include <string.h>

#include "gpu.h"

enum {
	ALIGN = 256,
	MAX_BLOCKS = 1 << 20,
	LATE_BYTES = 1 << 22,
	MAX_GROWTH = 3,
	MAX_BOXES = 2,		/* of a kernel */
	SOME_ARGS = 64,		/* more take memory of their own */
};

static size_t aligned(size_t n)
{
	return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

/* ---- what the object calls ------------------------------------------ */

/* How many blocks share so many points; one that copies boxes has a
 * multiprocessor for itself and stays there. */
static unsigned count_blocks(const struct dlrt_gpu *g,
			     const struct dlrt_kernel *k, int64_t points)
{
	int64_t blocks = 1, most = k->n_boxes ? g->n_sm : MAX_BLOCKS;

	if (k->points)
		blocks = points / k->points + (points % k->points != 0);
	return (unsigned)(blocks < most ? blocks : most);
}

static cu_function function_of(const struct dlrt_gpu *g,
			       const struct dlrt_kernel *k)
{
	return k ? g->function[k - g->model->gpu->kernels] : NULL;
}

static void launch(struct dlrt_device *self, const struct dlrt_kernel *k,
		   const struct dlrt_kernel *boxes, const int64_t *args,
		   int64_t n_args, int64_t points)
{
	struct dlrt_gpu *g = (struct dlrt_gpu *)(void *)self;
	/* Maps, where there are some, end where the arguments begin. */
	struct {
		struct gpu_map map[MAX_BOXES];
		int64_t args[SOME_ARGS];
	} block;
	int64_t *all = block.args;
	size_t bytes = (size_t)(n_args + 1) * sizeof(*all);
	char *begin;

	if (points <= 0 || g->error)
		return;
	if (function_of(g, boxes) && n_args < SOME_ARGS &&
	    boxes->n_boxes <= MAX_BOXES &&
	    gpu_make_maps(g, boxes, args + n_args,
			  block.map + MAX_BOXES - boxes->n_boxes))
		k = boxes;
	if (n_args >= SOME_ARGS)
		all = malloc(bytes);
	if (!all) {
		gpu_ok(g, CU_OUT_OF_MEMORY, "for the arguments of a kernel");
		return;
	}
	memcpy(all, args, bytes - sizeof(*all));
	all[n_args] = points;
	begin = (char *)all - k->n_boxes * sizeof(struct gpu_map);
	bytes += k->n_boxes * sizeof(struct gpu_map);
	/* CU_LAUNCH_PARAM_BUFFER_POINTER, _SIZE, _END */
	void *extra[] = { (void *)1, begin, (void *)2, &bytes, NULL };

	gpu_ok(g,
	       g->d.launch(function_of(g, k), count_blocks(g, k, points), 1,
			   1, k->threads, 1, 1, k->shared_bytes, g->stream,
			   NULL, extra),
	       "starting a kernel");
	if (all != block.args)
		free(all);
}

static const void *fetch(struct dlrt_device *self, const void *at,
			 int64_t bytes)
{
	struct dlrt_gpu *g = (struct dlrt_gpu *)(void *)self;
	size_t n = bytes > 0 ? (size_t)bytes : 1;

	/* A capture computes nothing: the call begins again without. */
	if (g->capturing) {
		g->eager = true;
		return NULL;
	}
	if (g->error || !gpu_reserve(g, &g->fetched, n, true))
		return NULL;
	if (bytes > 0)
		gpu_ok(g, g->d.to_host(g->fetched.host,
				       (cu_address)(uintptr_t)at, n, g->stream),
		       "reading a tensor");
	gpu_ok(g, g->d.synchronize(g->stream), "running the model");
	return g->error ? NULL : g->fetched.host;
}

static void clear(struct dlrt_device *self, void *at, int64_t bytes)
{
	struct dlrt_gpu *g = (struct dlrt_gpu *)(void *)self;

	if (!g->error)
		gpu_ok(g, g->d.fill((cu_address)(uintptr_t)at, 0,
				    (size_t)bytes, g->stream),
		       "clearing memory");
}

void gpu_set_calls(struct dlrt_gpu *g)
{
	g->base.launch = launch;
	g->base.fetch = fetch;
	g->base.clear = clear;
}

/* ---- graphs --------------------------------------------------------- */

/* One number of what the launches of a call depend on. */
static int64_t key_part(const struct dlrt_model *m,
			const struct dlrt_call *call, size_t i)
{
	if (i < m->n_dims)
		return call->dims[i];
	i -= m->n_dims;
	if (i < m->n_inputs)
		return (int64_t)(uintptr_t)call->inputs[i];
	return (int64_t)(uintptr_t)call->outputs[i - m->n_inputs];
}

static bool is_for(const struct dlrt_gpu *g, const struct graph *graph,
		   const struct dlrt_call *call)
{
	for (size_t i = 0; i < g->n_key; i++)
		if (graph->key[i] != key_part(g->model, call, i))
			return false;
	return graph->used;
}

static struct graph *find_graph(struct dlrt_gpu *g,
				const struct dlrt_call *call)
{
	for (int i = 0; i < MAX_GRAPHS; i++)
		if (is_for(g, &g->graph[i], call))
			return &g->graph[i];
	return NULL;
}

/* The one that was not used for longest. */
static struct graph *free_graph(struct dlrt_gpu *g)
{
	struct graph *old = &g->graph[0];

	for (int i = 1; i < MAX_GRAPHS; i++)
		if (g->graph[i].used < old->used)
			old = &g->graph[i];
	if (old->used)
		g->d.exec_destroy(old->exec);
	old->used = 0;
	return old;
}

/* The call as a graph, or NULL: with the object's status in *ret when it made
 * none for that reason.  The caller's stream stays out of it. */
static struct graph *capture(struct dlrt_gpu *g, const struct dlrt_call *call,
			     int32_t *ret)
{
	struct graph *at = free_graph(g);
	cu_stream stream = g->stream;
	cu_graph graph = NULL;

	if (!gpu_ok(g, g->d.capture_begin(g->own, CU_CAPTURE_THREAD_LOCAL),
		    "capturing the model"))
		return NULL;
	g->stream = g->own;
	g->capturing = true;
	gpu_ok(g, g->d.fill(g->status, 0, sizeof(uint32_t), g->stream),
	       "clearing memory");
	*ret = g->model->invoke(call);
	g->capturing = false;
	g->stream = stream;
	gpu_ok(g, g->d.capture_end(g->own, &graph), "capturing the model");
	if (!g->error && !*ret && !g->eager &&
	    gpu_ok(g, g->d.instantiate(&at->exec, graph, 0),
		   "making a graph")) {
		at->used = g->n_calls;
		for (size_t i = 0; i < g->n_key; i++)
			at->key[i] = key_part(g->model, call, i);
		memcpy(at->out_dims, g->out_dims,
		       g->n_out_dims * sizeof(*g->out_dims));
	}
	if (graph)
		g->d.graph_destroy(graph);
	return at->used ? at : NULL;
}

static int32_t run_eagerly(struct dlrt_gpu *g, const struct dlrt_call *call)
{
	gpu_ok(g, g->d.fill(g->status, 0, sizeof(uint32_t), g->stream),
	       "clearing memory");
	return g->error ? 0 : g->model->invoke(call);
}

/* Starts the call on g->stream, by a graph where the model allows one.  Returns
 * what the object says before any kernel has run. */
static int32_t start(struct dlrt_gpu *g, const struct dlrt_call *call)
{
	struct graph *graph = g->eager ? NULL : find_graph(g, call);
	int32_t ret = 0;

	if (!graph && !g->eager)
		graph = capture(g, call, &ret);
	if (ret && !g->eager)
		return ret;
	if (g->error)
		return 0;
	if (!graph)
		return run_eagerly(g, call);
	graph->used = g->n_calls;
	memcpy(g->out_dims, graph->out_dims,
	       g->n_out_dims * sizeof(*g->out_dims));
	gpu_ok(g, g->d.exec_launch(graph->exec, g->stream),
	       "starting the model");
	return 0;
}

/* All calls use the same memory: one on another stream waits for the last. */
static void enter(struct dlrt_gpu *g, cu_stream stream)
{
	g->n_calls++;
	gpu_ok(g, g->d.push(g->context), "entering the GPU's context");
	if (g->busy && g->stream != stream && !g->error)
		gpu_ok(g, g->d.synchronize(g->stream), "running the model");
	g->stream = stream;
	g->busy = true;
}

/* ---- sizes ---------------------------------------------------------- */

/* Bits of an element by ONNX's code of its type. */
static unsigned element_bits(int32_t dtype)
{
	static const unsigned char bits[] = {
		[1] = 32, [2] = 8, [3] = 8, [4] = 16, [5] = 16, [6] = 32,
		[7] = 64, [9] = 8, [10] = 16, [11] = 64, [12] = 32, [13] = 64,
		[16] = 16, [17] = 8, [18] = 8, [19] = 8, [20] = 8, [21] = 4,
		[22] = 4, [23] = 4, [24] = 8, [25] = 2, [26] = 2,
	};

	return dtype >= 0 && (size_t)dtype < sizeof(bits) ? bits[dtype] : 0;
}

/* Bytes of a tensor, by these dims where they are given, else by its own.
 * False when one is not known or the size overflows. */
static bool tensor_bytes(const struct dlrt_tensor *t, const int64_t *own,
			 const int64_t *dims, size_t *bytes)
{
	size_t n = element_bits(t->dtype);

	for (int32_t i = 0; i < t->rank; i++) {
		int64_t d = own ? own[i] : t->dims[i];

		if (d == DLRT_DIM_UNKNOWN)
			return false;
		if (d < 0)
			d = dims[-1 - d];
		if (d < 0 || (d && n > SIZE_MAX / 2 / (uint64_t)d))
			return false;
		n *= (size_t)d;
	}
	*bytes = (n + 7) / 8;
	return true;
}

/* ---- calls on memory of the host ------------------------------------ */

/* Where the tensors of a call are. */
struct layout {
	size_t workspace;
	size_t *at, *bytes;	/* inputs, then outputs; in the arena and, less
				 * the workspace, in the staging memory */
	size_t end;
};

static int32_t lay_out(const struct dlrt_gpu *g, const struct dlrt_call *call,
		       struct layout *l)
{
	const struct dlrt_model *m = g->model;

	l->workspace = m->workspace(call->dims);
	if (!l->workspace)
		return DLRT_LIMIT;
	l->workspace = aligned(l->workspace) + g->late_bytes;
	l->end = l->workspace;
	for (uint32_t i = 0; i < m->n_inputs + m->n_outputs; i++) {
		bool out = i >= m->n_inputs;
		uint32_t k = out ? i - m->n_inputs : i;
		size_t *n = &l->bytes[i];

		if (!tensor_bytes(out ? &m->outputs[k] : &m->inputs[k], NULL,
				  call->dims, n)) {
			if (!out || !call->output_bytes)
				return out ? DLRT_ARG : DLRT_LIMIT;
			*n = call->output_bytes[k];
		} else if (out && call->output_bytes &&
			   call->output_bytes[k] < *n) {
			return DLRT_WORKSPACE;
		}
		if (*n > SIZE_MAX / 2 - l->end - ALIGN)
			return DLRT_LIMIT;
		l->at[i] = l->end;
		l->end += aligned(*n);
	}
	return DLRT_OK;
}

static void copy_in(struct dlrt_gpu *g, const struct dlrt_call *call,
		    const struct layout *l)
{
	const struct dlrt_model *m = g->model;
	size_t end = l->at[m->n_inputs] - l->workspace;

	for (uint32_t i = 0; i < m->n_inputs; i++)
		if (l->bytes[i])
			memcpy(g->staging.host + l->at[i] - l->workspace,
			       call->inputs[i], l->bytes[i]);
	if (end)
		gpu_ok(g, g->d.to_device(g->arena.device + l->workspace,
					 g->staging.host, end, g->stream),
		       "copying the inputs");
}

/* Only what the outputs have: a size may be less than the room for it. */
static int32_t copy_out(struct dlrt_gpu *g, const struct dlrt_call *call,
			const struct layout *l)
{
	const struct dlrt_model *m = g->model;
	const int64_t *own = g->out_dims;
	uint32_t *status = (uint32_t *)(void *)g->fetched.host;
	int32_t ret;

	for (uint32_t i = 0; i < m->n_outputs; i++) {
		size_t at = l->at[m->n_inputs + i];
		size_t *n = &l->bytes[m->n_inputs + i], real = *n;

		if (tensor_bytes(&m->outputs[i], own, call->dims, &real) &&
		    real < *n)
			*n = real;
		own += m->outputs[i].rank;
		if (*n)
			gpu_ok(g, g->d.to_host(g->staging.host + at -
						       l->workspace,
					       g->arena.device + at, *n,
					       g->stream),
			       "copying the outputs");
	}
	gpu_ok(g, g->d.to_host(status, g->status, sizeof(*status), g->stream),
	       "reading the status");
	gpu_ok(g, g->d.synchronize(g->stream), "running the model");
	ret = gpu_result(g);
	if (ret)
		return ret;
	for (uint32_t i = 0; i < m->n_outputs; i++)
		if (l->bytes[m->n_inputs + i])
			memcpy(call->outputs[i],
			       g->staging.host + l->at[m->n_inputs + i] -
				       l->workspace,
			       l->bytes[m->n_inputs + i]);
	return (int32_t)*status;
}

static int32_t run_once(struct dlrt_gpu *g, const struct dlrt_call *call,
			struct layout *l, const void **in, void **out)
{
	const struct dlrt_model *m = g->model;
	struct dlrt_call own = *call;
	size_t grown = g->arena.bytes;
	int32_t ret = lay_out(g, call, l);

	if (ret)
		return ret;
	gpu_reserve(g, &g->arena, l->end, false);
	gpu_reserve(g, &g->staging, l->end - l->workspace + ALIGN, true);
	gpu_reserve(g, &g->fetched, ALIGN, true);
	if (g->error)
		return gpu_result(g);
	if (g->arena.bytes != grown)
		gpu_drop_graphs(g);
	for (uint32_t i = 0; i < m->n_inputs; i++)
		in[i] = (const void *)(uintptr_t)(g->arena.device + l->at[i]);
	for (uint32_t i = 0; i < m->n_outputs; i++)
		out[i] = (void *)(uintptr_t)(g->arena.device +
					     l->at[m->n_inputs + i]);
	own.inputs = in;
	own.outputs = out;
	own.workspace = (void *)(uintptr_t)g->arena.device;
	own.workspace_bytes = l->workspace;
	own.output_bytes = l->bytes + m->n_inputs;
	own.out_dims = g->out_dims;
	own.weights = (const void *)(uintptr_t)g->weights;
	own.device = &g->base;
	copy_in(g, call, l);
	ret = start(g, &own);
	if (call->out_dims && !ret)
		memcpy(call->out_dims, g->out_dims,
		       g->n_out_dims * sizeof(*g->out_dims));
	if (ret) {
		g->d.synchronize(g->stream);
		return g->error ? gpu_result(g) : ret;
	}
	return copy_out(g, call, l);
}

/* Sizes that are only known during the run are not in what workspace() says:
 * where they do not fit, there is more of it the next time. */
static int32_t run_laid_out(struct dlrt_gpu *g, const struct dlrt_call *call,
			    struct layout *l, const void **in, void **out)
{
	int32_t ret = run_once(g, call, l, in, out);

	for (int i = 0; i < MAX_GROWTH && g->eager &&
			DLRT_STATUS(ret) == DLRT_WORKSPACE; i++) {
		g->late_bytes = g->late_bytes ? g->late_bytes * 16
					      : (size_t)LATE_BYTES;
		ret = run_once(g, call, l, in, out);
	}
	return ret;
}

/* A pointer is missing where there are elements. */
static bool lacks_pointers(const struct dlrt_model *m,
			   const struct dlrt_call *call)
{
	size_t n;

	if ((m->n_inputs && !call->inputs) ||
	    (m->n_outputs && !call->outputs) || (m->n_dims && !call->dims))
		return true;
	for (uint32_t i = 0; i < m->n_dims; i++)
		if (call->dims[i] < 0)
			return true;
	for (uint32_t i = 0; i < m->n_inputs; i++)
		if (!call->inputs[i] &&
		    (!tensor_bytes(&m->inputs[i], NULL, call->dims, &n) || n))
			return true;
	for (uint32_t i = 0; i < m->n_outputs; i++)
		if (!call->outputs[i] &&
		    (!tensor_bytes(&m->outputs[i], NULL, call->dims, &n) || n))
			return true;
	return false;
}

int32_t dlrt_gpu_run(struct dlrt_gpu *g, const struct dlrt_call *call)
{
	const struct dlrt_model *m = g->model;
	size_t n = (size_t)m->n_inputs + m->n_outputs + 2;
	struct layout l = { 0 };
	cu_context old;
	int32_t ret;

	*g->message = 0;
	if (lacks_pointers(m, call))
		return DLRT_ARG;
	/* at, bytes, and the two lists of pointers. */
	size_t *room = calloc(4 * n, sizeof(*room));

	if (!room)
		return DLRT_MEMORY;
	l.at = room;
	l.bytes = room + n;
	enter(g, g->own);
	ret = g->error ? gpu_result(g)
		       : run_laid_out(g, call, &l,
				      (const void **)(void *)(room + 2 * n),
				      (void **)(void *)(room + 3 * n));
	g->busy = false;
	g->d.pop(&old);
	free(room);
	return ret;
}

/* ---- calls on memory of the device ---------------------------------- */

/* Kernels load 16 bytes at once. */
static bool is_aligned(const struct dlrt_model *m, const struct dlrt_call *call)
{
	uintptr_t all = 0;

	for (uint32_t i = 0; i < m->n_inputs; i++)
		all |= (uintptr_t)call->inputs[i];
	for (uint32_t i = 0; i < m->n_outputs; i++)
		all |= (uintptr_t)call->outputs[i];
	return all % 16 == 0;
}

int32_t dlrt_gpu_run_device(struct dlrt_gpu *g, const struct dlrt_call *call,
			    void *stream)
{
	const struct dlrt_model *m = g->model;
	struct dlrt_call own = *call;
	size_t bytes;
	cu_context old;
	int32_t ret = 0;

	*g->message = 0;
	if (lacks_pointers(m, call) || !is_aligned(m, call))
		return DLRT_ARG;
	bytes = m->workspace(call->dims);
	if (!bytes)
		return DLRT_LIMIT;
	enter(g, stream ? (cu_stream)stream : g->own);
	if (bytes > g->arena.bytes) {
		/* What runs may still use the old one. */
		g->d.synchronize(g->stream);
		gpu_drop_graphs(g);
		gpu_reserve(g, &g->arena, bytes, false);
	}
	own.workspace = (void *)(uintptr_t)g->arena.device;
	own.workspace_bytes = g->arena.bytes;
	own.out_dims = g->out_dims;
	own.weights = (const void *)(uintptr_t)g->weights;
	own.device = &g->base;
	if (!g->error)
		ret = start(g, &own);
	if (call->out_dims && !ret)
		memcpy(call->out_dims, g->out_dims,
		       g->n_out_dims * sizeof(*g->out_dims));
	if (g->error)
		ret = gpu_result(g);
	g->d.pop(&old);
	return ret;
}

int32_t dlrt_gpu_wait(struct dlrt_gpu *g)
{
	uint32_t status = 0;
	cu_context old;
	int32_t ret;

	gpu_ok(g, g->d.push(g->context), "entering the GPU's context");
	if (!g->stream)
		g->stream = g->own;
	gpu_reserve(g, &g->fetched, ALIGN, true);
	if (!g->error)
		gpu_ok(g, g->d.to_host(g->fetched.host, g->status,
				       sizeof(status), g->stream),
		       "reading the status");
	gpu_ok(g, g->d.synchronize(g->stream), "running the model");
	g->busy = false;
	ret = gpu_result(g);
	if (!ret)
		memcpy(&status, g->fetched.host, sizeof(status));
	g->d.pop(&old);
	return ret ? ret : (int32_t)status;
}

int32_t dlrt_gpu_weights(struct dlrt_gpu *g, const void *weights)
{
	cu_context old;
	int32_t ret;

	gpu_ok(g, g->d.push(g->context), "entering the GPU's context");
	if (!g->error)
		gpu_load_weights(g, weights, g->model->gpu->weights_bytes);
	ret = gpu_result(g);
	g->d.pop(&old);
	return ret;
}
