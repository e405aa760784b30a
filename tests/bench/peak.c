/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rate at which one core multiplies and adds: independent chains of
 * fused multiply-adds in registers, as wide as this CPU has them.  Each line
 * `N` of the standard input is answered with N lines of seconds, each for
 * PEAK_FLOP operations.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__AVX512F__)
#include <immintrin.h>
typedef __m512 vec;
#define LANES 16
#define vec_set(x) _mm512_set1_ps(x)
#define vec_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vec_add(a, b) _mm512_add_ps(a, b)
#define vec_store(p, a) _mm512_storeu_ps(p, a)
#elif defined(__FMA__)
#include <immintrin.h>
typedef __m256 vec;
#define LANES 8
#define vec_set(x) _mm256_set1_ps(x)
#define vec_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define vec_add(a, b) _mm256_add_ps(a, b)
#define vec_store(p, a) _mm256_storeu_ps(p, a)
#elif defined(__ARM_NEON)
#include <arm_neon.h>
typedef float32x4_t vec;
#define LANES 4
#define vec_set(x) vdupq_n_f32(x)
#define vec_fma(a, b, c) vfmaq_f32(c, a, b)
#define vec_add(a, b) vaddq_f32(a, b)
#define vec_store(p, a) vst1q_f32(p, a)
#else
typedef float vec;
#define LANES 1
#define vec_set(x) (x)
#define vec_fma(a, b, c) ((a) * (b) + (c))
#define vec_add(a, b) ((a) + (b))
#define vec_store(p, a) (*(p) = (a))
#endif

/* More chains than latency times units of any CPU we know; with the two
 * factors they fit 16 registers. */
#define CHAINS 12
#define PEAK_FLOP 2147483648.0

static float chains_run(long n)
{
	vec sum[CHAINS], x = vec_set(0.999f), y = vec_set(0.001f);
	float out[LANES], total = 0;

	for (int i = 0; i < CHAINS; i++)
		sum[i] = vec_set((float)i);
	for (long k = 0; k < n; k++)
		for (int i = 0; i < CHAINS; i++)
			sum[i] = vec_fma(sum[i], x, y);
	for (int i = 1; i < CHAINS; i++)
		sum[0] = vec_add(sum[0], sum[i]);
	vec_store(out, sum[0]);
	for (int i = 0; i < LANES; i++)
		total += out[i];
	return total;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(void)
{
	/* Volatile, so that no call is moved or saved. */
	volatile long n = (long)(PEAK_FLOP / (2.0 * CHAINS * LANES));
	volatile float keep = chains_run(n);
	char line[32];

	(void)keep;
	while (fgets(line, sizeof(line), stdin)) {
		for (long k = strtol(line, NULL, 10); k > 0; k--) {
			double start = seconds();

			keep = chains_run(n);
			printf("%.9f\n", seconds() - start);
		}
		fflush(stdout);
	}
	return 0;
}
