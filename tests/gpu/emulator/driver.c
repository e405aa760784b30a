/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device, context, module and memory calls.
 */
#define _GNU_SOURCE
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct context primary;
pthread_mutex_t big_lock = PTHREAD_MUTEX_INITIALIZER;
static bool initialised;
static struct module *modules;
static __thread struct context *stack[64];
static __thread int depth;

void unlock(int *held)
{
	(void)held;
	pthread_mutex_unlock(&big_lock);
}

static int device_count(void)
{
	return atoi(emu_env("DLCC_EMU_DEVICES", "1"));
}

static int capability(void)
{
	const char *s = emu_env("DLCC_EMU_CC", "9.0"), *dot = strchr(s, '.');

	return 10 * atoi(s) + (dot ? atoi(dot + 1) : 0);
}

static int optin_shared(void)
{
	switch (capability()) {
	case 75: return 65536;
	case 80:
	case 87: return 166912;
	case 86:
	case 89:
	case 120:
	case 121: return 101376;
	case 70:
	case 72: return 98304;
	default: return 232448;
	}
}

int ready(void)
{
	if (!initialised)
		return EMU_NOT_INITIALIZED;
	if (!depth || !stack[depth - 1])
		return EMU_INVALID_CONTEXT;
	return primary.error;
}

EXPORT int cuInit(unsigned flags);
int cuInit(unsigned flags)
{
	LOCKED;
	if (flags)
		return EMU_INVALID_VALUE;
	if (!device_count())
		return EMU_NO_DEVICE;
	initialised = true;
	return EMU_OK;
}

EXPORT int cuDriverGetVersion(int *version);
int cuDriverGetVersion(int *version)
{
	if (!version)
		return EMU_INVALID_VALUE;
	*version = atoi(emu_env("DLCC_EMU_DRIVER", "13000"));
	return EMU_OK;
}

EXPORT int cuDeviceGetCount(int *count);
int cuDeviceGetCount(int *count)
{
	if (!initialised)
		return EMU_NOT_INITIALIZED;
	*count = device_count();
	return EMU_OK;
}

static int check_device(int device)
{
	if (!initialised)
		return EMU_NOT_INITIALIZED;
	return device < 0 || device >= device_count() ? EMU_INVALID_DEVICE
						      : EMU_OK;
}

EXPORT int cuDeviceGet(int *device, int ordinal);
int cuDeviceGet(int *device, int ordinal)
{
	int status = check_device(ordinal);

	if (!status)
		*device = ordinal;
	return status;
}

EXPORT int cuDeviceGetName(char *name, int len, int device);
int cuDeviceGetName(char *name, int len, int device)
{
	int status = check_device(device);

	if (!status)
		snprintf(name, (size_t)len, "dlcc CUDA emulator sm_%d",
			 capability());
	return status;
}

EXPORT int cuDeviceTotalMem_v2(size_t *bytes, int device);
int cuDeviceTotalMem_v2(size_t *bytes, int device)
{
	int status = check_device(device);

	if (!status)
		*bytes = mem_total();
	return status;
}

EXPORT int cuDeviceGetUuid_v2(unsigned char *uuid, int device);
int cuDeviceGetUuid_v2(unsigned char *uuid, int device)
{
	int status = check_device(device);

	if (!status)
		memset(uuid, 0xe0 + device, 16);
	return status;
}

/* Numbers of an H100, but for what depends on the compute capability. */
static int attribute(int which)
{
	static const int table[][2] = {
		{ 1, 1024 },     { 2, 1024 },       { 3, 1024 },
		{ 4, 64 },       { 5, INT32_MAX },  { 6, 65535 },
		{ 7, 65535 },    { 8, 49152 },      { 9, 65536 },
		{ 10, 32 },      { 11, INT32_MAX }, { 12, 65536 },
		{ 13, 1980000 }, { 14, 512 },       { 15, 1 },
		{ 16, 132 },     { 19, 1 },         { 31, 1 },
		{ 36, 2619000 }, { 37, 5120 },      { 38, 52428800 },
		{ 39, 2048 },    { 40, 3 },         { 41, 1 },
		{ 78, 1 },       { 79, 1 },         { 80, 1 },
		{ 81, 233472 },  { 82, 65536 },     { 83, 1 },
		{ 95, 1 },       { 106, 32 },       { 111, 1024 },
	};

	switch (which) {
	case 75: return capability() / 10;
	case 76: return capability() % 10;
	case 81: return optin_shared() + 1024;
	case 97: return optin_shared();
	case 120: return capability() >= 90;
	}
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (table[i][0] == which)
			return table[i][1];
	return 0;
}

EXPORT int cuDeviceGetAttribute(int *value, int which, int device);
int cuDeviceGetAttribute(int *value, int which, int device)
{
	int status = check_device(device);

	if (!status)
		*value = attribute(which);
	return status;
}

EXPORT int cuDevicePrimaryCtxRetain(struct context **ctx, int device);
int cuDevicePrimaryCtxRetain(struct context **ctx, int device)
{
	LOCKED;
	int status = check_device(device);

	if (status)
		return status;
	primary.retained++;
	*ctx = &primary;
	return EMU_OK;
}

static void drop_context(void)
{
	while (modules) {
		struct module *next = modules->next;

		module_unload(modules);
		modules = next;
	}
	mem_report_leaks();
	primary.error = EMU_OK;
}

EXPORT int cuDevicePrimaryCtxRelease_v2(int device);
int cuDevicePrimaryCtxRelease_v2(int device)
{
	LOCKED;
	int status = check_device(device);

	if (status)
		return status;
	if (!primary.retained)
		return EMU_INVALID_CONTEXT;
	if (!--primary.retained)
		drop_context();
	return EMU_OK;
}

EXPORT int cuDevicePrimaryCtxRelease(int device);
int cuDevicePrimaryCtxRelease(int device)
{
	return cuDevicePrimaryCtxRelease_v2(device);
}

EXPORT int cuCtxPushCurrent_v2(struct context *ctx);
int cuCtxPushCurrent_v2(struct context *ctx)
{
	if (!initialised)
		return EMU_NOT_INITIALIZED;
	if (ctx != &primary || depth == 64)
		return EMU_INVALID_VALUE;
	stack[depth++] = ctx;
	return EMU_OK;
}

EXPORT int cuCtxPopCurrent_v2(struct context **ctx);
int cuCtxPopCurrent_v2(struct context **ctx)
{
	if (!depth)
		return EMU_INVALID_CONTEXT;
	depth--;
	if (ctx)
		*ctx = stack[depth];
	return EMU_OK;
}

EXPORT int cuCtxSetCurrent(struct context *ctx);
int cuCtxSetCurrent(struct context *ctx)
{
	if (!initialised)
		return EMU_NOT_INITIALIZED;
	if (!depth)
		depth = 1;
	stack[depth - 1] = ctx;
	if (!ctx)
		depth--;
	return EMU_OK;
}

EXPORT int cuCtxGetCurrent(struct context **ctx);
int cuCtxGetCurrent(struct context **ctx)
{
	if (!initialised)
		return EMU_NOT_INITIALIZED;
	*ctx = depth ? stack[depth - 1] : NULL;
	return EMU_OK;
}

EXPORT int cuCtxGetDevice(int *device);
int cuCtxGetDevice(int *device)
{
	*device = 0;
	return depth ? EMU_OK : EMU_INVALID_CONTEXT;
}

EXPORT int cuCtxSynchronize(void);
int cuCtxSynchronize(void)
{
	LOCKED;
	return ready_unsafe();
}

/* DLCC_EMU_PTX=FILE: its text stands for all PTX that is loaded. */
static char *other_text(void)
{
	FILE *f = fopen(emu_env("DLCC_EMU_PTX", ""), "rb");
	char *text;
	long n;

	if (!f)
		return NULL;
	fseek(f, 0, SEEK_END);
	n = ftell(f);
	rewind(f);
	text = calloc(1, (size_t)n + 1);
	n = (long)fread(text, 1, (size_t)n, f);
	text[n] = 0;
	fclose(f);
	return text;
}

/* The log of errors; 3 and 4 are the buffer for information and its size, 5
 * and 6 those for errors. */
static void give_logs(unsigned n, const int *options, void **values)
{
	char *log = NULL;
	size_t size = 0;

	for (unsigned i = 0; i < n; i++) {
		if (options[i] == 3)
			*(char *)values[i] = 0;
		if (options[i] == 5)
			log = values[i];
		if (options[i] == 6)
			size = (uintptr_t)values[i];
	}
	if (log && size)
		snprintf(log, size, "%s", note_log);
	for (unsigned i = 0; i < n; i++)
		if (options[i] == 4 || options[i] == 6)
			values[i] =
				(void *)(options[i] == 6 && log ? strlen(log)
								: 0);
}

EXPORT int cuModuleLoadDataEx(struct module **mod, const void *image,
			      unsigned n, int *options, void **values);
int cuModuleLoadDataEx(struct module **mod, const void *image, unsigned n,
		       int *options, void **values)
{
	LOCKED;
	int status = ready_unsafe();
	const char *text = image;
	char *other;

	if (status)
		return status;
	if (!mod || !image)
		return EMU_INVALID_VALUE;
	if (!memcmp(text, "\177ELF", 4) || !memcmp(text, "\x50\xed\x55\xba", 4))
		return EMU_NO_BINARY;
	text += strspn(text, " \t\r\n");
	if (strncmp(text, "//", 2) && strncmp(text, ".version", 8))
		return EMU_INVALID_IMAGE;
	note_log[0] = 0;
	other = other_text();
	status = module_load(other ? other : text, mod);
	free(other);
	if (!status) {
		(*mod)->next = modules;
		modules = *mod;
	}
	give_logs(n, options, values);
	return status;
}

EXPORT int cuModuleLoadData(struct module **mod, const void *image);
int cuModuleLoadData(struct module **mod, const void *image)
{
	return cuModuleLoadDataEx(mod, image, 0, NULL, NULL);
}

static struct module **module_place(const struct module *mod)
{
	struct module **m = &modules;

	while (*m && *m != mod)
		m = &(*m)->next;
	return m;
}

bool func_is_live(const struct func *f)
{
	for (struct module *m = modules; m; m = m->next)
		for (struct func *g = m->funcs; g; g = g->next)
			if (f == g)
				return true;
	return false;
}

EXPORT int cuModuleUnload(struct module *mod);
int cuModuleUnload(struct module *mod)
{
	LOCKED;
	int status = ready_unsafe();
	struct module **m = module_place(mod);

	if (status)
		return status;
	if (!*m)
		return EMU_INVALID_HANDLE;
	*m = mod->next;
	module_unload(mod);
	return EMU_OK;
}

EXPORT int cuModuleGetFunction(const struct func **f, struct module *mod,
			       const char *name);
int cuModuleGetFunction(const struct func **f, struct module *mod,
			const char *name)
{
	LOCKED;
	int status = ready();

	if (status)
		return status;
	if (!*module_place(mod))
		return EMU_INVALID_HANDLE;
	for (*f = mod->funcs; *f; *f = (*f)->next)
		if ((*f)->is_entry && !strcmp((*f)->name, name))
			return EMU_OK;
	return EMU_NOT_FOUND;
}

EXPORT int cuModuleGetGlobal_v2(uint64_t *addr, size_t *size,
				struct module *mod, const char *name);
int cuModuleGetGlobal_v2(uint64_t *addr, size_t *size, struct module *mod,
			 const char *name)
{
	LOCKED;
	int status = ready();

	if (status)
		return status;
	for (struct var *v = mod->vars; v; v = v->next) {
		if (strcmp(v->name, name))
			continue;
		if (addr)
			*addr = v->addr;
		if (size)
			*size = v->size;
		return EMU_OK;
	}
	return EMU_NOT_FOUND;
}

EXPORT int cuFuncSetAttribute(struct func *f, int which, int value);
int cuFuncSetAttribute(struct func *f, int which, int value)
{
	LOCKED;
	int status = ready();

	if (status)
		return status;
	if (!func_is_live(f))
		return EMU_INVALID_HANDLE;
	if (which == 8) {
		if (value < 0 || (uint32_t)value + f->shared_bytes >
					 (uint32_t)optin_shared())
			return EMU_INVALID_VALUE;
		f->dyn_limit = (uint32_t)value;
	}
	return EMU_OK;
}

EXPORT int cuFuncSetCacheConfig(struct func *f, int config);
int cuFuncSetCacheConfig(struct func *f, int config)
{
	(void)f;
	(void)config;
	return ready();
}

EXPORT int cuFuncGetAttribute(int *value, int which, const struct func *f);
int cuFuncGetAttribute(int *value, int which, const struct func *f)
{
	LOCKED;
	int status = ready();

	if (status)
		return status;
	if (!func_is_live(f))
		return EMU_INVALID_HANDLE;
	switch (which) {
	case 0: *value = f->max_threads ? (int)f->max_threads : 1024; break;
	case 1: *value = (int)f->shared_bytes; break;
	case 3: *value = (int)f->local_bytes; break;
	case 4: *value = 32; break;
	case 5:
	case 6: *value = capability(); break;
	case 8: *value = f->dyn_limit ? (int)f->dyn_limit : 49152; break;
	default: *value = 0;
	}
	return EMU_OK;
}

EXPORT int cuMemAlloc_v2(uint64_t *addr, size_t size);
int cuMemAlloc_v2(uint64_t *addr, size_t size)
{
	LOCKED;
	int status = ready_unsafe();

	if (status)
		return status;
	if (!addr || !size)
		return EMU_INVALID_VALUE;
	*addr = mem_alloc(size, false);
	return *addr ? EMU_OK : EMU_OUT_OF_MEMORY;
}

EXPORT int cuMemFree_v2(uint64_t addr);
int cuMemFree_v2(uint64_t addr)
{
	LOCKED;
	int status = ready_unsafe();

	if (status || !addr)
		return status;
	return mem_free(addr, false) ? EMU_OK : EMU_INVALID_VALUE;
}

EXPORT int cuMemGetInfo_v2(size_t *unused, size_t *total);
int cuMemGetInfo_v2(size_t *unused, size_t *total)
{
	LOCKED;
	int status = ready();

	if (status)
		return status;
	*total = mem_total();
	*unused = *total - mem_used();
	return EMU_OK;
}

EXPORT int cuMemHostAlloc(void **p, size_t size, unsigned flags);
int cuMemHostAlloc(void **p, size_t size, unsigned flags)
{
	LOCKED;
	int status = ready_unsafe();

	(void)flags;
	if (status)
		return status;
	if (!size)
		return EMU_INVALID_VALUE;
	*p = mem_alloc_host(size);
	return *p ? EMU_OK : EMU_OUT_OF_MEMORY;
}

EXPORT int cuMemAllocHost_v2(void **p, size_t size);
int cuMemAllocHost_v2(void **p, size_t size)
{
	return cuMemHostAlloc(p, size, 0);
}

EXPORT int cuMemFreeHost(void *p);
int cuMemFreeHost(void *p)
{
	LOCKED;
	int status = ready_unsafe();

	if (status || !p)
		return status;
	return mem_free((uintptr_t)p, true) ? EMU_OK : EMU_INVALID_VALUE;
}

/* NVRTC asks for it where it finds a driver, and wants an answer: a table
 * that says that it ends after its size. */
EXPORT int cuGetExportTable(const void **table, const void *id);
int cuGetExportTable(const void **table, const void *id)
{
	static const uint64_t nothing[8] = { 8 };

	(void)id;
	*table = nothing;
	return EMU_OK;
}

static const struct {
	int code;
	const char *name, *text;
} errors[] = {
	{ 0, "CUDA_SUCCESS", "no error" },
	{ 1, "CUDA_ERROR_INVALID_VALUE", "invalid argument" },
	{ 2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory" },
	{ 3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error" },
	{ 100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected" },
	{ 101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal" },
	{ 200, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid" },
	{ 201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context" },
	{ 209, "CUDA_ERROR_NO_BINARY_FOR_GPU",
	  "no kernel image is available for execution on the device" },
	{ 218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed" },
	{ 222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
	  "the provided PTX was compiled with an unsupported toolchain." },
	{ 400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle" },
	{ 401, "CUDA_ERROR_ILLEGAL_STATE",
	  "the operation cannot be performed in the present state" },
	{ 500, "CUDA_ERROR_NOT_FOUND", "named symbol not found" },
	{ 600, "CUDA_ERROR_NOT_READY", "device not ready" },
	{ 700, "CUDA_ERROR_ILLEGAL_ADDRESS",
	  "an illegal memory access was encountered" },
	{ 701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
	  "too many resources requested for launch" },
	{ 702, "CUDA_ERROR_LAUNCH_TIMEOUT",
	  "the launch timed out and was terminated" },
	{ 715, "CUDA_ERROR_ILLEGAL_INSTRUCTION",
	  "an illegal instruction was encountered" },
	{ 716, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address" },
	{ 719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure" },
	{ 900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
	  "operation not permitted when stream is capturing" },
	{ 901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
	  "operation failed due to a previous error during capture" },
	{ 906, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
	  "operation would make the legacy stream depend on a capturing "
	  "blocking stream" },
	{ 999, "CUDA_ERROR_UNKNOWN", "unknown error" },
};

EXPORT int cuGetErrorName(int error, const char **name);
int cuGetErrorName(int error, const char **name)
{
	*name = NULL;
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
		if (errors[i].code == error)
			*name = errors[i].name;
	return *name ? EMU_OK : EMU_INVALID_VALUE;
}

EXPORT int cuGetErrorString(int error, const char **text);
int cuGetErrorString(int error, const char **text)
{
	*text = NULL;
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
		if (errors[i].code == error)
			*text = errors[i].text;
	return *text ? EMU_OK : EMU_INVALID_VALUE;
}
