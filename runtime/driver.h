/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of NVIDIA's driver API that the runtime calls, found in libcuda.so.1
 * when it is needed.  Names and signatures are those of its documentation,
 * with the versions that the symbols carry.
 */
#ifndef DLRT_DRIVER_H
#define DLRT_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t cu_address;
typedef struct cu_context *cu_context;
typedef struct cu_module *cu_module;
typedef struct cu_function *cu_function;
typedef struct cu_stream *cu_stream;
typedef struct cu_graph *cu_graph;
typedef struct cu_exec *cu_exec;

enum {
	CU_OK = 0,
	CU_OUT_OF_MEMORY = 2,
	CU_STUB = 34,
	CU_NO_DEVICE = 100,
	CU_INVALID_IMAGE = 200,
	CU_NO_BINARY = 209,
	CU_NOT_FOUND = 500,

	CU_ATTR_MAJOR = 75,
	CU_ATTR_MINOR = 76,
	CU_ATTR_MULTIPROCESSORS = 16,
	CU_FUNC_DYNAMIC_SHARED = 8,
	CU_CAPTURE_THREAD_LOCAL = 1,
	CU_STREAM_NON_BLOCKING = 1,
};

/* F(field, symbol, arguments) */
#define CU_FUNCTIONS(F) \
	F(init, "cuInit", (unsigned)) \
	F(driver_version, "cuDriverGetVersion", (int *)) \
	F(device_count, "cuDeviceGetCount", (int *)) \
	F(device_get, "cuDeviceGet", (int *, int)) \
	F(device_name, "cuDeviceGetName", (char *, int, int)) \
	F(device_attribute, "cuDeviceGetAttribute", (int *, int, int)) \
	F(retain, "cuDevicePrimaryCtxRetain", (cu_context *, int)) \
	F(release, "cuDevicePrimaryCtxRelease_v2", (int)) \
	F(push, "cuCtxPushCurrent_v2", (cu_context)) \
	F(pop, "cuCtxPopCurrent_v2", (cu_context *)) \
	F(module_load, "cuModuleLoadDataEx", \
	  (cu_module *, const void *, unsigned, int *, void **)) \
	F(module_unload, "cuModuleUnload", (cu_module)) \
	F(module_function, "cuModuleGetFunction", \
	  (cu_function *, cu_module, const char *)) \
	F(function_set, "cuFuncSetAttribute", (cu_function, int, int)) \
	F(memory_info, "cuMemGetInfo_v2", (size_t *, size_t *)) \
	F(alloc, "cuMemAlloc_v2", (cu_address *, size_t)) \
	F(free, "cuMemFree_v2", (cu_address)) \
	F(host_alloc, "cuMemHostAlloc", (void **, size_t, unsigned)) \
	F(host_free, "cuMemFreeHost", (void *)) \
	F(to_device, "cuMemcpyHtoDAsync_v2", \
	  (cu_address, const void *, size_t, cu_stream)) \
	F(to_host, "cuMemcpyDtoHAsync_v2", \
	  (void *, cu_address, size_t, cu_stream)) \
	F(fill, "cuMemsetD8Async", \
	  (cu_address, unsigned char, size_t, cu_stream)) \
	F(stream_create, "cuStreamCreate", (cu_stream *, unsigned)) \
	F(stream_destroy, "cuStreamDestroy_v2", (cu_stream)) \
	F(synchronize, "cuStreamSynchronize", (cu_stream)) \
	F(capture_begin, "cuStreamBeginCapture_v2", (cu_stream, int)) \
	F(capture_end, "cuStreamEndCapture", (cu_stream, cu_graph *)) \
	F(graph_destroy, "cuGraphDestroy", (cu_graph)) \
	F(instantiate, "cuGraphInstantiateWithFlags", \
	  (cu_exec *, cu_graph, unsigned long long)) \
	F(exec_launch, "cuGraphLaunch", (cu_exec, cu_stream)) \
	F(exec_destroy, "cuGraphExecDestroy", (cu_exec)) \
	F(launch, "cuLaunchKernel", \
	  (cu_function, unsigned, unsigned, unsigned, unsigned, unsigned, \
	   unsigned, unsigned, cu_stream, void **, void **)) \
	F(error_name, "cuGetErrorName", (int, const char **))

struct driver {
	void *library;
#define F(field, symbol, arguments) int (*field) arguments;
	CU_FUNCTIONS(F)
#undef F
	/* cuTensorMapEncodeTiled(), when it was looked for and is there. */
	int (*encode)(void *map, int type, unsigned rank, cu_address at,
		      const uint64_t *dim, const uint64_t *stride,
		      const uint32_t *box, const uint32_t *step,
		      int interleave, int swizzle, int promotion, int fill);
};

/* Loads the driver and starts it.  0, or a status with one line on it in
 * message[size]. */
int32_t driver_open(struct driver *d, char *message, size_t size);
void driver_close(struct driver *d);
/* Drivers of CUDA 12 and later have it. */
bool driver_find_encoder(struct driver *d);
/* "CUDA_ERROR_INVALID_VALUE" */
const char *driver_error(const struct driver *d, int code);

#endif
