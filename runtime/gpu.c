/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens a model on a GPU: the driver, the image that fits the device, the
 * weights.  Nothing of CUDA but the driver is needed.
 */
#include "gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- failures ------------------------------------------------------- */

bool gpu_ok(struct dlrt_gpu *g, int err, const char *doing)
{
	if (err && !g->error) {
		g->error = err;
		g->doing = doing;
		g->asked = 0;
	}
	return !g->error;
}

int32_t gpu_result(struct dlrt_gpu *g)
{
	size_t free_bytes = 0, all = 0;
	int err = g->error;

	g->error = 0;
	if (!err)
		return DLRT_OK;
	if (err == CU_OUT_OF_MEMORY && g->asked) {
		g->d.memory_info(&free_bytes, &all);
		snprintf(g->message, sizeof(g->message),
			 "out of memory %s: %zu bytes asked, %zu free",
			 g->doing, g->asked, free_bytes);
		return DLRT_MEMORY;
	}
	if (err == CU_OUT_OF_MEMORY) {
		snprintf(g->message, sizeof(g->message), "out of memory %s",
			 g->doing);
		return DLRT_MEMORY;
	}
	snprintf(g->message, sizeof(g->message), "%s failed: %s", g->doing,
		 driver_error(&g->d, err));
	return DLRT_DEVICE;
}

const char *dlrt_gpu_message(const struct dlrt_gpu *gpu)
{
	return gpu->message;
}

/* ---- memory --------------------------------------------------------- */

/* gpu_ok() of a call that asked for so many bytes. */
static bool gave_memory(struct dlrt_gpu *g, int err, size_t bytes,
			const char *doing)
{
	if (g->error)
		return false;
	gpu_ok(g, err, doing);
	g->asked = bytes;
	return !err;
}

bool gpu_reserve(struct dlrt_gpu *g, struct pile *p, size_t bytes,
		 bool on_host)
{
	void *host = NULL;

	if (bytes <= p->bytes)
		return true;
	if (p->host)
		g->d.host_free(p->host);
	if (p->device)
		g->d.free(p->device);
	*p = (struct pile){ .bytes = bytes };
	if (on_host)
		gave_memory(g, g->d.host_alloc(&host, bytes, 0), bytes,
			    "for the host's staging memory");
	else
		gave_memory(g, g->d.alloc(&p->device, bytes), bytes,
			    "for the model's tensors");
	p->host = host;
	if (!p->host && !p->device)
		p->bytes = 0;
	return !g->error;
}

bool gpu_load_weights(struct dlrt_gpu *g, const void *weights, size_t bytes)
{
	/* A side file may be empty; calls ask for an address all the same. */
	if (!g->weights &&
	    !gave_memory(g, g->d.alloc(&g->weights, bytes ? bytes : 1), bytes,
			 "for the weights"))
		return false;
	return !bytes ||
	       (gpu_ok(g, g->d.to_device(g->weights, weights, bytes, g->own),
		       "copying the weights") &&
		gpu_ok(g, g->d.synchronize(g->own), "copying the weights"));
}

/* ---- images --------------------------------------------------------- */

/* Machine code runs on the same major version from its minor one on; PTX on
 * all that are not older. */
static bool fits(const struct dlrt_image *m, unsigned arch)
{
	if (m->only)
		return m->arch == arch;
	if (m->kind == DLRT_PTX)
		return m->arch <= arch;
	return m->arch / 10 == arch / 10 && m->arch <= arch;
}

/* Machine code before PTX, for this one alone before others, newer before
 * older. */
static unsigned rank(const struct dlrt_image *m)
{
	return (m->kind == DLRT_CUBIN) << 16 | m->only << 15 | m->arch;
}

/* The best image of a program whose rank is below `below`. */
static const struct dlrt_image *best(const struct dlrt_gpu_code *code,
				     uint32_t program, unsigned arch,
				     unsigned below)
{
	const struct dlrt_image *found = NULL;

	for (uint32_t i = 0; i < code->n_images; i++) {
		const struct dlrt_image *m = &code->images[i];

		if (m->program == program && fits(m, arch) &&
		    rank(m) < below && (!found || rank(m) > rank(found)))
			found = m;
	}
	return found;
}

static void no_image(struct dlrt_gpu *g, unsigned arch)
{
	const struct dlrt_gpu_code *code = g->model->gpu;
	size_t n = (size_t)snprintf(g->message, sizeof(g->message),
				    "no image for sm_%u; the object holds:",
				    arch);

	for (uint32_t i = 0; i < code->n_images && n < sizeof(g->message);
	     i++) {
		const struct dlrt_image *m = &code->images[i];

		if (m->program == 0)
			n += (size_t)snprintf(
				g->message + n, sizeof(g->message) - n,
				" %s_%u%s", m->kind == DLRT_PTX ? "compute"
								: "sm",
				m->arch, m->only ? "a" : "");
	}
}

/* An image that the driver does not take is passed over for the next. */
static bool load_program(struct dlrt_gpu *g, uint32_t program, unsigned arch)
{
	const struct dlrt_gpu_code *code = g->model->gpu;
	const struct dlrt_image *m;
	unsigned below = ~0u;
	int err = CU_NO_BINARY;

	while ((m = best(code, program, arch, below))) {
		err = g->d.module_load(&g->module[program], m->data, 0, NULL,
				       NULL);
		if (err != CU_NO_BINARY && err != CU_INVALID_IMAGE)
			return gpu_ok(g, err, "loading the kernels");
		below = rank(m);
	}
	no_image(g, arch);
	return false;
}

static int32_t load_code(struct dlrt_gpu *g)
{
	const struct dlrt_gpu_code *code = g->model->gpu;
	int major = 0, minor = 0, n_sm = 0;
	uint32_t n = 0;

	g->d.device_attribute(&major, CU_ATTR_MAJOR, g->device);
	g->d.device_attribute(&minor, CU_ATTR_MINOR, g->device);
	g->d.device_attribute(&n_sm, CU_ATTR_MULTIPROCESSORS, g->device);
	g->n_sm = n_sm > 0 ? (unsigned)n_sm : 1;
	for (uint32_t i = 0; i < code->n_images; i++)
		if (code->images[i].program >= n)
			n = code->images[i].program + 1;
	g->module = calloc(n + 1, sizeof(cu_module));
	g->function = calloc(code->n_kernels + 1, sizeof(cu_function));
	if (!g->module || !g->function) {
		snprintf(g->message, sizeof(g->message), "out of memory");
		return DLRT_MEMORY;
	}
	for (uint32_t i = 0; i < n; i++)
		if (!load_program(g, i, (unsigned)(major * 10 + minor)))
			return g->error ? gpu_result(g) : DLRT_DEVICE;
	for (uint32_t i = 0; i < code->n_kernels; i++) {
		const struct dlrt_kernel *k = &code->kernels[i];
		int err = g->d.module_function(&g->function[i],
					       g->module[k->program], k->name);

		/* Those that copy boxes are in images for some GPUs only. */
		if (k->n_boxes && err == CU_NOT_FOUND) {
			g->function[i] = NULL;
			continue;
		}
		if (!gpu_ok(g, err, "finding a kernel"))
			return gpu_result(g);
		if (k->shared_bytes)
			gpu_ok(g, g->d.function_set(g->function[i],
						    CU_FUNC_DYNAMIC_SHARED,
						    (int)k->shared_bytes),
			       "asking for shared memory");
	}
	return gpu_result(g);
}

/* ---- opening and closing -------------------------------------------- */

static int32_t open_device(struct dlrt_gpu *g)
{
	const struct dlrt_gpu_code *code = g->model->gpu;
	int version = 0, n = 0;

	g->d.driver_version(&version);
	if ((uint32_t)version / 1000 < code->min_driver / 1000) {
		snprintf(g->message, sizeof(g->message),
			 "the CUDA driver is too old: the model needs one for "
			 "CUDA %u.%u, this one is for %d.%d",
			 code->min_driver / 1000, code->min_driver % 1000 / 10,
			 version / 1000, version % 1000 / 10);
		return DLRT_DEVICE;
	}
	g->d.device_count(&n);
	if (g->device < 0 || g->device >= n) {
		snprintf(g->message, sizeof(g->message),
			 "there is no GPU number %d: the driver finds %d",
			 g->device, n);
		return DLRT_DEVICE;
	}
	gpu_ok(g, g->d.device_get(&g->device, g->device), "finding the GPU");
	if (gpu_ok(g, g->d.retain(&g->context, g->device), "opening the GPU"))
		gpu_ok(g, g->d.push(g->context), "opening the GPU");
	return gpu_result(g);
}

static int32_t load_all(struct dlrt_gpu *g)
{
	const struct dlrt_gpu_code *code = g->model->gpu;
	size_t n = 0;
	int32_t status;

	gpu_ok(g, g->d.stream_create(&g->own, CU_STREAM_NON_BLOCKING),
	       "making a stream");
	gave_memory(g, g->d.alloc(&g->status, 64), 64, "for the status");
	status = gpu_result(g);
	if (!status)
		status = load_code(g);
	if (status)
		return status;
	g->base.status = (uint32_t *)(uintptr_t)g->status;
	for (uint32_t i = 0; i < g->model->n_outputs; i++)
		n += (size_t)g->model->outputs[i].rank;
	g->n_out_dims = n;
	g->out_dims = calloc(n + 1, sizeof(*g->out_dims));
	g->n_key = (size_t)g->model->n_dims + g->model->n_inputs +
		   g->model->n_outputs;
	for (int i = 0; i < MAX_GRAPHS; i++) {
		struct graph *at = &g->graph[i];

		at->key = calloc(g->n_key + n + 1, sizeof(*at->key));
		at->out_dims = at->key ? at->key + g->n_key : NULL;
	}
	if (!g->out_dims || !g->graph[MAX_GRAPHS - 1].key) {
		snprintf(g->message, sizeof(g->message), "out of memory");
		return DLRT_MEMORY;
	}
	if (code->weights)
		gpu_load_weights(g, code->weights, code->weights_bytes);
	return gpu_result(g);
}

struct dlrt_gpu *dlrt_gpu_open(const struct dlrt_model *model, int device,
			       int32_t *status, char *message, size_t size)
{
	struct dlrt_gpu *g = calloc(1, sizeof(*g));
	char none[1];
	int32_t ret;

	if (!message || !size) {
		message = none;
		size = sizeof(none);
	}
	*message = 0;
	if (status)
		*status = DLRT_OK;
	if (!g || !model->gpu || model->abi != DLRT_ABI_VERSION) {
		ret = !g ? DLRT_MEMORY : DLRT_VERSION;
		snprintf(message, size, "%s",
			 !g ? "out of memory"
			    : model->gpu ? dlrt_status_text(DLRT_VERSION)
					 : "the object is for a CPU");
		free(g);
		if (status)
			*status = ret;
		return NULL;
	}
	g->model = model;
	g->device = device;
	ret = driver_open(&g->d, g->message, sizeof(g->message));
	if (!ret)
		ret = open_device(g);
	if (!ret) {
		cu_context old;

		ret = load_all(g);
		g->d.pop(&old);
	}
	if (!ret) {
		gpu_set_calls(g);
		return g;
	}
	snprintf(message, size, "%s", g->message);
	dlrt_gpu_close(g);
	if (status)
		*status = ret;
	return NULL;
}

void gpu_drop_graphs(struct dlrt_gpu *g)
{
	for (int i = 0; i < MAX_GRAPHS; i++) {
		if (g->graph[i].used)
			g->d.exec_destroy(g->graph[i].exec);
		g->graph[i].used = 0;
	}
}

static void free_device(struct dlrt_gpu *g)
{
	struct pile *piles[] = { &g->arena, &g->staging, &g->fetched };
	const struct dlrt_gpu_code *code = g->model->gpu;
	cu_context old;

	g->d.push(g->context);
	if (g->own)
		g->d.synchronize(g->own);
	gpu_drop_graphs(g);
	for (size_t i = 0; i < sizeof(piles) / sizeof(piles[0]); i++) {
		if (piles[i]->device)
			g->d.free(piles[i]->device);
		if (piles[i]->host)
			g->d.host_free(piles[i]->host);
	}
	if (g->weights)
		g->d.free(g->weights);
	if (g->status)
		g->d.free(g->status);
	for (uint32_t i = 0; g->module && i < code->n_kernels; i++) {
		cu_module *m = &g->module[code->kernels[i].program];

		if (*m)
			g->d.module_unload(*m);
		*m = NULL;
	}
	if (g->own)
		g->d.stream_destroy(g->own);
	g->d.pop(&old);
	g->d.release(g->device);
}

void dlrt_gpu_close(struct dlrt_gpu *g)
{
	if (!g)
		return;
	if (g->context)
		free_device(g);
	driver_close(&g->d);
	for (int i = 0; i < MAX_GRAPHS; i++)
		free(g->graph[i].key);
	free(g->module);
	free(g->function);
	free(g->out_dims);
	free(g);
}
