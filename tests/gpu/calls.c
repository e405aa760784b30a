/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program with one model for a GPU and for a CPU, as users write it.
 *
 *	calls open DEVICE	prints the status and the message
 *	calls host		calls on memory of the host: N = 3, 700, 3
 *	calls device		on memory of the GPU, on a stream and on none
 *	calls memory N		one such call, and another with N = 2 behind it
 *	calls fall-back		on the GPU when there is one, else on the CPU
 *	calls wrong		arguments that are refused
 *	calls side-file FILE	without the weights, then with those of FILE
 *
 * The model is y[N,24] = x[N,40] * w + b, w[i][j] = (7 i + 3 j) % 11 - 5 and
 * b[j] = j: all sums are whole numbers.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apart.h"
#include "cpu.h"
#include "gpu.h"

enum { K = 40, COLUMNS = 24 };

static float *make_input(int64_t n)
{
	float *x = malloc((size_t)(n * K) * sizeof(*x) + 1);

	for (int64_t i = 0; i < n * K; i++)
		x[i] = (float)((i * 5 + i / 7) % 9 - 4);
	return x;
}

static int64_t wrong(const float *x, const float *y, int64_t n)
{
	int64_t bad = 0;

	for (int64_t i = 0; i < n; i++)
		for (int j = 0; j < COLUMNS; j++) {
			int sum = j;

			for (int k = 0; k < K; k++)
				sum += (int)x[i * K + k] *
				       ((7 * k + 3 * j) % 11 - 5);
			bad += y[i * COLUMNS + j] != (float)sum;
		}
	return bad;
}

static void say(int32_t status, const char *message)
{
	printf("%d %s\n", status, message);
}

static struct dlrt_gpu *must_open(void)
{
	char why[256];
	struct dlrt_gpu *gpu = gpu_open(0, NULL, why, sizeof(why));

	if (!gpu) {
		printf("not opened: %s\n", why);
		exit(1);
	}
	return gpu;
}

static int open_it(int device)
{
	char why[256] = "?";
	int32_t status = -1;
	struct dlrt_gpu *gpu = gpu_open(device, &status, why,
					    sizeof(why));

	say(status, why);
	dlrt_gpu_close(gpu);
	return gpu != NULL;
}

static void call_host(struct dlrt_gpu *gpu, int64_t n)
{
	float *x = make_input(n);
	float *y = calloc((size_t)(n * COLUMNS) + 1, sizeof(*y));
	int32_t status = gpu_run(n, x, y, gpu);

	say(status, dlrt_gpu_message(gpu));
	if (!status)
		printf("%lld wrong\n", (long long)wrong(x, y, n));
	free(x);
	free(y);
}

/* A call of the object whose weights are in a file. */
static void call_apart(struct dlrt_gpu *gpu)
{
	float *x = make_input(3), y[3 * COLUMNS] = { 0 };
	int32_t status = apart_run(3, x, y, gpu);

	say(status, dlrt_gpu_message(gpu));
	if (!status)
		printf("%lld wrong\n", (long long)wrong(x, y, 3));
	free(x);
}

static void side_file(const char *name)
{
	static char bytes[1 << 16];
	struct dlrt_gpu *gpu = apart_open(0, NULL, NULL, 0);
	FILE *f = fopen(name, "rb");

	if (!gpu || !f || !fread(bytes, 1, sizeof(bytes), f)) {
		printf("not opened\n");
		exit(1);
	}
	fclose(f);
	call_apart(gpu);
	say(dlrt_gpu_weights(gpu, bytes), dlrt_gpu_message(gpu));
	call_apart(gpu);
	dlrt_gpu_close(gpu);
}

/* ---- memory of the GPU ---------------------------------------------- */

typedef unsigned long long address;

static struct {
	int (*init)(unsigned);
	int (*retain)(void **context, int device);
	int (*push)(void *context);
	int (*alloc)(address *p, size_t n);
	int (*free)(address p);
	int (*to_device)(address p, const void *from, size_t n);
	int (*to_host)(void *to, address p, size_t n);
	int (*stream)(void **stream, unsigned flags);
	int (*release)(int device);
} cu;

static void find(void *library, const char *name, void *at)
{
	void *p = library ? dlsym(library, name) : NULL;

	if (!p) {
		printf("no %s\n", name);
		exit(1);
	}
	memcpy(at, &p, sizeof(p));
}

static void must(int code)
{
	if (code) {
		printf("CUDA error %d\n", code);
		exit(1);
	}
}

static void begin_cuda(void)
{
	void *library = dlopen("libcuda.so.1", RTLD_NOW), *context;

	find(library, "cuInit", &cu.init);
	find(library, "cuDevicePrimaryCtxRetain", &cu.retain);
	find(library, "cuCtxPushCurrent_v2", &cu.push);
	find(library, "cuMemAlloc_v2", &cu.alloc);
	find(library, "cuMemFree_v2", &cu.free);
	find(library, "cuMemcpyHtoD_v2", &cu.to_device);
	find(library, "cuMemcpyDtoH_v2", &cu.to_host);
	find(library, "cuStreamCreate", &cu.stream);
	find(library, "cuDevicePrimaryCtxRelease_v2", &cu.release);
	must(cu.init(0));
	must(cu.retain(&context, 0));
	must(cu.push(context));
}

static void call_device(struct dlrt_gpu *gpu, int64_t n, void *stream)
{
	size_t in = (size_t)(n * K) * sizeof(float);
	size_t out = (size_t)(n * COLUMNS) * sizeof(float);
	float *x = make_input(n), *y = calloc(out + 1, 1);
	address dx, dy;

	must(cu.alloc(&dx, in));
	must(cu.alloc(&dy, out));
	must(cu.to_device(dx, x, in));
	int32_t status = gpu_run_device(n, (const float *)dx, (float *)dy, gpu,
					stream);

	if (!status)
		status = dlrt_gpu_wait(gpu);
	say(status, dlrt_gpu_message(gpu));
	must(cu.to_host(y, dy, out));
	printf("%lld wrong\n", (long long)wrong(x, y, n));
	must(cu.free(dx));
	must(cu.free(dy));
	free(x);
	free(y);
}

static void device(struct dlrt_gpu *gpu)
{
	void *stream;

	begin_cuda();
	must(cu.stream(&stream, 1));
	call_device(gpu, 3, NULL);
	call_device(gpu, 700, stream);
	call_device(gpu, 3, stream);
	dlrt_gpu_close(gpu);
	must(cu.release(0));
}

static void fall_back(void)
{
	enum { N = 5 };
	char why[256];
	struct dlrt_gpu *gpu = gpu_open(0, NULL, why, sizeof(why));
	float *x = make_input(N), y[N * COLUMNS] = { 0 };

	printf("%s\n", gpu ? "GPU" : why);
	void *workspace = aligned_alloc(64, (cpu_workspace_bytes(N) + 64) &
						    ~(size_t)63);

	say(gpu ? gpu_run(N, x, y, gpu) : cpu_run(N, x, y, workspace), "");
	free(workspace);
	printf("%lld wrong\n", (long long)wrong(x, y, N));
	dlrt_gpu_close(gpu);
	free(x);
}

static void refused(struct dlrt_gpu *gpu)
{
	_Alignas(16) float x[K] = { 0 }, y[COLUMNS];
	char why[256];
	int32_t status;

	say(gpu_run(1, NULL, y, gpu), dlrt_gpu_message(gpu));
	say(gpu_run(1, x, NULL, gpu), dlrt_gpu_message(gpu));
	say(gpu_run(-1, x, y, gpu), dlrt_gpu_message(gpu));
	say(gpu_run(INT64_MAX / 2, x, y, gpu), dlrt_gpu_message(gpu));
	say(gpu_run_device(1, NULL, y, gpu, NULL), dlrt_gpu_message(gpu));
	say(gpu_run_device(1, x + 1, y, gpu, NULL), dlrt_gpu_message(gpu));
	dlrt_gpu_close(gpu);
	gpu = dlrt_gpu_open(&cpu_model, 0, &status, why, sizeof(why));
	say(status, why);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "open") && argc == 3)
		return !open_it(atoi(argv[2]));
	if (!strcmp(what, "fall-back")) {
		fall_back();
		return 0;
	}
	if (!strcmp(what, "side-file") && argc == 3) {
		side_file(argv[2]);
		return 0;
	}
	struct dlrt_gpu *gpu = must_open();

	if (!strcmp(what, "device")) {
		device(gpu);
		return 0;
	}
	if (!strcmp(what, "wrong")) {
		refused(gpu);
		return 0;
	}
	if (!strcmp(what, "memory") && argc == 3) {
		call_host(gpu, atoll(argv[2]));
		call_host(gpu, 2);
	} else {
		call_host(gpu, 3);
		call_host(gpu, 700);
		call_host(gpu, 3);
	}
	dlrt_gpu_close(gpu);
	return 0;
}
