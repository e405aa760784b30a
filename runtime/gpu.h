/* SPDX-License-Identifier: Apache-2.0 */
/* A model on a GPU, as the files of the runtime share it. */
#ifndef DLRT_GPU_H
#define DLRT_GPU_H

#include <stdbool.h>

#include "dlrt.h"
#include "driver.h"

enum { MAX_GRAPHS = 8, MESSAGE_BYTES = 256 };

/* The launches of a call with certain dims, at certain addresses. */
struct graph {
	cu_exec exec;
	uint64_t used;		/* number of the call that last did; 0: empty */
	int64_t *key;		/* of n_key: the dims, inputs and outputs */
	int64_t *out_dims;
};

/* Memory of the device or the host that only grows. */
struct pile {
	cu_address device;
	char *host;
	size_t bytes;
};

/* CUtensorMap */
struct gpu_map {
	_Alignas(64) unsigned char bytes[128];
};

struct dlrt_gpu {
	struct dlrt_device base;	/* first: what the object calls */
	const struct dlrt_model *model;
	struct driver d;
	int device;
	cu_context context;
	cu_stream own, stream;	/* stream: of the running call */
	cu_module *module;	/* one for each program */
	cu_function *function;	/* one for each kernel; NULL: not here */
	unsigned n_sm;		/* multiprocessors */

	cu_address weights, status;
	struct pile arena;	/* of the device: workspace, inputs, outputs */
	struct pile staging;	/* of the host, pinned: inputs, outputs */
	struct pile fetched;	/* of the host */
	int64_t *out_dims;	/* of all outputs in a row */
	size_t n_out_dims, n_key;
	struct graph graph[MAX_GRAPHS];
	uint64_t n_calls;
	size_t late_bytes;	/* of workspace for sizes of the run */
	bool busy;		/* what was started on stream may still run */
	bool capturing, eager;	/* eager: the model reads what it computed */
	int error;		/* of the driver, the first in this call */
	const char *doing;
	size_t asked;		/* bytes, when that was memory */
	char message[MESSAGE_BYTES];
};

/* Keeps the first failure of the call; true when there is none. */
bool gpu_ok(struct dlrt_gpu *g, int err, const char *doing);
/* DLRT_OK, or the status of what failed, with its message. */
int32_t gpu_result(struct dlrt_gpu *g);
/* At least so many bytes; what was there is lost. */
bool gpu_reserve(struct dlrt_gpu *g, struct pile *p, size_t bytes,
		 bool on_host);
void gpu_drop_graphs(struct dlrt_gpu *g);
/* Fills what the object calls. */
void gpu_set_calls(struct dlrt_gpu *g);
/* gpu_map.c: the maps of a kernel's boxes by the numbers behind its arguments.
 * False: its tensors cannot be copied so. */
bool gpu_make_maps(struct dlrt_gpu *g, const struct dlrt_kernel *k,
		   const int64_t *numbers, struct gpu_map *maps);
bool gpu_load_weights(struct dlrt_gpu *g, const void *weights, size_t bytes);

#endif
