/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a compiled model shares with the program that links it.  A serial
 * model needs only this header; a thread pool is in libdlrt.
 *
 * Nothing here owns memory: every pointer belongs to the caller, and a call
 * touches only what it is given.  Calls with different workspaces may run at
 * the same time.
 */
#ifndef DLRT_H
#define DLRT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DLRT_ABI_VERSION 4

/* The low 8 bits of what a model returns; bits 8 to 30 hold the number of
 * the node that raised it (an index into node_names), 0 when none is known. */
enum dlrt_status {
	DLRT_OK = 0,
	DLRT_ARG = 1,		/* a NULL pointer, a negative dim */
	DLRT_SHAPE = 2,		/* dims that do not fit together */
	DLRT_INDEX = 3,		/* an index was out of range; 0 was used */
	DLRT_DIVZERO = 4,	/* an integer was divided by zero */
	DLRT_WORKSPACE = 5,	/* workspace or output buffer too small */
	DLRT_CPU = 6,		/* this CPU lacks what the object needs */
	DLRT_VERSION = 7,	/* object and runtime do not fit */
	DLRT_LIMIT = 8,		/* a size is beyond what can be addressed */
	DLRT_DEVICE = 9,	/* the GPU or its driver: see the message */
	DLRT_MEMORY = 10	/* out of memory, the GPU's or the host's */
};

#define DLRT_STATUS(ret) ((enum dlrt_status)((ret) & 0xff))
#define DLRT_NODE(ret) ((uint32_t)(ret) >> 8)

/* Runs fn over all of [0, n) in pieces of at least `grain`, on any threads,
 * and returns when every piece is done. */
struct dlrt_pool {
	void (*parallel_for)(struct dlrt_pool *self,
			     void (*fn)(void *arg, int64_t lo, int64_t hi),
			     void *arg, int64_t n, int64_t grain);
};

struct dlrt_kernel;

/* What an object for a GPU asks of its runtime during a call; all addresses
 * are the device's.  libdlrt has one: see dlrt_gpu_open(). */
struct dlrt_device {
	/* Starts the kernel, behind those started before, over so many points.
	 * `args` are n_args values of 8 bytes.  `boxes`, where it is not NULL,
	 * does the same, and is taken where the device has it and its tensors
	 * can be copied by boxes: for each of them its address, its dims and,
	 * from the second one on, how many bytes neighbours along them are
	 * apart follow the arguments. */
	void (*launch)(struct dlrt_device *self,
		       const struct dlrt_kernel *kernel,
		       const struct dlrt_kernel *boxes, const int64_t *args,
		       int64_t n_args, int64_t points);
	/* These bytes in the host's memory, until the next fetch, as what was
	 * started before leaves them; NULL when that failed. */
	const void *(*fetch)(struct dlrt_device *self, const void *at,
			     int64_t bytes);
	void (*clear)(struct dlrt_device *self, void *at, int64_t bytes);
	uint32_t *status;	/* of the kernels: as a model returns it */
};

/* A dim: value >= 0, or -1 - k for the model's symbolic dim k, or INT64_MIN
 * when the size is only known after the call (see dlrt_call.out_dims). */
#define DLRT_DIM_UNKNOWN INT64_MIN

struct dlrt_tensor {
	const char *name;	/* as in the ONNX file */
	int32_t dtype;		/* onnx.TensorProto.DataType */
	int32_t rank;
	const int64_t *dims;	/* rank entries */
	/* Of 8-bit numbers that stand for floats, (q - zero_point) * scale;
	 * a scale of 0: the elements are what they are. */
	float scale;
	int32_t zero_point;
	int32_t axis;		/* -1: one scale for all */
	int32_t reserved;	/* 0 */
};

struct dlrt_call {
	const void *const *inputs;	/* row-major, any alignment */
	void *const *outputs;		/* must not overlap anything else */
	const int64_t *dims;		/* value of each symbolic dim */
	void *workspace;		/* 64-byte aligned */
	size_t workspace_bytes;
	const size_t *output_bytes;	/* sizes of outputs, or NULL: enough */
	int64_t *out_dims;		/* all output dims in a row, or NULL */
	struct dlrt_pool *pool;		/* NULL: on the calling thread only */
	const void *weights;		/* of a side file, 64-byte aligned */
	struct dlrt_device *device;	/* of an object for a GPU, else NULL */
};

/* Code for a GPU: machine code for one architecture, or PTX for it and all
 * later ones. */
enum dlrt_image_kind { DLRT_CUBIN, DLRT_PTX };

struct dlrt_image {
	uint32_t program;	/* images of a program hold the same kernels */
	uint32_t kind;
	uint32_t arch;		/* 90 for compute capability 9.0 */
	uint32_t only;		/* 1: for no other than that (sm_90a) */
	uint64_t bytes;
	const void *data;
};

/* What a kernel copies at once of a tensor, neighbours in memory first; rows
 * of 128 bytes. */
struct dlrt_box {
	uint32_t element_bytes, rank, size[5];
};

struct dlrt_kernel {
	const char *name;
	uint32_t program;
	uint32_t threads;	/* of a block */
	uint32_t points;	/* that a block takes at once; 0: there is one
				 * block */
	uint32_t shared_bytes;	/* of dynamic shared memory */
	uint32_t n_boxes;	/* then only some images have it; its first
				 * arguments are that many CUtensorMap */
	const struct dlrt_box *boxes;
};

struct dlrt_gpu_code {
	uint32_t n_images, n_kernels;
	const struct dlrt_image *images;
	const struct dlrt_kernel *kernels;
	uint32_t min_driver;	/* as cuDriverGetVersion() counts */
	uint32_t reserved;
	const void *weights;	/* NULL with a side file */
	uint64_t weights_bytes;
};

struct dlrt_model {
	uint32_t abi;			/* DLRT_ABI_VERSION */
	uint32_t size;			/* sizeof(struct dlrt_model) */
	const char *name;		/* the prefix */
	uint32_t n_inputs, n_outputs, n_dims, n_nodes;
	const struct dlrt_tensor *inputs, *outputs;
	const char *const *dim_names;	/* n_dims */
	const char *const *node_names;	/* n_nodes; [0] is "" */
	const char *cpu;		/* features the object needs */
	uint64_t weights_bytes;		/* of the side file; 0 when inside */
	unsigned char weights_hash[8];	/* FNV-1a of the side file */
	/* Bytes of workspace for these dims (more when the model has sizes
	 * that are only known while it runs); 0 on overflow. */
	size_t (*workspace)(const int64_t *dims);
	int32_t (*invoke)(const struct dlrt_call *call);
	const struct dlrt_gpu_code *gpu;	/* NULL: runs on the CPU */
};

/* ---- libdlrt -------------------------------------------------------- */

#if defined(__GNUC__)
#define DLRT_API __attribute__((visibility("default")))
#else
#define DLRT_API
#endif

/* A pool of `threads` threads, the caller's included; 0 takes the number of
 * CPUs this process may use.  NULL when out of memory.  Threads start with
 * the first call; when the system refuses one, fewer are used. */
DLRT_API struct dlrt_pool *dlrt_pool_create(unsigned threads);
DLRT_API void dlrt_pool_destroy(struct dlrt_pool *pool);
DLRT_API unsigned dlrt_pool_threads(const struct dlrt_pool *pool);

/*
 * A model on a GPU: its code and weights there, and memory for calls.  One call
 * at a time.  Needs NVIDIA's driver, which is looked for here, nothing else.
 *
 * Opens device number `device`.  NULL on failure: then *status (or NULL) is a
 * status and message (or NULL), of `size` bytes, one line on it.
 */
struct dlrt_gpu;
DLRT_API struct dlrt_gpu *dlrt_gpu_open(const struct dlrt_model *model,
					int device, int32_t *status,
					char *message, size_t size);
DLRT_API void dlrt_gpu_close(struct dlrt_gpu *gpu);
/* Runs the model on memory of the host; workspace, pool, weights and device of
 * the call are not looked at.  With a side file give the weights to
 * dlrt_gpu_weights() first. */
DLRT_API int32_t dlrt_gpu_run(struct dlrt_gpu *gpu,
			      const struct dlrt_call *call);
/* The same on memory of the device, aligned to 16 bytes.  `stream` is a
 * CUstream of the device's primary context, or NULL; the call waits for it only
 * where it has to, and its status comes with dlrt_gpu_wait(). */
DLRT_API int32_t dlrt_gpu_run_device(struct dlrt_gpu *gpu,
				     const struct dlrt_call *call,
				     void *stream);
/* Waits for what was started; what the kernels report. */
DLRT_API int32_t dlrt_gpu_wait(struct dlrt_gpu *gpu);
DLRT_API int32_t dlrt_gpu_weights(struct dlrt_gpu *gpu, const void *weights);
/* One line on the last failure; "" after none. */
DLRT_API const char *dlrt_gpu_message(const struct dlrt_gpu *gpu);

/* "index out of range", for messages; never NULL. */
DLRT_API const char *dlrt_status_text(int32_t ret);
/* DLRT_ABI_VERSION of the library. */
DLRT_API uint32_t dlrt_version(void);

#ifdef __cplusplus
}
#endif

#endif
