/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls models whose accesses cannot be proved to stay inside, on buffers that
 * end, and then on buffers that begin, at a page which may not be touched:
 * wrong calls return a status, right ones the right result.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gather.h"
#include "scatter.h"
#include "tile.h"
#include "window.h"

enum { N = 5, M = 7, COLS = 6 };

static int failed;

static void expect(const char *what, int32_t got, int32_t want)
{
	if (DLRT_STATUS(got) == (enum dlrt_status)want)
		return;
	printf("%s: status %" PRId32 ", not %" PRId32 "\n", what, got, want);
	failed = 1;
}

/* Pages of which the first and the last may not be touched; the bytes are at
 * the end of what is between, or at its start. */
static void *guarded(size_t bytes, int at_end, int fill)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *p = mmap(NULL, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);

	if (p == MAP_FAILED || mprotect(p + page, page,
					PROT_READ | PROT_WRITE)) {
		perror("mmap");
		exit(4);
	}
	memset(p + page, fill, page);
	return at_end ? p + 2 * page - bytes : p + page;
}

static float *numbers(size_t n, int at_end)
{
	float *x = guarded(n * sizeof(*x), at_end, 0);

	for (size_t i = 0; i < n; i++)
		x[i] = (float)(i + 1);
	return x;
}

static void window(int at_end, void *ws)
{
	float *x = numbers(N, at_end);
	float *y = guarded(N * sizeof(*y), at_end, 0xff), z[N] = { 0 };

	expect("window of what there is", window_run(N, N - 1, x, z, y, ws),
	       DLRT_OK);
	for (int i = 0; i < N - 1; i++)
		if (y[i] != x[i + 1])
			failed = printf("window: y[%d]\n", i) > 0;
	expect("no window", window_run(0, 0, x, z, y, ws), DLRT_OK);
	expect("window of one too many", window_run(N, N, x, z, y, ws),
	       DLRT_SHAPE);
	expect("window of nothing", window_run(0, 1, x, z, y, ws), DLRT_SHAPE);
}

static const int64_t wrong[] = {
	N, -1, N + 1000000, INT64_MIN, INT64_MAX, INT64_MAX / 4,
};

static void gather(int at_end, void *ws)
{
	float *x = numbers(N, at_end);
	float *y = guarded(M * sizeof(*y), at_end, 0xff);
	int64_t *k = guarded(M * sizeof(*k), at_end, 0);

	for (int i = 0; i < M; i++)
		k[i] = (3 * i + 1) % N;
	expect("gather", gather_run(N, M, x, k, y, ws), DLRT_OK);
	for (int i = 0; i < M; i++)
		if (y[i] != x[k[i]])
			failed = printf("gather: y[%d]\n", i) > 0;
	for (int i = 0; i < M; i++)
		for (size_t j = 0; j < sizeof(wrong) / sizeof(*wrong); j++) {
			int64_t good = k[i];

			k[i] = wrong[j];
			expect("gather of what is not there",
			       gather_run(N, M, x, k, y, ws), DLRT_INDEX);
			k[i] = good;
		}
}

static void scatter(int at_end, void *ws)
{
	float *x = numbers(M * COLS, at_end);
	float *y = guarded(N * COLS * sizeof(*y), at_end, 0xff), z[N] = { 0 };
	int64_t *k = guarded(M * sizeof(*k), at_end, 0);

	for (int i = 0; i < M; i++)
		k[i] = (3 * i + 1) % N;
	expect("scatter", scatter_run(M, N, x, k, z, y, ws), DLRT_OK);
	for (int i = M - N; i < M; i++)
		if (memcmp(y + k[i] * COLS, x + i * COLS, COLS * sizeof(*y)))
			failed = printf("scatter: row %d\n", i) > 0;
	for (int i = 0; i < M; i++)
		for (size_t j = 0; j < sizeof(wrong) / sizeof(*wrong); j++) {
			int64_t good = k[i];

			k[i] = wrong[j];
			expect("scatter to what is not there",
			       scatter_run(M, N, x, k, z, y, ws), DLRT_INDEX);
			k[i] = good;
		}
}

static void tile(int at_end, void *ws)
{
	enum { ROWS = 7, K = 3, PANEL = 8 };
	float *x = numbers(ROWS * K, at_end), *p = numbers(K * PANEL, at_end);
	float *y = guarded(3 * 4 * COLS * sizeof(*y), at_end, 0xff);

	expect("tile", tile_run(ROWS, x, p, y, ws), DLRT_OK);
	for (int i = 0; i < 3 * 4 * COLS; i++) {
		int row = i / COLS / 4 * (i / COLS % 4);
		float sum = 0;

		for (int k = 0; k < K; k++)
			sum += x[row * K + k] * p[k * PANEL + i % COLS];
		if (y[i] != 2 * sum)
			failed = printf("tile: y[%d]\n", i) > 0;
	}
	x = numbers((ROWS - 1) * K, at_end);
	expect("tile of a row too few", tile_run(ROWS - 1, x, p, y, ws),
	       DLRT_INDEX);
}

int main(void)
{
	static _Alignas(64) unsigned char ws[4096];

	for (int at_end = 0; at_end < 2; at_end++) {
		window(at_end, ws);
		gather(at_end, ws);
		scatter(at_end, ws);
		tile(at_end, ws);
	}
	return failed;
}
