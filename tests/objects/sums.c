/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums of integers brought to few bits by a product of floats (f32.h) and by
 * one of integers (q31.h): the latter is exact, and the former is within one
 * of it, nearly always the same.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "f32.h"
#include "q31.h"

enum { N = 20000, C = 8, ROUNDS = 10 };

static const float scale[C] = {
	0.00113579f, 0.00231947f, 0.5f, 0.25f,
	0.0625f, 1.2934e-6f, 3.14159e-9f, 1e-30f,
};
static int32_t x[N * C];
static long n_odd;
static int failed;

/* Most of them where the results are not saturated. */
static void fill(float unit)
{
	static const int32_t edge[] = {
		0, 1, -1, INT32_MAX, INT32_MIN, INT32_MAX - 1, INT32_MIN + 1,
		1 << 24, (1 << 24) + 1, -(1 << 24) - 1, 1 << 30,
	};
	const int n_edge = sizeof(edge) / sizeof(*edge);
	static uint64_t seed = 1;

	for (int i = 0; i < N * C; i++) {
		double most = 150 * (double)unit / (double)scale[i % C];

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		double v = ((double)(seed >> 32) / 4294967296.0 * 2 - 1) *
			   (most < 2147483647 ? most : 2147483647);

		x[i] = i < n_edge * C ? edge[i / C] : (int32_t)v;
	}
}

/* acc * m to the nearest, halves to even, where m is the float a / b. */
static int64_t exact(int32_t acc, float a, float b)
{
	int e;
	float m = a / b;
	int64_t p = acc * (int64_t)(frexpf(m, &e) * 16777216.0f);
	int k = 24 - e;

	if (k > 60)
		return 0;
	int64_t q = p >> k, rest = p - q * ((int64_t)1 << k);
	int64_t half = (int64_t)1 << (k - 1);

	return q + (rest > half || (rest == half && (q & 1)));
}

static int64_t saturated(int64_t v, int64_t lo, int64_t hi)
{
	return v < lo ? lo : v > hi ? hi : v;
}

static void expect(const char *what, int i, int64_t f32, int64_t q31,
		   int64_t want, int few)
{
	n_odd += few && f32 != q31;
	if (q31 == want && llabs(f32 - q31) <= 1)
		return;
	printf("%s of %ld in channel %d: f32 %ld, q31 %ld, exact %ld\n", what,
	       (long)x[i], i % C, (long)f32, (long)q31, (long)want);
	failed = 1;
}

int main(void)
{
	static _Alignas(64) unsigned char ws[F32_WORKSPACE_BYTES +
						     Q31_WORKSPACE_BYTES];
	static int8_t y[2][N * C];
	static uint8_t z[2][N * C];
	static int16_t v[2][N * C];

	for (int round = 0; round < ROUNDS && !failed; round++) {
		fill(round & 1 ? 0.7071f : 2.0f);
		if (f32_run(N, x, y[0], z[0], v[0], ws) ||
		    q31_run(N, x, y[1], z[1], v[1], ws))
			return 1;
		for (int i = 0; i < N * C && !failed; i++) {
			float s = scale[i % C];
			int64_t pos = exact(x[i], s, 2.0f);

			expect("y", i, y[0][i], y[1][i],
			       saturated(exact(x[i], s, 0.7071f) - 3, -128,
					 127), 1);
			expect("z", i, z[0][i], z[1][i],
			       saturated((pos > 0 ? pos : 0) + 7, 0, 255), 1);
			expect("v", i, v[0][i], v[1][i],
			       saturated(exact(x[i], s, 0.00313277f) + 1000,
					 -32768, 32767), 0);
		}
	}
	printf("%ld of %d differ between f32 and q31\n", n_odd,
	       2 * ROUNDS * N * C);
	if (strcmp(F32_REQUANT, "f32") || strcmp(Q31_REQUANT, "q31"))
		failed = 1;
	return failed || (double)n_odd > 1e-5 * 2 * ROUNDS * N * C;
}
